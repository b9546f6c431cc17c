//! One user: the row, what the provider says beside it, and what happened.

mod beside;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::guard::Visitor;
use super::page::{self, Frame, Live, proof, segment};
use super::pieces::{Mood, ago, ago_or_dash, away, in_the_dashboard, notice, pill, text_or_dash};
use super::{Console, asked, feed};
use crate::db::{DbError, rows};
use crate::feed::Filter;
use crate::feed::event::Told;
use crate::provider::console::Deed;
use crate::record::Recorded;
use crate::upstream::Priority;
use crate::user::{Origin, Seen, UserId, json};

/// Of the user's history.
const SHOWN: i64 = 50;

/// What the database has.
enum Here {
    Row(rows::Row),
    Nothing,
    /// The user was deleted, and `DELETED` took the row away.
    Removed,
    Unknown(DbError),
}

/// What the provider says at this moment.
enum There {
    User(Value),
    Nobody,
    Unknown(String),
}

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    uri: Uri,
) -> Response {
    let Some(id) = console.station.config.user_id(&id) else {
        return nobody(&console, &visitor, "No user can have that id.");
    };
    let (here, there, history) =
        tokio::join!(here(&console, &id), there(&console, &id), history(&console, &id));
    if matches!((&here, &there), (Here::Nothing, There::Nobody)) && history.as_ref().is_ok_and(Vec::is_empty)
    {
        return nobody(
            &console,
            &visitor,
            "There is no such user, neither in the database nor at the provider.",
        );
    }
    let body = html! {
        (said(&asked(&uri, "said"), &asked(&uri, "recorded")))
        (title(&console, &visitor, &id, &here, &there))
        @match &here {
            Here::Unknown(error) => (away(error)),
            here => (columns(&id, here, &there)),
        }
        (beside::card(&console, &visitor, &id, (&here, &there)))
        (happened(&history))
    };
    let frame = Frame {
        place: "/users",
        title: "User",
        live: Live::OfUser(id.as_str()),
    };
    page::page(&console, &visitor, &frame, body).into_response()
}

fn nobody(console: &Console, visitor: &Visitor, text: &str) -> Response {
    let frame = Frame {
        place: "/users",
        title: "No such user",
        live: Live::No,
    };
    let body = html! { h1 { "No such user" } p { (text) } p { a href="/users" { "To the users" } } };
    (StatusCode::NOT_FOUND, page::page(console, visitor, &frame, body)).into_response()
}

/// Reads the user with the server key and records what it shows.
pub async fn read(State(console): State<Console>, Path(id): Path<String>) -> Response {
    let Some(id) = console.station.config.user_id(&id) else {
        return Redirect::to("/users").into_response();
    };
    let _turn = console.station.refetch.turn(&id).await;
    let recorded = match console.station.refetch.ensure(&id).await {
        Ok(receipt) => receipt.recorded(console.station.config.sync_timeout).await,
        Err(_) => {
            return Redirect::to(&format!("/users/{}?said=unread", segment(id.as_str()))).into_response();
        }
    };
    let word = match recorded {
        Recorded::Queued | Recorded::Journaled => "waits",
        _ => "read",
    };
    Redirect::to(&format!("/users/{}?said={word}", segment(id.as_str()))).into_response()
}

async fn here(console: &Console, id: &UserId) -> Here {
    let database = &console.station.database;
    let known = async {
        match rows::one(database, id).await? {
            Some(row) => Ok(Here::Row(row)),
            None if rows::is_deleted(database, id).await? => Ok(Here::Removed),
            None => Ok(Here::Nothing),
        }
    };
    known.await.unwrap_or_else(Here::Unknown)
}

/// Looks, and tells nobody: what is shown here is not to change what it is compared with.
async fn there(console: &Console, id: &UserId) -> There {
    let looked = console
        .station
        .reader()
        .look(id, Origin::Ensure, Priority::App)
        .await;
    match looked.map(|seen| seen.seen) {
        Ok(Seen::Whole(view)) => There::User(json::exact(&view.raw).unwrap_or_default()),
        Ok(_) => There::Nobody,
        Err(fault) => There::Unknown(fault.to_string()),
    }
}

async fn history(console: &Console, id: &UserId) -> Result<Vec<Told>, DbError> {
    let mut filter = Filter::default();
    filter.ids.insert(id.to_string());
    console.station.feed.latest(&filter, None, SHOWN).await
}

fn said(word: &str, recorded: &str) -> Markup {
    let text = match word {
        "created" => "The user was made.",
        "edited" => "The user was changed.",
        "deleted" => "The user was deleted.",
        "read" => "The user was read, and the row says what the provider says.",
        "waits" => "The user was read; what it shows waits for the database.",
        "unread" => {
            return notice(
                Mood::Bad,
                html! { p { "The provider did not let the user be read. See below what it says." } },
            );
        }
        _ => return html! {},
    };
    let recorded: String = recorded
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || " ;=-".contains(*c))
        .take(80)
        .collect();
    notice(
        Mood::Good,
        html! { p role="status" { (text) @if !recorded.is_empty() { " Recorded: " code { (recorded) } } } },
    )
}

