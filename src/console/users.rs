//! The two lists: the users in the database, and the provider's beside them.

mod beside;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::guard::Visitor;
use super::page::{Frame, Live, page, query, segment};
use super::pieces::{Mood, ago_or_dash, away, in_the_dashboard, notice, number, pill, text_or_dash};
use super::{Console, asked};
use crate::db::listing::{self, Brief, HowMany, Page, SearchFault};

/// On a page.
const ROWS: i64 = 50;

/// Which of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Latest,
    All,
    Beside,
}

impl View {
    const ALL: [View; 3] = [View::Latest, View::All, View::Beside];

    fn of(text: &str) -> View {
        let found = View::ALL.into_iter().find(|view| view.word() == text);
        found.unwrap_or(View::Latest)
    }

    fn word(self) -> &'static str {
        match self {
            View::Latest => "latest",
            View::All => "all",
            View::Beside => "beside",
        }
    }

    fn name(self) -> &'static str {
        match self {
            View::Latest => "Changed last",
            View::All => "All, by id",
            View::Beside => "Beside the provider's",
        }
    }
}

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Response {
    let (view, text, after) = (
        View::of(&asked(&uri, "view")),
        asked(&uri, "q"),
        asked(&uri, "after"),
    );
    let text = text.trim();
    let list = match (text, view) {
        ("", View::Latest) => latest(&console).await,
        ("", View::All) => all(&console, &after).await,
        ("", View::Beside) => beside::beside(&console, &after).await,
        (text, _) => found(&console, text, &after).await,
    };
    let rows = listing::how_many(&console.station.database).await.ok();
    let config = &console.station.config;
    let body = html! {
        div.title {
            h1 { "Users" }
            p.count #count data-live { (count(rows)) }
            div.actions {
                @if let Some(url) = config.provider.dashboard_users(&config.tenant) { (in_the_dashboard(&url)) }
                @if console.can_create() { a.button.primary href="/users/new" { "New user" } }
            }
        }
        (search(text))
        @if text.is_empty() {
            nav.tabs aria-label="Lists" {
                @for one in View::ALL {
                    a href={ "/users?view=" (one.word()) } aria-current=[(one == view).then_some("page")] { (one.name()) }
                }
            }
        }
        div #list data-live { (list) }
    };
    let frame = Frame {
        place: "/users",
        title: "Users",
        live: live(text, view),
    };
    page(&console, &visitor, &frame, body).into_response()
}

/// The provider is not asked again by a page that nobody touches.
fn live(text: &str, view: View) -> Live<'static> {
    match (text, view) {
        ("", View::Beside) => Live::Yes { every: 0 },
        ("", View::Latest | View::All) => Live::Yes { every: 5_000 },
        _ => Live::No,
    }
}

fn count(rows: Option<HowMany>) -> Markup {
    html! {
        @if let Some(rows) = rows {
            @if !rows.exact { "about " } (number(rows.rows)) @if rows.rows == 1 { " row" } @else { " rows" }
        }
    }
}

fn search(text: &str) -> Markup {
    html! {
        form.search role="search" method="get" action="/users" {
            label.unseen for="q" { "Search by name, email or the beginning of an id" }
            input #q type="search" name="q" value=(text) placeholder="Name, email or beginning of an id" autocomplete="off" spellcheck="false";
            button type="submit" { "Search" }
            @if !text.is_empty() { a.button.quiet href="/users" { "Show all" } }
        }
    }
}

async fn latest(console: &Console) -> Markup {
    match listing::latest(&console.station.database, ROWS).await {
        Err(error) => away(&error),
        Ok(rows) if rows.is_empty() => all(console, "").await,
        Ok(rows) => table("The users that changed last, the newest change first", &rows),
    }
}

async fn all(console: &Console, after: &str) -> Markup {
    let id = console.station.config.user_id(after);
    match listing::page(&console.station.database, id.as_ref(), ROWS).await {
        Err(error) => away(&error),
        Ok(Page { rows, .. }) if rows.is_empty() => nobody(after.is_empty()),
        Ok(page) => html! {
            (table("Users by id", &page.rows))
            (further(&[("view", "all")], after, page.next.as_deref()))
        },
    }
}

