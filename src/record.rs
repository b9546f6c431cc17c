//! The recorder: the only writer of `users_sync`, of the change rows and of what is known of
//! each user.
//!
//! Observations come in through [`Recorder::submit`]; the writer judges those of a user in the
//! order of receipt ([`merge`] says who wins), writes what waits in one transaction, and then lets
//! all that waited for it go. It has several lanes, so that one transaction is written while another
//! commits, and none waits for a row that takes long; no two of them ever have the same user. What must
//! never be: an older observation over a newer one; a receipt that says committed before the commit; a
//! wait without an end; a row that the database refuses holding up another.

mod backlog;
mod batch;
mod by_hand;
mod change;
mod health;
mod intents;
mod journal;
mod memory;
pub mod merge;
mod others;
mod owed;
mod pages;
mod receipt;
mod refusal;
mod shared;
mod silence;
#[cfg(test)]
mod simulation;
mod sql;
mod waiters;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use crate::clock;
use crate::config::Deleted;
use crate::db::Database;
use crate::tasks::Tasks;
use crate::user::{Head, Observation, Position, UserId};

pub use health::{ByHandFigures, Figures, JournalFigures, WritesFigures};
pub use intents::{Intent, carried_out};
pub use journal::{JournalFault, is_left};
pub use owed::{Next, Owed, UnderWay};
pub use pages::Checkpoint;
pub use receipt::{Durable, Fared, Receipt, Recorded, Unrecorded};
pub use refusal::NOT_CONFIRMED;

use backlog::{Job, Rest};
use intents::Intents;
use journal::Keeper;
use receipt::Settled;
use shared::Shared;

/// A handle on the one recorder of a tenant; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// What one exchange or one page told: written in one transaction.
#[derive(Debug, Default)]
pub struct Submission {
    pub observations: Vec<Observation>,
    /// Moves the backfill's row on in the same transaction.
    pub checkpoint: Option<Checkpoint>,
}

impl From<Vec<Observation>> for Submission {
    /// No page of a walk.
    fn from(observations: Vec<Observation>) -> Submission {
        Submission {
            observations,
            checkpoint: None,
        }
    }
}

/// What became of a user's row, for a backfill's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Inserted,
    Updated,
    /// Its row was there, and says now that the user is gone.
    Deleted,
    Unchanged,
    /// Older than what is there, or not to be told apart from it: left out, read again if need be.
    Older,
    SetAside,
    /// There is no such user and no row.
    Absent,
}

/// A committed change of a user: caches and feed readers subscribe to these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub id: UserId,
    pub position: Position,
}

/// Where the journal lives, and whose it is.
#[derive(Debug, Clone)]
pub struct JournalPlace {
    pub data_dir: PathBuf,
    /// Tells one tenant of one provider from every other.
    pub tenant: [u8; 16],
    /// What the database has not taken by then goes into the journal.
    pub patience: Duration,
}

impl Recorder {
    /// Starts the writer. The receiver gives the reads that are owed; the doubts in the database
    /// are the truth, so it may be slow. Without a journal: what waits, waits in memory.
    pub fn start(
        database: Database,
        head: Arc<Head>,
        deleted: Deleted,
        tasks: &Tasks,
    ) -> (Recorder, mpsc::Receiver<Owed>) {
        let (shared, owed) = Shared::new(head, None, None, database.idle().clone());
        (Recorder::run(shared, database, deleted, Vec::new(), tasks), owed)
    }

    /// The same with a journal; what an earlier process left in it comes first.
    ///
    /// # Errors
    /// Where another process or another tenant has the folder. One that cannot be written is no
    /// error: the figures say so.
    pub fn start_with_journal(
        database: Database,
        head: Arc<Head>,
        deleted: Deleted,
        place: JournalPlace,
        tasks: &Tasks,
    ) -> Result<(Recorder, mpsc::Receiver<Owed>), JournalFault> {
        let keeper = Keeper::new(place.clone(), database.names.id_type);
        let intents = Intents::new(place, database.names.id_type);
        let idle = database.idle().clone();
        let (shared, owed) = Shared::new(head, Some(Arc::new(keeper)), Some(intents.clone()), idle);
        let left_by = match &shared.keeper {
            Some(keeper) => journal::adopt(&shared, keeper)?,
            None => Vec::new(),
        };
        intents.start()?;
        Ok((Recorder::run(shared, database, deleted, left_by, tasks), owed))
    }

