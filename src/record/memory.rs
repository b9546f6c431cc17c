//! What the recorder remembers of users, so that most answers cost no statement.
//!
//! A fingerprint is what the last commit left of a user; it is used only while nothing of that
//! user waits to be judged. A mark says when an observation was last judged equal: an answer
//! whose question was sent before it is ambiguous. Both are bounded; what was forgotten makes a
//! later judgement ask the database or call the answer ambiguous, never wrong.

mod marks;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use foldhash::fast::RandomState;
use moka::sync::Cache;
use serde_json::Value;

use super::merge::{Known, Standing, Verdict, judge, version_of_equals};
use crate::clock::Instant;
use crate::user::{ContentHash, Head, Observation, Origin, Position, Seen, Tick, UserId};

use marks::Marks;

pub use marks::Mark;

/// Fingerprints kept: about 300 bytes each.
const FINGERPRINTS: u64 = 100_000;

#[derive(Debug)]
pub struct Memory {
    head: Arc<Head>,
    /// Another process records too: only the database can tell what is equal.
    shared: AtomicBool,
    /// Of views that were found to agree: no two are to be taken for one another.
    hasher: std::hash::RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    prints: Cache<UserId, Print, RandomState>,
    marks: Marks,
    /// Users with observations that wait to be judged.
    pending: HashMap<UserId, usize, RandomState>,
}

/// What the last commit left of a user.
#[derive(Debug, Clone)]
pub struct Print {
    pub known: Known,
    pub volatile: Option<ContentHash>,
    /// From when on a change of volatile fields alone is written.
    pub volatile_due: Instant,
    /// The partial view that was last found to agree.
    pub agreed: Option<u64>,
}

impl Memory {
    pub fn new(head: Arc<Head>) -> Memory {
        let inner = Inner {
            prints: Cache::builder()
                .max_capacity(FINGERPRINTS)
                .build_with_hasher(RandomState::default()),
            marks: Marks::default(),
            pending: HashMap::default(),
        };
        Memory {
            head,
            shared: AtomicBool::new(false),
            hasher: std::hash::RandomState::new(),
            inner: Mutex::new(inner),
        }
    }

    /// Another process has begun or ceased to record.
    ///
    /// What was remembered goes under the same lock, so that nothing is judged by it afterwards.
    pub fn set_shared(&self, shared: bool) {
        let inner = self.lock();
        if self.shared.swap(shared, Ordering::Relaxed) != shared {
            inner.prints.invalidate_all();
        }
    }

    pub fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Judges what can be judged without the database; what is left is counted as waiting until
    /// [`Memory::judged`].
    pub fn settle_or_wait(
        &self,
        observations: &[Observation],
        epoch: i64,
        now: Instant,
    ) -> Vec<Option<Verdict>> {
        let mut inner = self.lock();
        let verdicts = observations.iter().map(|observation| {
            let verdict = self.settle(&mut inner, observation, epoch, now, Settle::Arriving);
            if verdict.is_none() {
                *inner.pending.entry(observation.id.clone()).or_default() += 1;
            }
            verdict
        });
        verdicts.collect()
    }

    /// The same for an observation whose turn has come in the writer.
    pub fn settle_in_turn(&self, observation: &Observation, epoch: i64, now: Instant) -> Option<Verdict> {
        let mut inner = self.lock();
        self.settle(&mut inner, observation, epoch, now, Settle::InTurn)
    }

