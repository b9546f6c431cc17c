//! A provider file, checked and compiled; and what of it the settings fill in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{AnswerRule, Dashboard, OwnErrors};
use super::cache::CacheRules;
use super::caller::{CredentialRule, Part, fingerprint};
use super::compile;
use super::console::Console;
use super::errors::Errors;
use super::event::{EventMap, EventRule};
use super::form::IdForm;
use super::login::LoginRule;
use super::own::OwnHeader;
use super::paging::List;
use super::pointer::Pointer;
use super::poll::Poll;
use super::procedure::Procedure;
use super::requests::Requests;
use super::route::Route;
use super::shown::Places;
use super::template::Template;
use super::view::UserMap;
use super::webhook::Webhooks;
use super::{Limit, Tenant};
use crate::user::IdType;

/// The providers that are compiled in.
const BUILTIN: &[(&str, &str)] = &[
    ("stack-auth", include_str!("builtin/stack-auth.toml")),
    ("clerk", include_str!("builtin/clerk.toml")),
    ("workos", include_str!("builtin/workos.toml")),
    ("supabase", include_str!("builtin/supabase.toml")),
    ("auth0", include_str!("builtin/auth0.toml")),
    ("better-auth", include_str!("builtin/better-auth.toml")),
    ("keycloak", include_str!("builtin/keycloak.toml")),
    ("kratos", include_str!("builtin/kratos.toml")),
    ("okta", include_str!("builtin/okta.toml")),
    ("logto", include_str!("builtin/logto.toml")),
];

/// The name of the setting that holds the secret of webhooks, which is no part of a tenant.
pub(super) const WEBHOOKS: &str = "webhooks";

/// A provider file, checked and compiled.
#[derive(Debug)]
pub struct Provider {
    pub name: String,
    pub id_type: IdType,
    /// Ids are whole numbers, known by their digits.
    pub(super) numeric_ids: bool,
    /// The provider's own base URL.
    pub upstream: Option<String>,
    /// Its published limits, all of which apply; empty where none is known.
    pub rates: Vec<Limit>,
    /// A refusal is of one endpoint: what the others take is not known from it.
    pub endpoint_limits: bool,
    /// By the beginning of a key: what holds for it instead.
    pub(super) key_rates: Vec<(String, Vec<Limit>)>,
    pub(super) prefixes: Vec<Vec<String>>,
    pub(super) not_ids: Vec<String>,
    /// What an id in a path looks like, where something else may stand there.
    pub(super) id_form: IdForm,
    pub(super) identity: Vec<Part>,
    pub(super) settings: Vec<Setting>,
    pub(super) credentials: Vec<CredentialRule>,
    pub(super) own: Vec<OwnHeader>,
    pub(super) login: Option<LoginRule>,
    pub(super) key_is_optional: bool,
    /// What it alone opens, where a key that is not taken is answered as for somebody who is not there.
    pub(super) key_opens: Option<String>,
    pub(super) key_shown: Option<KeyShown>,
    pub(super) token: Option<TokenRule>,
    pub(super) errors: Errors,
    pub(super) own_errors: OwnErrors,
    pub(super) user: UserMap,
    pub(super) list: List,
    pub(super) dashboard: Dashboard,
    pub(super) console: Console,
    /// Where its API makes a project.
    pub(super) provision: Option<Procedure>,
    /// Where its API subscribes webhooks.
    pub(super) subscribe: Option<Procedure>,
    pub(super) cache: CacheRules,
    pub(super) answers: Vec<AnswerRule>,
    /// Where it sends any.
    pub(super) webhooks: Option<Webhooks>,
    pub(super) events: EventMap,
    /// The first that fits an event counts.
    pub(super) event_rules: Vec<EventRule>,
    /// Where it tells what has changed.
    pub(super) poll: Option<Poll>,
    /// The more literal ones first.
    pub(super) routes: Vec<Route>,
    pub(super) userless: Vec<Requests>,
    /// A refusal of one of these says nothing of any other.
    pub(super) apart: Vec<Requests>,
    /// Headers of answers with addresses of the provider's own that apps follow.
    pub links: Vec<http::HeaderName>,
}

/// Where a user's token stands in a request, and where in its claims the id.
#[derive(Debug)]
pub(super) struct TokenRule {
    pub headers: Places,
    pub scheme: Option<String>,
    pub id: Pointer,
}

/// How requests show the key, where that is not by itself.
#[derive(Debug)]
pub(super) struct KeyShown {
    pub made_of: Template,
    /// In base64, as `Authorization: Basic` has it.
    pub basic: bool,
}

