//! The status page: what is connected to what, how fresh it is, who spends the limit, and each problem
//! with its remedy.

mod limit;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::guard::Visitor;
use super::history::picture;
use super::link::{self, Said};
use super::page::{Frame, Live, page};
use super::pieces::{Mood, ago, ago_or_dash, bytes, long, notice, number, percent, pill, prose, unknown};
use super::{Console, asked, walks};
use crate::config::Sync;
use crate::db::listing::{self, HowMany};
use crate::db::runs::Drift;
use crate::status::{self, Freshness, Problem, Status};
use crate::upstream::Health;

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Response {
    let (status, said) = tokio::join!(
        status::status(&console.station, &console.traffic, status::AT_A_GLANCE),
        link::looked_at(&console)
    );
    let rows = match status.database.answers {
        true => how_many(&console).await.or(estimated(&status)),
        false => None,
    };
    let body = html! {
        (walks::said(&asked(&uri, "said")))
        div #problems data-live aria-live="polite" { (problems(&status, said.as_ref(), console.station.config.sync)) }
        div.cards {
            (provider(&console, &status, said.as_ref()))
            (database(&status, rows))
            (walks::card(&status, &visitor))
            (freshness(&status, console.station.config.sync))
        }
        h2 { "The last ten minutes" }
        div.cards.three #curves data-live { (curves(&console, &status)) }
        div.cards {
            (limit::budget(&console, &status))
            (feed(&status))
            (waiting(&status))
        }
    };
    let frame = Frame {
        place: "/",
        title: "Overview",
        live: Live::Yes { every: 2_000 },
    };
    page(
        &console,
        &visitor,
        &frame,
        html! { h1.unseen { "Overview" } (body) },
    )
    .into_response()
}

/// Whoever only looks keeps no database awake.
async fn how_many(console: &Console) -> Option<HowMany> {
    let station = &console.station;
    let database = station.database.in_passing();
    station.unless_left(listing::how_many(&database)).await?.ok()
}

fn estimated(status: &Status) -> Option<HowMany> {
    let counts = status.database.counts.as_ref()?;
    Some(HowMany {
        rows: counts.users,
        exact: false,
    })
}

/// The first thing to be seen: all is well, or what is not and what to do.
fn problems(status: &Status, said: Option<&Said>, sync: Sync) -> Markup {
    let connection = said.and_then(|said| said.what.problem());
    let told_already = status
        .problems
        .iter()
        .any(|problem| problem.word.starts_with("provider"));
    let connection = connection.filter(|_| !told_already);
    let count = status.problems.len() + usize::from(connection.is_some());
    if count == 0 {
        return notice(
            Mood::Good,
            html! { p { strong { "All is well." } " " (promise(sync)) } },
        );
    }
    let heading = match count {
        1 => "One problem".to_owned(),
        count => format!("{count} problems"),
    };
    html! {
        section.problems aria-labelledby="problems-title" {
            h2 #problems-title { (heading) }
            ul {
                @if let Some((why, remedy)) = &connection {
                    li { (problem(&format!("The provider is not connected: {why}"), remedy)) }
                }
                @for Problem { what, remedy, .. } in &status.problems { li { (problem(what, remedy)) } }
            }
        }
    }
}

fn promise(sync: Sync) -> &'static str {
    match sync {
        Sync::BeforeResponse => "What apps are told of users is in the table before they are told.",
        Sync::Async => {
            "With SYNC=async apps do not wait: what they are told of users is in the table a moment later."
        }
    }
}

fn problem(what: &str, remedy: &str) -> Markup {
    html! {
        p.what { (prose(&sentence(what))) }
        p.remedy { span { "Remedy" } " " (prose(&sentence(remedy))) }
    }
}

/// With a capital and a stop.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

fn provider(console: &Console, status: &Status, said: Option<&Said>) -> Markup {
    let config = &console.station.config;
    let (mood, word, why) = connection(status, said);
    html! {
        section.card #provider data-live aria-labelledby="provider-title" {
            header { h2 #provider-title { (config.provider.title()) } (pill(mood, word)) }
            p.why { (why) }
            dl {
                @if let Some(project) = console.link.project() { dt { "Project" } dd { (project) } }
                @for (part, value) in &config.tenant.identity {
                    dt { (sentence(part).trim_end_matches('.')) @if console.link.project().is_some() && part == "project" { " id" } }
                    dd.mono { (value) }
                }
                dt { "Address" } dd.mono { (status.provider.upstream) }
                @if let Some(said) = said { dt { "Asked" } dd { (ago(said.at)) } }
            }
            p.links {
                @for (label, url) in config.provider.links(&config.tenant) {
                    a href=(url) rel="noreferrer" target="_blank" { (label) span.unseen { " (opens in a new tab)" } }
                }
            }
        }
    }
}

