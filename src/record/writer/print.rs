//! What is remembered of a user who was looked up or written: the next who says the same need not ask
//! the database.

use std::collections::BTreeMap;

use super::super::Shared;
use super::super::batch::{DoubtWrite, Loaded, Plan, VOLATILE_EVERY, Write, volatile_is_due};
use super::super::memory::{Memory, Print};
use super::super::merge::{self, Verdict};
use super::super::sql::Numbered;
use super::flight::Flight;
use crate::clock;
use crate::user::{Seen, Tick, UserId};

impl Shared {
    /// Fingerprints of users that were looked up and change nothing.
    pub(super) fn remember_loaded(
        &self,
        flight: &Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &BTreeMap<UserId, Loaded>,
    ) {
        let memory = &self.memory;
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let observation = flight.observation(place);
            let id = &observation.id;
            let (Some(judged), Some(loaded), None) = (judged, loaded.get(id), plan.writes.get(id)) else {
                continue;
            };
            let print = print(loaded, agreed(memory, &observation.seen, judged.verdict));
            memory.remember(id, print, flight.keep(place));
        }
    }
}

fn agreed(memory: &Memory, seen: &Seen, verdict: Verdict) -> Option<u64> {
    match (seen, verdict) {
        (Seen::Partial(value), Verdict::Idle) => Some(memory.fingerprint_of(value)),
        _ => None,
    }
}

fn print(loaded: &Loaded, agreed: Option<u64>) -> Print {
    Print {
        known: loaded.known,
        volatile: loaded.volatile,
        volatile_due: due(loaded.volatile_at),
        agreed,
    }
}

/// The fingerprint of what was just committed.
pub(super) fn print_of(write: &Write, numbered: &Numbered, id: &UserId) -> Print {
    let state = &write.state;
    let known = merge::Known {
        position: numbered.states.get(id).copied().unwrap_or(state.position),
        mark: Tick::default(),
        standing: state.standing,
        version: state.version,
        doubt: match write.doubt {
            DoubtWrite::Keep(doubt) => doubt,
            DoubtWrite::Clear => None,
            DoubtWrite::Raise => numbered.doubts.get(id).copied(),
        },
    };
    Print {
        known,
        volatile: state.volatile,
        volatile_due: due(state.volatile_at),
        agreed: None,
    }
}

fn due(written: Option<chrono::DateTime<chrono::Utc>>) -> clock::Instant {
    let now = clock::wall();
    let left = written.filter(|_| !volatile_is_due(written, now));
    let left = left.map(|written| VOLATILE_EVERY - (now - written));
    clock::now() + left.unwrap_or_default().to_std().unwrap_or_default()
}
