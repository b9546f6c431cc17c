//! Providers as data: what the shipped file says of Stack Auth, and what the form can say.

mod builtin;
mod callers;
mod clerk;
mod events;
mod forms;
mod listing;
mod mistakes;
mod properties;
mod recordings;
mod rows;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;
use usertap::provider::{
    Answer, Caller, Credential, Extraction, Matched, Provider, RequestHead, RoutedRequest, Sighting, Tenant,
};
use usertap::user::{Seen, UserId};

pub const PROJECT: &str = "6418f649-f6a9-4d40-a23e-b1c2e3f5a2f4";
pub const KEY: &str = "ssk_test_own";
pub const ADA: &str = "3520c449-3f36-4657-a50f-8fd63fcd2de6";
pub const BEA: &str = "d8d26bbf-9f3b-420a-8f3d-a2d9852f2d95";

pub fn stack() -> Provider {
    Provider::builtin("stack-auth").expect("the shipped file has no mistake")
}

pub fn tenant(provider: &Provider) -> Tenant {
    tenant_with(
        provider,
        &[("STACK_PROJECT_ID", PROJECT), ("STACK_SECRET_SERVER_KEY", KEY)],
    )
}

pub fn tenant_with(provider: &Provider, settings: &[(&str, &str)]) -> Tenant {
    let value = |name: &str| {
        let found = settings.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let upstream = url::Url::parse("https://api.example/base").unwrap();
    provider.tenant(provider.id_type, Some(upstream), &value).unwrap()
}

pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (name.parse::<HeaderName>().unwrap(), value)
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

/// An unsigned token of this tenant, as the provider would have made it.
pub fn token(id: &str) -> String {
    token_with(&json!({"sub": id, "project_id": PROJECT, "branch_id": "main", "aud": PROJECT}))
}

pub fn token_with(claims: &serde_json::Value) -> String {
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{payload}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#))
}

/// What the SDK sends for this kind of caller, in the older header generation.
pub fn shown(who: Credential, caller: Option<&str>) -> HeaderMap {
    let access = if who == Credential::Client {
        "client"
    } else {
        "server"
    };
    let mut all = headers(&[("x-stack-project-id", PROJECT), ("x-stack-access-type", access)]);
    let key = if who == Credential::OwnServer {
        KEY
    } else {
        "ssk_another"
    };
    if who != Credential::Client {
        all.extend(headers(&[("x-stack-secret-server-key", key)]));
    }
    if let Some(id) = caller {
        all.extend(headers(&[("x-stack-access-token", &token(id))]));
    }
    all
}

/// One exchange, as a test writes it down.
pub struct Exchange<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: HeaderMap,
    pub request: &'a str,
    pub status: u16,
    pub answered: HeaderMap,
    pub answer: &'a str,
}

impl Exchange<'_> {
    pub fn matched<'p>(&self, provider: &'p Provider) -> Option<Matched<'p>> {
        provider.route(&self.method.parse::<Method>().unwrap(), self.path)
    }

    /// As the proxy goes about it: route, caller, whether the answer tells, what it tells.
    pub fn told(&self, provider: &Provider, tenant: &Tenant) -> Extraction {
        let method = self.method.parse::<Method>().unwrap();
        let Some(matched) = provider.route(&method, self.path) else {
            return Extraction::default();
        };
        let head = RequestHead {
            method: &method,
            path: self.path,
            query: self.query,
            headers: &self.headers,
        };
        let body = matched
            .route
            .needs_request_body
            .then_some(self.request.as_bytes());
        let Caller::Ours(credential) = provider.caller(
            tenant,
            &matched,
            (&provider.shown(head.headers), head.query),
            body,
        ) else {
            return Extraction::default();
        };
        let status = StatusCode::from_u16(self.status).unwrap();
        let meant = provider.effective_status(status, &self.answered);
        if !provider.tells(&matched, credential, meant, &self.answered) {
            return Extraction::default();
        }
        let answer = Answer {
            meant,
            headers: &self.answered,
            body: self.answer.as_bytes(),
        };
        let request = RoutedRequest {
            tenant,
            matched: &matched,
            credential,
            head,
            body,
        };
        let read = || provider.extract(&request, &answer);
        let told = read();
        // What is known from reading it before must be the same.
        for _ in 0..2 {
            assert_eq!(read().sightings, told.sightings);
        }
        told
    }
}

/// One letter for what was seen, `!` for unsettled, then the beginning of the id.
pub fn word(sighting: &Sighting) -> String {
    let seen = match sighting.seen {
        Seen::Whole(_) => "whole",
        Seen::Partial(_) => "partial",
        Seen::Deleted => "deleted",
        Seen::Missing => "missing",
        Seen::Touched => "touched",
        Seen::Mentioned => "mentioned",
        Seen::Awaited => "awaited",
    };
    let unsettled = if sighting.unsettled { "!" } else { "" };
    let id: String = sighting.id.as_str().chars().take(4).collect();
    format!("{seen}{unsettled} {id}")
}

pub fn words(extraction: &Extraction) -> String {
    let words: Vec<String> = extraction.sightings.iter().map(word).collect();
    words.join(", ")
}

pub fn id(provider: &Provider, text: &str) -> UserId {
    UserId::parse(text, provider.id_type).unwrap()
}
