//! The two lists: the users in the database, and the provider's beside them.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::guard::Visitor;
use super::page::{Frame, Live, page, query, segment};
use super::pieces::{Mood, ago_or_dash, away, dash, notice, number, pill, text_or_dash};
use super::{Console, asked};
use crate::db::listing::{self, Brief, HowMany, Page, SearchFault};
use crate::provider::PageFault;
use crate::provider::console::Deed;
use crate::upstream::{Priority, UpstreamError};
use crate::user::{Profile, Seen, UserId};

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

pub async fn show(State(console): State<Console>, Extension(visitor): Extension<Visitor>, uri: Uri) -> Response {
    let (view, text, after) = (View::of(&asked(&uri, "view")), asked(&uri, "q"), asked(&uri, "after"));
    let text = text.trim();
    let list = match (text, view) {
        ("", View::Latest) => latest(&console).await,
        ("", View::All) => all(&console, &after).await,
        ("", View::Beside) => beside(&console).await,
        (text, _) => found(&console, text, &after).await,
    };
    let rows = listing::how_many(&console.station.database).await.ok();
    let body = html! {
        div.title {
            h1 { "Users" }
            p.count #count data-live { (count(rows)) }
            @if console.station.config.provider.can(Deed::Create) { a.button.primary href="/users/new" { "New user" } }
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
    // The provider is not asked again by a page that nobody touches.
    let every = if view == View::Beside || !text.is_empty() { 0 } else { 5_000 };
    let live = if text.is_empty() { Live::Yes { every } } else { Live::No };
    let frame = Frame {
        place: "/users",
        title: "Users",
        live,
    };
    page(&console, &visitor, &frame, body).into_response()
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
    let id = UserId::parse(after, console.station.config.id_type);
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
    let after_id = UserId::parse(after, console.station.config.id_type);
    let found = whole_id(console, text).await;
    let found = match found {
        Some(row) => Ok(Page { rows: vec![row], next: None }),
        None => listing::search(&console.station.database, text, after_id.as_ref(), ROWS).await,
    };
    match found {
        Err(SearchFault::Database(error)) => away(&error),
        Err(fault) => notice(Mood::Warn, html! { p { (fault) "." } p { a href="/setup#search" { "The index" } } }),
        Ok(Page { rows, .. }) if rows.is_empty() => html! {
            div.empty {
                h2 { "Nobody found" }
                p { "No row's name or email holds “" (text) "”, and no id begins with it." }
                @if let Some(id) = UserId::parse(text, console.station.config.id_type) {
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
    let id = UserId::parse(text, console.station.config.id_type)?;
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
                    tr #{ "u-" (row.id) } data-mark=[row.updated_at.map(|at| at.to_rfc3339())] {
                        th scope="row" data-label="Name" {
                            a #{ "a-" (row.id) } href={ "/users/" (segment(&row.id)) } { (name(row)) } " " (badges(row))
                        }
                        td data-label="Email" { (text_or_dash(row.email.as_deref())) }
                        td.mono data-label="Id" { (row.id) }
                        td data-label="Signed up" { (ago_or_dash(row.created_at)) }
                        td data-label="Changed" { (ago_or_dash(row.updated_at)) }
                    }
                }
            }
        }
    }
}

fn name(row: &Brief) -> Markup {
    html! {
        @match row.name.as_deref().filter(|name| !name.trim().is_empty()) {
            Some(name) => (name),
            None => { span.none { "without a name" } }
        }
    }
}

pub fn badges(row: &Brief) -> Markup {
    html! {
        @if row.deleted_at.is_some() { (pill(Mood::Bad, "deleted")) }
        @else if row.is_skeleton { (pill(Mood::Warn, "only the id so far")) }
    }
}

/// A page of the provider's own list, each user beside the row.
async fn beside(console: &Console) -> Markup {
    let listed = match listed(console).await {
        Ok(listed) => listed,
        Err(why) => return notice(Mood::Bad, html! { p { strong { "The provider's list cannot be read: " } (why) "." } }),
    };
    let ids: Vec<UserId> = listed.iter().map(|(id, _)| id.clone()).collect();
    let rows = match listing::these(&console.station.database, &ids).await {
        Ok(rows) => rows,
        Err(error) => return away(&error),
    };
    let rows: HashMap<&str, &Brief> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let lines: Vec<_> = listed.iter().map(|(id, there)| (id, there, rows.get(id.as_str()).copied())).collect();
    let same = lines.iter().filter(|(_, there, here)| verdict(there, *here) == Verdict::Same).count();
    let title = console.station.config.provider.title();
    html! {
        p.note {
            "The provider's list as of now: " (number(same as i64)) " of " (number(lines.len() as i64))
            " users are the same in the database. "
            a href="/users?view=beside" { "Ask again" }
        }
        table.rows.beside {
            caption.unseen { "Users at the provider beside the rows of the database" }
            thead {
                tr { th scope="colgroup" colspan="2" { "At " (title) } th scope="colgroup" colspan="2" { "In the database" } th scope="col" rowspan="2" { "Same?" } }
                tr { th scope="col" { "Name" } th scope="col" { "Email" } th scope="col" { "Name" } th scope="col" { "Email" } }
            }
            tbody {
                @for (id, there, here) in &lines {
                    tr #{ "u-" (id) } data-mark=[here.and_then(|here| here.updated_at).map(|at| at.to_rfc3339())] {
                        th scope="row" data-label={ "Name at " (title) } {
                            a #{ "a-" (id) } href={ "/users/" (segment(id.as_str())) } {
                                @match there.name.as_deref().filter(|name| !name.trim().is_empty()) {
                                    Some(name) => (name),
                                    None => { span.none { "without a name" } }
                                }
                            }
                        }
                        td data-label={ "Email at " (title) } { (text_or_dash(there.email.as_deref())) }
                        td.second data-label="Name in the database" { @match here { Some(here) => (text_or_dash(here.name.as_deref())), None => (dash()) } }
                        td data-label="Email in the database" { @match here { Some(here) => (text_or_dash(here.email.as_deref())), None => (dash()) } }
                        td data-label="Same?" { (verdict(there, *here).pill()) }
                    }
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Differs,
    Missing,
    Deleted,
}

fn verdict(there: &Profile, here: Option<&Brief>) -> Verdict {
    match here {
        None => Verdict::Missing,
        Some(here) if here.deleted_at.is_some() => Verdict::Deleted,
        Some(here) if (&here.name, &here.email, here.created_at) == (&there.name, &there.email, there.created_at) => {
            Verdict::Same
        }
        Some(_) => Verdict::Differs,
    }
}

impl Verdict {
    fn pill(self) -> Markup {
        match self {
            Verdict::Same => pill(Mood::Good, "same"),
            Verdict::Differs => pill(Mood::Warn, "differs"),
            Verdict::Missing => pill(Mood::Warn, "no row yet"),
            Verdict::Deleted => pill(Mood::Bad, "deleted here"),
        }
    }
}

/// The newest first where the provider can.
async fn listed(console: &Console) -> Result<Vec<(UserId, Profile)>, String> {
    let config = &console.station.config;
    let (provider, tenant) = (&config.provider, &config.tenant);
    if tenant.key.is_none() {
        return Err("there is no server key".into());
    }
    for plain in [false, true] {
        let newest = provider.newest_request(tenant, None, plain);
        let asked = newest.unwrap_or_else(|| provider.page_request(tenant, None, plain));
        let answer = console.station.upstream.own(asked.request, Priority::App).await;
        let answer = answer.map_err(|error: UpstreamError| error.to_string())?;
        match provider.page(tenant, None, answer.status, &answer.headers, &answer.body) {
            Err(PageFault::UnknownParameter) if !plain => {}
            Err(fault) => return Err(fault.to_string()),
            Ok(page) => {
                let whole = page.sightings.into_iter().filter_map(|sighting| match sighting.seen {
                    Seen::Whole(view) => Some((sighting.id, view.profile)),
                    _ => None,
                });
                return Ok(whole.take(ROWS as usize).collect());
            }
        }
    }
    Err("it refuses the list's parameters".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_what_people_see() {
        let there = Profile {
            name: Some("Ada".into()),
            ..Profile::default()
        };
        let here = Brief {
            id: "u".into(),
            name: Some("Ada".into()),
            email: None,
            created_at: None,
            updated_at: None,
            deleted_at: None,
            is_skeleton: false,
        };
        assert_eq!(verdict(&there, Some(&here)), Verdict::Same);
        assert_eq!(verdict(&there, None), Verdict::Missing);
        let other = Brief {
            name: None,
            ..here.clone()
        };
        assert_eq!(verdict(&there, Some(&other)), Verdict::Differs);
    }
}
