//! The change feed: what logical replication is to tables, this is to the provider's users.
//!
//! A snapshot of the table, then every change after it, in the order of commits, to any number of
//! consumers. One tail in the process reads what is new once, for everybody; whoever has
//! fallen behind what it keeps reads the database, a few at a time. So a slow reader costs its own
//! position and one stretch in memory, and nothing that records.
//!
//! What must never be: a change passed over; two in another order than they were committed; a
//! position of another history taken for one of this; anything of a purged user.

pub mod event;
pub mod filter;
mod latest;
pub mod read;
mod reader;
pub mod retention;
mod ring;
pub mod slots;
pub mod snapshot;
mod tail;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Object;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, broadcast, watch};
use uuid::Uuid;

use crate::clock::Instant;
use crate::db::{Database, DbError};
use crate::tasks::Tasks;
use crate::user::{Pos, Position, UserId};

pub use event::{Event, Shape};
pub use filter::Filter;
pub use read::{Bounds, Since};
pub use reader::{News, Page, Reader};

use retention::Retention;
use ring::Ring;

/// Reads of the database for consumers at once: half of the pool, so that status and re-reads have
/// the other half however many consumers come.
const READERS: usize = 2;
/// A consumer that had no turn at the database for so long is told to come again.
const TURN: Duration = Duration::from_secs(30);
/// Changes that a subscriber may fall behind before it is told that it missed some.
const FOLLOWED: usize = 4_096;

/// The feed of one tenant; cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Arc<Shared>,
    /// Beside what all of it share: who only looks asks in passing.
    database: Database,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    /// The provider's name in every event's key.
    provider: Box<str>,
    retention: Retention,
    ring: RwLock<Ring>,
    pulse: watch::Sender<Pulse>,
    followed: broadcast::Sender<Followed>,
    turns: Semaphore,
    /// The highest position that somebody said is committed.
    told: AtomicI64,
    /// How far this process has moved slots.
    moved: Mutex<BTreeMap<Box<str>, Pos>>,
    wake: Notify,
    look: Notify,
    by_hand: Notify,
    known: Mutex<Known>,
    is_following: AtomicBool,
    /// The database refuses to drop what is too old.
    keeps_old: AtomicBool,
    readers: AtomicUsize,
    /// Consumers who want `raw`: without one, nobody reads it.
    raw_readers: AtomicUsize,
    /// Stands in what is told to other processes, and is heard here too.
    name: Uuid,
}

/// Moves for everybody at once: on news, and every few seconds without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pulse {
    news: u64,
    beats: u64,
    /// The process stops: streams end.
    ends: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    bounds: Option<Bounds>,
    /// When it was last asked with the answer that there is nothing more.
    at: Option<Instant>,
}

/// What the processes on this database let each other know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A committed change of any of them.
    Change { id: UserId, position: Position },
    /// Anybody may have changed, and no change tells of it. Also said where it may have been missed.
    Anybody,
}

/// Why a consumer gets no changes.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Too old, or of another history.
    #[error("the position is older than what is kept, or of another history (a restored backup)")]
    Gone(Bounds),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Feed {
    /// Does nothing until [`Feed::follow`].
    pub fn new(database: Database, provider: &str, retention: Retention) -> Feed {
        let shared = Shared {
            database: database.clone(),
            provider: provider.into(),
            retention,
            ring: RwLock::default(),
            pulse: watch::Sender::new(Pulse::default()),
            followed: broadcast::Sender::new(FOLLOWED),
            turns: Semaphore::new(READERS),
            told: AtomicI64::new(0),
            moved: Mutex::default(),
            wake: Notify::new(),
            look: Notify::new(),
            by_hand: Notify::new(),
            known: Mutex::default(),
            is_following: AtomicBool::new(false),
            keeps_old: AtomicBool::new(false),
            readers: AtomicUsize::new(0),
            raw_readers: AtomicUsize::new(0),
            name: Uuid::new_v4(),
        };
        Feed {
            shared: Arc::new(shared),
            database,
        }
    }

    /// For a look at bounds and slots that keeps no database awake.
    pub fn in_passing(&self) -> Feed {
        Feed {
            shared: self.shared.clone(),
            database: self.database.in_passing(),
        }
    }

    /// Starts the tail, and the dropping of what is too old.
    pub fn follow(&self, tasks: &Tasks) {
        tasks.spawn_until_stopped(tail::run(self.shared.clone()));
        tasks.spawn_until_stopped(tail::beat(self.shared.clone()));
        tasks.spawn_until_stopped(retention::keep(self.shared.clone()));
    }

    /// This process has committed up to here: quicker than the database's own word of it.
    pub fn told(&self, position: Position) {
        self.shared.told.fetch_max(position.0, Ordering::AcqRel);
        self.shared.wake.notify_one();
    }

    /// Asks the database now: whoever waits for [`Feed::known_at`] to move wants it sooner than the tail
    /// asks of itself.
    pub fn look(&self) {
        self.shared.look.notify_one();
    }

    /// Lets the other processes know that anybody may have changed.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn tell_of_anybody(&self) -> Result<(), DbError> {
        tail::tell_of_anybody(&self.shared).await
    }

    /// Every change that any process commits from now on, in order, and what they let each other know beside.
    pub fn subscribe(&self) -> broadcast::Receiver<Followed> {
        self.shared.followed.subscribe()
    }

    /// When it last knew that it had every change committed until then.
    pub fn known_at(&self) -> Option<Instant> {
        self.shared.known().at
    }

    /// Resolves when somebody has changed rows by hand.
    pub async fn changed_by_hand(&self) {
        self.shared.by_hand.notified().await;
    }

    /// Streams and waiting pages end at once.
    pub fn end_streams(&self) {
        self.shared.pulse.send_modify(|pulse| pulse.ends = true);
    }

    /// The tail hears of commits and reads them.
    pub fn is_following(&self) -> bool {
        self.shared.is_following.load(Ordering::Relaxed)
    }

    /// The database refuses to drop what is older than `FEED_RETENTION`, look after look.
    pub fn keeps_old(&self) -> bool {
        self.shared.keeps_old.load(Ordering::Relaxed)
    }

    /// Consumers that read at this moment.
    pub fn readers(&self) -> usize {
        self.shared.readers.load(Ordering::Relaxed)
    }

    /// What the feed holds.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn bounds(&self) -> Result<Bounds, DbError> {
        let _turn = self.shared.turn().await?;
        read::bounds(&self.database.names, &mut *self.database.get().await?).await
    }
}

impl Shared {
    fn ring(&self) -> std::sync::RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn ring_mut(&self) -> std::sync::RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A connection, once it is this reader's turn.
    async fn conn(&self) -> Result<(Object<AsyncPgConnection>, SemaphorePermit<'_>), DbError> {
        let turn = self.turn().await?;
        Ok((self.database.get().await?, turn))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, DbError> {
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(DbError::Away(
                "too many consumers catch up at once: come again".into(),
            ));
        };
        Ok(turn)
    }

    /// The last change known, where the tail knows one.
    fn head(&self) -> Option<Pos> {
        self.ring().head()
    }
}
