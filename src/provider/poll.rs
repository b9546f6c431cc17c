//! Asking what has changed: a log of events that is read on, or the users who changed last.
//!
//! A place says how far it was read; it is kept like a checkpoint, as text that only this module
//! understands. What was told once may be told again, never left out: the time from which is asked lies
//! a little before what is known. Requests go to the provider's own address, whatever its answers name.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::event::Tells;
use super::extract::raw_items;
use super::form::Unit;
use super::paging::{Cursor, List, Next, PageFault};
use super::pointer::Pointer;
use super::template::Template;
use super::view::TimeAt;
use super::{OwnRequest, Provider, Sighting, Tenant};

/// How this provider tells what has changed.
#[derive(Debug)]
pub(super) enum Poll {
    Log(Log),
    Changed(Box<Changed>),
}

/// Events, each once and in order.
#[derive(Debug)]
pub(super) struct Log {
    pub path: String,
    pub query: Vec<(String, String)>,
    pub events: Pointer,
    /// In an event: what `after` names it by.
    pub id: Pointer,
    pub after: String,
    /// Where there is no event to go on behind.
    pub since: Option<Since>,
    pub overlap: TimeDelta,
}

/// Users, those who changed last first, or only those who changed since.
#[derive(Debug)]
pub(super) struct Changed {
    pub list: List,
    pub at: TimeAt,
    pub since: Option<Since>,
    pub overlap: TimeDelta,
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
}

/// What one answer told.
#[derive(Debug)]
pub struct Polled {
    /// With the name of the event, or of the list.
    pub told: Vec<(String, Sighting)>,
    /// Events of unknown types, and what could not be read.
    pub untold: usize,
    pub place: PollPlace,
    /// There is nothing more for now.
    pub is_done: bool,
}

impl PollPlace {
    /// From now on: what was before, a backfill or reconcile tells.
    pub fn beginning(now: DateTime<Utc>) -> PollPlace {
        PollPlace {
            known_to: now.timestamp_micros(),
            after: None,
            walk: None,
        }
    }

    fn since(&self, overlap: TimeDelta) -> DateTime<Utc> {
        let known_to = DateTime::from_timestamp_micros(self.known_to).unwrap_or_default();
        known_to - overlap
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
        match self.poll.as_ref()? {
            Poll::Log(log) => Some(self.own_request(tenant, &log.target(place))),
            Poll::Changed(changed) => {
                let since = changed
                    .since
                    .as_ref()
                    .map(|since| since.pair(place, changed.overlap));
                let since: Vec<_> = since.into_iter().collect();
                let cursor = place.walk.as_ref().map(|walk| &walk.cursor);
                let page = self.page_ordered(tenant, &changed.list, cursor, true, &since);
                Some(page.request)
            }
        }
    }

    /// Reads the answer to [`Provider::poll_request`] at the same place.
    ///
    /// # Errors
    /// [`PageFault`]: the place stays.
    pub fn polled(
        &self,
        tenant: &Tenant,
        place: &PollPlace,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
        now: DateTime<Utc>,
    ) -> Result<Polled, PageFault> {
        match &self.poll {
            Some(Poll::Log(log)) => {
                let status = self.effective_status(status, headers);
                if place.after.is_some() && is_lost(status) {
                    return Ok(Polled::behind(PollPlace {
                        after: None,
                        ..place.clone()
                    }));
                }
                match status.is_success() {
                    true => self.logged(log, tenant, place, body, now),
                    false => Err(PageFault::Status { status }),
                }
            }
            Some(Poll::Changed(changed)) => {
                self.changed(changed, tenant, place, (status, headers, body), now)
            }
            None => Err(shape("the provider's file has no [poll]")),
        }
    }

    fn logged(
        &self,
        log: &Log,
        tenant: &Tenant,
        place: &PollPlace,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Polled, PageFault> {
        let text = std::str::from_utf8(body)
            .ok()
            .and_then(|text| log.events.raw(text));
        let events = text.and_then(raw_items);
        let events = events.ok_or(shape("there is no list of events where it should stand"))?;
        let mut polled = Polled::behind(place.clone());
        for event in &events {
            let event = event.get();
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
        polled.is_done = events.is_empty();
        if let Some(last) = events.last() {
            let last: Option<Value> = serde_json::from_str(last.get()).ok();
            let id = last.as_ref().and_then(|last| log.id.find(last)?.as_str());
            let id = id.ok_or(shape("an event has no id to go on behind"))?;
            if place.after.as_deref() == Some(id) {
                return Err(shape("the log does not go on"));
            }
            polled.place.after = Some(id.to_owned());
        } else {
            polled.place.known_to = now.timestamp_micros();
        }
        Ok(polled)
    }

    fn changed(
        &self,
        changed: &Changed,
        tenant: &Tenant,
        place: &PollPlace,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
        now: DateTime<Utc>,
    ) -> Result<Polled, PageFault> {
        let walk = place.walk.as_ref();
        let cursor = walk.map(|walk| &walk.cursor);
        let page = self.page_of(tenant, &changed.list, cursor, status, headers, body)?;
        let times = changed.times(body);
        let highest = times.iter().copied().max().unwrap_or(i64::MIN);
        let highest = highest.max(walk.map_or(i64::MIN, |walk| walk.highest));
        let since = place.since(changed.overlap).timestamp_micros();
        let is_known = changed.since.is_none() && times.iter().any(|at| *at < since);
        let name = format!("GET {}", changed.list.path);
        let told = page.sightings.into_iter().map(|user| (name.clone(), user));
        let mut polled = Polled {
            told: told.collect(),
            untold: page.malformed,
            ..Polled::behind(PollPlace {
                walk: None,
                ..place.clone()
            })
        };
        match page.next {
            Next::More(cursor) if !is_known => polled.place.walk = Some(Walk { cursor, highest }),
            // The whole of it once more, the next time.
            Next::Lost => polled.is_done = true,
            Next::More(_) | Next::End => {
                // A clock that is far ahead would hide what comes.
                let known_to = highest.min((now + changed.overlap).timestamp_micros());
                polled.place.known_to = place.known_to.max(known_to);
                polled.is_done = true;
            }
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
            is_done: false,
        }
    }
}

impl Log {
    fn target(&self, place: &PollPlace) -> String {
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
}

impl Changed {
    /// When each user of a page changed, as far as that can be read.
    fn times(&self, body: &[u8]) -> Vec<i64> {
        let text = std::str::from_utf8(body).ok();
        let items = text.and_then(|text| raw_items(self.list.at.raw(text)?));
        let time = |item: &serde_json::value::RawValue| {
            let user: Value = serde_json::from_str(self.list.item.raw(item.get())?).ok()?;
            Some(self.at.time(&user)?.timestamp_micros())
        };
        items.unwrap_or_default().into_iter().filter_map(time).collect()
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

/// The event to go on behind is not kept any more.
fn is_lost(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 410 | 422)
}

fn shape(what: &'static str) -> PageFault {
    PageFault::Shape { what }
}
