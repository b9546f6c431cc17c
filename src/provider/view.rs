//! From a provider's JSON of one user to what the table holds of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::form::Unit;
use super::known::Known;
use super::pointer::Pointer;
use super::template::Template;
use super::{Proof, Provider, Sighting, Tenant, canon};
use crate::user::{Profile, Seen, UserId, View, json};

/// Where in a user's JSON its fields stand.
#[derive(Debug)]
pub(super) struct UserMap {
    pub id: Place,
    pub name: Vec<TextAt>,
    pub email: Vec<TextAt>,
    pub created_at: Option<TimeAt>,
    pub updated_at: Option<TimeAt>,
    pub version: Option<TimeAt>,
    /// Something stands there of a user who is deleted and still shown.
    pub deleted_at: Option<Place>,
    pub volatile: Vec<Pointer>,
    pub drop: Vec<Pointer>,
    pub whole_has: Vec<Pointer>,
    /// The path of the read of one user.
    pub read: Template,
    /// With which the key is tried, where any id would not do.
    pub nobody: Option<String>,
    pub known: Known,
}

/// A JSONPath (RFC 9535); the plain ones without the engine, which costs ten times as much.
#[derive(Debug)]
pub(super) enum Place {
    Plain(Pointer),
    Query(Box<JsonPath>),
}

/// Texts joined by a space; those that are absent or empty are left out.
#[derive(Debug)]
pub(super) struct TextAt {
    pub places: Vec<Place>,
    /// As the file has it.
    pub said: String,
}

#[derive(Debug)]
pub(super) struct TimeAt {
    pub at: Place,
    pub unit: Unit,
    /// As the file has it.
    pub said: String,
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Place, String> {
        let query = JsonPath::parse(text).map_err(|error| error.to_string())?;
        let plain = text
            .strip_prefix('$')
            .filter(|rest| rest.bytes().all(is_plain) && !rest.contains(".."));
        let pointer = plain.and_then(|rest| Pointer::parse(&rest.replace('.', "/")));
        Ok(pointer.map_or(Place::Query(Box::new(query)), Place::Plain))
    }

    pub(super) fn find<'v>(&self, user: &'v Value) -> Option<&'v Value> {
        match self {
            Place::Plain(pointer) => pointer.find(user),
            Place::Query(path) => path.query(user).first(),
        }
    }

    pub(super) fn text<'v>(&self, user: &'v Value) -> Option<&'v str> {
        self.find(user)?.as_str().filter(|text| !text.is_empty())
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

impl TextAt {
    pub(super) fn read(&self, user: &Value) -> Option<String> {
        let texts: Vec<&str> = self.places.iter().filter_map(|place| place.text(user)).collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }
}

impl TimeAt {
    pub(super) fn time(&self, user: &Value) -> Option<DateTime<Utc>> {
        let value = self.at.find(user)?;
        match self.unit {
            Unit::Seconds => DateTime::from_timestamp_millis((value.as_f64()? * 1e3) as i64),
            Unit::Millis => DateTime::from_timestamp_millis(whole(value)?),
            Unit::MillisString => DateTime::from_timestamp_millis(value.as_str()?.parse().ok()?),
            Unit::Rfc3339 => rfc3339(value),
        }
    }

    /// Something stands there, and it is no time as the unit has it.
    pub(super) fn is_unread(&self, user: &Value) -> bool {
        self.time(user).is_none() && self.at.find(user).is_some_and(is_something)
    }

    fn version(&self, user: &Value) -> Option<i64> {
        self.time(user).map(|time| time.timestamp_micros())
    }
}

/// A flag that is not set, and a time that is not there, are nothing, however they are written.
fn is_something(value: &Value) -> bool {
    !value.is_null() && *value != false && *value != "" && *value != 0
}

fn whole(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|float| float as i64))
}

fn rfc3339(value: &Value) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.with_timezone(&Utc))
}

impl UserMap {
    fn profile(&self, user: &Value) -> Profile {
        Profile {
            name: self.name.iter().find_map(|at| at.read(user)),
            email: self.email.iter().find_map(|at| at.read(user)),
            created_at: self.created_at.as_ref().and_then(|at| at.time(user)),
            updated_at: self.updated_at.as_ref().and_then(|at| at.time(user)),
        }
    }

    pub(super) fn is_whole(&self, user: &Value) -> bool {
        self.whole_has.iter().all(|pointer| pointer.find(user).is_some())
    }

    fn is_deleted(&self, user: &Value) -> bool {
        let at = self.deleted_at.as_ref();
        at.and_then(|at| at.find(user)).is_some_and(is_something)
    }

    /// Content first, then the volatile fields; nothing if numbers in it may have been rounded.
    fn canonical(&self, mut user: Value, profile: &Profile, size: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut content, mut volatile) = (Vec::with_capacity(size + 128), Vec::new());
        let mut exact = true;
        for pointer in &self.volatile {
            pointer.take(&mut user, &mut |value| {
                exact &= canon::write(&value, &mut volatile)
            });
            volatile.push(b'\n');
        }
        write_profile(profile, &mut content);
        exact &= canon::write(&user, &mut content);
        exact.then_some((content, volatile))
    }
}