impl Here {
    fn row(&self) -> Option<&rows::Row> {
        match self {
            Here::Row(row) => Some(row),
            Here::Nothing | Here::Removed | Here::Unknown(_) => None,
        }
    }

    fn pill(&self) -> Markup {
        match self {
            Here::Row(row) if row.columns.deleted_at.is_some() => pill(Mood::Bad, "deleted"),
            Here::Row(row) if row.is_skeleton() => pill(Mood::Warn, "only the id so far"),
            Here::Row(_) => html! {},
            Here::Nothing => pill(Mood::Warn, "no row yet"),
            Here::Removed => pill(Mood::Bad, "deleted, and its row removed"),
            Here::Unknown(_) => pill(Mood::Plain, "row not known"),
        }
    }
}

fn title(console: &Console, visitor: &Visitor, id: &UserId, here: &Here, there: &There) -> Markup {
    let config = &console.station.config;
    let row = here.row();
    let name = row
        .and_then(|row| row.columns.name.as_deref())
        .filter(|name| !name.trim().is_empty());
    let at_provider = matches!(there, There::User(_));
    // Of somebody who is nowhere a read shows nothing that the row lacks.
    let is_gone = matches!((here, there), (Here::Removed, There::Nobody));
    let path = format!("/users/{}", segment(id.as_str()));
    html! {
        p.crumbs { a href="/users" { "Users" } }
        div.title {
            div #who data-live {
                h1 { (name.or(row.and_then(|row| row.columns.email.as_deref())).unwrap_or(id.as_str())) }
                p.sub {
                    span.mono { (id) } " "
                    (here.pill())
                }
            }
            div.actions {
                @if let Some(url) = config.provider.dashboard_user(&config.tenant, id) {
                    (in_the_dashboard(&url))
                }
                @if at_provider && config.provider.can(Deed::Edit) { a.button href={ (path) "/edit" } { "Edit" } }
                @if at_provider && config.provider.can(Deed::Delete) { a.button.danger href={ (path) "/delete" } { "Delete" } }
                @if !is_gone {
                    form method="post" action={ (path) "/read" } {
                        (proof(visitor))
                        button type="submit" title="Reads the user with the server key and records it" { "Read and record" }
                    }
                }
            }
        }
    }
}

fn columns(id: &UserId, here: &Here, there: &There) -> Markup {
    html! {
        section.card #row data-live aria-labelledby="row-title" {
            header { h2 #row-title { "The row" } }
            @match here.row() {
                None => { p.why { (no_row(here, there)) } }
                Some(row) => {
                    dl.wide {
                        dt { "id" } dd.mono { (id) }
                        dt { "name" } dd { (text_or_dash(row.columns.name.as_deref())) }
                        dt { "email" } dd { (text_or_dash(row.columns.email.as_deref())) }
                        dt { "created_at" } dd { (exact(row.columns.created_at)) }
                        dt { "updated_at" } dd { (exact(row.columns.updated_at)) }
                        dt { "deleted_at" } dd { (exact(row.columns.deleted_at)) }
                    }
                    details #raw {
                        summary { code { "raw_json" } }
                        pre tabindex="0" role="region" aria-label="raw_json" { code { (pretty(&row.raw_json)) } }
                    }
                }
            }
        }
    }
}

fn no_row(here: &Here, there: &There) -> &'static str {
    match (here, there) {
        (Here::Removed, There::User(_)) => {
            "There is none: the user was deleted, and the row was removed with it. The provider has the user again: the row \
             comes back with the next answer that tells of it, or with “Read and record”."
        }
        (Here::Removed, _) => "There is none: the user was deleted, and the row was removed with it.",
        (_, There::Nobody) => "There is none.",
        _ => {
            "There is none. It comes with the next answer that tells of this user, or with “Read and record”."
        }
    }
}

fn exact(at: Option<chrono::DateTime<chrono::Utc>>) -> Markup {
    html! {
        @if let Some(at) = at { span.mono { (at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)) } " " span.note { (ago(at)) } }
        @else { (ago_or_dash(None)) }
    }
}

fn pretty(raw: &str) -> String {
    json::exact(raw).map_or_else(|| raw.to_owned(), |user| json::pretty(&user))
}

fn happened(history: &Result<Vec<Told>, DbError>) -> Markup {
    html! {
        section.card #history data-live aria-labelledby="history-title" {
            header { h2 #history-title { "History" } }
            @match history {
                Err(error) => (away(error)),
                Ok(changes) if changes.is_empty() => { p.why { "The feed keeps no change of this user." } }
                Ok(changes) => (feed::table("Changes of this user, the newest first", changes, false)),
            }
        }
    }
}
