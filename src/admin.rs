//! The admin side, for the operator alone: the console for people; status, metrics, rows, walks and the
//! change feed for programs.
//!
//! From the first day it checks `Host` (a page elsewhere must not reach it by a name of its own),
//! `Origin` (nor post to it, nor load from it) and, where one is set, the token. What must never be: a change asked
//! for by a page of another origin.

mod asked;
mod feed;
mod foreign;
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
use axum::{Extension, Json, Router};
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
use crate::proxy::{Door, Listening, Peer, Readiness, Traffic};
use crate::station::Station;
use crate::status;
use crate::tasks::Tasks;
use foreign::Own;

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
        let serving = self.listening.serve(listener, move |mut request, peer, _place| {
            request.extensions_mut().insert(peer);
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

async fn show_metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let text = metrics::metrics(&shared.station, &shared.traffic).await;
    let (content_type, text) = metrics::spelt(text, asked::accepted(&headers));
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
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
async fn own_origin(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let own = Own {
        listen: shared.listen,
        has_token: shared.station.config.admin_token.is_some(),
    };
    match own.foreign(peer, request.headers(), request.uri()) {
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
