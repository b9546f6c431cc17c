//! One user: the row, what the provider says beside it, and what happened.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::compare::{self, Line};
use super::guard::Visitor;
use super::page::{self, Frame, Live, proof, segment};
use super::pieces::{Mood, ago, ago_or_dash, away, notice, number, pill, text_or_dash};
use super::{Console, asked, feed};
use crate::db::{DbError, rows};
use crate::feed::Filter;
use crate::feed::event::Told;
use crate::provider::console::Deed;
use crate::reader::ReadFault;
use crate::record::Recorded;
use crate::upstream::Priority;
use crate::user::{Origin, Seen, UserId, json};

/// Of the user's history.
const SHOWN: i64 = 50;

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
    let (row, there, history) = tokio::join!(
        rows::one(&console.station.database, &id),
        there(&console, &id),
        history(&console, &id)
    );
    if matches!((&row, &there), (Ok(None), There::Nobody)) && history.as_ref().is_ok_and(Vec::is_empty) {
        return nobody(
            &console,
            &visitor,
            "There is no such user, neither in the database nor at the provider.",
        );
    }
    let body = html! {
        (said(&asked(&uri, "said"), &asked(&uri, "recorded")))
        (title(&console, &visitor, &id, row.as_ref().ok().and_then(Option::as_ref), &there))
        @match &row {
            Err(error) => (away(error)),
            Ok(row) => (columns(&id, row.as_ref())),
        }
        (beside(&console, &visitor, &id, row.as_ref().ok().and_then(Option::as_ref), &there))
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

/// Looks, and tells nobody: what is shown here is not to change what it is compared with.
async fn there(console: &Console, id: &UserId) -> There {
    let looked = console
        .station
        .reader()
        .look(id, Origin::Ensure, Priority::App)
        .await;
    match looked.map(|seen| seen.seen) {
        Ok(Seen::Whole(view)) => There::User(json::read(&view.raw).unwrap_or_default()),
        Ok(_) => There::Nobody,
        Err(fault @ (ReadFault::NoKey | ReadFault::Upstream(_) | ReadFault::Unclear(_))) => {
            There::Unknown(fault.to_string())
        }
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

fn title(
    console: &Console,
    visitor: &Visitor,
    id: &UserId,
    row: Option<&rows::Row>,
    there: &There,
) -> Markup {
    let config = &console.station.config;
    let name = row
        .and_then(|row| row.name.as_deref())
        .filter(|name| !name.trim().is_empty());
    let at_provider = matches!(there, There::User(_));
    let path = format!("/users/{}", segment(id.as_str()));
    html! {
        p.crumbs { a href="/users" { "Users" } }
        div.title {
            div #who data-live {
                h1 { (name.or(row.and_then(|row| row.email.as_deref())).unwrap_or(id.as_str())) }
                p.sub {
                    span.mono { (id) } " "
                    @match row {
                        None => (pill(Mood::Warn, "no row yet")),
                        Some(row) if row.deleted_at.is_some() => (pill(Mood::Bad, "deleted")),
                        Some(row) if row.is_skeleton() => (pill(Mood::Warn, "only the id so far")),
                        Some(_) => {}
                    }
                }
            }
            div.actions {
                @if let Some(url) = config.provider.dashboard_user(&config.tenant, id) {
                    a.button.quiet href=(url) rel="noreferrer" target="_blank" { "In the dashboard" span.unseen { " (opens in a new tab)" } }
                }
                @if at_provider && config.provider.can(Deed::Edit) { a.button href={ (path) "/edit" } { "Edit" } }
                @if at_provider && config.provider.can(Deed::Delete) { a.button.danger href={ (path) "/delete" } { "Delete" } }
                form method="post" action={ (path) "/read" } {
                    (proof(visitor))
                    button type="submit" title="Reads the user with the server key and records it" { "Read and record" }
                }
            }
        }
    }
}

fn columns(id: &UserId, row: Option<&rows::Row>) -> Markup {
    html! {
        section.card #row data-live aria-labelledby="row-title" {
            header { h2 #row-title { "The row" } }
            @match row {
                None => { p.why { "There is none. It comes with the next answer that tells of this user, or with “Read and record”." } }
                Some(row) => {
                    dl.wide {
                        dt { "id" } dd.mono { (id) }
                        dt { "name" } dd { (text_or_dash(row.name.as_deref())) }
                        dt { "email" } dd { (text_or_dash(row.email.as_deref())) }
                        dt { "created_at" } dd { (exact(row.created_at)) }
                        dt { "updated_at" } dd { (exact(row.updated_at)) }
                        dt { "deleted_at" } dd { (exact(row.deleted_at)) }
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

fn exact(at: Option<chrono::DateTime<chrono::Utc>>) -> Markup {
    html! {
        @if let Some(at) = at { span.mono { (at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)) } " " span.note { (ago(at)) } }
        @else { (ago_or_dash(None)) }
    }
}

fn pretty(raw: &str) -> String {
    let value: Result<Value, _> = serde_json::from_str(raw);
    value
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| raw.to_owned())
}

fn beside(
    console: &Console,
    visitor: &Visitor,
    id: &UserId,
    row: Option<&rows::Row>,
    there: &There,
) -> Markup {
    let provider = &console.station.config.provider;
    let content = match (there, row) {
        (There::Unknown(why), _) => notice(
            Mood::Bad,
            html! { p { strong { "The provider does not say: " } (why) "." } },
        ),
        (There::Nobody, _) => html! { p { "The provider says that there is no such user." } },
        (There::User(theirs), row) => {
            let ours = row.and_then(|row| json::read(&row.raw_json)).unwrap_or_default();
            differences(console, visitor, id, &compare::lines(&ours, theirs))
        }
    };
    html! {
        section.card #beside data-live aria-labelledby="beside-title" {
            header { h2 #beside-title { "Beside what " (provider.title()) " says now" } }
            (content)
        }
    }
}

fn differences(console: &Console, visitor: &Visitor, id: &UserId, lines: &[Line]) -> Markup {
    let volatile = |line: &Line| console.station.config.provider.is_volatile(&line.field);
    let (first, rest): (Vec<&Line>, Vec<&Line>) =
        lines.iter().partition(|line| line.differs() && !volatile(line));
    let differing = first.len();
    html! {
        div.verdict {
            @match differing {
                0 => (pill(Mood::Good, "The same in every field")),
                1 => (pill(Mood::Warn, "1 field differs")),
                more => (pill(Mood::Warn, &format!("{} fields differ", number(more)))),
            }
            @if differing > 0 {
                form method="post" action={ "/users/" (segment(id.as_str())) "/read" } {
                    (proof(visitor))
                    button type="submit" { "Record what the provider says" }
                }
            }
        }
        table.compare {
            caption.unseen { "The user's fields in the database and at the provider" }
            thead { tr { th scope="col" { "Field" } th scope="col" { "In the database" } th scope="col" { "At the provider" } } }
            tbody {
                @for line in first.into_iter().chain(rest) {
                    tr.differs[line.differs() && !volatile(line)] {
                        th scope="row" {
                            code { (line.field) }
                            @if line.differs() {
                                " " @if volatile(line) { (pill(Mood::Plain, "moves by itself")) } @else { (pill(Mood::Warn, "differs")) }
                            }
                        }
                        td data-label="In the database" { (value(line.ours.as_deref())) }
                        td data-label="At the provider" { (value(line.theirs.as_deref())) }
                    }
                }
            }
        }
    }
}

fn value(text: Option<&str>) -> Markup {
    html! {
        @match text {
            None => { span.none { "not there" } }
            Some("null") => { span.none { "null" } }
            Some(text) => { span.value { (text) } }
        }
    }
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
