//! What came in, counted for the status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

use super::wrong::Wrong;
use super::{Taken, Unread, Word};
use crate::clock::Instant;
use crate::provider::Refused;

/// Since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Rightly signed.
    pub received: u64,
    /// Seconds since the last of them.
    pub last_received_age: Option<u64>,
    /// Seconds since the last of them that told of users.
    pub last_told_age: Option<u64>,
    /// A row changed.
    pub applied: u64,
    /// A read of the user is owed.
    pub hints: u64,
    /// The rows said so already, or something newer.
    pub unchanged: u64,
    /// They waited in the journal for the database.
    pub journaled: u64,
    /// The database refused a row of them.
    pub set_aside: u64,
    pub duplicates: u64,
    /// They tell of no user.
    pub ignored: u64,
    /// Of types that the provider's file does not know.
    pub unknown: u64,
    /// Other tenants'.
    pub foreign: u64,
    pub malformed: u64,
    /// Since the last that told of users.
    pub malformed_in_a_row: u64,
    /// Of those that told of users: some of their events were unknown or malformed.
    pub partly_understood: u64,
    /// The sender was asked to send them again.
    pub not_durable: u64,
    /// Whosever they were, they were not read.
    pub too_large: u64,
    pub broken: u64,
    /// By reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Not signed, or by no secret of ours, since the last that was.
    pub wrong_in_a_row: u64,
    /// Of those, attempts a minute apart while none was rightly signed, for an hour or since the start.
    pub wrong_attempts: u64,
    /// Rightly signed and out of time, since the last that was in time.
    pub untimely_in_a_row: u64,
    /// Seconds by which the last of them was ahead of this machine's clock; below zero, behind it.
    pub untimely_by: Option<i64>,
    /// Refused since the last that was not.
    pub refused_in_a_row: u64,
    /// Seconds without one that is rightly signed.
    pub silent_for: u64,
    /// Changes that writes of apps have made.
    pub written: u64,
    /// Those of them since the last that was rightly signed.
    pub written_meanwhile: u64,
}

#[derive(Debug)]
pub(super) struct Counts {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_word: BTreeMap<&'static str, u64>,
    not_durable: u64,
    /// Of unknown signature.
    not_held: u64,
    too_large: u64,
    broken: u64,
    refused: BTreeMap<&'static str, u64>,
    wrong: Wrong,
    untimely_in_a_row: u64,
    untimely_by: Option<i64>,
    refused_in_a_row: u64,
    malformed_in_a_row: u64,
    partly_understood: u64,
    misunderstood: BTreeSet<&'static str>,
    last_told: Option<Instant>,
    last: Option<Instant>,
    /// By apps, until then.
    written: u64,
}

impl Counts {
    pub fn new(now: Instant) -> Counts {
        Counts {
            began: now,
            inner: Mutex::default(),
        }
    }

    /// `written`: changes that writes of apps have made so far.
    pub fn count(&self, taken: Taken, now: Instant, written: u64) {
        let mut inner = self.lock();
        match taken {
            Taken::Closed => return,
            Taken::Refused(refused) => {
                inner.refuse(refused, now);
                return;
            }
            Taken::Acknowledged(word) => inner.acknowledge(word, now),
            Taken::NotDurable => inner.not_durable += 1,
        }
        inner.wrong.right(now);
        (inner.untimely_in_a_row, inner.untimely_by) = (0, None);
        inner.refused_in_a_row = 0;
        inner.last = Some(now);
        inner.written = written;
    }

    /// True for the first of its kind.
    pub fn count_unread(&self, why: Unread) -> bool {
        let mut inner = self.lock();
        let figure = match why {
            Unread::TooLarge => &mut inner.too_large,
            Unread::Broken => &mut inner.broken,
            Unread::NotHeld => &mut inner.not_held,
        };
        *figure += 1;
        *figure == 1
    }

    /// Of a delivery, as a whole or in part. True for the first of its word.
    pub fn is_first_misunderstood(&self, word: Word, is_part: bool) -> bool {
        let mut inner = self.lock();
        inner.partly_understood += u64::from(is_part);
        inner.misunderstood.insert(word.as_str())
    }

