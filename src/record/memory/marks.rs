//! When each user was last judged equal: an answer whose question was sent before is ambiguous.
//!
//! Bounded, the oldest forgotten first. A forgotten mark is replaced by one that holds for everybody who can
//! have had it; of a user without a state nothing but an absence is ever judged. What must never be: a mark
//! that holds for strangers for good, for what events and many lists tell of them proves nothing by position,
//! and would never be written again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::super::merge::Verdict;
use crate::clock::Instant;
use crate::user::{Tick, UserId};

/// Marks kept: many more than observations that can be on their way at once.
const MARKS: usize = 16_384;
/// Whatever was sent before a not-found has come by then, but for events, which are read after all.
const LATE: Duration = Duration::from_secs(900);

/// That a user was judged equal, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub at: Tick,
    /// There was no such user.
    pub is_absence: bool,
}

impl Mark {
    pub fn of(verdict: Verdict, at: Tick) -> Mark {
        Mark {
            at,
            is_absence: verdict == Verdict::Absent,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Marks {
    of: HashMap<UserId, Mark, RandomState>,
    order: BTreeMap<Tick, UserId>,
    forgotten: Tick,
    /// The last absence that was forgotten, and when.
    absent: Option<(Tick, Instant)>,
}

impl Marks {
    /// Everything that was sent before `tick` proves nothing.
    pub fn all_forgotten(tick: Tick, now: Instant) -> Marks {
        Marks {
            forgotten: tick,
            absent: Some((tick, now)),
            ..Marks::default()
        }
    }

    pub fn get(&self, user: &UserId) -> Tick {
        self.of.get(user).map_or(self.forgotten, |mark| mark.at)
    }

    /// Of a user without a state.
    pub fn of_stranger(&self, user: &UserId, now: Instant) -> Tick {
        let is_recent = |forgotten: &(Tick, Instant)| now.saturating_duration_since(forgotten.1) < LATE;
        match self.of.get(user) {
            Some(mark) => mark.at,
            None => self
                .absent
                .filter(is_recent)
                .map_or(Tick::default(), |(tick, _)| tick),
        }
    }

    pub fn set(&mut self, user: &UserId, mark: Mark, now: Instant) {
        let again = self.of.get_mut(user).map(|last| std::mem::replace(last, mark));
        let user = match again.and_then(|older| self.order.remove(&older.at)) {
            Some(user) => user,
            None => {
                self.of.insert(user.clone(), mark);
                user.clone()
            }
        };
        self.order.insert(mark.at, user);
        if self.order.len() > MARKS {
            self.forget_oldest(now);
        }
    }

    fn forget_oldest(&mut self, now: Instant) {
        let Some((tick, user)) = self.order.pop_first() else {
            return;
        };
        self.forgotten = self.forgotten.max(tick);
        if self.of.remove(&user).is_some_and(|mark| mark.is_absence) {
            self.absent = Some((tick, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::user::IdType;

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("u{n}"), IdType::Text).unwrap()
    }

    fn equal(at: usize) -> Mark {
        Mark::of(Verdict::Equal, Tick(at as u64 + 1))
    }

    #[test]
    fn a_forgotten_mark_holds_for_everybody_with_a_state() {
        let (mut marks, now) = (Marks::default(), clock::now());
        for n in 0..MARKS + 1 {
            marks.set(&user(n), equal(n), now);
        }
        assert_eq!(marks.get(&user(0)), Tick(1));
        assert_eq!(marks.get(&user(MARKS + 99)), Tick(1));
        assert_eq!(marks.get(&user(5)), Tick(6));
        // Who has none was never equal to anything.
        assert_eq!(marks.of_stranger(&user(MARKS + 99), now), Tick(0));
    }

    #[test]
    fn a_forgotten_absence_holds_for_every_stranger_until_all_has_come_that_was_sent_before() {
        let (mut marks, now) = (Marks::default(), clock::now());
        marks.set(&user(0), Mark::of(Verdict::Absent, Tick(1)), now);
        assert_eq!(marks.of_stranger(&user(0), now), Tick(1));
        for n in 1..MARKS + 1 {
            marks.set(&user(n), equal(n), now);
        }
        for n in [0, MARKS + 99] {
            assert_eq!(marks.of_stranger(&user(n), now), Tick(1));
            assert_eq!(marks.of_stranger(&user(n), now + LATE), Tick(0));
        }
    }

    #[test]
    fn marking_one_user_again_and_again_forgets_nobody() {
        let (mut marks, now) = (Marks::default(), clock::now());
        for n in 0..MARKS * 2 {
            marks.set(&user(1), equal(n), now);
        }
        assert_eq!(marks.forgotten, Tick(0));
        assert_eq!((marks.order.len(), marks.of.len()), (1, 1));
    }
}
