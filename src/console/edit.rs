//! Making, changing and deleting a user: written, looked over, then sent through the proxy like any
//! app's request, so that it is recorded like any other write.

mod draft;
mod entry;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde_json::Value;

use super::Console;
use super::guard::{Form, Visitor};
use super::page::{Frame, Live, page, segment};
use super::pieces::{Mood, notice};
use crate::db::rows::{self, Row};
use crate::provider::console::Deed;
use crate::upstream::Priority;
use crate::user::{Origin, Seen, UserId, json};

use draft::Draft;

pub async fn new(State(console): State<Console>, Extension(visitor): Extension<Visitor>) -> Response {
    let draft = Draft::of_new(&console, &visitor);
    draft.shows(&draft.entries(None), None)
}

pub async fn create(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    Draft::of_new(&console, &visitor).goes_on(&form).await
}

pub async fn edit(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    let (id, user) = known(&console, &visitor, &id).await?;
    let draft = Draft::of(&console, &visitor, Deed::Edit, &id, &user);
    Ok(draft.shows(&draft.entries(None), None))
}

pub async fn save(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Extension(form): Extension<Form>,
) -> Result<Response, Response> {
    let (id, user) = known(&console, &visitor, &id).await?;
    let draft = Draft::of(&console, &visitor, Deed::Edit, &id, &user);
    Ok(draft.goes_on(&form).await)
}

pub async fn ask_delete(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    let (id, user) = known(&console, &visitor, &id).await?;
    Ok(Draft::of(&console, &visitor, Deed::Delete, &id, &user).asks(&[], None))
}

pub async fn delete(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    let (id, user) = known(&console, &visitor, &id).await?;
    let draft = Draft::of(&console, &visitor, Deed::Delete, &id, &user);
    Ok(draft.done(&[]).await)
}

/// The user as the row has it; without a row, or a database, as the provider does.
async fn known(console: &Console, visitor: &Visitor, id: &str) -> Result<(UserId, Value), Response> {
    let id = match console.station.config.user_id(id) {
        Some(id) => id,
        None => return Err(Redirect::to("/users").into_response()),
    };
    if let Ok(Some(row)) = rows::one(&console.station.database, &id).await {
        return Ok((id, whole(&row)));
    }
    let looked = console
        .station
        .reader()
        .look(&id, Origin::Ensure, Priority::App)
        .await;
    match looked.map(|seen| seen.seen) {
        Ok(Seen::Whole(view)) => Ok((id, json::exact(&view.raw).unwrap_or_default())),
        Ok(_) => Err(Redirect::to(&format!("/users/{}", segment(id.as_str()))).into_response()),
        Err(fault) => {
            let frame = Frame {
                place: "/users",
                title: "User",
                live: Live::No,
            };
            let why = html! { p { "Neither the database nor the provider gives the user: " (fault) "." } };
            let body = html! { h1 { "Not now" } (notice(Mood::Bad, why)) };
            Err((
                StatusCode::SERVICE_UNAVAILABLE,
                page(console, visitor, &frame, body),
            )
                .into_response())
        }
    }
}

fn whole(row: &Row) -> Value {
    json::exact(&row.raw_json).unwrap_or_default()
}