    pub fn shown(&self, now: Instant, written: u64) -> Figures {
        let inner = self.lock();
        let of = |word: Word| inner.by_word.get(word.as_str()).copied().unwrap_or(0);
        let refused = |word: &'static str| (word, inner.refused.get(word).copied().unwrap_or(0));
        Figures {
            received: inner.by_word.values().sum::<u64>() + inner.not_durable,
            last_received_age: inner.last.map(|at| age(now, at)),
            last_told_age: inner.last_told.map(|at| age(now, at)),
            applied: of(Word::Applied),
            hints: of(Word::Hint),
            unchanged: of(Word::Unchanged),
            journaled: of(Word::Journaled),
            set_aside: of(Word::SetAside),
            duplicates: of(Word::Duplicate),
            ignored: of(Word::Ignored),
            unknown: of(Word::Unknown),
            foreign: of(Word::Foreign),
            malformed: of(Word::Malformed),
            malformed_in_a_row: inner.malformed_in_a_row,
            written,
            partly_understood: inner.partly_understood,
            not_durable: inner.not_durable + inner.not_held,
            too_large: inner.too_large,
            broken: inner.broken,
            refused: Refused::WORDS.into_iter().map(refused).collect(),
            wrong_in_a_row: inner.wrong.in_a_row(),
            wrong_attempts: inner.wrong.attempts(now),
            untimely_in_a_row: inner.untimely_in_a_row,
            untimely_by: inner.untimely_by,
            refused_in_a_row: inner.refused_in_a_row,
            silent_for: age(now, inner.last.unwrap_or(self.began)),
            written_meanwhile: written.saturating_sub(inner.written),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    fn acknowledge(&mut self, word: Word, now: Instant) {
        *self.by_word.entry(word.as_str()).or_default() += 1;
        if word.tells_of_users() {
            self.last_told = Some(now);
            self.malformed_in_a_row = 0;
        }
        self.malformed_in_a_row += u64::from(word == Word::Malformed);
    }

    fn refuse(&mut self, refused: Refused, now: Instant) {
        *self.refused.entry(refused.as_str()).or_default() += 1;
        self.refused_in_a_row += 1;
        match refused {
            Refused::Unsigned | Refused::Signature => self.wrong.wrong(now),
            Refused::Timestamp { ahead } => {
                self.wrong.right(now);
                self.untimely_in_a_row += 1;
                self.untimely_by = Some(ahead.num_seconds());
            }
        }
    }
}

fn age(now: Instant, since: Instant) -> u64 {
    now.saturating_duration_since(since).as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn what_came_right_ends_what_went_wrong_before() {
        let began = clock::now();
        let (counts, late) = (Counts::new(began), began + Duration::from_secs(60));
        let refused = Taken::Refused(Refused::Signature);
        (0..3).for_each(|_| counts.count(refused, late, 5));
        let shown = counts.shown(late, 5);
        assert_eq!((shown.refused_in_a_row, shown.wrong_in_a_row), (3, 3));
        assert_eq!((shown.silent_for, shown.written_meanwhile), (60, 5));
        counts.count(Taken::Acknowledged(Word::Ignored), late, 5);
        counts.count(refused, late, 7);
        let shown = counts.shown(late, 8);
        assert_eq!((shown.refused_in_a_row, shown.wrong_in_a_row), (1, 1));
        assert_eq!((shown.silent_for, shown.written_meanwhile), (0, 3));
        assert_eq!(
            (shown.received, shown.refused["signature"], shown.written),
            (1, 4, 8)
        );
    }

    #[test]
    fn what_is_malformed_counts_until_one_tells_of_users() {
        let (counts, now) = (Counts::new(clock::now()), clock::now());
        let in_a_row = |word| {
            counts.count(Taken::Acknowledged(word), now, 0);
            counts.shown(now, 0).malformed_in_a_row
        };
        let words = [Word::Malformed, Word::Malformed, Word::Ignored, Word::Foreign];
        assert_eq!(words.map(in_a_row), [1, 2, 2, 2]);
        assert_eq!(
            [Word::Hint, Word::Malformed, Word::Duplicate].map(in_a_row),
            [0, 1, 0]
        );
    }
}
