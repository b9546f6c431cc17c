//! The reads that are owed: one user each, with the tenant's own key.
//!
//! Doubts in the database say what is owed; the recorder's hints make it quick. One read a user is
//! in flight at a time; one that was sent before a doubt was raised never serves it, another
//! follows. What fails or is cut short by a stop stays owed; what keeps failing is tried less and
//! less often, and named in the end. What must never be: a read on behalf of a request that the provider
//! refused.

mod failing;
mod looked;
mod recent;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::clock;
use crate::db::{Database, rows};
use crate::failpoint;
use crate::reader::{ReadFault, Reader};
use crate::record::{Next, Owed, Receipt, UnderWay};
use crate::tasks::Tasks;
use crate::upstream::Priority;
use crate::user::{Origin, Position, UserId};
use failing::Failing;
use looked::Looked;
use recent::{PAUSE, Recent};

pub use failing::GivenUp;

/// Reads in flight at once: enough to fill any provider's limit at usual latencies.
const AT_ONCE: usize = 32;
/// How often the database is asked for reads that no hint told of.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A stop gives reads that are under way so long, however short `DRAIN` is.
const MOMENT: Duration = Duration::from_millis(500);

/// Users whom one question to the database names: more than there are places, for some are passed over.
const PAGE: usize = 128;
/// Questions of one look: where nobody may be read yet (the provider fails), hints must not wait until all
/// are passed over. The next look goes on.
const PAGES: usize = 16;

/// Users asked for at once that do not wait for each other.
const TURNS: usize = 64;

/// The task that reads what is owed.
#[derive(Debug, Clone)]
pub struct Refetch {
    reader: Reader,
    database: Database,
    tasks: Tasks,
    places: Arc<Semaphore>,
    /// Half of them are free again.
    freed: Arc<Notify>,
    /// Answers that wait have places of their own: the others may all be waiting for the limit.
    awaited: Arc<Semaphore>,
    under_way: Arc<Mutex<UnderWay>>,
    /// One of those must be followed.
    followed: Arc<Notify>,
    /// Several users may share one: they only wait a little longer.
    turns: Arc<[Arc<AsyncMutex<()>>; TURNS]>,
    hasher: RandomState,
    figures: Arc<Figures>,
    failing: Arc<Mutex<Failing>>,
    recent: Arc<Mutex<Recent>>,
    /// A read that nobody waits for was left to a look a moment later.
    put_off: Arc<Notify>,
}

/// Reads since the process started.
#[derive(Debug, Default)]
pub struct Figures {
    pub done: AtomicU64,
    pub failed: AtomicU64,
}

impl Refetch {
    /// Starts reading what is owed, now and from now on.
    pub fn start(reader: Reader, database: Database, owed: mpsc::Receiver<Owed>, tasks: &Tasks) -> Refetch {
        let refetch = Refetch {
            reader,
            database,
            tasks: tasks.clone(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            freed: Arc::default(),
            awaited: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: Arc::default(),
            followed: Arc::default(),
            turns: Arc::new(std::array::from_fn(|_| Arc::default())),
            hasher: RandomState::new(),
            figures: Arc::default(),
            failing: Arc::default(),
            recent: Arc::default(),
            put_off: Arc::default(),
        };
        tasks.spawn_until_stopped(refetch.clone().run(owed));
        refetch
    }

    /// Waits for one's turn to read a user that somebody asks for: those who come second find what
    /// the first has read.
    pub async fn turn(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let place = self.hasher.hash_one(user) as usize % self.turns.len();
        self.turns[place].clone().lock_owned().await
    }

    /// Reads a user because somebody asks for it now.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub async fn ensure(&self, user: &UserId) -> Result<Receipt, ReadFault> {
        let (receipt, _sent) = self.reader.read(user, Origin::Ensure, Priority::App).await?;
        Ok(receipt)
    }

