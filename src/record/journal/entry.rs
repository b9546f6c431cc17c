//! What a record holds: the observations of one submission, as JSON.
//!
//! No token, no password, no key: an observation has none. Users' JSON stands as it came, the
//! fields that the provider's file drops already dropped.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::user::{
    ContentHash, IdType, Observation, Origin, Position, Profile, Seen, Sent, Source, Tick, UserId, View, json,
};

/// What was seen and cannot be told by its stamp when it was: left out unless it is equal, and
/// read again. A position before everything, a stranger's too.
pub const UNPROVEN: Position = Position(-1);

/// One submission.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: DateTime<Utc>,
    pub observations: Vec<Observation>,
}

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    at: i64,
    #[serde(borrow)]
    seen: Vec<KeptOne<'a>>,
}

#[derive(Serialize, Deserialize)]
struct KeptOne<'a> {
    id: Cow<'a, str>,
    what: What,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    raw: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    view: Option<KeptView>,
    epoch: i64,
    position: i64,
    tick: u64,
    origin: String,
    route: String,
    request: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsettled: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum What {
    Whole,
    Partial,
    Deleted,
    Missing,
    Touched,
    Mentioned,
    Awaited,
}

/// What a view has beside its JSON.
#[derive(Serialize, Deserialize)]
struct KeptView {
    name: Option<String>,
    email: Option<String>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    content: [u8; 16],
    volatile: [u8; 16],
    version: Option<i64>,
}

/// A record that is whole and yet says nothing to this version.
#[derive(Debug, thiserror::Error)]
#[error("a record of the journal cannot be understood")]
pub struct Unreadable;

/// As a payload. `proven` says whether a stamp may still prove something when it is read back.
pub fn encode(
    at: DateTime<Utc>,
    observations: &[Observation],
    proven: impl Fn(&Observation) -> bool,
) -> Vec<u8> {
    let raws = observations.iter().map(|observation| raw_of(&observation.seen));
    let raws: Vec<Option<Box<RawValue>>> = raws.collect();
    let seen = observations.iter().zip(&raws).map(|(observation, raw)| {
        let sent = observation.sent;
        KeptOne {
            id: observation.id.as_str().into(),
            what: what(&observation.seen, raw.is_some()),
            raw: raw.as_deref(),
            view: view_of(&observation.seen),
            epoch: sent.epoch,
            position: if proven(observation) {
                sent.position.0
            } else {
                UNPROVEN.0
            },
            tick: sent.tick.0,
            origin: observation.source.origin.as_str().into(),
            route: observation.source.route.to_string(),
            request: observation.source.request_id.to_string(),
            unsettled: observation.unsettled,
        }
    });
    let kept = Kept {
        at: at.timestamp_millis(),
        seen: seen.collect(),
    };
    // Nothing in it can fail; an empty record would be told as damaged.
    serde_json::to_vec(&kept).unwrap_or_default()
}

/// From a payload. The ticks of another process mean nothing here: `own` says whether it is this.
pub fn decode(payload: &[u8], id_type: IdType, own: bool) -> Result<Entry, Unreadable> {
    let kept: Kept<'_> = serde_json::from_slice(payload).map_err(|_| Unreadable)?;
    let observations = kept.seen.into_iter().map(|kept| kept.observation(id_type, own));
    Ok(Entry {
        at: DateTime::from_timestamp_millis(kept.at).unwrap_or_default(),
        observations: observations.collect::<Result<_, _>>()?,
    })
}

impl KeptOne<'_> {
    fn observation(self, id_type: IdType, own: bool) -> Result<Observation, Unreadable> {
        let source = Source {
            origin: origin(&self.origin).ok_or(Unreadable)?,
            route: self.route.into(),
            request_id: self.request.into(),
        };
        Ok(Observation {
            id: UserId::parse(&self.id, id_type).ok_or(Unreadable)?,
            seen: seen(self.what, self.raw, self.view)?,
            sent: Sent {
                epoch: self.epoch,
                position: Position(self.position),
                tick: if own { Tick(self.tick) } else { Tick(0) },
            },
            source: Arc::new(source),
            unsettled: self.unsettled,
        })
    }
}

fn raw_of(seen: &Seen) -> Option<Box<RawValue>> {
    let text = match seen {
        Seen::Whole(view) => view.raw.to_string(),
        Seen::Partial(value) => value.to_string(),
        _ => return None,
    };
    RawValue::from_string(text).ok()
}

fn view_of(seen: &Seen) -> Option<KeptView> {
    let Seen::Whole(view) = seen else { return None };
    let profile = &view.profile;
    Some(KeptView {
        name: profile.name.clone(),
        email: profile.email.clone(),
        created_at: profile.created_at,
        updated_at: profile.updated_at,
        content: view.content.0,
        volatile: view.volatile.0,
        version: view.version,
    })
}

