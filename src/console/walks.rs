//! Backfill and reconcile: how far they are, what they found, and starting one.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::guard::{Form, Visitor};
use super::page::{Frame, Live, page, proof};
use super::pieces::{Mood, ago, away, notice, number, pill, unknown};
use super::{Console, page as frame};
use crate::db::runs::{self, Kind, Run};
use crate::db::{DbError, rows};
use crate::status::Status;

pub async fn backfill(State(console): State<Console>, Extension(visitor): Extension<Visitor>) -> Response {
    let asked = runs::request(&console.station.database).await;
    started(&console, &visitor, asked.map(|_| "backfill"))
}

/// With `yes`, deletions are not held back.
pub async fn reconcile(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    let database = &console.station.database;
    let asked = match runs::request_a(database, Kind::Reconcile).await {
        Ok(run) if form.has("yes") => runs::lift(database, run).await,
        asked => asked.map(drop),
    };
    started(&console, &visitor, asked.map(|()| "reconcile"))
}

fn started(console: &Console, visitor: &Visitor, asked: Result<&str, DbError>) -> Response {
    match asked {
        Ok(what) => Redirect::to(&format!("/?said={what}")).into_response(),
        Err(error) => {
            let body = html! { h1 { "Not started" } (away(&error)) p { a href="/" { "To the overview" } } };
            page(console, visitor, &WHERE, body).into_response()
        }
    }
}

const WHERE: Frame<'static> = Frame {
    place: "/",
    title: "Reconcile",
    live: Live::No,
};

/// Before so many deletions somebody is asked.
pub async fn ask(State(console): State<Console>, Extension(visitor): Extension<Visitor>) -> Response {
    let database = &console.station.database;
    let known = async {
        let last = runs::latest(database, Kind::Reconcile).await?;
        Ok::<_, DbError>((last, rows::counts(database).await?))
    };
    let body = match known.await {
        Err(error) => away(&error),
        Ok((last, _)) => asks(&visitor, last.map_or(0, |run| run.held_back)),
    };
    page(
        &console,
        &visitor,
        &WHERE,
        html! { h1 { "Reconcile without a bound" } (body) },
    )
    .into_response()
}

fn asks(visitor: &Visitor, held_back: i64) -> Markup {
    html! {
        p {
            @if held_back > 0 {
                strong { (number(held_back)) " users" } " are not in the provider's list and were not read, because so many \
                deletions at once are more often a wrong key or address than the truth."
            } @else {
                "Nothing is held back at the moment. A reconcile stops by itself once more than ten users, or 1 % of the rows, \
                would be deleted within an hour."
            }
        }
        p { "Each of them is still read once, and deleted only where the provider itself says that there is no such user. \
             What becomes of their rows is said by " code { "DELETED" } "." }
        form.actions method="post" action="/reconcile" {
            (frame::proof(visitor))
            input type="hidden" name="yes" value="1";
            button.danger type="submit" { "Reconcile, and delete as many as are gone" }
            a.button href="/" { "Leave it" }
        }
    }
}

/// What an action did, by its word.
pub fn said(word: &str) -> Markup {
    let text = match word {
        "backfill" => "The backfill is under way: this page shows how far it is.",
        "reconcile" => "The reconcile is under way: this page shows what it finds.",
        _ => return html! {},
    };
    notice(Mood::Good, html! { p role="status" { (text) } })
}

pub fn card(status: &Status, visitor: &Visitor) -> Markup {
    let backfill = status.backfill.as_ref();
    let reconcile = status.reconcile.as_ref().map(|reconcile| &reconcile.run);
    html! {
        section.card aria-labelledby="walks-title" {
            div #walks data-live {
                header { h2 #walks-title { "Backfill" } @if let Some(run) = backfill { (state(run)) } }
                @match backfill {
                    Some(run) => (progress(run)),
                    None if !status.database.answers => { p.why { (unknown()) } }
                    None => { p.why { "Users whom nobody has asked for yet are not in the table: a backfill copies everyone." } }
                }
                @if let Some(run) = reconcile {
                    header.second { h3 { "Reconcile" } (state(run)) }
                    (progress(run))
                    @if run.held_back > 0 {
                        p { (number(run.held_back)) " deletions are held back: " a href="/reconcile" { "decide" } }
                    }
                }
            }
            div.actions {
                form method="post" action="/backfill" {
                    (proof(visitor))
                    button type="submit" { (begin(status)) }
                }
                form method="post" action="/reconcile" {
                    (proof(visitor))
                    button type="submit" title="A backfill that also finds users deleted elsewhere" { "Reconcile" }
                }
            }
        }
    }
}

fn begin(status: &Status) -> &'static str {
    match (&status.backfill, status.database.answers) {
        (Some(_), _) => "Backfill again",
        (None, true) => "Start the backfill",
        (None, false) => "Backfill",
    }
}

fn state(run: &Run) -> Markup {
    match run.state.as_str() {
        "done" if run.balanced() => pill(Mood::Good, "Done"),
        "done" => pill(Mood::Bad, "Does not balance"),
        "failed" => pill(Mood::Bad, "Failed"),
        "requested" => pill(Mood::Plain, "About to start"),
        _ => pill(Mood::Plain, "Under way"),
    }
}

fn progress(run: &Run) -> Markup {
    let of = run.total.filter(|total| *total >= run.fetched);
    html! {
        p.why {
            (number(run.fetched)) @if let Some(total) = of { " of " (number(total)) } " users"
            @match run.ended_at {
                Some(ended) => { ", " (ago(ended)) }
                None => { @if let Some(started) = run.started_at { ", begun " (ago(started)) } }
            }
        }
        @if !run.is_over() {
            @match of {
                Some(total) => { progress max=(total.max(1)) value=(run.fetched) aria-label="Progress" {} }
                None => { progress aria-label="Progress" {} }
            }
        }
        @if let Some(error) = &run.error { p.wrong { (error) } }
        ul.account {
            @for (count, what) in [
                (run.inserted, "new"), (run.updated, "updated"), (run.unchanged, "unchanged"),
                (run.older, "older than the row"), (run.set_aside, "set aside"), (run.deleted, "deleted"),
            ] {
                @if count > 0 { li { strong { (number(count)) } " " (what) } }
            }
        }
    }
}
