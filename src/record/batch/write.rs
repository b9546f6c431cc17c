//! What the database holds of a user, and what is to be written of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::change::Change;
use super::super::memory::stranger;
use super::super::merge::{Known, Standing};
use crate::db::columns::Columns;
use crate::user::{ContentHash, Position, View};

/// What the database holds of one user.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub known: Known,
    /// What the changes so far say of the user, whether or not somebody touched the row by hand.
    pub told: Standing,
    /// There is a state row.
    pub has_state: bool,
    pub volatile: Option<ContentHash>,
    pub volatile_at: Option<DateTime<Utc>>,
    /// The content that the database refused.
    pub refused: Option<ContentHash>,
    pub aside: Aside,
    pub row: Option<Columns>,
    /// Only where a partial view is to be compared; its numbers exact.
    pub raw: Option<Value>,
}

impl Loaded {
    /// Of a user without a state.
    pub fn stranger() -> Loaded {
        Loaded {
            known: stranger(),
            told: Standing::None,
            has_state: false,
            volatile: None,
            volatile_at: None,
            refused: None,
            aside: Aside::No,
            row: None,
            raw: None,
        }
    }
}

/// Whether the database refused the user's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    No,
    /// It did, and it is time to try again.
    Due,
    /// It did, and it is not yet time to try again.
    Waits,
}

/// What is to be written of one user.
#[derive(Debug, Clone)]
pub struct Write {
    pub row: RowWrite,
    pub change: Option<Change>,
    /// The user's state as it was found.
    pub before: State,
    /// The user's state afterwards; its position is that of the change, if there is one.
    pub state: State,
    pub is_new: bool,
    /// The state takes a position of its own although nothing changed: other processes record
    /// too and must see that it was judged.
    pub bumps: bool,
    pub doubt: DoubtWrite,
    /// An answer waits for the doubt raised here.
    pub doubt_is_awaited: bool,
    pub ends_set_aside: bool,
    /// It was refused in this very transaction; the read that is owed waits for its time.
    pub is_aside: bool,
}

impl Write {
    /// Leaves nothing that a user without a state would not have: its state can go.
    pub fn leaves_a_stranger(&self) -> bool {
        let doubted = match self.doubt {
            DoubtWrite::Raise => true,
            DoubtWrite::Keep(doubt) => doubt.is_some(),
            DoubtWrite::Clear => false,
        };
        let empty = State {
            position: self.before.position,
            standing: Standing::None,
            version: None,
            volatile: None,
            volatile_at: None,
            refused: None,
        };
        self.before.standing == Standing::None && self.state == empty && !self.bumps && !doubted
    }
}

impl Write {
    /// The user is to be read again: a doubt, and a position of its own.
    pub fn doubted(loaded: &Loaded, state: State) -> Write {
        Write {
            row: RowWrite::Nothing,
            change: None,
            before: state_of(loaded),
            state,
            is_new: !loaded.has_state,
            bumps: true,
            doubt: DoubtWrite::Raise,
            doubt_is_awaited: false,
            ends_set_aside: false,
            is_aside: false,
        }
    }

    /// Deleted, or the read is done that such a row waited for.
    pub fn may_be_purged(&self) -> bool {
        let is_settled = self.doubt == DoubtWrite::Clear && self.state.standing == Standing::Deleted;
        self.row == RowWrite::Deletion || is_settled
    }

    /// Where the database refuses it, a row with nothing but the id is to stand in: there is none yet.
    pub fn needs_skeleton(&self) -> bool {
        self.before.standing == Standing::None && self.change.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowWrite {
    Nothing,
    Whole(Arc<View>),
    Skeleton,
    /// `deleted_at` is set.
    Deletion,
    /// Volatile fields alone: `raw_json` and nothing else.
    Quiet(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub position: Position,
    pub standing: Standing,
    pub version: Option<i64>,
    pub volatile: Option<ContentHash>,
    pub volatile_at: Option<DateTime<Utc>>,
    pub refused: Option<ContentHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoubtWrite {
    Keep(Option<Position>),
    Clear,
    /// At a new position.
    Raise,
}

/// The state of a user as it was found.
pub fn state_of(loaded: &Loaded) -> State {
    State {
        position: loaded.known.position,
        standing: loaded.known.standing,
        version: loaded.known.version,
        volatile: loaded.volatile,
        volatile_at: loaded.volatile_at,
        refused: loaded.refused,
    }
}
