//! How far the database has been looked through for what is owed. Pure.
//!
//! Users of whom nothing but the id is known come first, and those who became so are looked for at each
//! tick: nothing can refer to them. All take their turn from where that was left, so that none waits behind
//! those whose reads keep failing.

use crate::db::rows::Whose;
use crate::user::Position;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    /// The last of those who come first; nothing once all of them were looked at.
    unknown: Option<Position>,
    /// The last of all others.
    known: Position,
    /// None of those has been looked at since all who come first were.
    known_are_due: bool,
    /// The places were taken before all were looked at.
    pub is_more: bool,
}

impl Default for Looked {
    fn default() -> Looked {
        Looked {
            unknown: Some(Position::default()),
            known: Position::default(),
            known_are_due: false,
            is_more: false,
        }
    }
}

impl Looked {
    pub fn anew(self) -> Looked {
        Looked {
            unknown: match self.known_are_due {
                true => self.unknown,
                false => self.unknown.or(Some(Position::default())),
            },
            is_more: false,
            ..self
        }
    }

    /// Whose doubts to look at now, and behind which.
    pub fn at(&self) -> (Whose, Position) {
        match self.unknown {
            Some(behind) => (Whose::Unknown, behind),
            None => (Whose::Known, self.known),
        }
    }

    pub fn passed(&mut self, doubt: Position) {
        match &mut self.unknown {
            Some(behind) => *behind = doubt,
            None => {
                self.known = doubt;
                self.known_are_due = false;
            }
        }
    }

    /// No more of those stand behind. True where that was all.
    pub fn ended(&mut self) -> bool {
        let was_all = self.unknown.is_none();
        match was_all {
            true => *self = Looked::default(),
            false => {
                self.unknown = None;
                self.known_are_due = true;
            }
        }
        was_all
    }

    pub fn with_more(self, is_more: bool) -> Looked {
        Looked { is_more, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_come_first_again_and_all_go_on() {
        let mut looked = Looked::default();
        looked.passed(Position(7));
        looked = looked.with_more(true).anew();
        assert_eq!(looked.at(), (Whose::Unknown, Position(7)));
        assert!(!looked.ended());
        // However many looks the first have taken.
        looked = looked.with_more(false).anew();
        assert_eq!(looked.at(), (Whose::Known, Position(0)));
        looked.passed(Position(9));
        looked = looked.with_more(true).anew();
        assert_eq!(looked.at(), (Whose::Unknown, Position(0)));
        assert!(!looked.ended());
        assert_eq!(looked.at(), (Whose::Known, Position(9)));
        assert!(looked.ended());
        assert_eq!(looked, Looked::default());
    }
}
