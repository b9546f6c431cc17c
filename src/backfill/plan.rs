//! Where a walk stands and where it goes next. Pure.
//!
//! A walk must get everyone: a place in the list that is lost (the user it began with was deleted
//! between two pages) is walked around from an older one, never taken for the end.

use serde::{Deserialize, Serialize};

use crate::provider::{Cursor, Next};

/// Older places kept to go on from, half of them of the last page: that many users who are deleted
/// at once are walked around without beginning anew.
const TRAIL: usize = 40;

/// What the checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Walk {
    /// Where the next page starts; the beginning where there is none.
    pub cursor: Option<Cursor>,
    /// Users seen, the latest last: places to go on from.
    pub trail: Vec<String>,
    /// The server does not know the optional parameters.
    pub plain: bool,
    pub pages: u64,
    /// The end of the list was reached.
    #[serde(default)]
    pub swept: bool,
    /// Times that a place was lost since the walk last moved on.
    pub lost: u32,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Next(Walk),
    Done(Walk),
}

/// The provider loses every place that it gives: the walk cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider's list breaks off at the same place again and again: run the backfill again later")]
pub struct Astray;

/// Times that the beginning may be lost before the walk gives up.
const LOST_AT_MOST: u32 = TRAIL as u32 + 3;

impl Walk {
    /// After a page whose users (in its order) were `users`. `place` makes a cursor of a user, for
    /// providers whose cursors are ids.
    pub fn advance(
        self,
        users: &[&str],
        next: Next,
        place: impl Fn(&str) -> Option<Cursor>,
    ) -> Result<Step, Astray> {
        match next {
            Next::More(cursor) => Ok(Step::Next(self.moved(users, Some(cursor)))),
            Next::End => Ok(Step::Done(Walk {
                swept: true,
                ..self.moved(users, None)
            })),
            Next::Lost => self.around(place).map(Step::Next),
        }
    }

    /// The same place, without the parameters that the server does not know.
    pub fn plainly(self) -> Walk {
        Walk { plain: true, ..self }
    }

    fn moved(mut self, users: &[&str], cursor: Option<Cursor>) -> Walk {
        let first = self.trail.len().saturating_sub(TRAIL / 2);
        self.trail.drain(..first);
        let last = users.len().saturating_sub(TRAIL / 2);
        self.trail
            .extend(users.iter().skip(last).map(|user| (*user).to_owned()));
        Walk {
            cursor,
            pages: self.pages + 1,
            lost: 0,
            ..self
        }
    }

    /// From the latest user seen that can be a place; from the beginning where none can.
    fn around(mut self, place: impl Fn(&str) -> Option<Cursor>) -> Result<Walk, Astray> {
        if self.lost >= LOST_AT_MOST {
            return Err(Astray);
        }
        let cursor = self.trail.pop().and_then(|user| place(&user));
        Ok(Walk {
            cursor,
            lost: self.lost + 1,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Cursor {
        Cursor { at: text.into() }
    }

    fn id_cursor(user: &str) -> Option<Cursor> {
        Some(at(user))
    }

    fn next(step: Result<Step, Astray>) -> Walk {
        match step {
            Ok(Step::Next(walk)) => walk,
            other => panic!("no next page: {other:?}"),
        }
    }

    #[test]
    fn a_lost_place_is_walked_around_user_by_user() {
        let walk = next(Walk::default().advance(&["a", "b"], Next::More(at("c")), id_cursor));
        let walk = next(walk.advance(&[], Next::Lost, id_cursor));
        assert_eq!(walk.cursor, Some(at("b")));
        let walk = next(walk.advance(&[], Next::Lost, id_cursor));
        assert_eq!(walk.cursor, Some(at("a")));
        let walk = next(walk.advance(&[], Next::Lost, id_cursor));
        assert_eq!(walk.cursor, None, "from the beginning");
    }

    #[test]
    fn a_list_that_always_breaks_off_ends_the_walk() {
        let mut walk = Walk::default();
        for _ in 0..LOST_AT_MOST {
            walk = next(walk.advance(&[], Next::Lost, id_cursor));
        }
        assert_eq!(walk.advance(&[], Next::Lost, id_cursor), Err(Astray));
    }

    #[test]
    fn a_walk_remembers_a_bounded_number_of_places() {
        let users: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let mut walk = Walk::default();
        for _ in 0..10 {
            walk = next(walk.advance(&users, Next::More(at("x")), id_cursor));
        }
        assert!(walk.trail.len() <= TRAIL && walk.pages == 10);
        assert_eq!(walk.trail.last().map(String::as_str), Some("499"));
    }
}
