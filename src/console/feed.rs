//! The change feed as it grows, and the consumers whose position is kept.

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::guard::Visitor;
use super::page::{Frame, Live, page, query, segment};
use super::pieces::{Mood, ago, away, dash, notice, number, pill};
use super::{Console, asked, slots};
use crate::feed::Filter;
use crate::feed::event::{PURGED, TYPES, Told};
use crate::user::{Origin, Pos};

const SHOWN: i64 = 50;

/// What is looked for.
struct Asked {
    kind: String,
    origin: String,
    id: String,
    before: Option<Pos>,
}

impl Asked {
    fn of(uri: &Uri) -> Asked {
        let known = |name: &str, all: &[&str]| {
            let given = asked(uri, name);
            if all.contains(&given.as_str()) {
                given
            } else {
                String::new()
            }
        };
        Asked {
            kind: known("type", &TYPES),
            origin: known("origin", &Origin::ALL.map(Origin::as_str)),
            id: asked(uri, "id").trim().to_owned(),
            before: Pos::parse(&asked(uri, "before")),
        }
    }

    /// Nothing where the id is none.
    fn filter(&self, console: &Console) -> Option<Filter> {
        let mut filter = Filter::default();
        filter
            .types
            .extend(Some(self.kind.clone()).filter(|kind| !kind.is_empty()));
        filter
            .origins
            .extend(Some(self.origin.clone()).filter(|origin| !origin.is_empty()));
        if !self.id.is_empty() {
            let id = console.station.config.user_id(&self.id)?;
            filter.ids.insert(id.to_string());
        }
        Some(filter)
    }

    fn older(&self, before: &Pos) -> String {
        let (before, asked) = (
            before.to_string(),
            [("type", &*self.kind), ("origin", &self.origin), ("id", &self.id)],
        );
        format!("/feed?{}", query(&[&asked[..], &[("before", &before)]].concat()))
    }
}

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Response {
    let wanted = Asked::of(&uri);
    let body = html! {
        div.title { h1 { "Change feed" } }
        (slots::said(&asked(&uri, "said")))
        (slots::section(&console, &visitor).await)
        h2 { "Changes" }
        (filters(&wanted))
        div #tail data-live { (tail(&console, &wanted).await) }
    };
    let live = match wanted.before {
        None => Live::Yes { every: 5_000 },
        Some(_) => Live::No,
    };
    let frame = Frame {
        place: "/feed",
        title: "Change feed",
        live,
    };
    page(&console, &visitor, &frame, body).into_response()
}

fn filters(wanted: &Asked) -> Markup {
    let origins = Origin::ALL.map(Origin::as_str);
    html! {
        form.filters method="get" action="/feed" aria-label="Filters" {
            (choice("type", "Type", "any", &TYPES, &wanted.kind))
            (choice("origin", "Origin", "any", &origins, &wanted.origin))
            div.field {
                label for="id" { "User's id" }
                input #id name="id" value=(wanted.id) autocomplete="off" spellcheck="false";
            }
            button type="submit" { "Filter" }
            @if !(wanted.kind.is_empty() && wanted.origin.is_empty() && wanted.id.is_empty()) {
                a.button.quiet href="/feed" { "Show all" }
            }
        }
    }
}

fn choice(name: &str, label: &str, none: &str, all: &[&str], chosen: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select #(name) name=(name) {
                option value="" { (none) }
                @for one in all { option value=(one) selected[*one == chosen] { (one) } }
            }
        }
    }
}

async fn tail(console: &Console, wanted: &Asked) -> Markup {
    let Some(filter) = wanted.filter(console) else {
        return notice(Mood::Warn, html! { p { "No user can have that id." } });
    };
    let before = wanted.before.map(|before| before.position);
    let changes = match console.station.feed.latest(&filter, before, SHOWN).await {
        Ok(changes) => changes,
        Err(error) => return away(&error),
    };
    let last = changes
        .last()
        .filter(|_| i64::try_from(changes.len()) == Ok(SHOWN))
        .map(|last| last.pos);
    html! {
        @if changes.is_empty() {
            div.empty {
                h2 { "No changes" }
                p { @if filter.is_empty() { "They appear here as they are committed." } @else { "None of these among the last." } }
            }
        } @else { (table("Changes, the newest first", &changes, true)) }
        @if wanted.before.is_some() || last.is_some() {
            nav.further aria-label="Pages" {
                @if wanted.before.is_some() { a.button href="/feed" { "Newest" } }
                @if let Some(last) = last { a.button rel="next" href=(wanted.older(&last)) { "Older" } }
            }
        }
    }
}

/// Changes as rows, with or without whose they are.
pub fn table(caption: &str, changes: &[Told], with_user: bool) -> Markup {
    html! {
        table.rows.changes {
            caption.unseen { (caption) }
            thead {
                tr {
                    th scope="col" { "When" } th scope="col" { "Change" }
                    @if with_user { th scope="col" { "User" } }
                    th scope="col" { "Fields" } th scope="col" { "Origin" } th scope="col" { "Position" }
                }
            }
            tbody { @for change in changes { (row(change, with_user)) } }
        }
    }
}

fn row(change: &Told, with_user: bool) -> Markup {
    let route = change.route.as_deref().filter(|route| !route.is_empty());
    html! {
        tr #{ "c-" (change.pos) } {
            td data-label="When" { (ago(change.committed_at)) }
            td data-label="Change" { (kind(&change.kind)) }
            @if with_user {
                th scope="row" data-label="User" {
                    a #{ "a-" (change.pos) } href={ "/users/" (segment(&change.after.id)) } { (whose(change)) }
                }
            }
            td data-label="Fields" {
                @if change.changed.is_empty() { (dash()) } @else { (change.changed.join(", ")) }
            }
            td data-label="Origin" { (change.origin) @if let Some(route) = route { br; code.note { (route) } } }
            td.mono.pos data-label="Position" { (change.pos) }
        }
    }
}

fn whose(change: &Told) -> &str {
    let columns = &change.after.columns;
    let gone = change.is_blank || change.kind.as_ref() == PURGED;
    let named = [&columns.name, &columns.email]
        .into_iter()
        .flatten()
        .find(|text| !text.trim().is_empty());
    named.filter(|_| !gone).map_or(&change.after.id, String::as_str)
}

pub fn kind(kind: &str) -> Markup {
    let word = kind.strip_prefix("user.").unwrap_or(kind);
    let mood = match word {
        "created" | "restored" => Mood::Good,
        "deleted" | "purged" => Mood::Bad,
        _ => Mood::Plain,
    };
    pill(mood, word)
}

/// So many, in words.
pub fn events(count: i64) -> String {
    match count {
        1 => "1 change".into(),
        count => format!("{} changes", number(count)),
    }
}
