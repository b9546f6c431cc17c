//! What people see of a provider and may do there: its name, its links, how to connect an app, and
//! how a user is made, changed and deleted.
//!
//! What must never be: the key in a link, a step or a line to copy.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::answer::public_part;
use super::form::Only;
use super::pointer::{Pointer, Step as PointerStep};
use super::template::{Template, percent_encoded};
use super::{OwnRequest, Provider, Tenant};
use crate::user::json::written;
use crate::user::{IdType, UserId, json};

pub use super::form::FieldKind;

/// The whole section, checked.
#[derive(Debug, Default)]
pub(super) struct Console {
    pub title: String,
    /// The path that tells what the tenant is called, and where in its answer.
    pub project: Option<(String, Pointer)>,
    pub create: Option<Write>,
    pub edit: Option<Write>,
    pub delete: Option<Write>,
    pub problem: Option<Pointer>,
    pub fields: Vec<Field>,
    pub links: Vec<Link>,
    pub steps: Vec<Step>,
    pub snippets: Vec<Snippet>,
}

#[derive(Debug)]
pub(super) struct Write {
    pub method: Method,
    pub path: Template,
    /// Where its answer shows the user.
    pub whole: Pointer,
}

#[derive(Debug)]
pub(super) struct Link {
    pub label: String,
    pub url: Template,
}

#[derive(Debug)]
pub(super) struct Step {
    pub text: Template,
    pub url: Option<Template>,
}

#[derive(Debug)]
pub(super) struct Snippet {
    pub title: String,
    pub text: Template,
}

/// A field that people may write.
#[derive(Debug)]
pub struct Field {
    /// What a form calls it.
    pub name: String,
    pub label: String,
    pub kind: FieldKind,
    pub hint: Option<String>,
    pub required: bool,
    pub(super) only: Option<Only>,
    pub(super) at: Pointer,
    pub(super) to: Pointer,
    pub(super) with: Vec<(Pointer, Value)>,
}

/// What is done to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Create,
    Edit,
    Delete,
}

/// Something to read or to do, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub text: String,
    pub url: Option<String>,
}

impl Field {
    pub fn is_for(&self, deed: Deed) -> bool {
        match self.only {
            None => deed != Deed::Delete,
            Some(Only::Create) => deed == Deed::Create,
            Some(Only::Edit) => deed == Deed::Edit,
        }
    }

    /// Its value in a whole user.
    pub fn value(&self, user: &Value) -> Value {
        self.at.find(user).cloned().unwrap_or_default()
    }
}

impl Provider {
    /// The provider's name for people.
    pub fn title(&self) -> &str {
        &self.console.title
    }

    pub fn fields(&self, deed: Deed) -> impl Iterator<Item = &Field> {
        self.console.fields.iter().filter(move |field| field.is_for(deed))
    }

    /// Whether the file says how.
    pub fn can(&self, deed: Deed) -> bool {
        self.write_of(deed).is_some()
    }

    /// A write with the tenant's own key, and its body. `None` where the file does not say how, or
    /// there is no key.
    pub fn write(
        &self,
        tenant: &Tenant,
        deed: Deed,
        user: Option<&UserId>,
        values: &[(&Field, Value)],
    ) -> Option<(OwnRequest, String)> {
        tenant.key.as_ref()?;
        let write = self.write_of(deed)?;
        let path = write
            .path
            .fill(&|_| user.map(|id| percent_encoded(id.as_str())))?;
        let mut request = self.own_request(tenant, &path);
        request.method = write.method.clone();
        request
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut body = json!({});
        for (field, value) in values {
            let with = field.with.iter().map(|(to, value)| (to, value));
            for (to, value) in std::iter::once((&field.to, value)).chain(with) {
                to.put(&mut body, value.clone());
            }
        }
        Some((request, written(&body)))
    }

    /// What the provider's error says to people, if it says anything that short.
    pub fn problem(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        const LONGEST: usize = 500;
        if self.effective_status(status, headers).is_success() && !self.errors.is_failure_inside(body) {
            return None;
        }
        let parsed = json::read_bytes(body);
        let said = self
            .console
            .problem
            .as_ref()
            .and_then(|at| at.find(parsed.as_ref()?)?.as_str());
        let plain = json::text(body).filter(|_| parsed.is_none());
        let said = said.or(plain).unwrap_or_default().trim();
        Some(said.chars().take(LONGEST).collect())
    }

    /// The request that tells what the tenant is called.
    pub fn project_request(&self, tenant: &Tenant) -> Option<OwnRequest> {
        tenant.key.as_ref()?;
        let (path, _) = self.console.project.as_ref()?;
        Some(self.own_request(tenant, path))
    }

    /// Reads the answer to [`Provider::project_request`].
    pub fn project_name(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        let (_, at) = self.console.project.as_ref()?;
        let success = self.effective_status(status, headers).is_success();
        let body = json::read_bytes(body).filter(|_| success)?;
        at.find(&body)?.as_str().map(str::to_owned)
    }

