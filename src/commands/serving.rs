//! A running `serve`, as other commands ask it over its admin side.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::client;
use crate::cli::StatusOptions;

/// Why there is no status: a sentence with the remedy.
pub enum Unasked {
    /// Nobody listens there.
    Nobody(String),
    /// Somebody does, and it is not a status that they give.
    Refused(String),
}

/// The status of a running `serve`.
pub async fn status(options: &StatusOptions) -> Result<Value, Unasked> {
    let url = format!("http://{}/v1/status", options.admin);
    let reply = client::send(Method::GET, &url, &token(options), "").await;
    let reply = reply.map_err(|error| Unasked::Nobody(nobody(options, &error)))?;
    match reply.status {
        StatusCode::OK => Ok(reply.json()),
        status => Err(Unasked::Refused(refused(options, status))),
    }
}

pub fn token(options: &StatusOptions) -> Vec<(HeaderName, HeaderValue)> {
    let bearer = options
        .admin_token
        .as_ref()
        .map(|token| format!("Bearer {}", token.expose_secret()));
    let value = bearer.and_then(|bearer| HeaderValue::try_from(bearer).ok());
    value
        .map(|value| (header::AUTHORIZATION, value))
        .into_iter()
        .collect()
}

/// What is said where nobody listens.
pub fn nobody(options: &StatusOptions, error: &str) -> String {
    format!(
        "no serve can be asked at ADMIN_LISTEN={}: {error}. Start `usertap serve`, or correct it",
        options.admin
    )
}

/// What is said of an answer that is none.
pub fn refused(options: &StatusOptions, status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED => {
            "the admin side refuses the token: set ADMIN_TOKEN as `serve` has it".into()
        }
        status => format!(
            "{} answered {status}: is it usertap's ADMIN_LISTEN?",
            options.admin
        ),
    }
}
