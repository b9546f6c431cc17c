//! When something was last known to change, counted and not timed.
//!
//! One counter for all; each change takes the next number and leaves it at its user's place, at
//! that of all lists, or at that of everything. What was asked when the counter stood at n holds as
//! long as nothing that it depends on carries a number above n. Users share places by hash: a
//! collision makes an answer be asked for once more, never wrong.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::user::UserId;

/// Places for users: at a hundred changes within a kept answer's life, one in 650 is asked for in
/// vain.
const PLACES: usize = 1 << 16;

/// The counter at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf(u64);

/// What makes a kept answer worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depends {
    /// A change of the users at this place.
    User(usize),
    /// Any user's change.
    Lists,
}

#[derive(Debug)]
pub(super) struct Generations {
    counter: AtomicU64,
    all: AtomicU64,
    lists: Mark,
    users: Box<[Mark]>,
    hasher: RandomState,
    /// Held by whoever moves a mark.
    moving: Mutex<()>,
}

/// The last change at a place, and the last one before the exchange that told of it.
#[derive(Debug, Default)]
struct Mark {
    at: AtomicU64,
    before: AtomicU64,
    /// Which exchange; 0 for none.
    by: AtomicU64,
}

impl Default for Generations {
    fn default() -> Generations {
        Generations {
            counter: AtomicU64::new(0),
            all: AtomicU64::new(0),
            lists: Mark::default(),
            users: (0..PLACES).map(|_| Mark::default()).collect(),
            hasher: RandomState::new(),
            moving: Mutex::new(()),
        }
    }
}

impl Generations {
    pub fn as_of(&self) -> AsOf {
        AsOf(self.counter.load(Ordering::Acquire))
    }

    pub fn of(&self, user: &UserId) -> Depends {
        Depends::User(self.hasher.hash_one(user) as usize % PLACES)
    }

    /// A user has changed; `by` names the exchange that told of it, or is empty.
    pub fn changed(&self, user: &UserId, by: &str) {
        let (depends, by) = (self.of(user), self.exchange(by));
        let _moving = super::lock(&self.moving);
        let now = self.counter.fetch_add(1, Ordering::AcqRel) + 1;
        for mark in [self.mark(depends), Some(&self.lists)].into_iter().flatten() {
            mark.set(now, by);
        }
    }

    pub fn lists_changed(&self) {
        let _moving = super::lock(&self.moving);
        let now = self.counter.fetch_add(1, Ordering::AcqRel) + 1;
        self.lists.set(now, 0);
    }

    pub fn all_changed(&self) {
        let _moving = super::lock(&self.moving);
        let now = self.counter.fetch_add(1, Ordering::AcqRel) + 1;
        self.all.store(now, Ordering::Release);
    }

    /// Whether nothing has changed that matters.
    pub fn holds(&self, depends: Depends, as_of: AsOf) -> bool {
        let still = |mark: &Mark| mark.at.load(Ordering::Acquire) <= as_of.0;
        self.all.load(Ordering::Acquire) <= as_of.0 && self.mark(depends).is_none_or(still)
    }

    /// The same for an answer that is about to be kept: what it told itself is no change. Gives the
    /// moment from which on it holds.
    pub fn since(&self, depends: Depends, as_of: AsOf, by: &str) -> Option<AsOf> {
        if self.holds(depends, as_of) {
            return Some(as_of);
        }
        let by = self.exchange(by);
        let _moving = super::lock(&self.moving);
        let mark = self.mark(depends)?;
        let own = by != 0 && mark.by.load(Ordering::Acquire) == by;
        let untouched =
            mark.before.load(Ordering::Acquire) <= as_of.0 && self.all.load(Ordering::Acquire) <= as_of.0;
        (own && untouched).then(|| AsOf(mark.at.load(Ordering::Acquire)))
    }

    fn mark(&self, depends: Depends) -> Option<&Mark> {
        match depends {
            Depends::User(place) => self.users.get(place),
            Depends::Lists => Some(&self.lists),
        }
    }

    fn exchange(&self, by: &str) -> u64 {
        if by.is_empty() {
            0
        } else {
            self.hasher.hash_one(by) | 1
        }
    }
}

impl Mark {
    fn set(&self, now: u64, by: u64) {
        let again = by != 0 && self.by.load(Ordering::Acquire) == by;
        if !again {
            self.before
                .store(self.at.load(Ordering::Acquire), Ordering::Release);
        }
        self.by.store(by, Ordering::Release);
        self.at.store(now, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::IdType;

    fn user(n: u32) -> UserId {
        UserId::parse(&format!("u{n}"), IdType::Text).unwrap()
    }

    #[test]
    fn a_change_ends_its_user_and_every_list_and_nobody_else() {
        let generations = Generations::default();
        let (one, other) = (generations.of(&user(1)), generations.of(&user(2)));
        let before = generations.as_of();
        generations.changed(&user(1), "");
        assert!(!generations.holds(one, before) && !generations.holds(Depends::Lists, before));
        assert!(generations.holds(other, before));
        let after = generations.as_of();
        assert!(generations.holds(one, after) && generations.holds(Depends::Lists, after));
        generations.all_changed();
        assert!(!generations.holds(one, after) && !generations.holds(other, after));
    }

    #[test]
    fn what_an_answer_told_itself_is_no_change_to_it() {
        let generations = Generations::default();
        let place = generations.of(&user(1));
        let asked = generations.as_of();
        generations.changed(&user(1), "mine");
        let kept = generations.since(place, asked, "mine").unwrap();
        assert!(generations.holds(place, kept));
        assert_eq!(generations.since(place, asked, "another"), None);
        let listed = generations.since(Depends::Lists, asked, "mine");
        assert!(listed.is_some());
        generations.changed(&user(2), "mine");
        assert!(generations.since(Depends::Lists, asked, "mine").is_some());
    }

    #[test]
    fn a_change_before_or_after_ones_own_counts() {
        let generations = Generations::default();
        let place = generations.of(&user(1));
        let asked = generations.as_of();
        generations.changed(&user(1), "theirs");
        generations.changed(&user(1), "mine");
        assert_eq!(generations.since(place, asked, "mine"), None);
        let asked = generations.as_of();
        generations.changed(&user(1), "mine");
        generations.changed(&user(1), "");
        assert_eq!(generations.since(place, asked, "mine"), None);
        // And one that may have been anybody's.
        let asked = generations.as_of();
        generations.all_changed();
        generations.changed(&user(1), "mine");
        assert_eq!(generations.since(place, asked, "mine"), None);
        assert_eq!(generations.since(Depends::Lists, asked, "mine"), None);
    }
}
