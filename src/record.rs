//! The recorder: the only writer of `users_sync`, of the change rows and of what is known of
//! each user.
//!
//! Observations come in through [`Recorder::submit`]; the writer judges those of a user in the
//! order of receipt ([`merge`] says who wins), writes what waits in one transaction, and then lets
//! all that waited for it go. It has several lanes, so that one transaction is written while another
//! commits, and none waits for a row that takes long; no two of them ever have the same user. What must never be: an older observation over a newer one; a
//! receipt that says committed before the commit; a wait without an end; a row that the database
//! refuses holding up another.

mod backlog;
mod batch;
mod by_hand;
mod change;
mod journal;
mod memory;
pub mod merge;
mod pages;
mod receipt;
mod refusal;
#[cfg(test)]
mod simulation;
mod sql;
mod waiters;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Deleted;
use crate::db::Database;
use crate::tasks::Tasks;
use crate::user::{Head, Observation, Position, Seen, UserId};

pub use journal::JournalFault;
pub use receipt::{Fared, Receipt, Recorded, Unrecorded};
pub use waiters::Owed;

use backlog::{Backlog, Job, Rest};
use journal::Keeper;
use memory::Memory;
use merge::Verdict;
use pages::Pages;
use waiters::Waiters;

/// Changes that a slow subscriber may fall behind before it is told that it missed some.
const CHANGED: usize = 4_096;

/// A handle on the one recorder of a tenant; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    memory: Memory,
    head: Arc<Head>,
    epoch: AtomicI64,
    backlog: Backlog,
    pages: Pages,
    past: writer::Past,
    /// Where there is a journal.
    keeper: Option<Arc<Keeper>>,
    waiters: Waiters,
    changed: broadcast::Sender<Changed>,
    health: Health,
    /// Rows wait that somebody has changed by hand.
    by_hand: Notify,
    close: CancellationToken,
}

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
    /// The process that walks: a walk that another has taken over is not moved.
    pub owner: uuid::Uuid,
    /// What the walk needs to go on (opaque here), as JSON.
    pub state: String,
    /// Users on this page, readable or not.
    pub fetched: u64,
    /// Those that could not be read; they count as set aside.
    pub malformed: u64,
    /// The walk ends with this page.
    pub done: bool,
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
    /// There is no such user and no row.
    Absent,
}

/// A committed change of a user: caches and feed readers subscribe to these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub id: UserId,
    pub position: Position,
}

/// How the recorder itself fares, for the status.
#[derive(Debug)]
struct Health {
    /// Why nothing can be written at the moment.
    trouble: watch::Sender<Option<Arc<str>>>,
    /// Submissions that found the queue full.
    lost: AtomicU64,
    /// Records of the journal that could not be read any more.
    damaged: AtomicU64,
    committed: AtomicU64,
    unchanged: AtomicU64,
    set_aside: AtomicU64,
}

/// Figures of the recorder since the process started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Why nothing can be written at the moment.
    pub trouble: Option<String>,
    pub waiting: usize,
    pub lost: u64,
    pub committed: u64,
    pub unchanged: u64,
    pub set_aside: u64,
    pub journal: JournalFigures,
}

