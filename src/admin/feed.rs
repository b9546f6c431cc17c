//! The change feed over HTTP: pages, long polls and streams of changes, the snapshot, slots.
//!
//! What must never be: a position that is too old or of another history answered with anything
//! but 410; a stream that outlives the server.

mod slots;
mod stream;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::BytesMut;
use serde_json::{Value, json};

use super::asked::{self, Asked, Form};
use super::{Shared, problem, problem_with};
use crate::feed::{Bounds, FeedError, Page, Shape};

/// Where a consumer begins anew.
const SNAPSHOT: &str = "/v1/snapshot";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/changes", get(changes))
        .route(SNAPSHOT, get(snapshot))
        .route("/v1/slots", get(slots::list))
        .route(
            "/v1/slots/{name}",
            put(slots::make).get(slots::show).delete(slots::delete),
        )
        .route("/v1/slots/{name}/changes", get(slots::changes))
        .route("/v1/slots/{name}/advance", post(slots::advance))
}

async fn changes(State(shared): State<Shared>, request: Request) -> Response {
    let asked = match Asked::of(&request, &shared.station.config) {
        Ok(asked) => asked,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    let feed = &shared.station.feed;
    if asked.form != Form::Page {
        return match stream::begin(feed, asked).await {
            Ok(response) => response,
            Err(error) => refused(&error),
        };
    }
    let Asked {
        since,
        limit,
        wait,
        filter,
        shape,
        ..
    } = asked;
    match feed.page(since, limit.into(), wait, filter, shape).await {
        Ok(page) => page_of(&page, shape, None),
        Err(error) => refused(&error),
    }
}

async fn snapshot(State(shared): State<Shared>, request: Request) -> Response {
    let asked = match asked::Rows::of(request.uri(), &shared.station.config) {
        Ok(asked) => asked,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    let page = shared
        .station
        .feed
        .snapshot(asked.after.as_ref(), asked.limit.into(), asked.raw)
        .await;
    let page = match page {
        Ok(page) => page,
        Err(error) => return refused(&error),
    };
    let mut body = BytesMut::from("{\"changes\":");
    let shape = Shape {
        before: false,
        raw: asked.raw,
    };
    list(&page.events, shape, &mut body);
    let next = Value::from(page.next.as_deref().unwrap_or_default());
    body.extend_from_slice(format!(",\"as_of\":\"{}\",\"next\":{next}}}", page.as_of).as_bytes());
    json_body(body)
}

/// A page as JSON, with the lease where it is a slot's.
fn page_of(page: &Page, shape: Shape, lease: Option<uuid::Uuid>) -> Response {
    let mut body = BytesMut::from("{\"changes\":");
    list(&page.events, shape, &mut body);
    let Bounds { oldest, head } = page.bounds;
    let caught_up = page.next == head;
    let lease = lease.map_or(String::new(), |lease| format!(",\"lease\":\"{lease}\""));
    let rest = format!(
        ",\"next\":\"{}\",\"head\":\"{head}\",\"oldest\":\"{oldest}\",\"caught_up\":{caught_up}{lease}}}",
        page.next
    );
    body.extend_from_slice(rest.as_bytes());
    json_body(body)
}

fn list(events: &[std::sync::Arc<crate::feed::Event>], shape: Shape, body: &mut BytesMut) {
    body.extend_from_slice(b"[");
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            body.extend_from_slice(b",");
        }
        event.write(shape, body);
    }
    body.extend_from_slice(b"]");
}

fn json_body(body: BytesMut) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.freeze()).into_response()
}

fn refused(error: &FeedError) -> Response {
    match error {
        FeedError::Gone(bounds) => {
            let detail = format!("{error}: take the snapshot and go on from its as_of");
            let more = json!({
                "oldest": bounds.oldest.to_string(), "head": bounds.head.to_string(), "snapshot": SNAPSHOT,
            });
            problem_with(StatusCode::GONE, &detail, more)
        }
        FeedError::Database(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