fn connection(status: &Status, said: Option<&Said>) -> (Mood, &'static str, String) {
    match (status.provider.breaker, said.map(|said| said.what)) {
        (Health::Open | Health::HalfOpen, _) => (
            Mood::Bad,
            "Failing",
            "It has failed several times in a row and is left alone for a moment.".into(),
        ),
        _ if status.provider.paused_for > 0 => (
            Mood::Warn,
            "Paused",
            format!(
                "It asked to be left alone for {} more.",
                long(status.provider.paused_for.cast_signed())
            ),
        ),
        (_, None) => (
            Mood::Plain,
            "Asking",
            "It is being asked whether it takes the key.".into(),
        ),
        (_, Some(what)) => match what.problem() {
            None => (
                Mood::Good,
                "Connected",
                "It takes the server key for this tenant.".into(),
            ),
            Some((why, _)) => (Mood::Bad, "Not connected", sentence(&why)),
        },
    }
}

fn database(status: &Status, rows: Option<HowMany>) -> Markup {
    let (mood, word) = match (status.database.answers, &status.recorder.trouble) {
        (false, _) => (Mood::Bad, "Away"),
        (true, Some(_)) => (Mood::Bad, "Takes nothing"),
        (true, None) if status.database.idle => (Mood::Good, "Left alone"),
        (true, None) => (Mood::Good, "Connected"),
    };
    let counts = status.database.counts.as_ref();
    html! {
        section.card #database data-live aria-labelledby="database-title" {
            header { h2 #database-title { "Your database" } (pill(mood, word)) }
            p.why {
                "The table " code { (status.database.schema) ".users_sync" } "."
                @if status.database.idle { " Nobody has needed it for DATABASE_IDLE: it is woken by the next who does." }
            }
            dl {
                dt { "Users" }
                dd.big {
                    @match rows {
                        Some(rows) => { @if !rows.exact { span aria-label="about" { "~" } } a href="/users" { (number(rows.rows)) } }
                        None => (unknown()),
                    }
                }
                dt { "Set aside" }
                dd { @match counts { Some(counts) => (number(counts.set_aside)), None => (unknown()) } }
                dt { "Reads owed" }
                dd { @match counts { Some(counts) => (number(counts.doubts)), None => (unknown()) } }
                dt { "Recorded" }
                dd { (number(status.recorder.committed)) " changed, " (number(status.recorder.unchanged)) " the same" }
            }
        }
    }
}

fn freshness(status: &Status, sync: Sync) -> Markup {
    let how_soon = match sync {
        Sync::BeforeResponse => "at once",
        Sync::Async => "a moment later",
    };
    let Freshness {
        oldest, walk, poll, ..
    } = status.freshness;
    html! {
        section.card #freshness data-live aria-labelledby="freshness-title" {
            header { h2 #freshness-title { "Freshness" } }
            p.why { "Users read or written through the proxy are fresh " (how_soon) "; the others as of the last walk." }
            dl {
                dt { "At most as old as" }
                dd.big { @match oldest { Some(age) => (long(age)), None => (none(status, "not known yet")) } }
                dt title="When the last walk began that came to its end" { "Everyone looked at" }
                dd { @match walk { Some(age) => { (long(age)) " ago" }, None => (none(status, "never")) } }
                dt { "Drift found" }
                dd { @match &status.reconcile { Some(reconcile) => (drift(&reconcile.drift)), None => (none(status, "never reconciled")) } }
                dt { "Webhooks" }
                dd { (webhooks(status)) }
                @if status.poll.is_some() {
                    dt { "Polled" }
                    dd { @match poll { Some(age) => { (long(age)) " ago" }, None => (none(status, "not yet to the end")) } }
                }
                dt title="Requests that the provider's file does not know: its API may have moved on" { "Unknown requests" }
                dd { (number(status.traffic.unmatched)) }
            }
        }
    }
}

/// There is none of something that the database knows of: as long as it says so.
fn none(status: &Status, text: &str) -> Markup {
    match status.database.answers {
        true => html! { span.none { (text) } },
        false => unknown(),
    }
}

fn drift(drift: &Drift) -> Markup {
    html! {
        (number(drift.created)) " created, " (number(drift.changed)) " changed, " (number(drift.deleted)) " deleted elsewhere"
    }
}

