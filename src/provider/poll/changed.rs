//! Users, those who changed last first, or only those who changed since.

use chrono::TimeDelta;
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;

use super::super::clocks::Clocks;
use super::{PollPlace, Polled, Seam, Since, Then, Walk, shape};
use crate::provider::extract::raw_items;
use crate::provider::paging::{List, Next, PageFault, Params};
use crate::provider::view::TimeAt;
use crate::provider::{Provider, Sighting, Tenant};
use crate::user::json;

#[derive(Debug)]
pub(in crate::provider) struct Changed {
    pub list: List,
    /// Of a list in the order of changes, the last at its end: users on a page, of which a shorter one is
    /// the last for now.
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
        let times = changed.times(body);
        let seam = walk.and_then(|walk| walk.seam.as_ref());
        let joins = seam.is_none_or(|seam| seam.joins(&page, changed.latest_first(times.first())));
        if !joins && !place.unjoined {
            let anew = place.begun_anew(shape("a page does not join the one before"));
            return Ok(anew.unjoined());
        }
        let met = Met::of(walk, &times, clocks);
        let is_last =
            changed.is_last(place, page.fetched, &times) || seam.is_some_and(|seam| seam.is_all(&page));
        let seam = Seam::behind(&changed.list, &page, changed.latest_first(times.last()));
        let mut polled = Polled {
            told: changed.told(page.sightings),
            untold: page.malformed,
            missed: (!joins).then(|| place.known_to()),
            ..Polled::behind(place.without_walk())
        };
        match page.next {
            Next::More(cursor) if !is_last => {
                polled.place.walk = Some(Walk {
                    cursor: seam.iter().fold(cursor, |cursor, seam| seam.back(cursor)),
                    highest: met.highest,
                    begun: met.begun,
                    seam,
                });
            }
            Next::Lost => polled.then = Then::Lost(shape("the place where the page begins is gone")),
            Next::More(_) | Next::End => {
                polled.place.known_to = place.known_to.max(changed.known_to(&met, clocks));
                polled.place.unjoined = false;
                polled.then = Then::Done;
            }
        }
        Ok(polled)
    }
}

/// What a walk has met, this page included.
struct Met {
    /// The last change.
    highest: i64,
    /// When the first page was asked for: no change that it shows came later.
    begun: i64,
}

impl Met {
    fn of(walk: Option<&Walk>, times: &[i64], clocks: &Clocks) -> Met {
        let highest = times.iter().copied().max().unwrap_or(i64::MIN);
        match walk {
            Some(walk) => Met {
                highest: highest.max(walk.highest),
                begun: walk.begun,
            },
            // Our clock says nothing of when the provider's users changed.
            None => Met {
                highest,
                begun: clocks.provider.map_or(highest, |now| now.timestamp_micros()),
            },
        }
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

impl Polled {
    fn unjoined(mut self) -> Polled {
        self.place.unjoined = true;
        self
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
    pub(super) fn since(&self, place: &PollPlace) -> Params {
        let pair = |since: &Since| {
            let (param, time) = since.pair(place, self.overlap);
            (param, time.into())
        };
        self.since.iter().map(pair).collect()
    }

    fn told(&self, users: Vec<Sighting>) -> Vec<(String, Sighting)> {
        let name = format!("{} {}", self.list.method, self.list.path);
        users.into_iter().map(|user| (name.clone(), user)).collect()
    }

    /// What comes behind a short page is asked for the next time: those who change meanwhile would make a
    /// walk without an end.
    fn is_last(&self, place: &PollPlace, users: usize, times: &[i64]) -> bool {
        let since = place.since(self.overlap).timestamp_micros();
        let is_known = self.since.is_none() && times.iter().any(|at| *at < since);
        is_known || self.page.is_some_and(|page| users < page)
    }

    /// One of a page's times, where it tells how the page stands to others.
    fn latest_first(&self, time: Option<&i64>) -> Option<i64> {
        time.filter(|_| self.since.is_none()).copied()
    }

    /// Up to when everyone's changes were told, at the end of a walk.
    fn known_to(&self, met: &Met, clocks: &Clocks) -> i64 {
        // Whoever changes during the walk comes at its end only in the order of changes; elsewhere on a
        // page that has been read.
        let told = match self.page {
            Some(_) => met.highest,
            None => met.highest.min(met.begun),
        };
        // A clock that is far ahead would hide what comes.
        let overlap = self.overlap.num_microseconds().unwrap_or(i64::MAX);
        told.min(clocks.now().timestamp_micros().saturating_add(overlap))
    }

    /// When each user of a page changed, as far as that can be read.
    fn times(&self, body: &[u8]) -> Vec<i64> {
        let text = json::text(body);
        let items = text.and_then(|text| raw_items(self.list.at.raw(text)?));
        let time = |item: &RawValue| {
            let user = json::read(self.list.item.raw(item.get())?)?;
            Some(self.at.time(&user)?.timestamp_micros())
        };
        items.unwrap_or_default().into_iter().filter_map(time).collect()
    }
}