/// What waits on disk.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JournalFigures {
    /// Why it takes nothing at the moment.
    pub trouble: Option<String>,
    /// Answers whose users are in it and not yet in the database.
    pub waiting: usize,
    pub bytes: u64,
    /// When the oldest of them was received.
    pub oldest: Option<DateTime<Utc>>,
    /// Records that could not be read any more.
    pub damaged: u64,
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
        let (shared, owed) = Shared::new(head, None);
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
        let keeper = Keeper::new(place, database.names.id_type);
        let (shared, owed) = Shared::new(head, Some(Arc::new(keeper)));
        let left_by = match &shared.keeper {
            Some(keeper) => journal::adopt(&shared, keeper)?,
            None => Vec::new(),
        };
        Ok((Recorder::run(shared, database, deleted, left_by, tasks), owed))
    }

    fn run(
        shared: Arc<Shared>,
        database: Database,
        deleted: Deleted,
        left_by: Vec<uuid::Uuid>,
        tasks: &Tasks,
    ) -> Recorder {
        for lane in writer::lanes(&shared, &database, deleted, left_by) {
            tasks.spawn(lane.run());
        }
        tasks.spawn(journal::keep(shared.clone()));
        Recorder { shared }
    }

    /// Hands over what was seen. Never waits: a full queue is told by the receipt.
    pub fn submit(&self, submission: Submission) -> Receipt {
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
        self.enqueue(waiting, checkpoint, settled)
    }

    fn enqueue(
        &self,
        waiting: Vec<Observation>,
        checkpoint: Option<Checkpoint>,
        settled: Vec<Outcome>,
    ) -> Receipt {
        let shared = &self.shared;
        let (reply, replied) = oneshot::channel();
        let (told, durable) = oneshot::channel();
        let job = Job {
            bytes: waiting.iter().map(weight).sum(),
            observations: waiting.into(),
            told,
            rest: Rest {
                checkpoint,
                reply: Some(reply),
                settled,
            },
        };
        match shared.backlog.push(job) {
            Ok(()) => Receipt::waiting(self.clone(), replied, durable),
            Err(job) => {
                shared.memory.judged(job.observations.iter().map(|seen| &seen.id));
                shared.health.lost.fetch_add(1, Ordering::Relaxed);
                Receipt::refused(self.clone())
            }
        }
    }

    /// Everything this process commits from now on.
    pub fn changed(&self) -> broadcast::Receiver<Changed> {
        self.shared.changed.subscribe()
    }

    /// Somebody has changed rows by hand: they are given positions.
    pub fn changed_by_hand(&self) {
        self.shared.by_hand.notify_one();
    }

    /// Another process has begun or ceased to record the same tenant: what this one remembers of
    /// users is not all there is, so judgements go through the database.
    pub fn set_shared(&self, shared: bool) {
        self.shared.memory.set_shared(shared);
    }

    /// Lets the writer end once it has written what waits.
    pub fn close(&self) {
        self.shared.close.cancel();
        self.shared.backlog.close();
    }

    pub fn figures(&self) -> Figures {
        let health = &self.shared.health;
        let depth = self.shared.backlog.depth();
        let keeper = self.shared.keeper.as_ref();
        Figures {
            journal: JournalFigures {
                trouble: keeper
                    .and_then(|keeper| keeper.fault())
                    .map(|fault| fault.to_string()),
                waiting: depth.journaled,
                bytes: keeper.map_or(0, |keeper| keeper.weight()),
                oldest: depth.oldest_journaled,
                damaged: health.damaged.load(Ordering::Relaxed),
            },
            trouble: health.trouble.borrow().as_deref().map(str::to_owned),
            waiting: depth.waiting,
            lost: health.lost.load(Ordering::Relaxed),
            committed: health.committed.load(Ordering::Relaxed),
            unchanged: health.unchanged.load(Ordering::Relaxed),
            set_aside: health.set_aside.load(Ordering::Relaxed),
        }
    }

    fn has_journal(&self) -> bool {
        self.shared.keeper.is_some()
    }
}

impl Shared {
    fn new(head: Arc<Head>, keeper: Option<Arc<Keeper>>) -> (Arc<Shared>, mpsc::Receiver<Owed>) {
        let (waiters, owed) = Waiters::new();
        let shared = Shared {
            memory: Memory::new(head.clone()),
            head,
            epoch: AtomicI64::new(0),
            backlog: Backlog::default(),
            pages: Pages::default(),
            past: writer::Past::default(),
            keeper,
            waiters,
            changed: broadcast::Sender::new(CHANGED),
            health: Health::default(),
            by_hand: Notify::new(),
            close: CancellationToken::new(),
        };
        (Arc::new(shared), owed)
    }

    /// Those that needed no writer, as outcomes, and the rest.
    fn divide(
        &self,
        observations: Vec<Observation>,
        verdicts: Vec<Option<Verdict>>,
    ) -> (Vec<Outcome>, Vec<Observation>) {
        let (mut settled, mut waiting) = (Vec::new(), Vec::new());
        for (observation, verdict) in observations.into_iter().zip(verdicts) {
            match verdict {
                None => waiting.push(observation),
                Some(Verdict::Absent) => settled.push(Outcome::Absent),
                Some(_) => settled.push(Outcome::Unchanged),
            }
        }
        self.health
            .unchanged
            .fetch_add(settled.len() as u64, Ordering::Relaxed);
        (settled, waiting)
    }
}

impl Default for Health {
    fn default() -> Self {
        Health {
            trouble: watch::Sender::new(None),
            lost: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
        }
    }
}

/// What an observation costs while it waits, roughly.
fn weight(observation: &Observation) -> usize {
    const FIXED: usize = 256;
    FIXED
        + match &observation.seen {
            Seen::Whole(view) => view.raw.len(),
            Seen::Partial(_) => 2 * FIXED,
            _ => 0,
        }
}
