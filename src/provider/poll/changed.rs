//! Users, those who changed last first, or only those who changed since.

use chrono::TimeDelta;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Clocks, PollPlace, Polled, Since, Then, Walk, shape};
use crate::provider::extract::raw_items;
use crate::provider::paging::{List, Next, PageFault};
use crate::provider::view::TimeAt;
use crate::provider::{Provider, Tenant};

#[derive(Debug)]
pub(in crate::provider) struct Changed {
    pub list: List,
    /// Of a list in the order of changes: users on a page, of which a shorter one is the last for now.
    pub page: Option<usize>,
    pub at: TimeAt,
    pub since: Option<Since>,
    pub overlap: TimeDelta,
}

impl Provider {
    pub(super) fn changed(
        &self,
        changed: &Changed,
        tenant: &Tenant,
        place: &PollPlace,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
        clocks: &Clocks,
    ) -> Result<Polled, PageFault> {
        let walk = place.walk.as_ref();
        let cursor = walk.map(|walk| &walk.cursor);
        let page = match self.page_of(tenant, &changed.list, cursor, status, headers, body) {
            Err(fault) if walk.is_some() && is_refusal(&fault) => return Ok(place.begun_anew(fault)),
            page => page?,
        };
        let users = page.fetched;
        let times = changed.times(body);
        let highest = times.iter().copied().max().unwrap_or(i64::MIN);
        let highest = highest.max(walk.map_or(i64::MIN, |walk| walk.highest));
        let since = place.since(changed.overlap).timestamp_micros();
        let is_known = changed.since.is_none() && times.iter().any(|at| *at < since);
        // What comes behind a short page is asked for the next time: those who change meanwhile would
        // make a walk without an end.
        let is_last = is_known || changed.page.is_some_and(|page| users < page);
        let name = format!("GET {}", changed.list.path);
        let told = page.sightings.into_iter().map(|user| (name.clone(), user));
        let mut polled = Polled {
            told: told.collect(),
            untold: page.malformed,
            ..Polled::behind(place.without_walk())
        };
        match page.next {
            Next::More(cursor) if !is_last => polled.place.walk = Some(Walk { cursor, highest }),
            Next::Lost => polled.then = Then::Lost(shape("the place where the page begins is gone")),
            Next::More(_) | Next::End => {
                // A clock that is far ahead would hide what comes.
                let overlap = changed.overlap.num_microseconds().unwrap_or(i64::MAX);
                let known_to = highest.min(clocks.now().timestamp_micros().saturating_add(overlap));
                polled.place.known_to = place.known_to.max(known_to);
                polled.then = Then::Done;
            }
        }
        Ok(polled)
    }
}

impl PollPlace {
    /// The walk from its first page on, where it does not go on.
    fn begun_anew(&self, fault: PageFault) -> Polled {
        Polled {
            then: Then::Lost(fault),
            ..Polled::behind(self.without_walk())
        }
    }

    fn without_walk(&self) -> PollPlace {
        PollPlace {
            walk: None,
            ..self.clone()
        }
    }
}

/// The request is at fault, thus the stored place: links and cursors expire. Not where it was the key, or
/// the moment.
fn is_refusal(fault: &PageFault) -> bool {
    let PageFault::Status { status } = fault else {
        return false;
    };
    status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 429)
}

impl Changed {
    pub(super) fn since(&self, place: &PollPlace) -> Vec<(String, String)> {
        let since = self.since.iter();
        since.map(|since| since.pair(place, self.overlap)).collect()
    }

    /// When each user of a page changed, as far as that can be read.
    fn times(&self, body: &[u8]) -> Vec<i64> {
        let text = std::str::from_utf8(body).ok();
        let items = text.and_then(|text| raw_items(self.list.at.raw(text)?));
        let time = |item: &RawValue| {
            let user: Value = serde_json::from_str(self.list.item.raw(item.get())?).ok()?;
            Some(self.at.time(&user)?.timestamp_micros())
        };
        items.unwrap_or_default().into_iter().filter_map(time).collect()
    }
}
