//! What the recorder's lanes, its keepers and whoever hands over have in common.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::backlog::Backlog;
use super::health::Health;
use super::intents::Intents;
use super::journal::Keeper;
use super::memory::Memory;
use super::merge::Verdict;
use super::pages::Pages;
use super::silence::Silence;
use super::waiters::Waiters;
use super::{Changed, Effect, Owed, writer};
use crate::db::Idle;
use crate::user::{Head, Observation, UserId};

/// Changes that a slow subscriber may miss before it is told; few where recorders are made by the thousand.
const CHANGED: usize = if cfg!(test) { 16 } else { 4_096 };

/// Called with each user that has changed, is in doubt or stands in the journal, and the exchange that
/// told of it (empty where none did), before anybody who waits for it is let go. With none where it may be anybody.
pub(super) type OnChange = Box<dyn Fn(Option<&UserId>, &str) + Send + Sync>;

pub(crate) struct Shared {
    pub(super) memory: Memory,
    pub(super) head: Arc<Head>,
    pub(super) epoch: AtomicI64,
    /// That was last written to.
    pub(super) users_table: AtomicI64,
    pub(super) backlog: Backlog,
    pub(super) pages: Pages,
    pub(super) turns: writer::Turns,
    pub(super) past: writer::Past,
    pub(super) ahead: writer::Ahead,
    /// Where there is a journal.
    pub(super) keeper: Option<Arc<Keeper>>,
    pub(super) intents: Option<Arc<Intents>>,
    pub(super) waiters: Waiters,
    pub(super) changed: broadcast::Sender<Changed>,
    pub(super) told: OnceLock<OnChange>,
    pub(super) health: Health,
    pub(super) silence: Arc<Silence>,
    /// Rows wait that somebody has changed by hand.
    pub(super) by_hand: Notify,
    /// Rows wait to be removed that took long.
    pub(super) purges: Notify,
    pub(super) close: CancellationToken,
    /// Whoever hands over what memory cannot judge needs the database.
    pub(super) idle: Arc<Idle>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        head: Arc<Head>,
        keeper: Option<Arc<Keeper>>,
        intents: Option<Arc<Intents>>,
        idle: Arc<Idle>,
    ) -> (Arc<Shared>, mpsc::Receiver<Owed>) {
        let (waiters, owed) = Waiters::new();
        let shared = Shared {
            memory: Memory::new(head.clone()),
            head,
            epoch: AtomicI64::new(0),
            users_table: AtomicI64::new(0),
            backlog: Backlog::default(),
            pages: Pages::default(),
            turns: writer::Turns::default(),
            past: writer::Past::default(),
            ahead: writer::Ahead::default(),
            keeper,
            intents,
            waiters,
            changed: broadcast::Sender::new(CHANGED),
            told: OnceLock::new(),
            health: Health::default(),
            silence: Arc::new(Silence::new(writer::LANES)),
            by_hand: Notify::new(),
            purges: Notify::new(),
            close: CancellationToken::new(),
            idle,
        };
        (Arc::new(shared), owed)
    }

    /// See [`OnChange`].
    pub(super) fn tell(&self, user: &UserId, by: &str) {
        if let Some(told) = self.told.get() {
            told(Some(user), by);
        }
    }

    /// Those that needed no writer, as effects, and the rest.
    pub(super) fn divide(
        &self,
        observations: Vec<Observation>,
        verdicts: Vec<Option<Verdict>>,
    ) -> (Vec<Effect>, Vec<Observation>) {
        let (mut settled, mut waiting) = (Vec::new(), Vec::new());
        for (observation, verdict) in observations.into_iter().zip(verdicts) {
            match verdict {
                None => waiting.push(observation),
                Some(Verdict::Absent) => settled.push(Effect::Absent),
                Some(_) => settled.push(Effect::Unchanged),
            }
        }
        self.health
            .unchanged
            .fetch_add(settled.len() as u64, Ordering::Relaxed);
        (settled, waiting)
    }
}
