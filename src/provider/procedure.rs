//! What the provider's API sets up for an operator: a project with its keys, a subscription to webhooks.
//!
//! A procedure is a list of requests. Each is made of what the operator entered, whose tenant it is, and
//! what the answers before it gave; what comes of the last is told once, as settings or as a page to open.
//! What must never be: anything of what is known in an error or in a `Debug`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::pointer::Pointer;
use super::template::{Template, percent_encoded};
use super::{OwnRequest, Provider, Tenant};
use crate::user::json;

/// What a procedure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Makes a project and its keys.
    Provision,
    /// Has the provider send its webhooks.
    Subscribe,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Provision => "a project",
            Purpose::Subscribe => "webhooks",
        }
    }
}

#[derive(Debug)]
pub struct Procedure {
    /// What it does there, for people.
    pub does: String,
    pub asks: Vec<Ask>,
    pub(super) calls: Vec<Call>,
    /// Settings by their variables.
    pub(super) gives: Vec<(String, Template)>,
    pub(super) opens: Option<Template>,
}

/// Something that the operator enters.
#[derive(Debug)]
pub struct Ask {
    pub name: String,
    pub label: String,
    pub hint: Option<String>,
    pub secret: bool,
    pub default: Option<String>,
}

/// One of its requests.
#[derive(Debug)]
pub(super) struct Call {
    pub method: Method,
    pub path: Template,
    /// Below no prefix.
    pub at_root: bool,
    /// With the headers of usertap's own requests, the key among them.
    pub own: bool,
    pub basic: Option<(Template, Template)>,
    pub headers: Vec<(HeaderName, Template)>,
    /// Its texts are templates.
    pub body: Option<Value>,
    pub takes: Vec<(String, Pointer)>,
    /// A refusal is passed over.
    pub may_fail: bool,
}

/// What is known while it is carried out: entered by the operator, or given by an answer.
#[derive(Debug, Default, Clone)]
pub struct Known(BTreeMap<String, SecretString>);

/// What came of it: secrets, to be shown once.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Variables of the environment and their values.
    pub settings: Vec<(String, SecretString)>,
    /// A page at the provider that goes on from here.
    pub opens: Option<SecretString>,
}

/// Why it went no further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    #[error("the provider answered {status}{}", said(.text))]
    Refused { status: u16, text: String },
    /// The provider's file expects something that is not there.
    #[error("the provider's answer lacks what usertap looks for in it: {0}")]
    Lacks(String),
}

fn said(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

impl Known {
    pub fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), SecretString::from(value.into()));
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.expose_secret().to_owned())
    }
}

impl Provider {
    /// Where its file says how.
    pub fn procedure(&self, purpose: Purpose) -> Option<&Procedure> {
        match purpose {
            Purpose::Provision => self.provision.as_ref(),
            Purpose::Subscribe => self.subscribe.as_ref(),
        }
    }

    /// Its next request, after `done` of them. Nothing where none is left.
    pub fn next_request(
        &self,
        procedure: &Procedure,
        done: usize,
        tenant: &Tenant,
        known: &Known,
    ) -> Option<OwnRequest> {
        let call = procedure.calls.get(done)?;
        let value = |name: &str| known.get(name).or_else(|| tenant.value(name));
        let path = call
            .path
            .fill(&|name| value(name).map(|text| percent_encoded(&text)))?;
        let mut request = self.own_request(tenant, &path);
        if call.at_root {
            request.target = path;
        }
        if !call.own {
            (request.headers, request.token) = (HeaderMap::new(), None);
        }
        request.method = call.method.clone();
        let headers = &mut request.headers;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some((user, password)) = &call.basic {
            let pair = format!("{}:{}", user.fill(&value)?, password.fill(&value)?);
            put(
                headers,
                AUTHORIZATION,
                &format!("Basic {}", STANDARD.encode(pair)),
            )?;
        }
        for (name, template) in &call.headers {
            put(headers, name.clone(), &template.fill(&value)?)?;
        }
        if let Some(body) = &call.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = Some(filled(body, &value)?.to_string().into());
        }
        Some(request)
    }

    /// Learns from the answer to the request after `done` others.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn learn(
        &self,
        procedure: &Procedure,
        done: usize,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
        known: &mut Known,
    ) -> Result<(), Stopped> {
        let call = procedure.calls.get(done);
        if let Some(text) = self.problem(status, headers, body) {
            if call.is_some_and(|call| call.may_fail) {
                return Ok(());
            }
            let status = self.effective_status(status, headers).as_u16();
            return Err(Stopped::Refused { status, text });
        }
        let answer = json::read_bytes(body).unwrap_or_default();
        for (name, at) in call.into_iter().flat_map(|call| &call.takes) {
            let found = at.find(&answer).and_then(Value::as_str);
            known.put(name, found.ok_or_else(|| Stopped::Lacks(name.clone()))?);
        }
        Ok(())
    }
}

impl Procedure {
    /// What is told in the end.
    pub fn outcome(&self, known: &Known) -> Outcome {
        let value = |name: &str| known.get(name);
        let settings = self.gives.iter();
        let settings =
            settings.filter_map(|(name, value_of)| Some((name.clone(), value_of.fill(&value)?.into())));
        let opens = self.opens.as_ref().and_then(|template| template.fill(&value));
        // It becomes a link.
        let is_page = |text: &String| text.starts_with("https://") || text.starts_with("http://");
        let opens = opens.filter(is_page);
        Outcome {
            settings: settings.collect(),
            opens: opens.map(SecretString::from),
        }
    }

    /// How many requests it is.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.calls.len()
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) -> Option<()> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Some(())
}

/// The body with what is known in the place of every name.
fn filled(body: &Value, value: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    Some(match body {
        Value::String(text) => Value::from(Template::parse(text).fill(value)?),
        Value::Array(items) => items
            .iter()
            .map(|item| filled(item, value))
            .collect::<Option<_>>()?,
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, field)| Some((name.clone(), filled(field, value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests;