fn webhooks(status: &Status) -> Markup {
    html! {
        @match &status.webhooks {
            None => { "not taken in: " a href="/connect" { "connect them" } }
            Some(taken) => {
                (number(taken.received)) " taken in"
                @if let Some(age) = taken.last_received_age { ", the last " (long(age.cast_signed())) " ago" }
            }
        }
    }
}

fn curves(console: &Console, status: &Status) -> Markup {
    let history = &console.history;
    let (requests, hits) = (history.requests(), history.hit_share());
    let (app, own) = history.budget();
    let a_second = |value: Option<f64>| format!("{:.1}", value.unwrap_or_default());
    let says = format!(
        "Requests a second: {} now, {} at most",
        a_second(requests.last()),
        a_second(Some(requests.most()))
    );
    let share = hits.last().map_or("no reads".into(), percent);
    let spent = format!(
        "Requests to the provider a second: {} for apps, {} of usertap's own",
        a_second(app.last()),
        a_second(own.last())
    );
    html! {
        section.card {
            h3 { "Requests a second" }
            p.big { (a_second(requests.last())) }
            (picture(&[&requests], None, &says))
            p.note { "At most " (a_second(Some(requests.most()))) }
        }
        section.card {
            h3 { "Answered from the cache" }
            p.big { (share) }
            (picture(&[&hits], Some(1.0), &format!("Share of reads answered from the cache: {share}")))
            p.note {
                (percent(status.cache.hit_share)) " since the start; " (number(status.cache.entries))
                @if status.cache.entries == 1 { " answer, " } @else { " answers, " }
                (bytes(status.cache.bytes)) " kept"
                @if status.cache.stale > 0 { "; " (number(status.cache.stale)) " given stale" }
            }
        }
        section.card {
            h3 { "Asked of the provider a second" }
            p.big { (a_second(Some(app.last().unwrap_or_default() + own.last().unwrap_or_default()))) }
            (picture(&[&app, &own], None, &spent))
            p.note { span.key.l0 { "apps " (a_second(app.last())) } span.key.l1 { "usertap " (a_second(own.last())) } }
        }
    }
}

fn feed(status: &Status) -> Markup {
    html! {
        section.card #feed data-live aria-labelledby="feed-title" {
            header {
                h2 #feed-title { a href="/feed" { "Change feed" } }
                @if status.feed.following { (pill(Mood::Good, "Following")) } @else { (pill(Mood::Warn, "Catching up")) }
            }
            dl {
                dt { "Head" } dd.mono { @match &status.feed.head { Some(head) => (head), None => (unknown()) } }
                dt { "Readers now" } dd { (number(status.feed.readers)) }
            }
            @if status.feed.slots.is_empty() { p.note { "Slots: " (none(status, "none: no consumer's position is kept")) } }
            @else {
                table {
                    caption.unseen { "Slots" }
                    thead { tr { th scope="col" { "Slot" } th scope="col" { "State" } th.number scope="col" { "Behind" } } }
                    tbody {
                        @for slot in &status.feed.slots {
                            tr {
                                th scope="row" { (slot.name) }
                                td { (super::slots::status(slot.status)) }
                                td.number { @match slot.lag {
                                    None => "lost",
                                    Some(lag) => { @if lag.is_at_least { "at least " } (number(lag.events)) @if lag.events > 0 { ", " (long(lag.seconds)) } }
                                } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn waiting(status: &Status) -> Markup {
    let journal = &status.recorder.journal;
    let (mood, word) = match (journal.waiting, &journal.trouble) {
        (_, Some(_)) => (Mood::Bad, "Takes nothing"),
        (0, None) => (Mood::Good, "Empty"),
        _ => (Mood::Warn, "Waiting"),
    };
    html! {
        section.card #waiting data-live aria-labelledby="waiting-title" {
            header { h2 #waiting-title { "Journal" } (pill(mood, word)) }
            p.why { "What answers told while the database was away, on disk." }
            dl {
                dt { "Answers" } dd { (number(journal.waiting)) ", " (bytes(journal.bytes)) }
                dt { "The oldest" } dd { (ago_or_dash(journal.oldest)) }
                dt { "In memory" } dd { (number(status.recorder.waiting)) }
                dt { "Writes under way" } dd { (number(status.recorder.writes.open)) }
                dt { "Owed reads" } dd { (number(status.refetch.done)) " done, " (number(status.refetch.failed)) " failed" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_sentences() {
        assert_eq!(sentence("check UPSTREAM"), "Check UPSTREAM.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
