//! The provider's own list, each user beside the row.

use std::collections::HashMap;

use maud::{Markup, html};

use super::ROWS;
use crate::console::Console;
use crate::console::page::segment;
use crate::console::pieces::{Mood, away, dash, notice, number, pill, text_or_dash};
use crate::db::listing::{self, Brief};
use crate::provider::PageFault;
use crate::upstream::{Priority, UpstreamError};
use crate::user::{Profile, Seen, UserId};

/// A page of the provider's own list, each user beside the row.
pub async fn beside(console: &Console) -> Markup {
    let listed = match listed(console).await {
        Ok(listed) => listed,
        Err(why) => {
            return notice(
                Mood::Bad,
                html! { p { strong { "The provider's list cannot be read: " } (why) "." } },
            );
        }
    };
    let ids: Vec<UserId> = listed.iter().map(|(id, _)| id.clone()).collect();
    let rows = match listing::these(&console.station.database, &ids).await {
        Ok(rows) => rows,
        Err(error) => return away(&error),
    };
    let rows: HashMap<&str, &Brief> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let lines: Vec<_> = listed
        .iter()
        .map(|(id, there)| (id, there, rows.get(id.as_str()).copied()))
        .collect();
    let same = lines
        .iter()
        .filter(|(_, there, here)| verdict(there, *here) == Verdict::Same)
        .count();
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
                let whole = page
                    .sightings
                    .into_iter()
                    .filter_map(|sighting| match sighting.seen {
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
