//! The admin side, for the operator alone: the console for people; status, metrics, rows, walks and the
//! change feed for programs.
//!
//! From the first day it checks `Host` (a page elsewhere must not reach it by a name of its own),
//! `Origin` (nor post to it, nor load from it) and, where one is set, the token. What must never be: a change asked
//! for by a page of another origin.

mod asked;
mod feed;
mod users;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use secrecy::ExposeSecret;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use crate::console::Console;
use crate::db::DbError;
use crate::db::runs::{self, Kind};
use crate::metrics;
use crate::proxy::{Door, Listening, Readiness, Traffic};
use crate::station::Station;
use crate::status;
use crate::tasks::Tasks;

/// The listener for the operator.
pub struct Admin {
    shared: Shared,
    console: Console,
    listening: Listening,
}

#[derive(Clone)]
struct Shared {
    station: Arc<Station>,
    traffic: Arc<Traffic>,
    listen: SocketAddr,
}

impl Admin {
    /// `door` is the way to the proxy, `listens` where that and this one listen.
    pub fn new(
        station: Arc<Station>,
        traffic: Arc<Traffic>,
        door: Door,
        listens: (SocketAddr, SocketAddr),
    ) -> Admin {
        let (_, listen) = listens;
        Admin {
            listening: door.listening(),
            console: Console::new(station.clone(), traffic.clone(), door, listens),
            shared: Shared {
                station,
                traffic,
                listen,
            },
        }
    }

    /// Serves until the servers are to stop.
    pub async fn serve(self, listener: TcpListener, servers: Tasks) {
        let guarded = Router::new()
            .route("/v1/status", get(show_status))
            .route("/v1/backfill", post(start_backfill))
            .route("/v1/reconcile", post(start_reconcile))
            .route("/v1/users", get(users::list))
            .route("/v1/users/{id}", get(users::one))
            .route("/metrics", get(show_metrics))
            .route("/grafana.json", get(grafana))
            .merge(feed::routes())
            .route("/v1/{*nowhere}", any(nowhere))
            .layer(middleware::from_fn_with_state(self.shared.clone(), token));
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(readyz))
            .merge(guarded)
            .with_state(self.shared.clone())
            .merge(self.console.routes())
            .layer(middleware::from_fn_with_state(self.shared.clone(), own_origin));
        let feed = self.shared.station.feed.clone();
        let ending = async {
            servers.stopping().await;
            feed.end_streams();
        };
        let routes = TowerToHyperService::new(routes);
        let serving = self.listening.serve(listener, move |request| {
            let answer = routes.call(Listening::received(request).map(Body::new));
            async { answer.await.unwrap_or_else(|never: Infallible| match never {}) }
        });
        tokio::join!(serving, ending);
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match status::readiness(&shared.station) {
        Readiness::Ready => "ready".into_response(),
        Readiness::Degraded => "degraded".into_response(),
        Readiness::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response(),
    }
}

async fn show_status(State(shared): State<Shared>) -> Response {
    Json(status::status(&shared.station, &shared.traffic, status::COUNTED).await).into_response()
}

async fn nowhere() -> Response {
    problem(StatusCode::NOT_FOUND, "the API has nothing at this path")
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    let text = metrics::metrics(&shared.station, &shared.traffic).await;
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn grafana() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], metrics::GRAFANA).into_response()
}

async fn start_backfill(State(shared): State<Shared>) -> Response {
    started(runs::request(&shared.station.database).await)
}

/// With `?yes=1` deletions are not held back.
async fn start_reconcile(State(shared): State<Shared>, uri: Uri) -> Response {
    let yes = match asked::yes(&uri) {
        Ok(yes) => yes,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    let database = &shared.station.database;
    let run = match runs::request_a(database, Kind::Reconcile).await {
        Ok(run) if yes => runs::lift(database, run).await.map(|()| run),
        asked => asked,
    };
    started(run)
}

fn started(run: Result<uuid::Uuid, DbError>) -> Response {
    match run {
        Ok(run) => (StatusCode::ACCEPTED, Json(json!({ "run": run }))).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// Refuses what comes by a foreign name or from a foreign page.
async fn own_origin(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let has_token = shared.station.config.admin_token.is_some();
    match foreign((shared.listen, has_token), request.headers(), request.uri()) {
        None => next.run(request).await,
        Some(foreign) => problem(StatusCode::FORBIDDEN, foreign.told()),
    }
}

async fn token(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.station.config.admin_token else {
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    match bool::from(given.as_bytes().ct_eq(token.expose_secret().as_bytes())) {
        true => next.run(request).await,
        false => problem(
            StatusCode::UNAUTHORIZED,
            "send ADMIN_TOKEN as `Authorization: Bearer …`",
        ),
    }
}

/// What a request shows of not being meant for this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Foreign {
    Host,
    Origin,
    Site,
}

impl Foreign {
    /// To whom it is refused.
    fn told(self) -> &'static str {
        match self {
            Foreign::Host => {
                "the Host header is not this server's: on loopback it answers to localhost and 127.0.0.1 alone. A proxy \
                 in front of it must put such a name into Host, and its own into X-Forwarded-Host"
            }
            Foreign::Origin => {
                "the Origin header is not this server's: the page that asks is another site's, or a proxy in front of \
                 this server does not say its name. Set ADMIN_TOKEN, and have it put its name into X-Forwarded-Host"
            }
            Foreign::Site => {
                "the Sec-Fetch-Site header says that another page loads this, or leads to what is for programs: open it by \
                 itself"
            }
        }
    }
}

/// How it is foreign, if it is. Beyond loopback the name by which people reach it is not known, and the
/// token guards it. An origin must be the host all the same, or what a proxy says that it was asked for by:
/// no page can make a browser say that here, and without a token no proxy is expected.
fn foreign((listen, has_token): (SocketAddr, bool), headers: &HeaderMap, uri: &Uri) -> Option<Foreign> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.host());
    let Some(host) = host else {
        return Some(Foreign::Host);
    };
    if listen.ip().is_loopback() && !is_loopback_name(host, listen.port()) {
        return Some(Foreign::Host);
    }
    if is_loaded_elsewhere(headers, uri) {
        return Some(Foreign::Site);
    }
    let origin = headers.get(header::ORIGIN)?;
    let before = headers.get("x-forwarded-host").filter(|_| has_token);
    let before = before.and_then(|name| name.to_str().ok());
    let same = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, at)| at == host || Some(at) == before);
    (!same).then_some(Foreign::Origin)
}

