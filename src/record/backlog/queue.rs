//! The queue itself, under its lock: pure moves between its front, its end and the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::task::Poll::{self, Pending, Ready};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::{Batch, Found, Group, Late, Rest, Taken, weight};
use crate::clock::Instant;
use crate::record::Intent;
use crate::record::journal::Place;
use crate::user::{Observation, UserId};

/// From here on what is in the journal is let go of in memory: the rest is room for a burst. The
/// simulation's few submissions reach it too.
const KEPT_AT_MOST: usize = if cfg!(test) { 2 } else { 1_024 };
const KEPT_BYTES_AT_MOST: usize = 8 << 20;
/// Appended and synced at once.
const GROUP: usize = 2_048;
const GROUP_BYTES: usize = 4 << 20;

/// Whoever is held comes back ten times a second, or more slowly where the database is slow.
const JUST: Duration = Duration::from_secs(5);

/// Entries that are looked at for something to do: behind so many, what a slow user has sent may
/// hold up others after all.
const LOOKED_AT: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// In the order of receipt, by the numbers that they were given: those that are not done.
    pub entries: BTreeMap<u64, Entry>,
    /// The number of the next.
    next: u64,
    /// Users of the entries that are with a lane, and in how many entries.
    flying: HashMap<UserId, usize>,
    /// A lane has entries that only the journal held: whose they are is known to that lane alone.
    is_exclusive: bool,
    /// Pages of walks taken so far.
    pages: u64,
    pub resident: usize,
    pub resident_bytes: usize,
    /// Entries that only the journal holds.
    pub spilled: usize,
    /// Entries that have come back, and are not done.
    held: usize,
    pub closed: bool,
    /// A lane has ended with what it had.
    pub given_up: bool,
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
    /// Writes that have ended once it is committed or in the journal.
    pub intents: Vec<Intent>,
    pub job: Option<Rest>,
    pub has_checkpoint: bool,
    pub stage: Stage,
    /// It has come back; not to be tried before.
    pub rests_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Held {
    Here(Arc<[Observation]>),
    InJournal { users: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waits,
    /// With a lane. Whether every judgement of it leaves its trace in the database, equal ones too.
    Flies {
        is_traced: bool,
    },
}

/// What a look at the entries has found so far.
#[derive(Default)]
struct Load {
    numbers: Vec<u64>,
    users: usize,
    bytes: usize,
    is_traced: bool,
    is_page: bool,
    is_exclusive: bool,
    /// Users whose entries had to be passed over: what came later stays behind them.
    behind: HashSet<UserId>,
    behind_page: bool,
}

impl Inner {
    pub fn next(&mut self, at_most: usize, bytes: usize, now: Instant) -> Poll<Option<Batch>> {
        let load = self.load(at_most, bytes, now);
        match load.numbers.is_empty() {
            false => Ready(Some(self.board(load))),
            true if self.given_up => Ready(None),
            true if self.closed && !self.entries.values().any(Entry::waits) => Ready(None),
            true => Pending,
        }
    }

    /// The oldest that wait and share no user with what is with another lane, nor with what is
    /// passed over.
    fn load(&self, at_most: usize, bytes: usize, now: Instant) -> Load {
        let mut load = Load::default();
        if self.is_exclusive {
            return load;
        }
        let waiting = self.entries.iter().filter(|(_, entry)| entry.waits());
        for (&number, entry) in waiting.take(LOOKED_AT) {
            let is_full = load.users >= at_most || load.bytes >= bytes || entry.has_checkpoint;
            if load.is_page || !load.numbers.is_empty() && is_full {
                break;
            }
            match &entry.observations {
                Held::InJournal { .. } if !self.flying.is_empty() || !load.behind.is_empty() => break,
                Held::InJournal { .. } => load.is_exclusive = true,
                Held::Here(_) if load.is_exclusive => break,
                Held::Here(observations)
                    if entry.rests_until.is_some_and(|until| until > now)
                        || self.must_wait(entry, observations, &load) =>
                {
                    load.pass_over(entry, observations);
                    continue;
                }
                Held::Here(_) => {}
            }
            load.take(number, entry);
        }
        load
    }

    fn must_wait(&self, entry: &Entry, observations: &[Observation], load: &Load) -> bool {
        let taken = |id: &UserId| self.flying.contains_key(id) || load.behind.contains(id);
        entry.has_checkpoint && load.behind_page || observations.iter().any(|seen| taken(&seen.id))
    }

    fn board(&mut self, load: Load) -> Batch {
        let may_be_held = self.held > 0;
        self.is_exclusive = load.is_exclusive;
        self.pages += u64::from(load.is_page);
        let mut taken = Vec::with_capacity(load.numbers.len());
        for number in load.numbers {
            let Some(entry) = self.entry(number) else { continue };
            entry.stage = Stage::Flies {
                is_traced: load.is_traced,
            };
            let here = entry.take(number);
            if let Found::Here(observations) = &here.observations {
                for seen in observations.iter() {
                    *self.flying.entry(seen.id.clone()).or_default() += 1;
                }
            }
            taken.push(here);
        }
        Batch {
            taken,
            is_traced: load.is_traced,
            is_exclusive: load.is_exclusive,
            page: load.is_page.then_some(self.pages),
            may_be_held,
        }
    }

    /// What is left of an entry waits again, in its place; the others of it are free.
    pub fn put_back(&mut self, left: Late, until: Instant) {
        let Some(entry) = self.entry(left.number).filter(|entry| entry.flies()) else {
            return;
        };
        let bytes = left.observations.iter().map(weight).sum();
        let had_bytes = std::mem::replace(&mut entry.bytes, bytes);
        entry.stage = Stage::Waits;
        let is_first = entry.rests_until.replace(until).is_none();
        entry.job = Some(left.rest);
        let had = std::mem::replace(&mut entry.observations, Held::Here(left.observations));
        self.held += usize::from(is_first);
        self.resident_bytes = self.resident_bytes + bytes - had_bytes;
        if let Held::Here(observations) = had {
            observations.iter().for_each(|seen| self.free(&seen.id));
        }
    }

    /// When the next of those that have come back may be tried again. What may be already waits for
    /// something else, whose end is told.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        let until = |entry: &Entry| entry.rests_until.filter(|until| *until > now);
        match self.held {
            0 => None,
            _ => self.entries.values().filter_map(until).min(),
        }
    }

    /// Whose observations wait for so long, and have just come back again.
    pub fn held_for(&self, long: Duration, now: Instant) -> BTreeSet<UserId> {
        let is_held = |entry: &&Entry| {
            let is_recent = entry.rests_until.is_some_and(|until| until + JUST > now);
            is_recent && now.saturating_duration_since(entry.since) >= long
        };
        let entries = self.entries.values().take_while(|_| self.held > 0);
        let seen = entries.filter(is_held).filter_map(Entry::here);
        seen.flat_map(|seen| seen.iter())
            .map(|seen| seen.id.clone())
            .collect()
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries.insert(self.next, entry);
        self.next += 1;
    }

    /// An entry is committed, or given up: its users are free. Its record in the journal.
    pub fn land(&mut self, number: u64) -> Option<Place> {
        let entry = self.entries.remove(&number)?;
        match &entry.observations {
            Held::Here(observations) => {
                self.resident -= 1;
                self.resident_bytes -= entry.bytes;
                observations.iter().for_each(|seen| self.free(&seen.id));
            }
            Held::InJournal { .. } => self.spilled -= 1,
        }
        self.held -= usize::from(entry.rests_until.is_some());
        if self.is_exclusive {
            self.is_exclusive = self.entries.values().any(Entry::flies);
        }
        entry.place
    }

    /// The lanes have ended: what they did not commit waits again.
    pub fn give_back(&mut self) {
        self.flying.clear();
        for entry in self.entries.values_mut().filter(|entry| entry.flies()) {
            entry.stage = Stage::Waits;
        }
    }

    fn free(&mut self, user: &UserId) {
        if let Some(entries) = self.flying.get_mut(user) {
            *entries -= 1;
            if *entries == 0 {
                self.flying.remove(user);
            }
        }
    }

    pub fn group(&self, urgent: Option<Instant>, now: Instant, patience: Duration) -> Group {
        let mut group = Group {
            untraced: self.untraced(),
            ..Group::default()
        };
        let mut bytes = 0;
        for (&number, entry) in &self.entries {
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
        // A page is never journaled: one that waits may be judged before what is journaled now.
        let is_untraced =
            |entry: &&Entry| entry.has_checkpoint || entry.stage == Stage::Flies { is_traced: false };
        let untraced = self.entries.values().filter(is_untraced);
        let observations = untraced.filter_map(Entry::here);
        observations
            .flat_map(|observations| observations.iter())
            .map(|observation| observation.id.clone())
            .collect()
    }

    pub fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&number)
    }

    /// Lets go of what is in the journal where much waits: all but what the lanes have, and what has come
    /// back. While somebody is held only where there is hardly room for more: whatever is in the journal alone
    /// waits for them, as nobody knows whose it is.
    pub fn spill(&mut self) {
        let (at_most, bytes_at_most) = match self.held {
            0 => (KEPT_AT_MOST, KEPT_BYTES_AT_MOST),
            _ => (super::AT_MOST / 2, super::BYTES_AT_MOST / 2),
        };
        if self.resident <= at_most && self.resident_bytes <= bytes_at_most {
            return;
        }
        let is_idle = |entry: &&mut Entry| entry.waits() && entry.rests_until.is_none();
        for entry in self.entries.values_mut().filter(is_idle) {
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

impl Load {
    fn take(&mut self, number: u64, entry: &Entry) {
        self.numbers.push(number);
        self.users += entry.users();
        self.bytes += entry.bytes;
        self.is_traced |= entry.place.is_some();
        self.is_page |= entry.has_checkpoint;
    }

    fn pass_over(&mut self, entry: &Entry, observations: &[Observation]) {
        self.behind_page |= entry.has_checkpoint;
        self.behind
            .extend(observations.iter().map(|seen| seen.id.clone()));
    }
}

impl Entry {
    fn users(&self) -> usize {
        match &self.observations {
            Held::Here(observations) => observations.len(),
            Held::InJournal { users } => *users,
        }
    }

    fn here(&self) -> Option<&Arc<[Observation]>> {
        match &self.observations {
            Held::Here(observations) => Some(observations),
            Held::InJournal { .. } => None,
        }
    }

    pub fn waits(&self) -> bool {
        self.stage == Stage::Waits
    }

    fn flies(&self) -> bool {
        matches!(self.stage, Stage::Flies { .. })
    }

    fn take(&mut self, number: u64) -> Taken {
        let observations = match (&self.observations, self.place) {
            (Held::Here(observations), _) => Found::Here(observations.clone()),
            (Held::InJournal { .. }, Some(place)) => Found::InJournal(place),
            (Held::InJournal { .. }, None) => Found::Here(Arc::new([])),
        };
        Taken {
            number,
            observations,
            rest: self.job.take().unwrap_or_default(),
        }
    }

    pub fn keep(&mut self, place: Place) {
        self.place = Some(place);
        self.intents = Vec::new();
        if let Some(told) = self.told.take() {
            let _ = told.send(true);
        }
    }
}
