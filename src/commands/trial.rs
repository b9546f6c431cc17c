//! The part of `usertap doctor` that tries a provider file: the first page of the list, what was read of
//! its first user, and what changed of late. Values are masked: an operator's terminal is no place for addresses.

use super::doctor::{Check, failed, passed};
use crate::clock;
use crate::config::Config;
use crate::provider::{Column, Next, Page, PageFault, PollPlace};
use crate::upstream::{Fetched, Priority, Upstream};
use crate::user::Seen;

const LIST: &str = "list";
const USER: &str = "user";
const POLL: &str = "poll";

pub(super) async fn run(config: &Config, upstream: &Upstream) -> Vec<Check> {
    let (mut plain, mut asked) = (false, first_page(config, upstream, false).await);
    if matches!(asked, Err(Unread::Page(PageFault::UnknownParameter))) {
        plain = true;
        asked = first_page(config, upstream, true).await;
    }
    let mut checks = match asked {
        Ok(page) => {
            let mut checks = vec![listed(&page, plain)];
            checks.extend(users(config, &page));
            checks
        }
        Err(unread) => vec![unread.told()],
    };
    checks.extend(polled(config, upstream).await);
    checks
}

/// What has changed of late, where the file says how to ask; nothing is recorded, no place kept.
async fn polled(config: &Config, upstream: &Upstream) -> Option<Check> {
    let (provider, tenant) = (&config.provider, &config.tenant);
    let place = PollPlace::beginning(clock::wall());
    let request = provider.poll_request(tenant, &place)?;
    let answer = match upstream.own(request, Priority::App).await {
        Ok(answer) => answer,
        Err(error) => {
            return Some(failed(
                POLL,
                error.to_string(),
                "check UPSTREAM and the way there",
            ));
        }
    };
    let said = (answer.status, &answer.headers, &answer.body[..]);
    Some(match provider.polled(tenant, &place, said, clock::wall()) {
        Ok(polled) if polled.untold > 0 => failed(
            POLL,
            format!("{} of what changed of late is not understood", polled.untold),
            "name these types in an [[event]], or ask for fewer in `query` of [poll], in the provider file",
        ),
        Ok(polled) => passed(
            POLL,
            format!(
                "what changed of late can be asked for: {} users",
                polled.told.len()
            ),
        ),
        Err(fault) => failed(
            POLL,
            fault.to_string(),
            "correct [poll] in the provider file, or the rights of the key",
        ),
    })
}

enum Unread {
    Way(String),
    Page(PageFault),
}

async fn first_page(config: &Config, upstream: &Upstream, plain: bool) -> Result<Page, Unread> {
    let (provider, tenant) = (&config.provider, &config.tenant);
    let request = provider.page_request(tenant, None, plain).request;
    let answer = upstream.own(request, Priority::App).await;
    let Fetched {
        status,
        headers,
        body,
        ..
    } = answer.map_err(|error| Unread::Way(error.to_string()))?;
    let page = provider.page(tenant, None, status, &headers, &body);
    page.map_err(Unread::Page)
}

impl Unread {
    fn told(self) -> Check {
        match self {
            Unread::Way(error) => failed(LIST, error, "check UPSTREAM and the way there"),
            Unread::Page(fault @ PageFault::Shape { .. }) => failed(
                LIST,
                fault.to_string(),
                "correct `list` of its [[route]] (`empty_has`, where a list of nobody is left out) and `paging` of [list] in the provider file",
            ),
            Unread::Page(fault @ PageFault::Text { .. }) => failed(LIST, fault.to_string(), ""),
            Unread::Page(fault) => failed(
                LIST,
                fault.to_string(),
                "correct `on`, `query` and `size` of [list] in the provider file, or the rights of the key",
            ),
        }
    }
}

fn listed(page: &Page, plain: bool) -> Check {
    let total = page.total.map(|total| format!(" of {total}")).unwrap_or_default();
    let more = match &page.next {
        Next::More(_) => ", and the next one can be asked for",
        _ => ", and it is the last",
    };
    let plain = if plain {
        " (without the optional parameters)"
    } else {
        ""
    };
    let found = format!("the first page has {} users{total}{more}{plain}", page.fetched);
    match page.malformed {
        0 => passed(LIST, found),
        unread => failed(
            LIST,
            format!("{found}; {unread} of them cannot be read"),
            "correct `id` of [user], `id_type` or `numeric_ids` in the provider file",
        ),
    }
}

fn users(config: &Config, page: &Page) -> Vec<Check> {
    let Some(first) = page.sightings.first() else {
        return vec![passed(USER, "there is none to look at".into())];
    };
    match &first.seen {
        Seen::Whole(_) => config.provider.columns(first).iter().map(column).collect(),
        Seen::Missing => vec![passed(USER, "the first one is deleted and still shown".into())],
        _ => vec![failed(
            USER,
            "the first one is not whole: it would be read again, each by itself".into(),
            "correct `whole_has` of [user] in the provider file, or ask for whole users in `query` of [list]",
        )],
    }
}

fn column(column: &Column) -> Check {
    let name = column.name;
    if let Some(at) = &column.unread {
        let text = format!("{name}: what stands at {at} is no time of its `unit`");
        return failed(
            USER,
            text,
            "write the `unit` that it has: s, ms, ms-string or rfc3339",
        );
    }
    let found = match (&column.from, &column.masked) {
        (Some(from), Some(masked)) => format!("{name} from {from}: {masked}"),
        // Users without a name or an address are common.
        _ => format!("no {name} in the first one"),
    };
    passed(USER, found)
}
