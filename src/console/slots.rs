//! Slots: the consumers whose position usertap keeps.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use uuid::Uuid;

use super::guard::{Form, Visitor};
use super::page::{Frame, Live, page, proof, segment};
use super::pieces::{Mood, ago, away, long, notice, pill};
use super::{Console, asked, feed};
use crate::feed::Since;
use crate::feed::slots::{self, Reading, Slot, SlotError, Status};

pub fn status(status: Status) -> Markup {
    match status {
        Status::Reserved => pill(Mood::Good, "reserved"),
        Status::Extended => pill(Mood::Plain, "extended"),
        Status::Unreserved => pill(Mood::Warn, "about to go"),
        Status::Lost => pill(Mood::Bad, "lost"),
    }
}

/// What an action did.
pub fn said(word: &str) -> Markup {
    let text = match word {
        "made" => "The slot is there.",
        "deleted" => "The slot is deleted.",
        "advanced" => "The slot stands at the head.",
        _ => return html! {},
    };
    notice(Mood::Good, html! { p role="status" { (text) } })
}

pub async fn section(console: &Console, visitor: &Visitor) -> Markup {
    let slots = console.station.feed.slots(slots::AT_A_GLANCE).await;
    html! {
        section.card aria-labelledby="slots-title" {
            header { h2 #slots-title { "Slots" } }
            p.why { "A slot is a consumer whose position usertap keeps, and whose changes it holds back from being dropped." }
            div #slots data-live {
                @match &slots {
                    Err(error) => (away(error)),
                    Ok(slots) if slots.is_empty() => { p { "There are none." } }
                    Ok(slots) => (table(slots)),
                }
            }
            form.filters method="post" action="/feed/slots" {
                (proof(visitor))
                div.field { label for="slot" { "A new slot" } input #slot name="name" required pattern="[A-Za-z0-9._\\-]{1,63}" placeholder="mailer" autocomplete="off"; }
                div.field {
                    label for="since" { "from" }
                    select #since name="since" { option value="now" { "now on" } option value="oldest" { "the oldest change kept" } }
                }
                button type="submit" { "Make it" }
            }
        }
    }
}

fn table(slots: &[Slot]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Slots" }
            thead {
                tr {
                    th scope="col" { "Slot" } th scope="col" { "State" } th scope="col" { "Behind" } th scope="col" { "Advanced" }
                    th scope="col" { "Position" } th scope="col" { span.unseen { "Actions" } }
                }
            }
            tbody {
                @for slot in slots {
                    tr #{ "s-" (slot.name) } {
                        th scope="row" data-label="Slot" { (slot.name) }
                        td data-label="State" { (status(slot.status)) @if slot.leased_until.is_some() { " " (pill(Mood::Plain, "being read")) } }
                        td data-label="Behind" { (behind(slot)) }
                        td data-label="Advanced" { (ago(slot.advanced_at)) }
                        td.mono.pos data-label="Position" { (slot.pos) }
                        td.ends {
                            a href={ "/feed/slots/" (segment(&slot.name)) "?act=advance" } aria-label={ "Advance " (slot.name) " to the head" } { "Advance" }
                            " " a.danger href={ "/feed/slots/" (segment(&slot.name)) "?act=delete" } aria-label={ "Delete " (slot.name) } { "Delete" }
                        }
                    }
                }
            }
        }
    }
}

fn behind(slot: &Slot) -> Markup {
    html! {
        @match slot.lag {
            None => "lost",
            Some(lag) if lag.events == 0 => "nothing",
            Some(lag) => { @if lag.is_at_least { "at least " } (feed::events(lag.events)) ", " (long(lag.seconds)) }
        }
    }
}

pub async fn make(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    let (name, since) = (form.get("name").trim(), form.get("since"));
    let since = if since == "oldest" {
        Since::Oldest
    } else {
        Since::Now
    };
    if !slots::is_name(name) {
        return failed(&console, &visitor, StatusCode::BAD_REQUEST, slots::NAMES);
    }
    match console.station.feed.make_slot(name, since).await {
        Ok(_) => Redirect::to("/feed?said=made").into_response(),
        Err(error) => failed(&console, &visitor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Before changes are passed over or a consumer is forgotten, somebody is asked.
pub async fn ask(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response {
    let slot = match console.station.feed.slot(&name, slots::COUNTED).await {
        Ok(slot) => slot,
        Err(SlotError::Unknown) => return Redirect::to("/feed").into_response(),
        Err(error) => {
            return failed(
                &console,
                &visitor,
                StatusCode::SERVICE_UNAVAILABLE,
                &error.to_string(),
            );
        }
    };
    let advances = asked(&uri, "act") == "advance";
    let (title, act, button) = match advances {
        true => ("Advance the slot to the head?", "advance", "Advance it"),
        false => ("Delete the slot?", "delete", "Delete it"),
    };
    let body = html! {
        p.crumbs { a href="/feed" { "Change feed" } }
        h1 { (title) }
        section.card {
            dl.wide {
                dt { "Slot" } dd { (slot.name) " " (status(slot.status)) }
                dt { "Behind" } dd { (behind(&slot)) }
            }
            p {
                @if advances { "Its consumer will never be given the changes that it has not taken." }
                @else { "Its position is forgotten. A consumer that comes back under this name is answered 404, and starts anew from a snapshot." }
            }
            form.actions method="post" action={ "/feed/slots/" (segment(&slot.name)) } {
                (proof(&visitor))
                input type="hidden" name="act" value=(act);
                button.danger type="submit" { (button) }
                a.button href="/feed" { "Leave it" }
            }
        }
    };
    page(&console, &visitor, &WHERE, body).into_response()
}

pub async fn act(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Extension(form): Extension<Form>,
) -> Response {
    let feed = &console.station.feed;
    let done = match form.get("act") {
        "advance" => advance(&console, &name).await.map(|()| "advanced"),
        "delete" => feed.delete_slot(&name).await.map(|()| "deleted"),
        _ => return Redirect::to("/feed").into_response(),
    };
    match done {
        Ok(word) => Redirect::to(&format!("/feed?said={word}")).into_response(),
        Err(error) => failed(&console, &visitor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Like any consumer, only with the lease in its hand: not while another reader has it.
async fn advance(console: &Console, name: &str) -> Result<(), SlotError> {
    let feed = &console.station.feed;
    let lease = Uuid::new_v4();
    // From the head, so that a slot that is lost can be brought back to it.
    let head = feed.bounds().await?.head;
    feed.lease_slot(name, Reading::Begins(lease), Duration::ZERO, Some(head))
        .await?;
    feed.advance_slot(name, Some(lease), head).await
}

const WHERE: Frame<'static> = Frame {
    place: "/feed",
    title: "Slot",
    live: Live::No,
};

fn failed(console: &Console, visitor: &Visitor, status: StatusCode, why: &str) -> Response {
    let body = html! {
        p.crumbs { a href="/feed" { "Change feed" } }
        h1 { "Not done" }
        (notice(Mood::Bad, html! { p { (why) } }))
        p { a.button href="/feed" { "Back to the feed" } }
    };
    (status, page(console, visitor, &WHERE, body)).into_response()
}