    fn run(
        shared: Arc<Shared>,
        database: Database,
        deleted: Deleted,
        left_by: Vec<uuid::Uuid>,
        tasks: &Tasks,
    ) -> Recorder {
        for lane in writer::lanes(&shared, &database, deleted, left_by, tasks) {
            tasks.spawn(lane.run());
        }
        tasks.spawn(silence::listen(shared.clone(), database));
        tasks.spawn(journal::keep(shared.clone()));
        tasks.spawn(intents::keep(shared.clone()));
        let recorder = Recorder { shared };
        tasks.spawn(intents::read_again(recorder.clone()));
        recorder
    }

    /// Hands over what was seen. Never waits: a full queue is told by the receipt.
    pub fn submit(&self, submission: Submission) -> Receipt {
        self.submit_for(submission, Vec::new())
    }

    /// The same for writes under way: they have ended once it is committed or in the journal.
    pub fn submit_for(&self, submission: Submission, intents: Vec<Intent>) -> Receipt {
        let Submission {
            observations,
            checkpoint,
        } = submission;
        let shared = &self.shared;
        let epoch = shared.epoch.load(Ordering::Acquire);
        let verdicts = shared.memory.settle_or_wait(&observations, epoch, clock::now());
        let (settled, waiting) = shared.divide(observations, verdicts);
        if waiting.is_empty() && checkpoint.is_none() {
            return Receipt::settled(self.clone(), settled);
        }
        self.enqueue(waiting, checkpoint, settled, intents)
    }

    fn enqueue(
        &self,
        waiting: Vec<Observation>,
        checkpoint: Option<Checkpoint>,
        settled: Vec<Effect>,
        intents: Vec<Intent>,
    ) -> Receipt {
        let shared = &self.shared;
        shared.idle.needed();
        let (reply, replied) = oneshot::channel();
        let (told, durable) = oneshot::channel();
        let job = Job {
            bytes: waiting.iter().map(backlog::weight).sum(),
            observations: waiting.into(),
            told,
            intents,
            rest: Rest {
                checkpoint,
                reply: Some(reply),
                settled: Settled {
                    effects: settled,
                    ..Settled::default()
                },
                is_held: false,
            },
        };
        match shared.backlog.push(job) {
            Ok(()) => Receipt::waiting(self.clone(), replied, durable),
            Err(job) => {
                job.intents.iter().for_each(Intent::stays);
                shared.memory.judged(job.observations.iter().map(|seen| &seen.id));
                shared.health.lost.fetch_add(1, Ordering::Relaxed);
                Receipt::refused(self.clone())
            }
        }
    }

    /// Notes that a write is about to change these users, or to make one where there are none:
    /// durable when it returns, or the figures say why not. Without a journal nothing is noted.
    pub async fn begin_write(&self, users: Vec<UserId>) -> Option<Intent> {
        match &self.shared.intents {
            Some(intents) => Some(intents.begin(users).await),
            None => None,
        }
    }

    /// A write made a user, and nobody learned its id.
    pub fn never_learned(&self, intent: Intent) {
        if let Some(intents) = &self.shared.intents {
            intents.unlearned.add(intent, Vec::new());
        }
    }

    /// The writes of which [`Recorder::never_learned`] was said, here or by an earlier process' end;
    /// they have ended once the provider's newest users are looked through.
    pub async fn unlearned(&self) -> Vec<Intent> {
        match &self.shared.intents {
            Some(intents) => {
                let writes = intents.unlearned.taken().await.into_iter();
                writes.map(|write| write.intent).collect()
            }
            None => std::future::pending().await,
        }
    }

    /// Sets who learns of each change before anybody else does: see `OnChange`. The first who asks
    /// for it has it.
    pub fn on_change(&self, told: impl Fn(Option<&UserId>, &str) + Send + Sync + 'static) {
        let _already = self.shared.told.set(Box::new(told));
    }

    /// Everything this process commits from now on.
    pub fn changed(&self) -> broadcast::Receiver<Changed> {
        self.shared.changed.subscribe()
    }

    /// Somebody has changed rows by hand: they are given positions.
    pub fn changed_by_hand(&self) {
        self.shared.by_hand.notify_one();
    }

    /// Whether anything of this user waits to be written, in the journal too.
    pub fn awaits(&self, user: &UserId) -> bool {
        self.shared.memory.awaits(user)
    }

    /// Lets the writer end once it has written what waits.
    pub fn close(&self) {
        if self.shared.backlog.depth().waiting > 0 {
            // It is woken no other way any more.
            self.shared.idle.woken();
        }
        self.shared.close.cancel();
        self.shared.backlog.close();
    }

    fn has_journal(&self) -> bool {
        self.shared.keeper.is_some()
    }
}
