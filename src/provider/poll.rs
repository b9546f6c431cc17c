//! Asking what has changed: a log of events that is read on, or the users who changed last.
//!
//! A place says how far it was read; it is kept like a checkpoint, as text that only this module
//! understands. What was told once may be told again, never left out without being said: the time from
//! which is asked lies a little before what is known, and where the provider does not keep what lies
//! there any more, [`Polled::missed`] says so. Times are the provider's, and so is the clock wherever its
//! answers show it. Requests go to the provider's own address, whatever they name.

mod changed;
mod log;
mod seam;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::clocks::Clocks;
use super::form::Unit;
use super::paging::{Cursor, PageFault};
use super::template::Template;
use super::{OwnRequest, Provider, Sighting, Tenant};

pub(super) use changed::Changed;
pub(super) use log::Log;
use seam::Seam;

/// How this provider tells what has changed.
#[derive(Debug)]
pub(super) enum Poll {
    Log(Box<Log>),
    Changed(Box<Changed>),
}

/// The parameter that says from when on.
#[derive(Debug)]
pub(super) struct Since {
    pub param: String,
    /// With `{time}` in it.
    pub text: Template,
    pub unit: Unit,
}

/// How far it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollPlace {
    /// Microseconds since 1970: what changed before then was told.
    known_to: i64,
    /// That is the beginning by our clock: no answer has shown the provider's yet.
    #[serde(default)]
    by_our_clock: bool,
    /// Pages of the list did not join, and it was begun anew: whoever is passed over now is said.
    #[serde(default)]
    unjoined: bool,
    /// Of a log: the event that was read last.
    #[serde(default)]
    after: Option<String>,
    /// In the midst of the users who changed.
    #[serde(default)]
    walk: Option<Walk>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Walk {
    cursor: Cursor,
    /// The last change that was met.
    highest: i64,
    /// When its first page was asked for, by the provider's clock. Zero of a walk that a version before
    /// this one began: `known_to` then stays where it is.
    #[serde(default)]
    begun: i64,
    /// Which the next page joins, of a list by offset.
    #[serde(default)]
    seam: Option<Seam>,
}

/// What one answer told.
#[derive(Debug)]
pub struct Polled {
    /// With the name of the event, or of the list.
    pub told: Vec<(String, Sighting)>,
    /// Events of unknown types, and what could not be read.
    pub untold: usize,
    pub place: PollPlace,
    pub then: Then,
    /// What changed from then on may not have been told, and never will be by asking so.
    pub missed: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// More is to be read at the new place.
    More,
    /// There is nothing more for now.
    Done,
    /// It does not go on from the old place, and this is why; the new one is another way to ask, worth
    /// keeping only once it has been answered.
    Lost(PageFault),
}

impl PollPlace {
    /// From now on: what was before, a backfill or reconcile tells.
    pub fn beginning(now: DateTime<Utc>) -> PollPlace {
        PollPlace {
            known_to: now.timestamp_micros(),
            by_our_clock: true,
            unjoined: false,
            after: None,
            walk: None,
        }
    }

    fn known_to(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.known_to).unwrap_or_default()
    }

    fn since(&self, overlap: TimeDelta) -> DateTime<Utc> {
        self.known_to() - overlap
    }

    /// The beginning as the provider's clock had it. Nothing where the question already told of all
    /// that came since, by a clock that was ahead by no more than the overlap.
    fn put_back(&self, clocks: &Clocks, overlap: TimeDelta) -> Option<PollPlace> {
        let ahead = clocks.ahead();
        (self.by_our_clock && ahead > overlap).then(|| PollPlace {
            known_to: self
                .known_to
                .saturating_sub(ahead.num_microseconds().unwrap_or(i64::MAX)),
            by_our_clock: false,
            ..self.clone()
        })
    }
}

impl Provider {
    /// Whether the provider's file says how to ask what has changed.
    pub fn can_be_polled(&self) -> bool {
        self.poll.is_some()
    }

    /// The question at this place. `None` where there is no way to ask, or no key.
    pub fn poll_request(&self, tenant: &Tenant, place: &PollPlace) -> Option<OwnRequest> {
        tenant.key.as_ref()?;
        Some(match self.poll.as_ref()? {
            Poll::Log(log) => self.own_request_at(tenant, &log.target(place)),
            Poll::Changed(changed) => {
                let since = changed.since(place);
                let cursor = place.walk.as_ref().map(|walk| &walk.cursor);
                let page = self.page_ordered(tenant, &changed.list, cursor, true, &since);
                page.request
            }
        })
    }

    /// Reads the answer to [`Provider::poll_request`] at the same place; `now` is by our clock.
    ///
    /// # Errors
    /// [`PageFault`]: the place stays.
    pub fn polled(
        &self,
        tenant: &Tenant,
        place: &PollPlace,
        answer: (StatusCode, &HeaderMap, &[u8]),
        now: DateTime<Utc>,
    ) -> Result<Polled, PageFault> {
        let clocks = Clocks::of(answer.1, now);
        let (mut polled, overlap) = match &self.poll {
            Some(Poll::Log(log)) => (self.logged(log, tenant, place, answer, &clocks)?, log.overlap),
            Some(Poll::Changed(changed)) => {
                let polled = self.changed(changed, tenant, place, answer, &clocks)?;
                (polled, changed.overlap)
            }
            None => return Err(shape("the provider's file has no [poll]")),
        };
        polled.place.by_our_clock = false;
        if let Some(begun) = place.put_back(&clocks, overlap) {
            polled.place = begun;
            polled.then = Then::More;
        }
        Ok(polled)
    }
}

impl Polled {
    fn behind(place: PollPlace) -> Polled {
        Polled {
            told: Vec::new(),
            untold: 0,
            place,
            then: Then::More,
            missed: None,
        }
    }
}

impl Since {
    fn pair(&self, place: &PollPlace, overlap: TimeDelta) -> (String, String) {
        let time = self.unit.spelled(place.since(overlap));
        let text = self.text.fill(&|_| Some(time.clone()));
        (self.param.clone(), text.unwrap_or_default())
    }
}

impl Unit {
    fn spelled(self, time: DateTime<Utc>) -> String {
        match self {
            Unit::Seconds => time.timestamp().to_string(),
            Unit::Millis | Unit::MillisString => time.timestamp_millis().to_string(),
            Unit::Rfc3339 => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}

fn shape(what: &'static str) -> PageFault {
    PageFault::Shape { what }
}
