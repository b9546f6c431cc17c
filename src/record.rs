//! The recorder: the only writer of `users_sync`, of the change rows and of what is known of
//! each user.
//!
//! Observations come in through [`Recorder::submit`]; one writer judges those of a user in the
//! order of receipt (the `merge` module says who wins), writes what waits in one transaction, and then lets
//! all that waited for it go. What must never be: an older observation over a newer one; a
//! receipt that says committed before the commit; a wait without an end.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::user::{Observation, Position, UserId};

/// A handle on the one recorder of a tenant; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {}

/// What one exchange or one page told: written in one transaction.
#[derive(Debug, Default)]
pub struct Submission {
    pub observations: Vec<Observation>,
    /// Moves the backfill's row on in the same transaction.
    pub checkpoint: Option<Checkpoint>,
}

/// Where a walk stands after this page. The recorder adds the page's outcomes to its account.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The run in `usertap.backfill`.
    pub run: uuid::Uuid,
    /// What the walk needs to go on (opaque here), as JSON.
    pub state: String,
    /// Users on this page, readable or not.
    pub fetched: u64,
    /// Those that could not be read; they count as set aside.
    pub malformed: u64,
    /// The walk ends with this page.
    pub done: bool,
}

/// A promise to say what became of a [`Submission`].
#[derive(Debug)]
pub struct Receipt {}

/// What became of it; the word in `x-usertap-recorded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// The rows say what the answer says. `position` of the last change, if anything changed.
    Committed { position: Option<Position> },
    /// On disk, not yet in the database.
    Journaled,
    /// In memory, not yet in the database.
    Queued,
    /// Not there, and why.
    None(Unrecorded),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// The database refused a row; it is retried.
    SetAside,
    /// A re-read that the answer needed is not back.
    RereadLate,
    /// The queue was full while the database was away.
    QueueFull,
}

/// How a user fared, for a backfill's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Inserted,
    Updated,
    Unchanged,
    /// Older than what is there, or not to be told apart from it: left out, read again if need be.
    Older,
    SetAside,
}

/// A committed change of a user: caches and feed readers subscribe to these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub id: UserId,
    pub position: Position,
}

impl Recorder {
    /// Hands over what was seen. Never waits: a full queue is told by the receipt.
    pub fn submit(&self, _submission: Submission) -> Receipt {
        todo!()
    }

    /// Everything this process commits from now on.
    pub fn changed(&self) -> broadcast::Receiver<Changed> {
        todo!()
    }
}

impl Receipt {
    /// Waits until all of it is committed, doubts settled included, at most so long. What an
    /// answer waits for. After the time a skeleton row has been asked for where a user had none.
    pub async fn recorded(self, _at_most: Duration) -> Recorded {
        todo!()
    }

    /// Waits for the commit alone, as long as it takes, and tells how each observation fared, in
    /// order. What a backfill waits for.
    pub async fn outcomes(self) -> Vec<Outcome> {
        todo!()
    }
}
