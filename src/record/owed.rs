//! Which of the reads that are owed begins now. Pure.
//!
//! One read of a user is under way at a time in a process. What must never be: a doubt served by a read
//! that was sent before it was raised; such a read is followed by another.

use std::collections::HashMap;

use crate::user::{Position, UserId};

/// A read that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub user: UserId,
    /// The read must be sent after this is known.
    pub after: Position,
    /// An answer waits for it: it has the app's right of way.
    pub awaited: bool,
}

/// What follows a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Nothing,
    /// One that nobody waits for: whoever looks for what is owed finds it.
    Later,
    /// One that somebody waits for.
    Now(Owed),
}

/// The users who are being read, and what each read must be followed by.
#[derive(Debug, Default)]
pub struct UnderWay {
    of: HashMap<UserId, Option<Owed>>,
}

impl UnderWay {
    /// True where the read begins. Otherwise one is under way, and it is noted what must follow it.
    pub fn begins(&mut self, owed: &Owed) -> bool {
        match self.of.get_mut(&owed.user) {
            Some(next) => {
                let due = next.get_or_insert_with(|| owed.clone());
                // A look into the database may be older than the hints that came meanwhile.
                due.after = due.after.max(owed.after);
                due.awaited |= owed.awaited;
                false
            }
            None => {
                self.of.insert(owed.user.clone(), None);
                true
            }
        }
    }

    /// Whether somebody waits for the read that follows.
    pub fn is_awaited(&self, user: &UserId) -> bool {
        let next = self.of.get(user).and_then(Option::as_ref);
        next.is_some_and(|next| next.awaited)
    }

    /// A read that was sent at `sent` has ended, or failed.
    pub fn ended(&mut self, user: &UserId, sent: Option<Position>) -> Next {
        let next = self.of.get_mut(user).and_then(Option::take);
        let next = next.filter(|next| sent.is_none_or(|sent| next.after > sent));
        if let Some(next) = next.clone().filter(|next| next.awaited) {
            return Next::Now(next);
        }
        self.of.remove(user);
        match next {
            Some(_) => Next::Later,
            None => Next::Nothing,
        }
    }

    /// A read will not be followed: the process stops.
    pub fn over(&mut self, user: &UserId) {
        self.of.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::IdType;

    fn owed(after: i64, awaited: bool) -> Owed {
        Owed {
            user: UserId::parse("u", IdType::Text).unwrap(),
            after: Position(after),
            awaited,
        }
    }

    #[test]
    fn a_read_that_was_sent_before_a_doubt_is_followed_by_another() {
        let (mut under_way, first) = (UnderWay::default(), owed(5, false));
        assert!(under_way.begins(&first) && !under_way.begins(&first));
        assert!(!under_way.is_awaited(&first.user));
        assert!(!under_way.begins(&owed(9, true)) && !under_way.begins(&first));
        assert!(under_way.is_awaited(&first.user));
        let next = under_way.ended(&first.user, Some(Position(7)));
        assert_eq!(next, Next::Now(owed(9, true)));
        assert_eq!(under_way.ended(&first.user, Some(Position(9))), Next::Nothing);
        assert!(under_way.begins(&first));
    }

    #[test]
    fn what_nobody_waits_for_is_left_to_a_look() {
        let (mut under_way, first) = (UnderWay::default(), owed(5, false));
        assert!(under_way.begins(&first) && !under_way.begins(&owed(9, false)));
        assert_eq!(under_way.ended(&first.user, None), Next::Later);
        assert!(under_way.begins(&first) && !under_way.begins(&owed(9, true)));
        assert_eq!(under_way.ended(&first.user, None), Next::Now(owed(9, true)));
    }
}
