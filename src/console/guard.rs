//! Before every page: who asks, whether a form is one of ours, and what browsers are told to keep to.
//!
//! What must never be: a page's data without the token where there is one; an action that no form of
//! this browser's own pages asked for; a session that a link from elsewhere ends; a script or style that this program did not bring along.

use std::error::Error;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http_body_util::LengthLimitError;

use super::session::Value;
use super::{Console, login, page};
use crate::proxy::Peer;

/// Metadata of a user, written into a form, is some kilobytes.
const LARGEST_FORM: usize = 1 << 20;
/// What a form carries its proof in.
pub const PROOF: &str = "proof";

/// Nothing from elsewhere, nothing inline, nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Who asks.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub value: Value,
    /// For every form of the page.
    pub proof: String,
    /// It can sign out.
    pub signed_in: bool,
    /// Over TLS, as far as can be told.
    pub secure: bool,
}

/// A form that was posted, proved to be one of ours.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }
}

/// Pages for whoever is signed in, or for everybody where there is no token.
pub async fn signed_in(State(console): State<Console>, request: Request, next: Next) -> Response {
    let Some(token) = &console.station.config.admin_token else {
        return next.run(request).await;
    };
    let is_in = request
        .extensions()
        .get::<Visitor>()
        .is_some_and(|visitor| visitor.signed_in);
    match is_in || login::is_bearer(request.headers(), token) {
        true => next.run(request).await,
        false if request.method() == Method::GET => Redirect::to(&login::path(request.uri())).into_response(),
        false => Redirect::to("/login").into_response(),
    }
}

/// Knows the browser, and lets no form pass that is not one of its own pages'.
pub async fn known(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let cookies = cookies(request.headers());
    let session = console.sessions.session(&cookies);
    let signed_in = session.is_some();
    let shown = session.or_else(|| console.sessions.visitor(&cookies));
    let is_new = shown.is_none();
    let value = shown.unwrap_or_else(|| console.sessions.begin());
    let visitor = Visitor {
        proof: console.sessions.proof(&value),
        signed_in,
        secure: is_secure(&request),
        value,
    };
    if request.method() == Method::POST {
        match form(&console, &visitor, &mut request).await {
            Ok(form) => request.extensions_mut().insert(form),
            Err(refused) => return told(refused),
        };
    }
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    // A file that anybody's cache may keep is nobody's.
    let has = |name| response.headers().contains_key(name);
    if is_new && !has(header::SET_COOKIE) && !has(header::CACHE_CONTROL) {
        set_cookie(
            &mut response,
            &console.sessions.set_visitor(&visitor.value, visitor.secure),
        );
    }
    told(response)
}

/// HTTP/2 may cut them into several lines (RFC 9113, 8.2.3).
fn cookies(headers: &HeaderMap) -> String {
    let lines = headers.get_all(header::COOKIE).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join("; ")
}

pub fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

async fn form(console: &Console, visitor: &Visitor, request: &mut Request) -> Result<Form, Response> {
    let refuse = |status: StatusCode, what: &str| (status, page::alone("Not done", what)).into_response();
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let body = to_bytes(body, LARGEST_FORM).await.map_err(|error| {
        let is_too_large = error
            .source()
            .is_some_and(|source| source.is::<LengthLimitError>());
        match is_too_large {
            true => refuse(StatusCode::PAYLOAD_TOO_LARGE, "The form is larger than 1 MiB."),
            false => refuse(
                StatusCode::REQUEST_TIMEOUT,
                "The form broke off, or came too slowly.",
            ),
        }
    })?;
    let pairs = url::form_urlencoded::parse(&body);
    let form = Form(
        pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
    );
    match console.sessions.is_proof(&visitor.value, form.get(PROOF)) {
        true => Ok(form),
        false => Err(refuse(
            StatusCode::FORBIDDEN,
            "This form is not of a page that this browser has open, or usertap was started anew meanwhile. \
             Nothing was done. Go back, load the page again and repeat it.",
        )),
    }
}

/// TLS ends before this server, if anywhere: a trusted proxy says so, or the browser. One that claims it wrongly only
/// loses its own cookie.
fn is_secure(request: &Request) -> bool {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().copied();
    let origin = headers.get(header::ORIGIN);
    peer.unwrap_or_default().scheme(headers) == Some("https")
        || origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn told(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` a form's own origin would be `null`, and be refused.
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
