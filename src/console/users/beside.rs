//! The provider's own list, each user beside the row.

use std::collections::HashMap;

use maud::{Markup, html};

use super::further;
use crate::console::Console;
use crate::console::page::{query, segment};
use crate::console::pieces::{Mood, away, dash, notice, number, pill, text_or_dash};
use crate::db::listing::{self, Brief};
use crate::provider::{Cursor, Next, Page, PageFault};
use crate::upstream::Priority;
use crate::user::{Profile, Seen, UserId};

/// What one page of the provider's list shows.
struct Listed {
    users: Vec<(UserId, Profile)>,
    next: Option<Cursor>,
}

/// A page of the provider's own list, each user beside the row.
pub async fn beside(console: &Console, from: &str) -> Markup {
    let cursor = (!from.is_empty()).then(|| Cursor { at: from.to_owned() });
    let Listed { users, next } = match listed(console, cursor.as_ref()).await {
        Ok(listed) => listed,
        Err(why) => {
            let why = html! { p { strong { "The provider's list cannot be read: " } (why) "." } };
            return notice(Mood::Bad, why);
        }
    };
    let ids: Vec<UserId> = users.iter().map(|(id, _)| id.clone()).collect();
    let rows = match listing::these(&console.station.database, &ids).await {
        Ok(rows) => rows,
        Err(error) => return away(&error),
    };
    let rows: HashMap<&str, &Brief> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let lines = users
        .iter()
        .map(|(id, there)| (id, there, rows.get(id.as_str()).copied()));
    let lines: Vec<Line<'_>> = lines.collect();
    if lines.is_empty() && from.is_empty() {
        return html! {
            div.empty {
                h2 { "Nobody there" }
                p { (console.station.config.provider.title()) " lists no users." }
            }
        };
    }
    let same = lines
        .iter()
        .filter(|(_, there, here)| verdict(there, *here) == Verdict::Same);
    let next = next.map(|next| next.at);
    html! {
        p.note {
            (number(same.count())) " of the " (number(lines.len()))
            " users on this page of the provider's list are the same in the database. "
            a href={ "/users?" (query(&[("view", "beside"), ("after", from)])) } { "Ask again" }
        }
        (table(console.station.config.provider.title(), &lines))
        (further(&[("view", "beside")], from, next.as_deref()))
    }
}

/// A user there, and the row here.
type Line<'a> = (&'a UserId, &'a Profile, Option<&'a Brief>);

fn table(title: &str, lines: &[Line<'_>]) -> Markup {
    html! {
        table.rows.beside {
            caption.unseen { "Users at the provider beside the rows of the database" }
            thead {
                tr { th scope="colgroup" colspan="2" { "At " (title) } th scope="colgroup" colspan="2" { "In the database" } th scope="col" rowspan="2" { "Same?" } }
                tr { th scope="col" { "Name" } th scope="col" { "Email" } th scope="col" { "Name" } th scope="col" { "Email" } }
            }
            tbody {
                @for (id, there, here) in lines {
                    tr #{ "u-" (id) } data-mark=[here.and_then(|here| here.columns.updated_at).map(|at| at.to_rfc3339())] {
                        th scope="row" data-label={ "Name at " (title) } {
                            a #{ "a-" (id) } href={ "/users/" (segment(id.as_str())) } {
                                @match there.name.as_deref().filter(|name| !name.trim().is_empty()) {
                                    Some(name) => (name),
                                    None => { span.none { "without a name" } }
                                }
                            }
                        }
                        td data-label={ "Email at " (title) } { (text_or_dash(there.email.as_deref())) }
                        td.second data-label="Name in the database" { @match here { Some(here) => (text_or_dash(here.columns.name.as_deref())), None => (dash()) } }
                        td data-label="Email in the database" { @match here { Some(here) => (text_or_dash(here.columns.email.as_deref())), None => (dash()) } }
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
    match here.map(|here| &here.columns) {
        None => Verdict::Missing,
        Some(here) if here.deleted_at.is_some() => Verdict::Deleted,
        Some(here)
            if (&here.name, &here.email, here.created_at)
                == (&there.name, &there.email, there.created_at) =>
        {
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

/// A page of the provider's list, the newest first where the provider can.
async fn listed(console: &Console, from: Option<&Cursor>) -> Result<Listed, String> {
    let config = &console.station.config;
    let (provider, tenant) = (&config.provider, &config.tenant);
    if tenant.key.is_none() {
        return Err("there is no server key".into());
    }
    for plain in [false, true] {
        let newest = provider.newest_request(tenant, from, plain);
        let asked = newest.unwrap_or_else(|| provider.page_request(tenant, from, plain));
        let answer = console.station.upstream.own(asked.request, Priority::App).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match provider.page(tenant, from, answer.status, &answer.headers, &answer.body) {
            Err(PageFault::UnknownParameter) if !plain => {}
            Err(fault) => return Err(fault.to_string()),
            Ok(page) => return Ok(Listed::of(page)),
        }
    }
    Err("it refuses the list's parameters".into())
}

impl Listed {
    fn of(page: Page) -> Listed {
        let whole = page
            .sightings
            .into_iter()
            .filter_map(|sighting| match sighting.seen {
                Seen::Whole(view) => Some((sighting.id, view.profile.clone())),
                _ => None,
            });
        Listed {
            users: whole.collect(),
            next: match page.next {
                Next::More(next) => Some(next),
                Next::End | Next::Lost => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::columns::Columns;

    #[test]
    fn a_row_is_judged_by_what_people_see() {
        let there = Profile {
            name: Some("Ada".into()),
            ..Profile::default()
        };
        let here = Brief {
            id: "u".into(),
            columns: there.clone().into(),
            is_skeleton: false,
        };
        assert_eq!(verdict(&there, Some(&here)), Verdict::Same);
        assert_eq!(verdict(&there, None), Verdict::Missing);
        let other = Brief {
            columns: Columns::default(),
            ..here.clone()
        };
        assert_eq!(verdict(&there, Some(&other)), Verdict::Differs);
    }
}
