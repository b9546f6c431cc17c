//! A change as consumers see it: written as JSON once, however many read it.
//!
//! `after` is the whole row, or null for a user who was purged since: a consumer that upserts by
//! key converges.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::db::columns::Columns;
use crate::user::Pos;

/// One event of the feed.
#[derive(Debug, Clone)]
pub struct Event {
    pub pos: Pos,
    pub id: Arc<str>,
    pub kind: Box<str>,
    pub origin: Box<str>,
    /// The object without `before` and `raw`.
    json: Bytes,
    before: Bytes,
    /// Nothing where it was not read.
    raw: Option<Bytes>,
}

/// What a consumer wants to see of each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    pub before: bool,
    pub raw: bool,
}

/// What a change row or a row of the table says of a user.
#[derive(Debug, Clone, Serialize)]
pub struct After {
    #[serde(serialize_with = "spelled")]
    pub id: Arc<str>,
    #[serde(flatten)]
    pub columns: Columns,
}

/// What an event is made of.
#[derive(Debug)]
pub struct Told {
    pub pos: Pos,
    pub kind: Box<str>,
    pub changed: Vec<String>,
    pub after: After,
    /// What it held of the user is gone.
    pub is_blank: bool,
    pub before: Option<String>,
    pub raw: Option<String>,
    pub origin: Box<str>,
    pub route: Option<String>,
    pub request_id: Option<String>,
    pub committed_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Whole<'a> {
    pos: String,
    #[serde(rename = "type")]
    kind: &'a str,
    op: &'static str,
    key: Key<'a>,
    after: Option<&'a After>,
    changed: &'a [String],
    source: Option<Source<'a>>,
    committed_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Key<'a> {
    provider: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct Source<'a> {
    origin: &'a str,
    route: Option<&'a str>,
    request_id: Option<&'a str>,
}

pub const PURGED: &str = "user.purged";
/// What a change can be.
pub const TYPES: [&str; 5] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "user.restored",
    PURGED,
];

impl Event {
    pub fn change(provider: &str, told: Told, with_raw: bool) -> Event {
        let gone = told.is_blank || told.kind.as_ref() == PURGED;
        let filled = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
        let (route, request_id) = (filled(&told.route), filled(&told.request_id));
        let whole = Whole {
            pos: told.pos.to_string(),
            kind: &told.kind,
            op: op(&told.kind),
            key: Key {
                provider,
                id: &told.after.id,
            },
            after: (!gone).then_some(&told.after),
            changed: &told.changed,
            source: Some(Source {
                origin: &told.origin,
                route: route.as_deref(),
                request_id: request_id.as_deref(),
            }),
            committed_at: Some(told.committed_at),
        };
        Event {
            json: json(&whole),
            before: or_null(told.before.filter(|_| !gone)),
            raw: with_raw.then(|| or_null(told.raw.filter(|_| !gone))),
            pos: told.pos,
            id: told.after.id,
            kind: told.kind,
            origin: told.origin,
        }
    }

    /// A row of the table, for a consumer's start.
    pub fn snapshot(provider: &str, as_of: Pos, row: &After, raw: Option<String>) -> Event {
        let whole = Whole {
            pos: as_of.to_string(),
            kind: "snapshot",
            op: "r",
            key: Key {
                provider,
                id: &row.id,
            },
            after: Some(row),
            changed: &[],
            source: None,
            committed_at: None,
        };
        Event {
            pos: as_of,
            id: row.id.clone(),
            kind: "snapshot".into(),
            origin: "".into(),
            json: json(&whole),
            before: Bytes::from_static(b"null"),
            raw: raw.map(Bytes::from),
        }
    }

    /// The event holds what a consumer of this shape wants.
    pub fn shows(&self, shape: Shape) -> bool {
        !shape.raw || self.raw.is_some()
    }

    /// Roughly what it costs in memory.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.json.len() + self.before.len() + self.raw.as_ref().map_or(0, Bytes::len)
    }

    /// Appends the object.
    pub fn write(&self, shape: Shape, to: &mut BytesMut) {
        let body = self.json.strip_suffix(b"}").unwrap_or(&self.json);
        to.extend_from_slice(body);
        if shape.before {
            to.extend_from_slice(b",\"before\":");
            to.extend_from_slice(&self.before);
        }
        if let Some(raw) = self.raw.as_ref().filter(|_| shape.raw) {
            to.extend_from_slice(b",\"raw\":");
            to.extend_from_slice(raw);
        }
        to.extend_from_slice(b"}");
    }

    /// The same without what it held of the user.
    pub fn blanked(&self) -> Event {
        let mut whole: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&self.json).unwrap_or_default();
        whole.insert("after".into(), serde_json::Value::Null);
        Event {
            json: json(&whole),
            before: or_null(None),
            raw: Some(or_null(None)),
            ..self.clone()
        }
    }
}

fn spelled<S: serde::Serializer>(id: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(id)
}

fn op(kind: &str) -> &'static str {
    match kind {
        "user.created" => "c",
        PURGED => "d",
        _ => "u",
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Strings, times and lists: nothing that JSON cannot hold.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// JSON out of the database, or `null`.
fn or_null(text: Option<String>) -> Bytes {
    let text = text.and_then(|text| RawValue::from_string(text).ok());
    text.map_or(Bytes::from_static(b"null"), |text| {
        Bytes::copy_from_slice(text.get().as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::user::Position;

    fn told(kind: &str, is_blank: bool) -> Event {
        let after = After {
            id: "u1".into(),
            columns: Columns {
                name: Some("Ada".into()),
                ..Columns::default()
            },
        };
        let told = Told {
            pos: Pos {
                position: Position(1),
                nonce: 2,
            },
            kind: kind.into(),
            changed: vec!["name".into()],
            after,
            is_blank,
            before: Some(r#"{"name":"A"}"#.into()),
            raw: Some(r#"{"id":"u1"}"#.into()),
            origin: "sql".into(),
            route: Some(String::new()),
            request_id: None,
            committed_at: DateTime::UNIX_EPOCH,
        };
        Event::change("p", told, true)
    }

    fn shown(event: &Event, shape: Shape) -> Value {
        let mut text = BytesMut::new();
        event.write(shape, &mut text);
        serde_json::from_slice(&text).unwrap()
    }

    const ALL: Shape = Shape {
        before: true,
        raw: true,
    };

    #[test]
    fn an_event_says_what_was_promised() {
        let plain = json!({
            "pos": "0000000000000001-00000002", "type": "user.updated", "op": "u",
            "key": {"provider": "p", "id": "u1"},
            "after": {"id": "u1", "name": "Ada", "email": null, "created_at": null, "updated_at": null,
                      "deleted_at": null},
            "changed": ["name"], "source": {"origin": "sql", "route": null, "request_id": null},
            "committed_at": "1970-01-01T00:00:00Z",
        });
        let event = told("user.updated", false);
        assert_eq!(shown(&event, Shape::default()), plain);
        let all = shown(&event, ALL);
        assert_eq!(
            (&all["before"]["name"], &all["raw"]["id"]),
            (&json!("A"), &json!("u1"))
        );
    }

    #[test]
    fn of_a_purged_user_nothing_is_left() {
        for event in [
            told("user.updated", true),
            told(PURGED, false),
            told("user.created", false).blanked(),
        ] {
            let shown = shown(&event, ALL);
            assert!(!shown.to_string().contains("Ada") && shown["key"]["id"] == "u1");
            assert_eq!(
                (&shown["after"], &shown["before"], &shown["raw"]),
                (&Value::Null, &Value::Null, &Value::Null)
            );
        }
    }
}
