//! Events, each once and in order, read on behind the last one.

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use url::form_urlencoded::Serializer;

use super::super::clocks::Clocks;
use super::{PollPlace, Polled, Since, Then, shape};
use crate::provider::errors::Codes;
use crate::provider::event::Tells;
use crate::provider::extract::raw_items;
use crate::provider::paging::{FAILURE_INSIDE, PageFault};
use crate::provider::pointer::Pointer;
use crate::provider::{Provider, Tenant};
use crate::user::json;

#[derive(Debug)]
pub(in crate::provider) struct Log {
    /// From the provider's base.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub events: Pointer,
    /// In an event: what `after` names it by.
    pub id: Pointer,
    pub after: String,
    /// Where there is no event to go on behind.
    pub since: Option<Since>,
    pub overlap: TimeDelta,
    /// Events on a page, where that is known: a shorter one is the last for now.
    pub page: Option<usize>,
    /// For how long the provider keeps events, where that is known.
    pub keeps: Option<TimeDelta>,
    /// Answers by which the provider says that it does not know the event to go on behind.
    pub lost: Vec<Codes>,
}

impl Provider {
    pub(super) fn logged(
        &self,
        log: &Log,
        tenant: &Tenant,
        place: &PollPlace,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
        clocks: &Clocks,
    ) -> Result<Polled, PageFault> {
        let now = clocks.now();
        let status = self.effective_status(status, headers);
        let code = self.errors.code(headers, body);
        if place.after.is_some() && log.lost.iter().any(|lost| lost.fits(status, code.as_deref())) {
            return Ok(log.begun_anew(place, PageFault::Status { status }, now));
        }
        if !status.is_success() {
            return Err(PageFault::Status { status });
        }
        if self.errors.is_failure_inside(body) {
            return Err(FAILURE_INSIDE);
        }
        let text = json::text(body);
        let events = text.and_then(|text| raw_items(log.events.raw(text)?));
        let events = events.ok_or(shape("there is no list of events where it should stand"))?;
        let mut polled = Polled::behind(place.clone());
        polled.missed = Some(place.known_to()).filter(|known| log.forgets(*known, now));
        for event in &events {
            self.logged_event(tenant, event.get(), &mut polled);
        }
        if events.len() < log.page.unwrap_or(1) {
            polled.then = Then::Done;
            polled.place.known_to = match (&place.after, events.last()) {
                (None, None) => log.begun_at(place, now),
                _ => now.timestamp_micros(),
            };
        }
        let Some(last) = events.last() else {
            return Ok(polled);
        };
        let id = log.id_of(last.get())?;
        if place.after.as_ref() == Some(&id) {
            return Err(shape("the log does not go on"));
        }
        polled.place.after = Some(id);
        Ok(polled)
    }

    fn logged_event(&self, tenant: &Tenant, event: &str, polled: &mut Polled) {
        let read = self.event(tenant, event.as_bytes());
        match read.tells {
            Tells::Users(users) => {
                let told = users.into_iter().map(|user| (read.name.to_owned(), user));
                polled.told.extend(told);
            }
            Tells::Unknown | Tells::Malformed => polled.untold += 1,
            Tells::Nothing | Tells::Foreign => {}
        }
    }
}

impl Log {
    pub(super) fn target(&self, place: &PollPlace) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&self.query);
        match (&place.after, &self.since) {
            (Some(after), _) => drop(query.append_pair(&self.after, after)),
            (None, Some(since)) => {
                let (param, text) = since.pair(place, self.overlap);
                query.append_pair(&param, &text);
            }
            (None, None) => {}
        }
        format!("{}?{}", self.path, query.finish())
    }

    /// As long as no event is known, the beginning: the first one is told then, however late it is shown.
    /// It comes after only where the provider is about to forget what lies there.
    fn begun_at(&self, place: &PollPlace, now: DateTime<Utc>) -> i64 {
        let kept = self.keeps.and_then(|keeps| now.checked_sub_signed(keeps / 2));
        let kept = kept.map_or(i64::MIN, |kept| kept.timestamp_micros());
        place.known_to.min(now.timestamp_micros()).max(kept)
    }

    /// By time instead of by event, where that can be said.
    fn begun_anew(&self, place: &PollPlace, fault: PageFault, now: DateTime<Utc>) -> Polled {
        let is_whole =
            self.since.is_some() && self.keeps.is_some() && !self.forgets(place.since(self.overlap), now);
        let missed = (!is_whole).then(|| place.known_to());
        let place = PollPlace {
            after: None,
            ..place.clone()
        };
        Polled {
            then: Then::Lost(fault),
            missed,
            ..Polled::behind(place)
        }
    }

    /// Of that time not every event is kept any more.
    fn forgets(&self, time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.keeps.is_some_and(|keeps| now - time > keeps)
    }

    fn id_of(&self, event: &str) -> Result<String, PageFault> {
        let event = json::read(event);
        let id = event.as_ref().and_then(|event| self.id.find(event)?.as_str());
        id.map(str::to_owned)
            .ok_or(shape("an event has no id to go on behind"))
    }
}
