//! Slots over HTTP.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::super::asked::{self, Asked};
use super::super::{Shared, problem, problem_with};
use super::{page_of, refused};
use crate::feed::slots::{self, Reading, SlotError};
use crate::feed::{FeedError, Since};
use crate::user::Pos;

/// A slot's requests are some hundred bytes.
const LARGEST: usize = 64 << 10;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Make {
    since: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    pos: String,
    lease: Option<String>,
}

pub async fn list(State(shared): State<Shared>) -> Response {
    match shared.station.feed.slots(slots::COUNTED).await {
        Ok(slots) => Json(json!({ "slots": slots })).into_response(),
        Err(error) => failed(&error.into()),
    }
}

/// The slot's name in the path.
pub struct Name(String);

impl FromRequestParts<Shared> for Name {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Name, Response> {
        match Path::<String>::from_request_parts(parts, shared).await {
            Ok(Path(name)) if slots::is_name(&name) => Ok(Name(name)),
            _ => Err(problem(StatusCode::BAD_REQUEST, slots::NAMES)),
        }
    }
}

pub async fn show(State(shared): State<Shared>, Name(name): Name) -> Response {
    match shared.station.feed.slot(&name, slots::COUNTED).await {
        Ok(slot) => Json(slot).into_response(),
        Err(error) => failed(&error),
    }
}

pub async fn make(State(shared): State<Shared>, Name(name): Name, body: Body) -> Response {
    let since = match since(body).await {
        Ok(since) => since,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    match shared.station.feed.make_slot(&name, since).await {
        Ok((slot, true)) => (StatusCode::CREATED, Json(slot)).into_response(),
        Ok((slot, false)) => Json(slot).into_response(),
        Err(error) => failed(&error),
    }
}

pub async fn delete(State(shared): State<Shared>, Name(name): Name) -> Response {
    match shared.station.feed.delete_slot(&name).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(&error),
    }
}

/// Peeks: the slot stays where it is until it is advanced.
pub async fn changes(State(shared): State<Shared>, Name(name): Name, request: Request) -> Response {
    let asked = match Asked::of(&request, &shared.station.config) {
        Ok(asked) => asked,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    let feed = &shared.station.feed;
    let reading = match asked.lease {
        Some(lease) => Reading::GoesOn(lease),
        None => Reading::Begins(Uuid::new_v4()),
    };
    // Within one reading, a reader may go ahead of what it has confirmed.
    let ahead = match asked.since {
        Since::At(pos) => Some(pos),
        Since::Oldest | Since::Now => None,
    };
    let at = match feed.lease_slot(&name, reading, asked.wait, ahead).await {
        Ok(at) => at,
        Err(error) => return failed(&error),
    };
    let page = feed
        .page(
            Since::At(at),
            asked.limit.into(),
            asked.wait,
            asked.filter,
            asked.shape,
        )
        .await;
    match page {
        Ok(page) => page_of(&page, asked.shape, Some(reading.lease())),
        Err(error) => refused(&error),
    }
}

pub async fn advance(State(shared): State<Shared>, Name(name): Name, body: Body) -> Response {
    let (pos, lease) = match advance_to(body).await {
        Ok(advance) => advance,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    let feed = &shared.station.feed;
    match feed.advance_slot(&name, lease, pos).await {
        Ok(()) => match feed.slot(&name, slots::AT_A_GLANCE).await {
            Ok(slot) => Json(slot).into_response(),
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}

async fn advance_to(body: Body) -> Result<(Pos, Option<Uuid>), String> {
    const EXPECTED: &str = "send {\"pos\": \"…\", \"lease\": \"…\"} as the slot's changes gave them";
    let body = to_bytes(body, LARGEST).await.map_err(|_| EXPECTED)?;
    let advance: Advance = serde_json::from_slice(&body).map_err(|_| EXPECTED)?;
    let pos = Pos::parse(&advance.pos).ok_or(EXPECTED)?;
    let lease = advance.lease.as_deref().map(asked::lease).transpose()?;
    Ok((pos, lease))
}

/// Where a new slot starts: from now on, unless its maker says otherwise.
async fn since(body: Body) -> Result<Since, String> {
    const EXPECTED: &str = "send {\"since\": \"…\"} with a position, `oldest` or `now`, or nothing";
    let body = to_bytes(body, LARGEST).await.map_err(|_| EXPECTED)?;
    if body.is_empty() {
        return Ok(Since::Now);
    }
    let make: Make = serde_json::from_slice(&body).map_err(|_| EXPECTED)?;
    make.since.as_deref().map_or(Ok(Since::Now), asked::since)
}

fn failed(error: &SlotError) -> Response {
    let status = match error {
        SlotError::Feed(error @ (FeedError::Gone(_) | FeedError::Database(_))) => return refused(error),
        SlotError::Unknown => StatusCode::NOT_FOUND,
        SlotError::Leased(until) => {
            let more = json!({ "leased_until": until });
            return problem_with(StatusCode::CONFLICT, &error.to_string(), more);
        }
        SlotError::NotYours | SlotError::Backwards(_) | SlotError::TooMany => StatusCode::CONFLICT,
    };
    problem(status, &error.to_string())
}