/// A page elsewhere may lead people to a page here, and load nothing from here, in a frame neither: what is for
/// programs takes a slot's lease or costs the provider a read.
fn is_loaded_elsewhere(headers: &HeaderMap, uri: &Uri) -> bool {
    let says = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let is_elsewhere = matches!(says("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
    let leads = says("sec-fetch-mode") == Some(b"navigate")
        && says("sec-fetch-dest").is_none_or(|to| to == b"document")
        && !uri.path().starts_with("/v1/");
    is_elsewhere && !leads
}

fn is_loopback_name(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    matches!(name, "localhost" | "[::1]") || name.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
}

fn problem(status: StatusCode, detail: &str) -> Response {
    problem_with(status, detail, json!({}))
}

/// With members of its own.
fn problem_with(status: StatusCode, detail: &str, more: serde_json::Value) -> Response {
    let mut body = json!({ "status": status.as_u16(), "title": status.canonical_reason(), "detail": detail });
    if let (Some(body), serde_json::Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTEN: &str = "127.0.0.1:8401";

    fn judged(has_token: bool, pairs: &[(header::HeaderName, &str)]) -> Option<Foreign> {
        judged_at(LISTEN, has_token, pairs)
    }

    fn judged_at(listen: &str, has_token: bool, pairs: &[(header::HeaderName, &str)]) -> Option<Foreign> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        let at = (listen.parse().unwrap(), has_token);
        foreign(at, &headers, &Uri::from_static("/users"))
    }

    #[test]
    fn only_its_own_names_and_pages_reach_it() {
        let (host, origin) = (header::HOST, header::ORIGIN);
        for name in ["localhost:8401", "127.0.0.1:8401", "127.0.0.1", "[::1]:8401"] {
            assert_eq!(judged(false, &[(host.clone(), name)]), None, "{name}");
        }
        for name in [
            "evil.example:8401",
            "localhost.evil.example",
            "127.0.0.1.nip.io:8401",
            "localhost:80",
        ] {
            assert_eq!(
                judged(false, &[(host.clone(), name)]),
                Some(Foreign::Host),
                "{name}"
            );
        }
        assert_eq!(
            judged_at("0.0.0.0:8401", true, &[(host.clone(), "ops.example")]),
            None
        );
        for has_token in [false, true] {
            let from = |page| {
                judged(
                    has_token,
                    &[(host.clone(), "localhost:8401"), (origin.clone(), page)],
                )
            };
            assert_eq!(from("http://localhost:8401"), None);
            assert_eq!(from("http://evil.example"), Some(Foreign::Origin));
            assert_eq!(from("null"), Some(Foreign::Origin));
            let fetched = |site, mode| {
                let name = header::HeaderName::from_static;
                let (site, mode) = ((name("sec-fetch-site"), site), (name("sec-fetch-mode"), mode));
                judged(has_token, &[(host.clone(), "localhost:8401"), site, mode])
            };
            assert_eq!(fetched("cross-site", "navigate"), None, "a link");
            assert_eq!(fetched("cross-site", "no-cors"), Some(Foreign::Site), "an image");
            assert_eq!(
                fetched("same-site", "no-cors"),
                Some(Foreign::Site),
                "another port's"
            );
            assert_eq!(fetched("same-origin", "cors"), None);
        }
    }

    #[test]
    fn with_a_token_pages_may_be_of_the_proxy_before_it() {
        let named = header::HeaderName::from_static("x-forwarded-host");
        let from = |has_token, page| {
            let host = (header::HOST, "127.0.0.1:8401");
            let before = (named.clone(), "console.example");
            judged(has_token, &[host, before, (header::ORIGIN, page)])
        };
        assert_eq!(from(true, "https://console.example"), None);
        assert_eq!(from(true, "https://evil.example"), Some(Foreign::Origin));
        assert_eq!(from(false, "https://console.example"), Some(Foreign::Origin));
        let foreign = judged(true, &[(header::HOST, "console.example")]);
        assert_eq!(foreign, Some(Foreign::Host));
    }
}
