//! The form of a provider file, as it is written. `builtin/stack-auth.toml` fills it in and says
//! in its comments what each part means.

mod callers;
mod console;
mod events;
mod list;
mod procedure;
mod reader;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::user::IdType;

pub(super) use callers::{CredentialForm, Rank, WhenForm};
pub use console::FieldKind;
pub(super) use console::{ConsoleForm, FieldForm, Only};
pub(super) use events::{
    AfterForm, ChallengeForm, Encoding, EventForm, EventsForm, PlainTimeForm, PollForm, SignatureForm,
    SinceForm, ValuesForm, WebhooksForm,
};
pub(super) use list::{ListForm, LostForm, PagingForm, SizeForm, TotalForm};
pub(super) use procedure::{CallForm, ProcedureForm};
pub(super) use reader::Reader;

pub(super) type Text = Spanned<String>;

#[derive(Debug, Default)]
pub(super) struct Form {
    pub provider: Option<ProviderForm>,
    pub identity: Vec<IdentityForm>,
    pub key: Option<Spanned<KeyForm>>,
    pub setting: Vec<SettingForm>,
    pub credential: Vec<Spanned<CredentialForm>>,
    pub own: Vec<OwnForm>,
    pub login: Option<LoginForm>,
    pub token: Option<TokenForm>,
    pub errors: ErrorsForm,
    pub own_errors: Option<OwnErrorsForm>,
    pub user: Option<UserForm>,
    pub list: Option<ListForm>,
    pub dashboard: DashboardForm,
    pub console: ConsoleForm,
    pub provision: Option<ProcedureForm>,
    pub subscribe: Option<ProcedureForm>,
    pub cache: CacheForm,
    pub answer: Vec<AnswerForm>,
    pub webhooks: Option<WebhooksForm>,
    pub events: EventsForm,
    pub event: Vec<Spanned<EventForm>>,
    pub poll: Option<Spanned<PollForm>>,
    pub route: Vec<RouteForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderForm {
    pub name: Text,
    pub id_type: IdType,
    /// Ids are whole numbers.
    #[serde(default)]
    pub numeric_ids: bool,
    pub upstream: Option<Text>,
    pub prefixes: Vec<Text>,
    #[serde(default)]
    pub limits: Vec<Text>,
    /// Each endpoint has limits of its own.
    #[serde(default)]
    pub endpoint_limits: bool,
    /// Requests that it counts by themselves.
    #[serde(default)]
    pub apart: Vec<Text>,
    #[serde(default)]
    pub not_ids: Vec<String>,
    #[serde(default)]
    pub id_form: IdForm,
    #[serde(default)]
    pub userless: Vec<Text>,
    /// Headers of answers with addresses of the provider's own that apps follow.
    #[serde(default)]
    pub links: Vec<Text>,
}

/// What an id in a path looks like: whatever does not is another name of the user's, such as a login.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdForm {
    pub begins: String,
    /// Characters of which none stands in an id.
    pub without: String,
    /// Characters behind which a path goes on that is no part of the id.
    pub ends_before: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityForm {
    pub part: Text,
    #[serde(default)]
    pub settings: Vec<String>,
    #[serde(default)]
    pub headers: Vec<Text>,
    pub query: Option<String>,
    /// A parameter of the route's path.
    pub path: Option<Text>,
    /// It is the address of the provider: whatever is forwarded there is this tenant's.
    #[serde(default)]
    pub upstream: bool,
    #[serde(default)]
    pub claims: Vec<String>,
    pub default: Option<String>,
    #[serde(default)]
    pub fingerprint: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyForm {
    pub settings: Vec<String>,
    /// By what a key begins with: limits that hold for such keys in the place of the published ones.
    #[serde(default)]
    pub limits: BTreeMap<String, Vec<Text>>,
    /// The provider may ask for none.
    #[serde(default)]
    pub optional: bool,
    /// A path that it alone opens.
    pub opens: Option<Text>,
    /// What people call it.
    pub label: Option<String>,
    /// What requests show in its place, a template.
    pub shown: Option<Text>,
    /// That in base64.
    #[serde(default)]
    pub basic: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingForm {
    pub name: String,
    pub settings: Vec<String>,
    /// It may be shown.
    #[serde(default)]
    pub public: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnForm {
    pub header: Text,
    pub value: Text,
    pub unless_default: Option<Text>,
}

/// How usertap gets the token that `{token}` stands for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginForm {
    pub path: Text,
    /// The body, as JSON or as a form: templates.
    pub json: Option<BTreeMap<String, Text>>,
    pub form: Option<BTreeMap<String, Text>>,
    /// Pointer to the token in the answer.
    pub token: Text,
    /// Pointer to how many seconds it lasts.
    pub lasts: Option<Text>,
    /// Or how long, where the answer does not say.
    pub lasts_for: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenForm {
    pub headers: Vec<Text>,
    pub scheme: Option<String>,
    pub id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorsForm {
    #[serde(default)]
    pub status_headers: Vec<Text>,
    #[serde(default)]
    pub code_headers: Vec<Text>,
    pub code: Option<Text>,
    /// As other callers are answered.
    pub or_code: Option<Text>,
    pub not_found: Option<NotFoundForm>,
    /// What stands in the body of every success, by pointer.
    #[serde(default)]
    pub success: BTreeMap<Text, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotFoundForm {
    pub status: Spanned<u16>,
    pub codes: Vec<String>,
    /// It has no body.
    #[serde(default)]
    pub empty: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodesForm {
    pub status: Spanned<u16>,
    pub codes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnErrorsForm {
    pub body: Text,
    pub headers: BTreeMap<String, Text>,
    pub again_at: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserForm {
    pub id: Text,
    #[serde(default)]
    pub name: Vec<TextForm>,
    #[serde(default)]
    pub email: Vec<TextForm>,
    pub created_at: Option<TimeForm>,
    pub updated_at: Option<TimeForm>,
    pub version: Option<TimeForm>,
    /// What is there of a user who is deleted and still shown.
    pub deleted_at: Option<Text>,
    #[serde(default)]
    pub volatile: Vec<Text>,
    #[serde(default)]
    pub drop: Vec<Text>,
    #[serde(default)]
    pub whole_has: Vec<Text>,
    pub read: Text,
    /// An id that could be somebody's and is nobody's.
    pub nobody: Option<String>,
}

/// A JSONPath, or several whose texts are joined by a space.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextForm {
    pub at: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeForm {
    pub at: Text,
    pub unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "ms-string")]
    MillisString,
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DashboardForm {
    pub user: Option<Text>,
    pub users: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheForm {
    #[serde(default)]
    pub ignore: Vec<Text>,
    #[serde(default)]
    pub once: Vec<Text>,
    pub habit: Option<WhenForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerForm {
    pub on: Text,
    pub redirect: Option<u16>,
    pub unless_query: Option<BTreeMap<String, String>>,
    pub body: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteForm {
    pub on: Text,
    #[serde(default)]
    pub user: Vec<Text>,
    #[serde(default)]
    pub own_path: bool,
    #[serde(default)]
    pub tells: Vec<TellForm>,
    #[serde(default)]
    pub hides: Vec<String>,
    pub writes: Option<bool>,
    /// Whether it changes users whom neither request nor answer names.
    pub silent: Option<bool>,
    /// Whether a success says that the provider takes the caller.
    pub judges: Option<bool>,
    pub cache: Option<Text>,
    /// The provider counts these requests for each user by itself.
    pub user_limit: Option<Text>,
    pub tenant: Option<RouteTenantForm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TellForm {
    pub whole: Option<Text>,
    pub partial: Option<Text>,
    pub list: Option<Text>,
    pub deleted: Option<Vec<Text>>,
    /// Of a deletion: what its answer is once it is done.
    pub done: Option<DoneForm>,
    pub touched: Option<Vec<Text>>,
    pub mentioned: Option<Vec<Text>>,
    /// Of a list: where in each item the user stands.
    pub item: Option<Text>,
    /// Of a partial view: what alone of it is compared.
    pub fields: Option<Vec<String>>,
    /// Of a list: how old it may be.
    pub consistency: Option<Text>,
    /// Of a list that is left out where nobody is on it: what such an answer has.
    #[serde(default)]
    pub empty_has: Vec<Text>,
    #[serde(rename = "for")]
    pub rank: Option<Rank>,
    #[serde(default)]
    pub unsettled: bool,
    /// Only where the request's form has these values.
    pub when_form: Option<BTreeMap<String, String>>,
    /// Only where the request's query has these values.
    pub when_query: Option<BTreeMap<String, String>>,
    /// Only where it has none of these parameters.
    #[serde(default)]
    pub unless_query: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum DoneForm {
    /// `empty`.
    Word(String),
    /// By pointer into the answer's body.
    Values(BTreeMap<String, serde_json::Value>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTenantForm {
    pub form: String,
    pub separator: String,
}