/// Each field with its length in front, so that none runs into the next.
fn write_profile(profile: &Profile, out: &mut Vec<u8>) {
    for text in [&profile.name, &profile.email] {
        let text = text.as_deref();
        out.extend_from_slice(&text.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
    for time in [profile.created_at, profile.updated_at] {
        let micros = time.map_or(i64::MIN, |time| time.timestamp_micros());
        out.extend_from_slice(&micros.to_be_bytes());
    }
}

impl Provider {
    /// What the JSON of one whole user tells. Nothing if it is no user. `again`: the user was most likely
    /// read before.
    pub(super) fn sighting(
        &self,
        tenant: &Tenant,
        text: &str,
        again: bool,
        (proof, unsettled): (Proof, bool),
    ) -> Option<Sighting> {
        let kept = Pointer::cut(&self.user.drop, text);
        let text = kept.as_deref().unwrap_or(text);
        let (id, seen) = match again {
            true => self.seen_again(tenant, text),
            false => self.seen(tenant, text),
        }?;
        Some(Sighting {
            id,
            seen,
            proof,
            unsettled,
        })
    }

    fn seen_again(&self, tenant: &Tenant, text: &str) -> Option<(UserId, Seen)> {
        let known = &self.user.known;
        let at = known.at(text);
        if let Some((id, view)) = known.told(at, text) {
            return Some((id, Seen::Whole(view)));
        }
        let (id, seen) = self.seen(tenant, text)?;
        if let Seen::Whole(view) = &seen {
            known.learn(at, &id, view);
        }
        Some((id, seen))
    }

    fn seen(&self, tenant: &Tenant, text: &str) -> Option<(UserId, Seen)> {
        let user = json::read(text)?;
        let id = self.id_in(tenant, self.user.id.find(&user)?)?;
        let seen = if self.user.is_deleted(&user) {
            Seen::Missing
        } else if self.user.is_whole(&user) {
            Seen::Whole(Arc::new(self.view(user, text)?))
        } else {
            Seen::Partial(Box::new(self.without_volatile(json::exact(text)?)))
        };
        Some((id, seen))
    }

    /// What stands at the id's place can be none of this tenant's. Where nothing stands there it is no user at all, but
    /// what somebody before the provider answered.
    pub(super) fn is_unfit(&self, tenant: &Tenant, text: &str) -> bool {
        let user = json::read(text);
        let id = user.as_ref().and_then(|user| self.user.id.find(user));
        id.is_some_and(|id| !id.is_null() && self.id_in(tenant, id).is_none())
    }

    /// A partial view; of it these fields alone, if any are said.
    pub(super) fn partial(
        &self,
        tenant: &Tenant,
        text: &str,
        fields: Option<&[String]>,
    ) -> Option<(UserId, Seen)> {
        let mut user = json::exact(text)?;
        let id = self.id_in(tenant, self.user.id.find(&user)?)?;
        if let (Some(fields), Some(shown)) = (fields, user.as_object_mut()) {
            shown.retain(|name, _| fields.contains(name));
        }
        for pointer in &self.user.drop {
            pointer.take(&mut user, &mut drop);
        }
        Some((id, Seen::Partial(Box::new(self.without_volatile(user)))))
    }

    fn without_volatile(&self, mut user: Value) -> Value {
        for pointer in &self.user.volatile {
            pointer.take(&mut user, &mut drop);
        }
        user
    }

    fn view(&self, user: Value, text: &str) -> Option<View> {
        let profile = self.user.profile(&user);
        let version = self.user.version.as_ref().and_then(|at| at.version(&user));
        let canonical = self.user.canonical(user, &profile, text.len());
        let (content, volatile) = match canonical {
            Some(exact) => exact,
            None => self.user.canonical(json::exact(text)?, &profile, text.len())?,
        };
        Some(View {
            raw: text.into(),
            profile,
            content: canon::hash(&content),
            volatile: canon::hash(&volatile),
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_paths_go_round_the_engine() {
        assert!(matches!(Place::parse("$.a.b_c").unwrap(), Place::Plain(_)));
        assert!(matches!(Place::parse("$.a[0].b").unwrap(), Place::Query(_)));
        assert!(matches!(Place::parse("$..b").unwrap(), Place::Query(_)));
        assert!(Place::parse("$.a[").is_err());
        let user = json!({"a": {"b": "x"}, "l": [{"id": 1, "v": "one"}], "p": 1});
        assert_eq!(Place::parse("$.a.b").unwrap().text(&user), Some("x"));
        let by_reference = Place::parse("$.l[?@.id == $.p].v").unwrap();
        assert_eq!(by_reference.text(&user), Some("one"));
    }

    #[test]
    fn times_come_in_four_units() {
        let time = |value: Value, unit| {
            let at = TimeAt {
                said: String::new(),
                at: Place::parse("$.t").unwrap(),
                unit,
            };
            at.time(&json!({"t": value})).map(|time| time.timestamp_millis())
        };
        assert_eq!(time(json!(1_500), Unit::Millis), Some(1_500));
        assert_eq!(time(json!(1.5), Unit::Seconds), Some(1_500));
        assert_eq!(time(json!("1500"), Unit::MillisString), Some(1_500));
        assert_eq!(
            time(json!("1970-01-01T01:00:01.5+01:00"), Unit::Rfc3339),
            Some(1_500)
        );
        assert_eq!(time(json!(i64::MAX), Unit::Millis), None);
        assert_eq!(time(json!("soon"), Unit::Rfc3339), None);
    }
}
