//! What waits for the writer, in the order of receipt: in memory, in the journal, or in both.
//!
//! The writer's lanes take from the front and give nothing up before it is committed; the keeper
//! copies into the journal what must not wait in memory alone, and lets go of the copy in memory where
//! too much waits. Nothing of one user ever overtakes: what came later is judged later, wherever the
//! two are kept, and no two lanes have observations of one user at once. Whoever shares no user with
//! what takes long goes past it. What comes back from a lane, for somebody else holds its user, rests
//! where it was. Bounded: what finds it full is refused, and its receipt says so.

mod queue;

use std::collections::{BTreeSet, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll::Ready;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout_at;

use super::journal::Place;
use super::receipt::Settled;
use super::{Checkpoint, Intent};
use crate::clock::{self, Instant};
use crate::user::{Observation, Seen, UserId};
use queue::{Entry, Held, Inner, Stage};

/// Submissions that may wait in memory.
const AT_MOST: usize = 8_192;
/// Bytes of users' JSON that may wait in memory.
const BYTES_AT_MOST: usize = 64 << 20;
#[derive(Debug, Default)]
pub struct Backlog {
    inner: Mutex<Inner>,
    /// For the lanes: something waits, users are free again, or nothing will come any more.
    work: Notify,
    /// For the keeper: something came, or the writer has ended.
    stir: Notify,
}

/// What comes along with observations.
#[derive(Debug, Default)]
pub struct Rest {
    pub checkpoint: Option<Checkpoint>,
    pub reply: Option<oneshot::Sender<Settled>>,
    /// So far: of those that needed no writer, and of those that were not held.
    pub settled: Settled,
    /// Another transaction held a user of it, and that was told.
    pub is_held: bool,
}

/// One submission on its way to the writer.
#[derive(Debug)]
pub struct Job {
    pub observations: Arc<[Observation]>,
    pub bytes: usize,
    /// Says whether it is durable, once it must not wait for the commit any more.
    pub told: oneshot::Sender<bool>,
    /// Writes that end with it.
    pub intents: Vec<Intent>,
    pub rest: Rest,
}

/// What one lane takes at once.
#[derive(Debug)]
pub struct Batch {
    pub taken: Vec<Taken>,
    /// Some of it is in the journal, where a later process may find it again.
    pub is_traced: bool,
    /// Some of it stood in the journal alone: no other lane takes anything meanwhile.
    pub is_exclusive: bool,
    /// It is this page of a walk, counted from 1.
    pub page: Option<u64>,
    /// Something has come back: some users are held, these perhaps.
    pub may_be_held: bool,
}

/// One submission with the writer.
#[derive(Debug)]
pub struct Taken {
    /// To be told to [`Backlog::done`].
    pub number: u64,
    pub observations: Found,
    pub rest: Rest,
}

/// What is left of a submission, for another transaction holds its users.
#[derive(Debug)]
pub struct Late {
    pub number: u64,
    pub observations: Arc<[Observation]>,
    pub rest: Rest,
}

#[derive(Debug)]
pub enum Found {
    Here(Arc<[Observation]>),
    InJournal(Place),
}

impl Found {
    pub fn place(&self) -> Option<Place> {
        match self {
            Found::Here(_) => None,
            Found::InJournal(place) => Some(*place),
        }
    }
}

/// What is to go into the journal, in order.
#[derive(Debug, Default)]
pub struct Group {
    pub numbers: Vec<u64>,
    pub entries: Vec<(DateTime<Utc>, Arc<[Observation]>)>,
    /// Users whose stamps prove nothing once they are read back: what is judged just now, or of a page,
    /// leaves no trace but in memory.
    pub untraced: HashSet<UserId>,
}

/// What the keeper finds.
#[derive(Debug)]
pub enum Due {
    Now(Group),
    /// Not before then.
    At(Instant),
    Nothing,
    /// The writer has ended and nothing is left.
    Over,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    pub waiting: usize,
    pub journaled: usize,
    pub oldest_journaled: Option<DateTime<Utc>>,
}

impl Backlog {
    /// Puts a submission at the end; given back where there is no room for it.
    pub fn push(&self, job: Job) -> Result<(), Box<Job>> {
        let mut inner = self.lock();
        let full = inner.resident >= AT_MOST
            || inner.resident > 0 && inner.resident_bytes + job.bytes > BYTES_AT_MOST;
        if full || inner.closed {
            return Err(Box::new(job));
        }
        inner.resident += 1;
        inner.resident_bytes += job.bytes;
        inner.push(Entry {
            observations: Held::Here(job.observations),
            place: None,
            bytes: job.bytes,
            since: clock::now(),
            at: clock::wall(),
            told: Some(job.told),
            intents: job.intents,
            has_checkpoint: job.rest.checkpoint.is_some(),
            job: Some(job.rest),
            stage: Stage::Waits,
            rests_until: None,
        });
        drop(inner);
        self.work.notify_waiters();
        self.stir.notify_one();
        Ok(())
    }

    /// What an earlier process left in the journal; before anything else.
    pub fn found(&self, place: Place, at: DateTime<Utc>, users: usize) {
        let mut inner = self.lock();
        inner.spilled += 1;
        inner.push(Entry {
            observations: Held::InJournal { users },
            place: Some(place),
            bytes: 0,
            since: clock::now(),
            at,
            told: None,
            intents: Vec::new(),
            job: None,
            has_checkpoint: false,
            stage: Stage::Waits,
            rests_until: None,
        });
        drop(inner);
        self.work.notify_waiters();
    }

    /// Nothing more is taken in.
    pub fn close(&self) {
        self.lock().closed = true;
        self.work.notify_waiters();
    }

    /// A lane has ended with what it had: nobody waits for that.
    pub fn give_up(&self) {
        self.lock().given_up = true;
        self.work.notify_waiters();
    }

    /// The writer has ended; whether something is left.
    pub fn end(&self) -> bool {
        let mut inner = self.lock();
        inner.closed = true;
        inner.ended = true;
        inner.give_back();
        let is_left = !inner.entries.is_empty();
        drop(inner);
        self.stir.notify_one();
        is_left
    }

    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    pub fn depth(&self) -> Depth {
        let inner = self.lock();
        let mut journaled = inner.entries.values().filter(|entry| entry.place.is_some());
        let oldest = journaled.next().map(|entry| entry.at);
        Depth {
            waiting: inner.entries.len(),
            oldest_journaled: oldest,
            journaled: journaled.count() + usize::from(oldest.is_some()),
        }
    }

    /// Whom another transaction has held for so long that what was seen of them waits.
    pub fn held_for(&self, long: Duration) -> BTreeSet<UserId> {
        self.lock().held_for(long, clock::now())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// For the writer.
impl Backlog {
    /// Waits for what comes next, up to a transaction's worth; nothing once it is closed and empty, or what
    /// is left waits behind a lane that has given up.
    /// A page with a checkpoint goes alone.
    pub async fn take(&self, at_most: usize, bytes: usize) -> Option<Batch> {
        loop {
            let mut work = pin!(self.work.notified());
            work.as_mut().enable();
            let rests_until = {
                let (mut inner, now) = (self.lock(), clock::now());
                if let Ready(batch) = inner.next(at_most, bytes, now) {
                    return batch;
                }
                inner.rests_until(now)
            };
            match rests_until {
                // Whichever comes first.
                Some(until) => drop(timeout_at(until, work).await),
                None => work.await,
            }
        }
    }

    /// Takes these back, to be tried again from then on.
    pub fn put_back(&self, left: Vec<Late>, until: Instant) {
        let mut inner = self.lock();
        left.into_iter().for_each(|left| inner.put_back(left, until));
        drop(inner);
        self.work.notify_waiters();
    }

    /// These are committed: the records in the journal that may go.
    pub fn done(&self, numbers: &[u64]) -> Vec<Place> {
        let mut inner = self.lock();
        let places = numbers.iter().filter_map(|number| inner.land(*number)).collect();
        drop(inner);
        self.work.notify_waiters();
        places
    }
}

/// For the keeper.
impl Backlog {
    /// Resolves when there may be something to do.
    pub async fn stirred(&self) {
        self.stir.notified().await;
    }

    /// What must be in the journal by now: all of it where nothing can be written, or where it waits
    /// behind what only the journal holds; else what has waited for `patience`.
    pub fn due(&self, now: Instant, patience: Duration, away: bool) -> Due {
        let inner = self.lock();
        let urgent = away || inner.spilled > 0 || inner.ended;
        let waits = |entry: &&Entry| entry.place.is_none() && !entry.has_checkpoint;
        match inner.entries.values().find(waits) {
            None if inner.ended => Due::Over,
            None => Due::Nothing,
            Some(oldest) if !urgent && oldest.since + patience > now => Due::At(oldest.since + patience),
            Some(_) => Due::Now(inner.group(urgent.then_some(now), now, patience)),
        }
    }

    /// These are durable, as many as there are places. Gives back those that are committed meanwhile.
    pub fn kept(&self, numbers: &[u64], places: &[Place]) -> Vec<Place> {
        let mut inner = self.lock();
        let mut over = Vec::new();
        for (number, place) in numbers.iter().zip(places) {
            match inner.entry(*number) {
                Some(entry) => entry.keep(*place),
                None => over.push(*place),
            }
        }
        inner.spill();
        over
    }

    /// These cannot be made durable now.
    pub fn not_kept(&self, numbers: &[u64]) {
        let mut inner = self.lock();
        for number in numbers {
            if let Some(told) = inner.entry(*number).and_then(|entry| entry.told.take()) {
                let _ = told.send(false);
            }
        }
    }

    /// The journal is gone: what is in memory too is to be written again. How many users' sightings
    /// only the journal had.
    pub fn lost(&self) -> usize {
        let mut inner = self.lock();
        let mut lost = 0;
        for entry in inner.entries.values_mut() {
            match &entry.observations {
                Held::Here(_) => entry.place = None,
                Held::InJournal { users } => lost += users,
            }
        }
        lost
    }
}

/// What an observation costs while it waits, roughly.
pub(super) fn weight(observation: &Observation) -> usize {
    const FIXED: usize = 256;
    FIXED
        + match &observation.seen {
            Seen::Whole(view) => view.raw.len(),
            Seen::Partial(_) => 2 * FIXED,
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{IdType, Origin, Source};

    fn id(user: &str) -> UserId {
        UserId::parse(user, IdType::Text).expect("an id")
    }

    fn job(user: &str, checkpoint: Option<Checkpoint>) -> Job {
        let source = Source::own(Origin::Backfill, "a page");
        Job {
            observations: Arc::new([Observation::unasked(id(user), Seen::Touched, &source)]),
            bytes: 1,
            told: oneshot::channel().0,
            intents: Vec::new(),
            rest: Rest {
                checkpoint,
                ..Rest::default()
            },
        }
    }

    #[test]
    fn whoever_stands_on_a_page_that_waits_is_judged_without_a_trace() {
        let backlog = Backlog::default();
        let page = Checkpoint {
            run: uuid::Uuid::nil(),
            owner: uuid::Uuid::nil(),
            state: "{}".into(),
            follows: None,
            fetched: 1,
            malformed: 0,
            done: false,
        };
        for job in [job("u", Some(page)), job("u", None), job("v", None)] {
            backlog.push(job).expect("room");
        }
        let Due::Now(group) = backlog.due(clock::now(), Duration::ZERO, true) else {
            panic!("nothing is due");
        };
        assert_eq!(group.entries.len(), 2, "a page is never journaled");
        assert_eq!(group.untraced, HashSet::from([id("u")]));
    }
}
