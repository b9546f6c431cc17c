//! Tokens that usertap's own requests need and the provider gives for its key: for a while.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::pointer::Pointer;
use super::template::Template;
use super::{Provider, Tenant};
use crate::user::json;

/// How usertap gets its token.
#[derive(Debug)]
pub(super) struct LoginRule {
    pub path: String,
    pub body: LoginBody,
    pub token: Pointer,
    pub lasts: Option<Pointer>,
    /// Where the answer does not say.
    pub lasts_for: Duration,
}

#[derive(Debug)]
pub(super) enum LoginBody {
    Json(Vec<(String, Template)>),
    Form(Vec<(String, Template)>),
}

/// A POST that is answered with a token. Its body holds the key: never shown.
pub struct Login {
    /// Path below the upstream's base.
    pub target: String,
    pub content_type: HeaderValue,
    pub body: String,
}

/// A header of an own request that waits for its token.
#[derive(Debug, Clone)]
pub struct TokenHeader {
    pub(super) name: HeaderName,
    pub(super) value: Template,
}

impl LoginRule {
    /// What the body is made of.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let (LoginBody::Json(fields) | LoginBody::Form(fields)) = &self.body;
        fields.iter().flat_map(|(_, value)| value.names())
    }
}

impl TokenHeader {
    pub fn put_into(&self, headers: &mut HeaderMap, token: &str) {
        let value = self.value.fill(&|_| Some(token.to_owned()));
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        if let Some(mut value) = value {
            value.set_sensitive(true);
            headers.insert(self.name.clone(), value);
        }
    }
}

impl Provider {
    /// The request for a token, where own requests need one. A field without a value is left out.
    pub fn login(&self, tenant: &Tenant) -> Option<Login> {
        let rule = self.login.as_ref()?;
        let fill = |(name, template): &(String, Template)| {
            Some((name.clone(), template.fill(&|name| tenant.value(name))?))
        };
        let (content_type, body) = match &rule.body {
            LoginBody::Json(fields) => {
                let fields = fields.iter().filter_map(fill);
                let fields = fields.map(|(name, value)| (name, Value::from(value)));
                ("application/json", Value::Object(fields.collect()).to_string())
            }
            LoginBody::Form(fields) => {
                let mut body = Serializer::new(String::new());
                body.extend_pairs(fields.iter().filter_map(fill));
                ("application/x-www-form-urlencoded", body.finish())
            }
        };
        Some(Login {
            target: self.filled(tenant, &rule.path),
            content_type: HeaderValue::from_static(content_type),
            body,
        })
    }

    /// The token of an answer to it, and how long it lasts.
    pub fn token_given(&self, status: StatusCode, body: &[u8]) -> Option<(SecretString, Duration)> {
        let rule = self.login.as_ref().filter(|_| status.is_success())?;
        let body = json::read_bytes(body)?;
        let token = rule.token.find(&body)?.as_str()?;
        let lasts = rule.lasts.as_ref().and_then(|at| at.find(&body)?.as_u64());
        Some((
            token.to_owned().into(),
            lasts.map_or(rule.lasts_for, Duration::from_secs),
        ))
    }
}