    /// Observations of these users wait in the journal.
    pub fn expect<'a>(&self, users: impl Iterator<Item = &'a UserId>) {
        let mut inner = self.lock();
        for user in users {
            *inner.pending.entry(user.clone()).or_default() += 1;
        }
    }

    /// Another process may have judged what this one knows nothing of: whatever was sent before now
    /// can only be equal, or be read again.
    pub fn distrust(&self, now: Instant) {
        let forgotten = self.head.tick();
        self.lock().marks = Marks::all_forgotten(forgotten, now);
    }

    /// Whether any observation of this user waits to be judged.
    pub fn awaits(&self, user: &UserId) -> bool {
        self.lock().pending.contains_key(user)
    }

    /// An observation that waited has been judged.
    pub fn judged<'a>(&self, users: impl Iterator<Item = &'a UserId>) {
        let mut inner = self.lock();
        for user in users {
            if let Some(waiting) = inner.pending.get_mut(user) {
                *waiting -= 1;
                if *waiting == 0 {
                    inner.pending.remove(user);
                }
            }
        }
    }

    /// What a commit or a look into the database left. `keep` only refreshes what is remembered
    /// already: a walk over all users must not push out those that an app asks for.
    pub fn remember(&self, user: &UserId, print: Print, keep: Keep) {
        let inner = self.lock();
        if keep == Keep::Always || inner.prints.contains_key(user) {
            inner.prints.insert(user.clone(), print);
        }
    }

    /// Of this user the database is to be asked next time.
    pub fn forget(&self, user: &UserId) {
        self.lock().prints.invalidate(user);
    }

    pub fn forget_all(&self) {
        self.lock().prints.invalidate_all();
    }

    /// Notes when an observation of this user was judged equal.
    pub fn mark(&self, user: &UserId, mark: Mark, now: Instant) {
        self.lock().marks.set(user, mark, now);
    }

    pub fn mark_of(&self, user: &UserId) -> Tick {
        self.lock().marks.get(user)
    }

    /// Of a user without a state.
    pub fn mark_of_stranger(&self, user: &UserId, now: Instant) -> Tick {
        self.lock().marks.of_stranger(user, now)
    }

    /// Identifies a partial view within this process.
    pub fn fingerprint_of(&self, value: &Value) -> u64 {
        self.hasher.hash_one(value.to_string())
    }

    fn settle(
        &self,
        inner: &mut Inner,
        observation: &Observation,
        epoch: i64,
        now: Instant,
        when: Settle,
    ) -> Option<Verdict> {
        if when == Settle::Arriving && inner.pending.contains_key(&observation.id) {
            return None;
        }
        let print = inner.prints.get(&observation.id)?;
        let known = Known {
            mark: inner.marks.get(&observation.id),
            ..print.known
        };
        let agrees = |value: &Value| print.agreed == Some(self.fingerprint_of(value));
        let verdict = judge(&known, epoch, &observation.seen, observation.sent, agrees);
        if self.needs_database(&print, observation, verdict, now) {
            return None;
        }
        // The writer has one word for all that it settles so.
        if verdict == Verdict::Absent && when == Settle::InTurn {
            return None;
        }
        if matches!(verdict, Verdict::Equal | Verdict::Absent) {
            inner
                .marks
                .set(&observation.id, Mark::of(verdict, self.head.tick()), now);
        }
        Some(verdict)
    }

    fn needs_database(&self, print: &Print, seen: &Observation, verdict: Verdict, now: Instant) -> bool {
        match verdict {
            _ if self.is_shared() => true,
            Verdict::Idle => false,
            Verdict::Equal | Verdict::Absent => {
                // What is owed is owed by the database: memory may lag behind a doubt by hand.
                seen.source.origin == Origin::Refetch
                    || print.known.doubt.is_some()
                    || seen.unsettled
                    || moves_version(print, &seen.seen)
                    || volatile_is_due(print, &seen.seen, now)
            }
            _ => true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settle {
    Arriving,
    InTurn,
}

/// Whether a fingerprint is worth remembering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Always,
    IfThere,
}

fn moves_version(print: &Print, seen: &Seen) -> bool {
    match seen {
        Seen::Whole(view) => version_of_equals(print.known.version, view.version) != print.known.version,
        _ => false,
    }
}

fn volatile_is_due(print: &Print, seen: &Seen, now: Instant) -> bool {
    match seen {
        Seen::Whole(view) => print.volatile != Some(view.volatile) && print.volatile_due <= now,
        _ => false,
    }
}

/// A user of whom nothing is known.
pub fn stranger() -> Known {
    Known {
        position: Position(0),
        mark: Tick::default(),
        standing: Standing::None,
        version: None,
        doubt: None,
    }
}