impl KeyShown {
    fn of(&self, named: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let made = self.made_of.fill(named)?;
        Some(if self.basic { STANDARD.encode(made) } else { made })
    }
}

/// A setting of the provider's own that users already have, as `STACK_PROJECT_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What the descriptor calls it: a part of the identity, `key`, or another.
    pub name: String,
    /// The variables it is read from; the first that is set counts.
    pub variables: Vec<String>,
    /// Without it no tenant can be bound.
    pub required: bool,
    pub secret: bool,
    /// What people call it, where that is not its name.
    pub label: Option<String>,
    /// What holds where it is not set.
    pub default: Option<String>,
}

/// One mistake in a provider file: where, what, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    pub text: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl Provider {
    /// A provider that is compiled in.
    pub fn builtin(name: &str) -> Option<Provider> {
        let (_, text) = BUILTIN.iter().find(|(own, _)| *own == name)?;
        Provider::parse(text).ok()
    }

    /// The names of those.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The published limits that hold for this tenant's key.
    pub fn limits(&self, tenant: &Tenant) -> Vec<Limit> {
        let key = tenant.key.as_ref().map(|key| key.expose_secret());
        let fits = |(begins, _): &&(String, Vec<Limit>)| key.is_some_and(|key| key.starts_with(begins));
        let of_key = self.key_rates.iter().find(fits);
        of_key.map_or_else(|| self.rates.clone(), |(_, limits)| limits.clone())
    }

    /// Reads a provider file; all its mistakes at once.
    pub fn parse(text: &str) -> Result<Provider, Vec<Mistake>> {
        compile::compile(text)
    }

    /// What of the provider's own settings makes a tenant, the key among them.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The tenant that the settings name. `value` gives a variable's value where it is set. The
    /// error is the required settings that are not.
    pub fn tenant(
        &self,
        id_type: IdType,
        upstream: Option<url::Url>,
        value: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Tenant, Vec<&Setting>> {
        let read = |setting: &Setting| setting.variables.iter().find_map(|name| value(name));
        let missing = |setting: &&Setting| setting.required && read(setting).is_none();
        let missing: Vec<_> = self.settings.iter().filter(missing).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let named = |name: &str| read(self.settings.iter().find(|setting| setting.name == name)?);
        let or_default = |name: &str| {
            let part = self.identity.iter().find(|part| part.part == name);
            named(name).or_else(|| part?.default.clone())
        };
        let key = match &self.key_shown {
            Some(shown) => shown.of(&or_default),
            None => named("key"),
        };
        let part = |part: &Part| {
            let address = upstream.as_ref().filter(|_| part.upstream);
            let address = address.map(|url| url.as_str().trim_end_matches('/').to_owned());
            let printed = key.as_ref().filter(|_| part.fingerprint);
            let printed = printed.map(|key| fingerprint(key.as_bytes()));
            let value = printed
                .or(address)
                .or_else(|| named(&part.part))
                .or_else(|| part.default.clone());
            (part.part.clone(), value.unwrap_or_default())
        };
        let may_change = self
            .identity
            .iter()
            .filter(|part| part.fingerprint || part.upstream);
        let others = self
            .settings
            .iter()
            .filter(|setting| !self.is_identity(&setting.name) && setting.name != WEBHOOKS);
        let others = others.filter_map(|setting| Some((setting.name.clone(), read(setting)?)));
        Ok(Tenant {
            provider: self.name.clone(),
            identity: self.identity.iter().map(part).collect(),
            may_change: may_change.map(|part| part.part.clone()).collect(),
            id_type,
            upstream,
            settings: others.collect(),
            key: key.map(SecretString::from),
        })
    }

    /// Whether the provider may ask for no key at all.
    pub fn may_do_without_key(&self) -> bool {
        self.key_is_optional
    }

    /// Whether this setting is a part of what tells tenants apart.
    pub fn tells_tenants_apart(&self, setting: &str) -> bool {
        self.identity.iter().any(|part| part.part == setting)
    }

    /// Whether usertap's own requests are made with this setting.
    pub fn asks_with(&self, setting: &str) -> bool {
        let own = self.own.iter().flat_map(|own| own.value.names());
        let login = self.login.iter().flat_map(LoginRule::names);
        let shown = self.key_shown.iter().flat_map(|shown| shown.made_of.names());
        setting == "key" || own.chain(login).chain(shown).any(|name| name == setting)
    }

    /// Whether this setting is the signing secret of the provider's webhooks.
    pub fn signs_webhooks(&self, setting: &str) -> bool {
        setting == WEBHOOKS
    }

    fn is_identity(&self, setting: &str) -> bool {
        setting == "key" || self.tells_tenants_apart(setting)
    }
}