    /// The provider's pages for people.
    pub fn links(&self, tenant: &Tenant) -> Vec<(&str, String)> {
        let links = self.console.links.iter();
        let filled = links.filter_map(|link| {
            let url = link.url.fill(&|name| public_part(tenant, name))?;
            Some((link.label.as_str(), url))
        });
        filled.collect()
    }

    /// What is to be done at the provider by hand; `public` is the base URL by which it reaches usertap.
    pub fn steps(&self, tenant: &Tenant, public: &str) -> Vec<Told> {
        let value = |name: &str| plain_part(tenant, name, ("public", public));
        let steps = self.console.steps.iter();
        let told = steps.filter_map(|step| {
            Some(Told {
                text: step.text.fill(&value)?,
                url: step
                    .url
                    .as_ref()
                    .and_then(|url| url.fill(&|name| public_part(tenant, name))),
            })
        });
        told.collect()
    }

    /// Lines to copy into an app that reaches the proxy at `base`: titles and texts.
    pub fn snippets(&self, tenant: &Tenant, base: &str) -> Vec<(&str, String)> {
        let value = |name: &str| plain_part(tenant, name, ("base", base));
        let snippets = self.console.snippets.iter();
        snippets
            .filter_map(|snippet| Some((snippet.title.as_str(), snippet.text.fill(&value)?)))
            .collect()
    }

    /// Whether a field, its steps joined by dots, moves without a real change.
    pub fn is_volatile(&self, field: &str) -> bool {
        let steps = |pointer: &Pointer| {
            let keys = pointer.0.iter().map(|step| match step {
                PointerStep::Key(key) => key,
                PointerStep::Each => "*",
            });
            keys.collect::<Vec<_>>().join(".")
        };
        self.user.volatile.iter().any(|pointer| steps(pointer) == field)
    }

    /// The id of the user whom the answer to a creation tells of.
    pub fn id_told(&self, body: &[u8], kind: IdType) -> Option<UserId> {
        let body = json::read_bytes(body)?;
        let user = self.console.create.as_ref()?.whole.find(&body)?;
        UserId::parse(&self.id_text(self.user.id.find(user)?)?, kind)
    }

    fn write_of(&self, deed: Deed) -> Option<&Write> {
        match deed {
            Deed::Create => self.console.create.as_ref(),
            Deed::Edit => self.console.edit.as_ref(),
            Deed::Delete => self.console.delete.as_ref(),
        }
    }
}

fn plain_part(tenant: &Tenant, name: &str, more: (&str, &str)) -> Option<String> {
    match name == more.0 {
        true => Some(more.1.to_owned()),
        false => tenant.part(name).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent for a user's first and last field of a form.
    fn written(name: &str, deed: Deed, values: &[(&str, Value)]) -> (String, Value) {
        let provider = Provider::builtin(name).unwrap();
        let value = |variable: &str| Some(format!("value of {variable}"));
        let tenant = provider.tenant(provider.id_type, None, &value).unwrap();
        let fields: Vec<_> = provider.fields(deed).collect();
        let named = |name: &str| *fields.iter().find(|field| field.name == name).unwrap();
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (named(name), value.clone()))
            .collect();
        let id = UserId::parse("3520c449-3f36-4657-a50f-8fd63fcd2de6", provider.id_type);
        let (request, body) = provider.write(&tenant, deed, id.as_ref(), &values).unwrap();
        let line = format!("{} {}", request.method, request.target);
        assert!(
            request.headers.values().any(|value| value.is_sensitive()),
            "the key goes along"
        );
        (line, serde_json::from_str(&body).unwrap())
    }

    #[test]
    fn a_write_is_what_each_providers_file_says() {
        let made = written("stack-auth", Deed::Create, &[("display_name", json!("Ada"))]);
        assert_eq!(
            made,
            ("POST /api/v1/users".into(), json!({ "display_name": "Ada" }))
        );
        let email = "email_addresses.0.email_address";
        let made = written(
            "clerk",
            Deed::Create,
            &[(email, json!("a@b")), ("first_name", json!("Ada"))],
        );
        let body =
            json!({ "email_address": ["a@b"], "skip_password_requirement": true, "first_name": "Ada" });
        assert_eq!(made, ("POST /v1/users".into(), body));
        let (line, body) = written("clerk", Deed::Delete, &[]);
        assert_eq!(
            (line.as_str(), body),
            ("DELETE /v1/users/3520c449-3f36-4657-a50f-8fd63fcd2de6", json!({}))
        );
    }

    #[test]
    fn nothing_for_people_holds_a_key() {
        for name in Provider::builtin_names() {
            let provider = Provider::builtin(name).unwrap();
            let value = |variable: &str| Some(format!("value-of-{variable}"));
            let tenant = provider.tenant(provider.id_type, None, &value).unwrap();
            let told = format!(
                "{:?} {:?} {:?}",
                provider.links(&tenant),
                provider.steps(&tenant, "https://auth.example.com"),
                provider.snippets(&tenant, "https://auth.example.com")
            );
            assert!(told.contains("https://"), "{name} has its documentation");
            let key = provider.settings().iter().find(|setting| setting.secret);
            let key = key.and_then(|key| key.variables.first()).expect("a key");
            assert!(!told.contains(&format!("value-of-{key}")), "{name}");
        }
    }
}
