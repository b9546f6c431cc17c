//! The queue itself, under its lock: pure moves between its front, its end and the journal.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::task::Poll::{self, Ready};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::{Found, Group, Rest, Taken};
use crate::clock::Instant;
use crate::record::journal::Place;
use crate::user::{Observation, UserId};

/// From here on what is in the journal is let go of in memory: the rest is room for a burst.
const KEPT_AT_MOST: usize = 1_024;
const KEPT_BYTES_AT_MOST: usize = 8 << 20;
/// Appended and synced at once.
const GROUP: usize = 2_048;
const GROUP_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub entries: VecDeque<Entry>,
    /// The number of the first entry; they count on.
    pub first: u64,
    /// So many at the front are with the writer.
    pub in_flight: usize,
    /// The writer leaves a trace of every judgement of those, equal ones too.
    pub flight_is_traced: bool,
    pub resident: usize,
    pub resident_bytes: usize,
    /// Entries that only the journal holds.
    pub spilled: usize,
    pub closed: bool,
    pub ended: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub observations: Held,
    pub place: Option<Place>,
    pub bytes: usize,
    pub since: Instant,
    pub at: DateTime<Utc>,
    pub told: Option<oneshot::Sender<bool>>,
    pub job: Option<Rest>,
    pub has_checkpoint: bool,
}

#[derive(Debug)]
pub(super) enum Held {
    Here(Arc<[Observation]>),
    InJournal { users: usize },
}

impl Inner {
    pub fn next(&mut self, at_most: usize, bytes: usize) -> Poll<Option<(Vec<Taken>, bool)>> {
        match self.take(at_most, bytes) {
            None if !self.closed => Poll::Pending,
            taken => Ready(taken),
        }
    }

    fn take(&mut self, at_most: usize, bytes: usize) -> Option<(Vec<Taken>, bool)> {
        let (mut users, mut size, mut taken) = (0, 0, Vec::new());
        let mut traced = false;
        for entry in &mut self.entries {
            let alone = entry.has_checkpoint;
            if !taken.is_empty() && (alone || users >= at_most || size >= bytes) {
                break;
            }
            users += entry.users();
            size += entry.bytes;
            traced |= entry.place.is_some();
            taken.push(entry.take());
            if alone {
                break;
            }
        }
        self.in_flight = taken.len();
        self.flight_is_traced = traced;
        (!taken.is_empty()).then_some((taken, traced))
    }

    pub fn group(&self, urgent: Option<Instant>, now: Instant, patience: Duration) -> Group {
        let mut group = Group {
            untraced: self.untraced(),
            ..Group::default()
        };
        let mut bytes = 0;
        for (number, entry) in (self.first..).zip(&self.entries) {
            let (Held::Here(observations), None, false) =
                (&entry.observations, entry.place, entry.has_checkpoint)
            else {
                continue;
            };
            let waited = urgent.is_some() || entry.since + patience <= now;
            if !waited || group.numbers.len() >= GROUP || bytes >= GROUP_BYTES {
                break;
            }
            bytes += entry.bytes;
            group.numbers.push(number);
            group.entries.push((entry.at, observations.clone()));
        }
        group
    }

    fn untraced(&self) -> HashSet<UserId> {
        if self.flight_is_traced {
            return HashSet::new();
        }
        let flying = self.entries.iter().take(self.in_flight);
        let observations = flying.filter_map(|entry| match &entry.observations {
            Held::Here(observations) => Some(observations),
            Held::InJournal { .. } => None,
        });
        observations
            .flat_map(|observations| observations.iter())
            .map(|observation| observation.id.clone())
            .collect()
    }

    pub fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(at)
    }

    pub fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        match entry.observations {
            Held::Here(_) => {
                self.resident -= 1;
                self.resident_bytes -= entry.bytes;
            }
            Held::InJournal { .. } => self.spilled -= 1,
        }
        Some(entry)
    }

    /// Lets go of what is in the journal where much waits: all but what the writer has.
    pub fn spill(&mut self) {
        if self.resident <= KEPT_AT_MOST && self.resident_bytes <= KEPT_BYTES_AT_MOST {
            return;
        }
        for entry in self.entries.iter_mut().skip(self.in_flight) {
            let (Held::Here(observations), Some(_)) = (&entry.observations, entry.place) else {
                continue;
            };
            let users = observations.len();
            entry.observations = Held::InJournal { users };
            entry.job = None;
            self.resident -= 1;
            self.resident_bytes -= entry.bytes;
            self.spilled += 1;
        }
    }
}

impl Entry {
    fn users(&self) -> usize {
        match &self.observations {
            Held::Here(observations) => observations.len(),
            Held::InJournal { users } => *users,
        }
    }

    fn take(&mut self) -> Taken {
        let observations = match (&self.observations, self.place) {
            (Held::Here(observations), _) => Found::Here(observations.clone()),
            (Held::InJournal { .. }, Some(place)) => Found::InJournal(place),
            (Held::InJournal { .. }, None) => Found::Here(Arc::new([])),
        };
        Taken {
            observations,
            rest: self.job.take().unwrap_or_default(),
        }
    }

    pub fn keep(&mut self, place: Place) {
        self.place = Some(place);
        if let Some(told) = self.told.take() {
            let _ = told.send(true);
        }
    }
}
