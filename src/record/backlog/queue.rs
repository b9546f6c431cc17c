//! The queue itself, under its lock: pure moves between its front, its end and the journal.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::Poll::{self, Pending, Ready};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::{Batch, Found, Group, Left, Rest, Taken};
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

/// Entries that are looked at for something to do: behind so many, what a slow user has sent may
/// hold up others after all.
const LOOKED_AT: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub entries: VecDeque<Entry>,
    /// The number of the first entry; they count on.
    pub first: u64,
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
    /// Entries that are not done.
    pub waiting: usize,
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
    InJournal {
        users: usize,
    },
    /// It is done.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waits,
    /// With a lane. Whether every judgement of it leaves its trace in the database, equal ones too.
    Flies {
        is_traced: bool,
    },
    Done,
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
            true if self.closed && !self.entries.iter().any(Entry::waits) => Ready(None),
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
        let waiting = (self.first..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.waits());
        for (number, entry) in waiting.take(LOOKED_AT) {
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
                Held::Here(_) | Held::Gone => {}
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
    pub fn put_back(&mut self, left: Left, until: Instant) {
        let Some(entry) = self.entry(left.number).filter(|entry| entry.flies()) else {
            return;
        };
        entry.stage = Stage::Waits;
        let is_first = entry.rests_until.replace(until).is_none();
        entry.job = Some(left.rest);
        let had = std::mem::replace(&mut entry.observations, Held::Here(left.observations));
        self.held += usize::from(is_first);
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
            _ => self.entries.iter().filter_map(until).min(),
        }
    }

    /// Whose observations have come back and wait for so long.
    pub fn held_for(&self, long: Duration, now: Instant) -> BTreeSet<UserId> {
        let is_held = |entry: &&Entry| {
            let is_long = now.saturating_duration_since(entry.since) >= long;
            entry.rests_until.is_some() && entry.stage != Stage::Done && is_long
        };
        let entries = self.entries.iter().take_while(|_| self.held > 0);
        let held = entries
            .filter(is_held)
            .filter_map(|entry| match &entry.observations {
                Held::Here(observations) => Some(observations),
                Held::InJournal { .. } | Held::Gone => None,
            });
        held.flat_map(|seen| seen.iter())
            .map(|seen| seen.id.clone())
            .collect()
    }

    /// An entry is committed, or given up: its users are free.
    pub fn land(&mut self, number: u64) {
        let Some(entry) = self.entry(number).filter(|entry| entry.stage != Stage::Done) else {
            return;
        };
        let (bytes, was_held) = (entry.bytes, entry.rests_until.is_some());
        entry.stage = Stage::Done;
        entry.told = None;
        entry.intents = Vec::new();
        match std::mem::replace(&mut entry.observations, Held::Gone) {
            Held::Here(observations) => {
                self.resident -= 1;
                self.resident_bytes -= bytes;
                observations.iter().for_each(|seen| self.free(&seen.id));
            }
            Held::InJournal { .. } => self.spilled -= 1,
            Held::Gone => {}
        }
        self.waiting -= 1;
        self.held -= usize::from(was_held);
        if self.is_exclusive {
            self.is_exclusive = self.entries.iter().any(Entry::flies);
        }
    }

    /// The lanes have ended: what they did not commit waits again.
    pub fn give_back(&mut self) {
        self.flying.clear();
        for entry in self.entries.iter_mut().filter(|entry| entry.flies()) {
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

    /// What is done at the front goes; the records in the journal that go with it.
    pub fn sweep(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.stage == Stage::Done)
        {
            self.first += 1;
            places.extend(self.entries.pop_front().and_then(|entry| entry.place));
        }
        places
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
        let flying = self
            .entries
            .iter()
            .filter(|entry| entry.stage == Stage::Flies { is_traced: false });
        let observations = flying.filter_map(|entry| match &entry.observations {
            Held::Here(observations) => Some(observations),
            Held::InJournal { .. } | Held::Gone => None,
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

    /// Lets go of what is in the journal where much waits: all but what the lanes have.
    pub fn spill(&mut self) {
        if self.resident <= KEPT_AT_MOST && self.resident_bytes <= KEPT_BYTES_AT_MOST {
            return;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.waits()) {
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
            Held::Gone => 0,
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
            (Held::InJournal { .. } | Held::Gone, _) => Found::Here(Arc::new([])),
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
