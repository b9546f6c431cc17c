//! What usertap answers itself: under `/_usertap/`, and what the provider's file says is not to be sent on.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use serde_json::value::RawValue;

use super::asked::Asked;
use super::body::Body;
use super::traffic::Counted;
use super::wire::Failure;
use super::{Shared, headers, reply};
use crate::provider::{Caller, Credential};
use crate::record::Recorded;
use crate::user::UserId;

/// Everything below is usertap's.
const PREFIX: &str = "/_usertap";
const USERS: &str = "/users/";
/// The credential is judged before the id that is asked for: this one fits every id type.
const ANY_ID: &str = "00000000-0000-0000-0000-000000000000";

/// What the rest of the process knows; answered without this module's knowledge of tables.
pub trait Local: Send + Sync + 'static {
    fn readiness(&self) -> Readiness;

    /// Somebody of the tenant's asks. Where the database was left alone it is woken: resolves once it is in use, or
    /// soon.
    fn needs_database(&self) -> Option<BoxFuture<'_, ()>>;

    /// Whether the provider takes usertap's own key, as far as is known: where it did not, it is asked anew.
    fn takes_key(&self) -> Judged<'_>;

    /// With `ensure` it is fetched and committed first if it is missing; nothing if the provider has no such user.
    fn user(&self, id: UserId, ensure: bool) -> LocalAnswer<'_>;

    /// The same of a user of whom the row says all that is known: nothing of it is in doubt, was refused by
    /// the database, or waits to be written.
    fn settled_user(&self, id: UserId) -> LocalAnswer<'_>;

    /// Whose this other name is, as the provider says now; nothing where that cannot be known.
    fn user_of<'l>(&'l self, alias: &'l str) -> Named<'l>;

    /// Whether anything could be taken for the provider's own.
    fn takes_webhooks(&self) -> bool;

    /// Takes in what the provider sends by itself.
    fn webhook<'l>(&'l self, headers: &'l HeaderMap, body: Bytes) -> WebhookAnswer<'l>;

    /// One could not be read: it is only counted.
    fn webhook_unread(&self, why: WebhookUnread);
}

pub type Judged<'l> = Pin<Box<dyn Future<Output = bool> + Send + 'l>>;

pub type LocalAnswer<'l> = Pin<Box<dyn Future<Output = Result<Option<SyncedRow>, LocalFault>> + Send + 'l>>;

pub type Named<'l> = Pin<Box<dyn Future<Output = Option<UserId>> + Send + 'l>>;

pub type WebhookAnswer<'l> = Pin<Box<dyn Future<Output = WebhookTaken> + Send + 'l>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The provider is down or the database away; requests are answered all the same.
    Degraded,
    /// The database can be reached and is not migrated yet.
    NotReady,
}

/// The synced row of one user.
#[derive(Debug)]
pub struct SyncedRow {
    /// The feed's `after` plus `raw_json`.
    pub json: Box<RawValue>,
    /// The provider's user, as recorded; nothing of one who is deleted.
    pub user: Option<String>,
    /// What was recorded for this answer.
    pub recorded: Recorded,
}