    /// Whose this other name is, as the provider says now.
    pub async fn user_of(&self, alias: &str) -> Option<UserId> {
        self.reader.user_of(alias).await
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Users whose reads keep failing.
    pub fn given_up(&self) -> Vec<GivenUp> {
        self.failing().given_up()
    }

    fn failing(&self) -> MutexGuard<'_, Failing> {
        self.failing
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn run(self, mut owed: mpsc::Receiver<Owed>) {
        let mut look = interval(failpoint::wait("owed-every", LOOK_EVERY));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Looked::default();
        let mut soon = None;
        loop {
            let due = soon.unwrap_or_else(clock::now);
            tokio::select! {
                owed = owed.recv() => match owed {
                    Some(owed) => self.take(owed).await,
                    None => return,
                },
                _ = look.tick() => looked = self.look(looked.anew()).await,
                () = self.freed.notified(), if looked.is_more => looked = self.look(looked).await,
                () = self.put_off.notified() => soon = soon.or(Some(clock::now() + PAUSE)),
                () = sleep_until(due), if soon.is_some() => {
                    soon = None;
                    looked = self.look(looked.anew()).await;
                }
            }
        }
    }

    /// What the database owes beyond the hints: after a restart, or when hints overflowed. Goes on
    /// behind what it looked at last until every place is taken, so that reads that keep failing hold
    /// up no other.
    async fn look(&self, mut looked: Looked) -> Looked {
        for _ in 0..PAGES {
            if !self.has_place() {
                return looked.with_more(true);
            }
            let (whose, behind) = looked.at();
            let page = match rows::doubted(&self.database, whose, behind, PAGE as i64).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "what is owed cannot be looked up");
                    return looked.with_more(false);
                }
            };
            let is_last = page.len() < PAGE;
            for (user, after) in page {
                if !self.has_place() {
                    return looked.with_more(true);
                }
                looked.passed(after);
                let awaited = false;
                self.take(Owed { user, after, awaited }).await;
            }
            if is_last && looked.ended() {
                return looked;
            }
        }
        looked.with_more(false)
    }

    fn has_place(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// Begins the read unless one is in flight; then it follows. One that nobody waits for is left
    /// to the next look where all places are taken.
    async fn take(&self, owed: Owed) {
        if !owed.awaited && !self.may_be_taken(&owed.user) {
            return;
        }
        if !self.under_way().begins(&owed) {
            return self.followed.notify_waiters();
        }
        let places = if owed.awaited { &self.awaited } else { &self.places };
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let refetch = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = refetch.serve(owed) => {}
                () = refetch.last_moment() => {}
            }
            drop(place);
            if refetch.places.available_permits() >= AT_ONCE / 2 {
                refetch.freed.notify_one();
            }
        });
    }

    /// There is a place, and it is time.
    fn may_be_taken(&self, user: &UserId) -> bool {
        let now = clock::now();
        if self.recent().is_recent(user, now) {
            self.put_off.notify_one();
            return false;
        }
        self.has_place() && self.failing().may_be_tried(user, now)
    }

    /// A moment after the process is to stop: what is not read by then stays owed, in the database.
    async fn last_moment(&self) {
        self.tasks.stopping().await;
        sleep(MOMENT).await;
    }

    async fn serve(&self, first: Owed) {
        let mut owed = Some(first);
        while let Some(due) = owed {
            let sent = tokio::select! {
                sent = self.read(&due) => sent,
                () = self.gives_way(&due) => None,
            };
            owed = self.next(&due.user, sent);
        }
    }

    /// A read that nobody waits for may wait long until it is sent. Where somebody comes to wait for its user,
    /// the one that is to follow begins now.
    async fn gives_way(&self, due: &Owed) {
        loop {
            let followed = self.followed.notified();
            tokio::pin!(followed);
            followed.as_mut().enable();
            if !due.awaited && self.under_way().is_awaited(&due.user) {
                return;
            }
            followed.await;
        }
    }

    /// The position at which it was sent; nothing where it failed.
    async fn read(&self, owed: &Owed) -> Option<Position> {
        let priority = if owed.awaited {
            Priority::App
        } else {
            Priority::Refetch
        };
        let read = self.reader.read(&owed.user, Origin::Refetch, priority).await;
        self.recent().was_read(&owed.user, clock::now());
        match read {
            Ok((receipt, sent)) => {
                failpoint::reached("refetch.read");
                self.figures.done.fetch_add(1, Ordering::Relaxed);
                self.failing().told(&owed.user);
                receipt.fared().await;
                Some(sent)
            }
            Err(error) => {
                self.figures.failed.fetch_add(1, Ordering::Relaxed);
                match self.failing().failed(&owed.user, &error, clock::now()) {
                    true => tracing::error!(user = ?owed.user, %error, "a read that is owed keeps failing"),
                    false => {
                        tracing::warn!(user = ?owed.user, %error, "a read that is owed failed; it stays owed")
                    }
                }
                None
            }
        }
    }

    /// What must follow a read that was sent at `sent`, or that failed.
    fn next(&self, user: &UserId, sent: Option<Position>) -> Option<Owed> {
        let mut under_way = self.under_way();
        match under_way.ended(user, sent) {
            Next::Now(_) if self.tasks.is_stopping() => under_way.over(user),
            Next::Now(next) => return Some(next),
            // One that nobody waits for is due a moment later: more may have come by then.
            Next::Later => self.put_off.notify_one(),
            Next::Nothing => {}
        }
        None
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
