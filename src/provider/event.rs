//! What an event of the provider's (in a webhook, or in a list of events) tells of which users.
//!
//! An event proves nothing by position, for nobody knows when it was made: a whole user is judged by
//! its version, and everything else is a hint to read the user again, a deletion too.

use serde_json::Value;
use serde_json::value::RawValue;
use serde_json_path::JsonPath;

use super::extract::raw_items;
use super::pointer::Pointer;
use super::{Proof, Provider, Sighting, Tenant};
use crate::user::{Seen, UserId, json};

/// What the provider's file says of some types of events.
#[derive(Debug)]
pub(super) struct EventRule {
    /// As written: the first of them names it.
    pub on: Vec<String>,
    /// Only where these places have these values.
    pub when: Vec<(Pointer, String)>,
    pub told: EventTold,
}

#[derive(Debug)]
pub(super) enum EventTold {
    Whole(Pointer),
    Partial(Pointer),
    /// Deletions too: whether the user is gone is asked at its own path.
    Touched(Vec<IdsAt>),
    Mentioned(Vec<IdsAt>),
    Nothing,
}

/// Where ids stand: with a condition on what stands beside them, a JSONPath.
#[derive(Debug)]
pub(super) enum IdsAt {
    Pointer(Pointer),
    Path(Box<JsonPath>),
}

impl IdsAt {
    fn each<'v>(&self, event: &'v Value, take: &mut dyn FnMut(&'v Value)) {
        match self {
            IdsAt::Pointer(at) => at.each(event, take),
            IdsAt::Path(path) => path.query(event).all().into_iter().for_each(take),
        }
    }

    fn has_any(&self, event: &Value) -> bool {
        let mut has_any = false;
        self.each(event, &mut |at| has_any |= !at.is_null());
        has_any
    }
}

/// Where in an event its parts stand.
#[derive(Debug)]
pub(super) struct EventMap {
    pub kind: Pointer,
    /// Where they stand in a delivery of several.
    pub list: Option<Pointer>,
    /// A part of the identity, and where events name it.
    pub tenant: Vec<(String, Pointer)>,
}

/// One event.
#[derive(Debug)]
pub struct Event<'p> {
    /// Its type, as the provider's file names it; empty for one that it does not know.
    pub name: &'p str,
    pub tells: Tells,
}

#[derive(Debug)]
pub enum Tells {
    Users(Vec<Sighting>),
    /// The provider's file knows it, and it tells of no user.
    Nothing,
    /// Of a type that the provider's file does not know.
    Unknown,
    /// Another tenant's.
    Foreign,
    /// It is not what the provider's file says.
    Malformed,
}

impl EventRule {
    fn is_for(&self, kind: &str, event: &Value) -> bool {
        let fits = |on: &String| match on.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => on == kind,
        };
        let holds =
            |(at, value): &(Pointer, String)| at.find(event).and_then(Value::as_str) == Some(value.as_str());
        self.on.iter().any(fits) && self.when.iter().all(holds)
    }

    fn name(&self) -> &str {
        self.on.first().map_or("", String::as_str)
    }
}

impl Provider {
    /// What each event of a delivery tells. Its source must be known to be the provider.
    pub(super) fn events(&self, tenant: &Tenant, body: &[u8]) -> Vec<Event<'_>> {
        let Some(list) = &self.events.list else {
            return vec![self.event(tenant, body)];
        };
        let text = json::text(body);
        match text.and_then(|text| raw_items(list.raw(text)?)) {
            Some(events) => {
                let event = |event: &RawValue| self.event(tenant, event.get().as_bytes());
                events.into_iter().map(event).collect()
            }
            None => vec![Event {
                name: "",
                tells: Tells::Malformed,
            }],
        }
    }

    /// What an event tells. Its source must be known to be the provider.
    pub(super) fn event(&self, tenant: &Tenant, body: &[u8]) -> Event<'_> {
        let untold = |tells| Event { name: "", tells };
        let map = &self.events;
        let Some(text) = json::text(body) else {
            return untold(Tells::Malformed);
        };
        let Some(event) = json::read(text) else {
            return untold(Tells::Malformed);
        };
        let Some(kind) = map.kind.find(&event).and_then(Value::as_str) else {
            return untold(Tells::Malformed);
        };
        if map.is_foreign(tenant, &event) {
            return untold(Tells::Foreign);
        }
        match self.event_rules.iter().find(|rule| rule.is_for(kind, &event)) {
            None => untold(Tells::Unknown),
            Some(rule) => Event {
                name: rule.name(),
                tells: self.told_by(rule, tenant, text, &event),
            },
        }
    }

    fn told_by(&self, rule: &EventRule, tenant: &Tenant, text: &str, event: &Value) -> Tells {
        let sightings = match &rule.told {
            EventTold::Nothing => return Tells::Nothing,
            EventTold::Whole(at) => {
                let user = at.raw(text);
                let told = user.and_then(|user| self.sighting(tenant, user, false, (Proof::Never, false)));
                told.into_iter().collect()
            }
            EventTold::Partial(at) => {
                let told = at.raw(text).and_then(|user| self.partial(tenant, user, None));
                told.map(|(id, seen)| hint(id, seen)).into_iter().collect()
            }
            EventTold::Touched(at) => self.named_by(at, Seen::Touched, tenant, event),
            // By somebody who is nobody's user yet, or by a machine.
            EventTold::Mentioned(at) if !at.iter().any(|at| at.has_any(event)) => return Tells::Nothing,
            EventTold::Mentioned(at) => self.named_by(at, Seen::Mentioned, tenant, event),
        };
        match sightings.is_empty() {
            true => Tells::Malformed,
            false => Tells::Users(sightings),
        }
    }

    fn named_by(&self, places: &[IdsAt], seen: Seen, tenant: &Tenant, event: &Value) -> Vec<Sighting> {
        let mut named: Vec<UserId> = Vec::new();
        for place in places {
            place.each(event, &mut |id| {
                let id = self.id_in(tenant, id);
                named.extend(id.filter(|id| !named.contains(id)));
            });
        }
        named.into_iter().map(|id| hint(id, seen.clone())).collect()
    }
}

impl EventMap {
    /// It names another tenant. One that names none is judged by its signature alone.
    fn is_foreign(&self, tenant: &Tenant, event: &Value) -> bool {
        let differs = |(part, at): &(String, Pointer)| {
            let named = at.find(event).and_then(Value::as_str);
            named.is_some_and(|named| tenant.part(part) != Some(named))
        };
        self.tenant.iter().any(differs)
    }
}

fn hint(id: UserId, seen: Seen) -> Sighting {
    Sighting {
        id,
        seen,
        proof: Proof::Never,
        unsettled: false,
    }
}