/// Why a row cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFault {
    DatabaseAway,
    /// The database takes no row of this user.
    SetAside,
    ProviderAway,
    /// The provider did not answer in time, or its limit is used up.
    Late,
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookTaken {
    /// None are taken in.
    Closed,
    /// What it tells is durable, or it tells nothing; and the word for that.
    Acknowledged(&'static str),
    /// It is not the provider's, for this reason.
    Refused(&'static str),
    /// It must come again.
    NotDurable,
}

/// Why a webhook was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookUnread {
    TooLarge,
    Broken,
    /// Others had the memory, or it came too slowly: it must come again.
    NotHeld,
}

/// The path below `/_usertap`, if it is one of usertap's own.
pub(super) fn path(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers what is below `/_usertap`, and what cannot be sent on.
pub(super) async fn answer(shared: &Shared, request: &Request<Incoming>) -> Option<Response<Body>> {
    let uri = request.uri();
    if let Some(path) = path(headers::below(&shared.wire.base, uri.path())) {
        shared.wire.traffic.count(Counted::Own);
        return Some(at(shared, request.method(), path, uri.query(), request.headers()).await);
    }
    if request.method() == Method::CONNECT {
        return Some(shared.failed(Failure::Unaddressable, shared.priority_of(request)));
    }
    let is_coded = headers::is_coded(request.headers());
    is_coded.then(|| shared.failed(Failure::Coded, shared.priority_of(request)))
}

/// Answers a request that the provider's file says is not to be sent on.
pub(super) fn by_file(shared: &Shared, asked: &Asked, segments: &[Cow<'_, str>]) -> Option<Response<Body>> {
    let config = &shared.config;
    let public = config.public_url.as_ref();
    let public = public.map(|url| url.as_str().trim_end_matches('/'));
    let upstream = config.upstream.as_str().trim_end_matches('/');
    let answer = config
        .provider
        .own_answer((&asked.head(), segments), public, upstream)?;
    shared.wire.traffic.count(Counted::Own);
    shared.wire.traffic.meters.own_answer(asked.began);
    Some(reply::own(answer))
}

/// Answers a request below `/_usertap`. `query` is what follows the question mark.
async fn at(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response<Body> {
    let known = matches!(path, "/healthz" | "/readyz") || path.starts_with(USERS);
    if !known {
        return refusal(
            shared,
            StatusCode::NOT_FOUND,
            "no-such-path",
            "usertap has nothing at this path",
        );
    }
    if method != Method::GET && method != Method::HEAD {
        return refused_method(shared, "GET, HEAD", "this path answers GET only");
    }
    match path {
        "/healthz" => reply::json(StatusCode::OK, &json!({ "status": "ok" })),
        "/readyz" => ready(shared.local.readiness()),
        _ => user(shared, path.trim_start_matches(USERS), query, headers).await,
    }
}

/// In the provider's shape, as every error of usertap's own.
pub(super) fn refusal(shared: &Shared, status: StatusCode, word: &'static str, text: &str) -> Response<Body> {
    reply::error(&shared.config.provider, status, word, text, None)
}

pub(super) fn refused_method(shared: &Shared, allowed: &'static str, text: &str) -> Response<Body> {
    let mut refusal = refusal(shared, StatusCode::METHOD_NOT_ALLOWED, "method", text);
    refusal
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    refusal
}

fn ready(readiness: Readiness) -> Response<Body> {
    let (status, word) = match readiness {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Degraded => (StatusCode::OK, "degraded"),
        Readiness::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    reply::json(status, &json!({ "status": word }))
}

async fn user(shared: &Shared, id: &str, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
    if !shows_server_key(shared, headers) {
        let text = "this needs the tenant's server key, sent as the provider's SDK sends it, or where that exchanges it for \
                    a token, as Authorization: Bearer";
        return refusal(shared, StatusCode::UNAUTHORIZED, "server-key", text);
    }
    if !shared.local.takes_key().await {
        let text = "the provider refuses this key";
        return refusal(shared, StatusCode::UNAUTHORIZED, "server-key", text);
    }
    let unknown = || {
        refusal(
            shared,
            StatusCode::NOT_FOUND,
            "unknown-user",
            "there is no such user",
        )
    };
    let spelled = |id: &str| shared.config.provider.id_in_path(&shared.config.tenant, id);
    let Some(id) = decoded(id).and_then(|id| spelled(&id)) else {
        return unknown();
    };
    match shared.local.user(id, ensures(query)).await {
        Ok(Some(row)) => reply::row(row),
        Ok(None) => unknown(),
        Err(fault) => faulty(shared, fault),
    }
}

/// Judged as the provider's file judges a server's read of one user. Where such a read shows a token only, the key
/// itself will do.
fn shows_server_key(shared: &Shared, headers: &HeaderMap) -> bool {
    let (provider, tenant) = (&shared.config.provider, &shared.config.tenant);
    if provider.shows_exchanged_key(tenant, headers) {
        return true;
    }
    let own = UserId::parse(ANY_ID, shared.config.id_type).and_then(|id| provider.read_user(tenant, &id));
    let Some(own) = own else { return false };
    let path = own.target.split('?').next().unwrap_or_default();
    let Some(matched) = provider.route(&own.method, path) else {
        return false;
    };
    let caller = provider.caller(tenant, &matched, (&provider.shown(headers), None), None);
    caller == Caller::Ours(Credential::OwnServer)
}

fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let id = percent_decode_str(segment).decode_utf8().ok();
    id.filter(|_| !segment.contains('/'))
}

fn ensures(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "ensure=1" | "ensure=true"))
}

fn faulty(shared: &Shared, fault: LocalFault) -> Response<Body> {
    let soon = Some(std::time::Duration::from_secs(1));
    let (status, word, text, wait) = match fault {
        LocalFault::DatabaseAway => (
            StatusCode::SERVICE_UNAVAILABLE,
            "database-away",
            "the database cannot be reached",
            soon,
        ),
        LocalFault::SetAside => (
            StatusCode::SERVICE_UNAVAILABLE,
            "set-aside",
            "the database refused the user's row",
            None,
        ),
        LocalFault::ProviderAway => (
            StatusCode::BAD_GATEWAY,
            "upstream-unreachable",
            "the provider cannot be reached",
            soon,
        ),
        LocalFault::Late => (
            StatusCode::GATEWAY_TIMEOUT,
            "upstream-timeout",
            "the provider did not answer in time",
            soon,
        ),
    };
    reply::error(&shared.config.provider, status, word, text, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_itself_is_usertaps() {
        assert_eq!(path("/_usertap/healthz"), Some("/healthz"));
        assert_eq!(path("/_usertap"), Some(""));
        assert_eq!(path("/_usertapped/healthz"), None);
        assert_eq!(path("/api/v1/_usertap/healthz"), None);
    }

    #[test]
    fn ids_are_decoded_once_and_never_hold_a_path() {
        assert_eq!(decoded("auth0%7CA").as_deref(), Some("auth0|A"));
        assert_eq!(decoded("a%2Fb").as_deref(), Some("a/b"));
        assert_eq!(decoded("a/b"), None);
        assert_eq!(decoded("%ff"), None);
    }

    #[test]
    fn a_row_is_fetched_only_when_asked() {
        assert!(ensures(Some("x=2&ensure=1")) && !ensures(Some("ensure=0&notensure=1")) && !ensures(None));
    }

    #[test]
    fn degraded_is_still_ready() {
        assert_eq!(ready(Readiness::Degraded).status(), 200);
        assert_eq!(ready(Readiness::NotReady).status(), 503);
    }
}
