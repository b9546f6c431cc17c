//! Requests that usertap answers itself, errors in the provider's own shape, and links for people.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::route::Pattern;
use super::source::field;
use super::template::{Template, json_escaped, percent_encoded};
use super::{Provider, RequestHead, Tenant};
use crate::user::UserId;

/// In seconds: the provider is to be asked again soon.
const PREFLIGHT_LASTS: &str = "5";

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
    /// Where the SDKs look for when to come back, in seconds of the epoch.
    pub again_at: Option<HeaderName>,
}

#[derive(Debug, Default)]
pub(super) struct Dashboard {
    pub user: Option<Template>,
    pub users: Option<Template>,
}

impl Provider {
    /// Where the descriptor says that usertap answers or redirects. `segments` are those of the path,
    /// `public` is the base URL by which apps reach the proxy, where it is set; `upstream` the provider's.
    pub fn own_answer(
        &self,
        (head, segments): (&RequestHead<'_>, &[Cow<'_, str>]),
        public: Option<&str>,
        upstream: &str,
    ) -> Option<OwnAnswer> {
        let path = self.below_prefix(segments)?;
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

    /// The header beside `Retry-After` that tells the provider's SDKs when to come back, in seconds of the epoch.
    pub fn again_at(&self) -> Option<&HeaderName> {
        self.own_errors.again_at.as_ref()
    }

    /// What a browser is told for want of the provider that asks whether a page of another origin may send a
    /// request. Nothing where that would be on no known route, or where pages may not read usertap's errors.
    pub fn preflight(&self, head: &RequestHead<'_>) -> Option<OwnAnswer> {
        let (method, asked) = preflight_of(head)?;
        self.route(&method, head.path)?;
        let mut answer = self.own(StatusCode::NO_CONTENT, String::new());
        let headers = &mut answer.headers;
        headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
        if let Some(names) = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(PREFLIGHT_LASTS),
        );
        Some(answer)
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

/// The method that a browser asks beforehand for, as it is and as it stands there.
fn preflight_of<'h>(head: &RequestHead<'h>) -> Option<(Method, &'h HeaderValue)> {
    if *head.method != Method::OPTIONS || !head.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Some((Method::from_bytes(asked.as_bytes()).ok()?, asked))
}

/// Never the key: a link is for people to see.
pub(super) fn public_part(tenant: &Tenant, name: &str) -> Option<String> {
    tenant.part(name).map(percent_encoded)
}