fn nobody(at_all: bool) -> Markup {
    html! {
        div.empty {
            @if at_all {
                h2 { "No users yet" }
                p { "Users appear here as soon as the app reads or makes them through the proxy. "
                    a href="/" { "Start the backfill" } " to copy those that are there already, or see "
                    a href="/setup" { "how to point the app at the proxy" } "." }
            } @else {
                h2 { "No further users" }
                p { a href="/users?view=all" { "To the first page" } }
            }
        }
    }
}

async fn found(console: &Console, text: &str, after: &str) -> Markup {
    let after_id = console.station.config.user_id(after);
    let found = whole_id(console, text).await;
    let found = match found {
        Some(row) => Ok(Page {
            rows: vec![row],
            next: None,
        }),
        None => listing::search(&console.station.database, text, after_id.as_ref(), ROWS).await,
    };
    match found {
        Err(SearchFault::Database(error)) => away(&error),
        Err(fault) => notice(
            Mood::Warn,
            html! { p { (fault) "." } p { a href="/setup#search" { "The index" } } },
        ),
        Ok(Page { rows, .. }) if rows.is_empty() => html! {
            div.empty {
                h2 { "Nobody found" }
                p { "No row's name or email holds “" (text) "”, and no id begins with it." }
                @if let Some(id) = console.station.config.user_id(text) {
                    p { a href={ "/users/" (segment(id.as_str())) } { "Ask the provider for the user with this id" } }
                }
            }
        },
        Ok(page) => html! {
            (table(&format!("Users found for {text}"), &page.rows))
            (further(&[("q", text)], after, page.next.as_deref()))
        },
    }
}

/// The quickest of searches.
async fn whole_id(console: &Console, text: &str) -> Option<Brief> {
    let id = console.station.config.user_id(text)?;
    let rows = listing::these(&console.station.database, &[id]).await.ok()?;
    rows.into_iter().next()
}

fn further(asked: &[(&str, &str)], after: &str, next: Option<&str>) -> Markup {
    html! {
        @if !after.is_empty() || next.is_some() {
            nav.further aria-label="Pages" {
                @if !after.is_empty() { a.button href={ "/users?" (query(asked)) } { "First page" } }
                @if let Some(next) = next {
                    a.button rel="next" href={ "/users?" (query(&[asked, &[("after", next)]].concat())) } { "Next page" }
                }
            }
        }
    }
}

fn table(caption: &str, rows: &[Brief]) -> Markup {
    html! {
        table.rows.users {
            caption.unseen { (caption) }
            thead {
                tr {
                    th scope="col" { "Name" } th scope="col" { "Email" } th scope="col" { "Id" }
                    th scope="col" { "Signed up" } th scope="col" { "Changed" }
                }
            }
            tbody {
                @for row in rows {
                    tr #{ "u-" (row.id) } data-mark=[row.columns.updated_at.map(|at| at.to_rfc3339())] {
                        th scope="row" data-label="Name" {
                            a #{ "a-" (row.id) } href={ "/users/" (segment(&row.id)) } { (name(row)) } " " (badges(row))
                        }
                        td data-label="Email" { (text_or_dash(row.columns.email.as_deref())) }
                        td.mono data-label="Id" { (row.id) }
                        td data-label="Signed up" { (ago_or_dash(row.columns.created_at)) }
                        td data-label="Changed" { (ago_or_dash(row.columns.updated_at)) }
                    }
                }
            }
        }
    }
}

fn name(row: &Brief) -> Markup {
    html! {
        @match row.columns.name.as_deref().filter(|name| !name.trim().is_empty()) {
            Some(name) => (name),
            None => { span.none { "without a name" } }
        }
    }
}

fn badges(row: &Brief) -> Markup {
    html! {
        @if row.columns.deleted_at.is_some() { (pill(Mood::Bad, "deleted")) }
        @else if row.is_skeleton { (pill(Mood::Warn, "only the id so far")) }
    }
}
