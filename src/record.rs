//! The recorder: the only writer of `users_sync`, of the change rows and of what is known of
//! each user.
//!
//! Observations come in through [`Recorder::submit`]; one writer judges those of a user in the
//! order of receipt ([`merge`] says who wins), writes what waits in one transaction, and then lets
//! all that waited for it go. What must never be: an older observation over a newer one; a
//! receipt that says committed before the commit; a wait without an end; a row that the database
//! refuses holding up another.

mod batch;
mod change;
mod memory;
pub mod merge;
mod receipt;
mod refusal;
#[cfg(test)]
mod simulation;
mod sql;
mod waiters;
mod writer;

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Deleted;
use crate::db::Database;
use crate::tasks::Tasks;
use crate::user::{Head, Observation, Position, Seen, UserId};

pub use receipt::{Fared, Receipt, Recorded, Unrecorded};
pub use waiters::Owed;

use memory::Memory;
use merge::Verdict;
use receipt::Settled;
use waiters::Waiters;

/// Submissions that may wait for the writer.
const QUEUE: usize = 8_192;
/// Bytes of users' JSON that may wait for the writer, while the database is away above all.
const QUEUE_BYTES: usize = 64 << 20;
/// Changes that a slow subscriber may fall behind before it is told that it missed some.
const CHANGED: usize = 4_096;

/// A handle on the one recorder of a tenant; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// Called with each user that has changed or is in doubt, and the exchange that told of it (empty
/// where none did), after the commit and before anybody who waits for it is let go.
type OnChange = Box<dyn Fn(&UserId, &str) + Send + Sync>;

pub(crate) struct Shared {
    memory: Memory,
    head: Arc<Head>,
    epoch: AtomicI64,
    queue: mpsc::Sender<Job>,
    queued_bytes: AtomicUsize,
    waiters: Waiters,
    changed: broadcast::Sender<Changed>,
    told: OnceLock<OnChange>,
    health: Health,
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
    waiting: AtomicUsize,
    /// Submissions that found the queue full.
    lost: AtomicU64,
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
}

/// Observations on their way to the writer.
#[derive(Debug)]
struct Job {
    observations: Vec<Observation>,
    checkpoint: Option<Checkpoint>,
    bytes: usize,
    reply: oneshot::Sender<Settled>,
    /// For the figures and the account: those that needed no writer.
    settled: Vec<Outcome>,
}

impl Recorder {
    /// Starts the writer. The receiver gives the reads that are owed; the doubts in the database
    /// are the truth, so it may be slow.
    pub fn start(
        database: Database,
        head: Arc<Head>,
        deleted: Deleted,
        tasks: &Tasks,
    ) -> (Recorder, mpsc::Receiver<Owed>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (waiters, owed) = Waiters::new();
        let shared = Arc::new(Shared {
            memory: Memory::new(head.clone()),
            head,
            epoch: AtomicI64::new(0),
            queue,
            queued_bytes: AtomicUsize::new(0),
            waiters,
            changed: broadcast::Sender::new(CHANGED),
            told: OnceLock::new(),
            health: Health::default(),
            close: CancellationToken::new(),
        });
        let writer = writer::Writer::new(shared.clone(), database, deleted, jobs);
        tasks.spawn(writer.run());
        (Recorder { shared }, owed)
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
        let bytes = waiting.iter().map(weight).sum();
        let (reply, receiver) = oneshot::channel();
        let job = Job {
            observations: waiting,
            checkpoint,
            bytes,
            reply,
            settled,
        };
        let before = shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        shared.health.waiting.fetch_add(1, Ordering::Relaxed);
        let refused = match before + bytes > QUEUE_BYTES && before > 0 {
            true => Some(job),
            false => shared
                .queue
                .try_send(job)
                .err()
                .map(mpsc::error::TrySendError::into_inner),
        };
        match refused {
            None => Receipt::waiting(self.clone(), receiver),
            Some(job) => {
                shared.health.waiting.fetch_sub(1, Ordering::Relaxed);
                shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
                shared.memory.judged(job.observations.iter().map(|o| &o.id));
                shared.health.lost.fetch_add(1, Ordering::Relaxed);
                Receipt::refused(self.clone())
            }
        }
    }

    /// Sets who learns of each change before anybody else does: see [`OnChange`]. The first who asks
    /// for it has it.
    pub fn on_change(&self, told: impl Fn(&UserId, &str) + Send + Sync + 'static) {
        let _already = self.shared.told.set(Box::new(told));
    }

    /// Everything this process commits from now on.
    pub fn changed(&self) -> broadcast::Receiver<Changed> {
        self.shared.changed.subscribe()
    }

    /// Another process has begun or ceased to record the same tenant: what this one remembers of
    /// users is not all there is, so judgements go through the database.
    pub fn set_shared(&self, shared: bool) {
        self.shared.memory.set_shared(shared);
    }

    /// Lets the writer end once it has written what waits.
    pub fn close(&self) {
        self.shared.close.cancel();
    }

    pub fn figures(&self) -> Figures {
        let health = &self.shared.health;
        Figures {
            trouble: health.trouble.borrow().as_deref().map(str::to_owned),
            waiting: health.waiting.load(Ordering::Relaxed),
            lost: health.lost.load(Ordering::Relaxed),
            committed: health.committed.load(Ordering::Relaxed),
            unchanged: health.unchanged.load(Ordering::Relaxed),
            set_aside: health.set_aside.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn trouble(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.health.trouble.subscribe()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// See [`OnChange`].
    fn tell(&self, user: &UserId, by: &str) {
        if let Some(told) = self.told.get() {
            told(user, by);
        }
    }

    /// Those that needed no writer, as outcomes, and the rest.
    fn divide(
        &self,
        observations: Vec<Observation>,
        verdicts: Vec<Option<Verdict>>,
    ) -> (Vec<Outcome>, Vec<Observation>) {
        let mut waiting = Vec::new();
        for (observation, verdict) in observations.into_iter().zip(&verdicts) {
            if verdict.is_none() {
                waiting.push(observation);
            }
        }
        let settled = vec![Outcome::Unchanged; verdicts.len() - waiting.len()];
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
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
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
