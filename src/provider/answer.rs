//! Requests that usertap answers itself, errors in the provider's own shape, and links for people.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::route::{Pattern, segments};
use super::source::field;
use super::template::{Template, json_escaped, percent_encoded};
use super::{Provider, RequestHead, Tenant};
use crate::user::UserId;

/// An answer that needs no upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    /// What kind of error it is, if it is one.
    pub word: Option<&'static str>,
}

/// A request that must not be forwarded.
#[derive(Debug)]
pub(super) struct AnswerRule {
    pub pattern: Pattern,
    /// These values in the query make it an ordinary request.
    pub unless_query: Vec<(String, String)>,
    pub with: AnswerWith,
}

#[derive(Debug)]
pub(super) enum AnswerWith {
    /// A body with the public URL in it, or 404 where there is none.
    Body(Template),
    /// To the same path and query at the provider.
    Redirect(StatusCode),
}

/// Errors of usertap's own.
#[derive(Debug)]
pub(super) struct OwnErrors {
    pub body: Template,
    pub json: bool,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Default)]
pub(super) struct Dashboard {
    pub user: Option<Template>,
    pub users: Option<Template>,
}

impl Provider {
    /// Where the descriptor says that usertap answers or redirects. `public` is the base URL by
    /// which apps reach the proxy, where it is set; `upstream` the provider's.
    pub fn own_answer(
        &self,
        head: &RequestHead<'_>,
        public: Option<&str>,
        upstream: &str,
    ) -> Option<OwnAnswer> {
        let path = segments(head.path)?;
        let path = self.below_prefix(&path)?;
        let rule = self
            .answers
            .iter()
            .find(|rule| rule.pattern.matches(head.method, path))?;
        if rule.passes(head.query) {
            return None;
        }
        match &rule.with {
            AnswerWith::Redirect(status) => self.redirect(*status, head, upstream),
            AnswerWith::Body(body) => Some(self.public_body(body, public)),
        }
    }

    /// An error of usertap's own (429, 502, 503, 504, 413) as the provider's SDKs understand it,
    /// with its CORS headers. `word` names the cause, `text` tells people.
    pub fn error(&self, status: StatusCode, word: &'static str, text: &str) -> OwnAnswer {
        let escaped = |text: &str| match self.own_errors.json {
            true => json_escaped(text),
            false => text.to_owned(),
        };
        let body = self.own_errors.body.fill(&|name| match name {
            "status" => Some(status.as_u16().to_string()),
            "word" => Some(escaped(word)),
            _ => Some(escaped(text)),
        });
        OwnAnswer {
            word: Some(word),
            ..self.own(status, body.unwrap_or_default())
        }
    }

    /// Where people see this user at the provider.
    pub fn dashboard_user(&self, tenant: &Tenant, id: &UserId) -> Option<String> {
        let id = percent_encoded(id.as_str());
        let value = |name: &str| {
            if name == "id" {
                Some(id.clone())
            } else {
                public_part(tenant, name)
            }
        };
        self.dashboard.user.as_ref()?.fill(&value)
    }

    /// Where people see all users at the provider.
    pub fn dashboard_users(&self, tenant: &Tenant) -> Option<String> {
        self.dashboard
            .users
            .as_ref()?
            .fill(&|name| public_part(tenant, name))
    }

    pub(super) fn own(&self, status: StatusCode, body: String) -> OwnAnswer {
        let headers = self.own_errors.headers.iter().cloned().collect();
        OwnAnswer {
            status,
            headers,
            body,
            word: None,
        }
    }

    fn public_body(&self, body: &Template, public: Option<&str>) -> OwnAnswer {
        let public = public.map(|public| json_escaped(public.trim_end_matches('/')));
        match body.fill(&|_| public.clone()) {
            Some(body) => self.own(StatusCode::OK, body),
            None => self.error(
                StatusCode::NOT_FOUND,
                "no-public-url",
                "The proxy has no PUBLIC_URL to tell.",
            ),
        }
    }

    fn redirect(&self, status: StatusCode, head: &RequestHead<'_>, upstream: &str) -> Option<OwnAnswer> {
        let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{}{query}", upstream.trim_end_matches('/'), head.path);
        let mut answer = self.own(status, String::new());
        answer.headers.remove(header::CONTENT_TYPE);
        answer
            .headers
            .insert(header::LOCATION, HeaderValue::from_str(&target).ok()?);
        Some(answer)
    }
}

impl AnswerRule {
    fn passes(&self, query: Option<&str>) -> bool {
        let query = query.unwrap_or_default().as_bytes();
        let has = |(name, value): &(String, String)| field(query, name).as_ref() == Some(value);
        self.unless_query.iter().any(has)
    }
}

/// Never the key: a link is for people to see.
pub(super) fn public_part(tenant: &Tenant, name: &str) -> Option<String> {
    tenant.part(name).map(percent_encoded)
}