/// What cannot be written down is at least read again.
fn what(seen: &Seen, has_raw: bool) -> What {
    match seen {
        Seen::Whole(_) if has_raw => What::Whole,
        Seen::Partial(_) if has_raw => What::Partial,
        Seen::Whole(_) | Seen::Partial(_) => What::Touched,
        Seen::Deleted => What::Deleted,
        Seen::Missing => What::Missing,
        Seen::Touched => What::Touched,
        Seen::Mentioned => What::Mentioned,
        Seen::Awaited => What::Awaited,
    }
}

fn seen(what: What, raw: Option<&RawValue>, view: Option<KeptView>) -> Result<Seen, Unreadable> {
    Ok(match (what, raw, view) {
        (What::Whole, Some(raw), Some(view)) => Seen::Whole(Arc::new(View {
            raw: raw.get().into(),
            profile: Profile {
                name: view.name,
                email: view.email,
                created_at: view.created_at,
                updated_at: view.updated_at,
            },
            content: ContentHash(view.content),
            volatile: ContentHash(view.volatile),
            version: view.version,
        })),
        (What::Partial, Some(raw), _) => Seen::Partial(Box::new(json::read(raw.get()).ok_or(Unreadable)?)),
        (What::Deleted, ..) => Seen::Deleted,
        (What::Missing, ..) => Seen::Missing,
        (What::Touched, ..) => Seen::Touched,
        (What::Mentioned, ..) => Seen::Mentioned,
        (What::Awaited, ..) => Seen::Awaited,
        (What::Whole | What::Partial, ..) => return Err(Unreadable),
    })
}

fn origin(word: &str) -> Option<Origin> {
    Origin::ALL.into_iter().find(|origin| origin.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observation(seen: Seen) -> Observation {
        Observation {
            id: UserId::parse("u\"1", IdType::Text).unwrap(),
            seen,
            sent: Sent {
                epoch: 3,
                position: Position(7),
                tick: Tick(5),
            },
            source: Arc::new(Source {
                origin: Origin::ProxyWrite,
                route: "PATCH /users/{id}".into(),
                request_id: "r".into(),
            }),
            unsettled: true,
        }
    }

    fn whole() -> Seen {
        Seen::Whole(Arc::new(View {
            raw: r#"{"n": 1.0, "name":"\u0000\"é"}"#.into(),
            profile: Profile {
                name: Some("é\0".into()),
                ..Profile::default()
            },
            content: ContentHash([1; 16]),
            volatile: ContentHash([2; 16]),
            version: Some(-4),
        }))
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        let deep = format!(
            r#"{{"a":1e400,"b":{}{},"c":"\ude00"}}"#,
            "[".repeat(140),
            "]".repeat(140)
        );
        let kinds = [
            whole(),
            Seen::Partial(Box::new(json!({"a": [1, {"b": null}]}))),
            Seen::Partial(Box::new(json::exact(&deep).unwrap())),
            Seen::Deleted,
            Seen::Missing,
            Seen::Touched,
            Seen::Mentioned,
            Seen::Awaited,
        ];
        for seen in kinds {
            let there = observation(seen);
            let payload = encode(DateTime::UNIX_EPOCH, std::slice::from_ref(&there), |_| true);
            let back = decode(&payload, IdType::Text, true).unwrap();
            let [back] = &back.observations[..] else {
                panic!("one observation")
            };
            assert_eq!(format!("{back:?}"), format!("{there:?}"));
            if let (Seen::Whole(back), Seen::Whole(there)) = (&back.seen, &there.seen) {
                assert!(back == there);
            }
        }
    }

    #[test]
    fn every_origin_comes_back_as_it_was() {
        for origin in Origin::ALL {
            let mut there = observation(Seen::Touched);
            there.source = Source::own(origin, "list users");
            let payload = encode(DateTime::UNIX_EPOCH, &[there], |_| true);
            let back = decode(&payload, IdType::Text, true).unwrap();
            assert_eq!(back.observations[0].source.origin, origin);
        }
    }

    #[test]
    fn what_cannot_be_proven_any_more_is_noted_so() {
        let payload = |proven| {
            let seen = observation(Seen::Deleted);
            encode(DateTime::UNIX_EPOCH, &[seen], |_| proven)
        };
        let sent = |payload: &[u8], own| decode(payload, IdType::Text, own).unwrap().observations[0].sent;
        assert_eq!(sent(&payload(false), true).position, UNPROVEN);
        assert_eq!(sent(&payload(true), true).tick, Tick(5));
        assert_eq!(
            sent(&payload(true), false).tick,
            Tick(0),
            "ticks of another process"
        );
    }

    #[test]
    fn junk_is_refused() {
        for junk in [
            &b"{}"[..],
            b"",
            b"\xff",
            br#"{"at":1,"seen":[{"id":"u","what":"whole"}]}"#,
        ] {
            assert!(decode(junk, IdType::Text, true).is_err());
        }
    }
}
