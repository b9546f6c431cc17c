//! An answer as the provider sends it: status overriding, known-error header, CORS.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};

use super::access;
use super::failure::Failure;

pub type Outcome = Result<Answer, Failure>;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, max-age=0");

impl Answer {
    pub fn ok(body: &impl Serialize) -> Answer {
        Answer::json(200, body)
    }

    pub fn created(body: &impl Serialize) -> Answer {
        Answer::json(201, body)
    }

    pub fn success() -> Answer {
        Answer::ok(&json!({ "success": true }))
    }

    pub fn json(status: u16, body: &impl Serialize) -> Answer {
        // What is serialized here are our own types: maps with string keys.
        Answer::of(status, JSON, serde_json::to_vec(body).unwrap_or_default())
    }

    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer::of(status, TEXT, body.into().into_bytes())
    }

    pub fn redirect(location: &str) -> Answer {
        let mut answer = Answer::text(307, "");
        answer.set(http::header::LOCATION, location);
        answer
    }

    pub fn of(status: u16, content_type: HeaderValue, body: Vec<u8>) -> Answer {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type), (CACHE_CONTROL, NO_STORE)]);
        Answer {
            status,
            headers,
            body: body.into(),
        }
    }

    pub fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}

/// The provider's envelope of a list that has no pages.
pub fn unpaged(items: Vec<Value>) -> Answer {
    Answer::ok(&json!({ "items": items, "is_paginated": false }))
}

/// Turns what a handler made into what travels: errors shaped, 4xx hidden behind 200 if asked for.
///
/// Who asks in the newer names of the headers is also answered in them, as the newest servers do.
pub fn finish(outcome: Outcome, request: &HeaderMap, request_id: &str) -> Answer {
    let newer_names = access::newer_names(request);
    let overridable = !matches!(&outcome, Err(failure) if failure.outermost);
    let mut answer = outcome.unwrap_or_else(|failure| shape(&failure, newer_names));
    if overridable
        && (400..500).contains(&answer.status)
        && access::header(request, "override-error-status").is_some()
    {
        let actual = answer.status.to_string();
        both(&mut answer, "actual-status", &actual, newer_names);
        answer.status = 200;
    }
    answer.set(HeaderName::from_static("x-stack-request-id"), request_id);
    answer
}

fn shape(failure: &Failure, newer_names: bool) -> Answer {
    let Some(code) = failure.code else {
        return Answer::text(failure.status, failure.message.clone());
    };
    let mut body = json!({ "code": code, "error": failure.message });
    if let (Some(details), Some(fields)) = (&failure.details, body.as_object_mut()) {
        fields.insert("details".into(), details.clone());
    }
    let pretty = serde_json::to_vec_pretty(&body).unwrap_or_default();
    let mut answer = Answer::of(failure.status, JSON, pretty);
    both(&mut answer, "known-error", code, newer_names);
    answer
}

fn both(answer: &mut Answer, name: &str, value: &str, newer_names: bool) {
    for family in ["x-stack-", "x-hexclave-"]
        .into_iter()
        .take(1 + usize::from(newer_names))
    {
        if let Ok(name) = HeaderName::try_from(format!("{family}{name}")) {
            answer.set(name, value);
        }
    }
}

const ALLOWED_HEADERS: &str = "content-type, authorization, x-stack-project-id, x-stack-branch-id, \
    x-stack-override-error-status, x-stack-random-nonce, x-stack-client-version, \
    x-stack-disable-artificial-development-delay, x-stack-access-type, x-stack-publishable-client-key, \
    x-stack-secret-server-key, x-stack-super-secret-admin-key, x-stack-admin-access-token, x-stack-refresh-token, \
    x-stack-access-token, x-stack-allow-anonymous-user, ngrok-skip-browser-warning";
const EXPOSED_HEADERS: &str = "content-type, x-stack-actual-status, x-stack-known-error";

/// What a browser on another origin must see; for every path under `/api/`.
pub fn allow_any_origin(headers: &mut HeaderMap) {
    for (name, value) in [
        (http::header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            http::header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (http::header::ACCESS_CONTROL_MAX_AGE, "86400"),
        (http::header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (http::header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[&'static str]) -> HeaderMap {
        let yes = HeaderValue::from_static("true");
        names
            .iter()
            .map(|name| (HeaderName::from_static(name), yes.clone()))
            .collect()
    }

    #[test]
    fn an_error_is_a_200_only_for_who_asks() {
        let plain = finish(Err(Failure::user_not_found()), &asked(&[]), "r");
        assert_eq!(
            (plain.status, plain.headers.get("x-stack-actual-status")),
            (404, None)
        );
        let hidden = finish(
            Err(Failure::user_not_found()),
            &asked(&["x-stack-override-error-status"]),
            "r",
        );
        assert_eq!(
            (
                hidden.status,
                hidden.headers["x-stack-actual-status"].to_str().unwrap()
            ),
            (200, "404")
        );
        assert_eq!(hidden.headers["x-stack-known-error"], "USER_NOT_FOUND");
        assert_eq!(
            hidden.body,
            "{\n  \"code\": \"USER_NOT_FOUND\",\n  \"error\": \"User not found.\"\n}"
        );
    }

    #[test]
    fn errors_5xx_and_405_keep_their_status() {
        let asked = asked(&["x-hexclave-override-error-status"]);
        assert_eq!(finish(Err(Failure::internal()), &asked, "r").status, 500);
        assert_eq!(
            finish(Err(Failure::method_not_allowed()), &asked, "r").status,
            405
        );
        let newer = finish(Err(Failure::user_not_found()), &asked, "r");
        assert_eq!(
            newer.headers["x-hexclave-actual-status"],
            newer.headers["x-stack-actual-status"]
        );
    }
}
