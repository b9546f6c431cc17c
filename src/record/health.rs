//! How the recorder fares: what the status says of it.

mod by_hand;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::Recorder;
use crate::failpoint;
use by_hand::{ByHand, LONG};

pub use by_hand::ByHandFigures;

/// How the recorder itself fares, for the status.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub trouble: watch::Sender<Trouble>,
    /// Submissions that found the queue full.
    pub lost: AtomicU64,
    /// Records of the journal that could not be read any more.
    pub damaged: AtomicU64,
    pub committed: AtomicU64,
    /// Of those, the changes that writes of apps made.
    pub written_by_apps: AtomicU64,
    pub unchanged: AtomicU64,
    pub set_aside: AtomicU64,
    pub by_hand: ByHand,
}

/// Why nothing can be written at the moment, if it is so.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// There is no connection on which anything could be. The next that there is ends it.
    connecting: Option<Arc<str>>,
    /// What a statement came to. Only one that succeeds ends it.
    writing: Option<Arc<str>>,
}

impl Trouble {
    pub fn why(&self) -> Option<&Arc<str>> {
        self.connecting.as_ref().or(self.writing.as_ref())
    }
}

impl Health {
    pub fn note_connecting(&self, reason: &str) {
        self.note_connecting_if(reason, || true);
    }

    /// The same where that holds while it is noted; says whether it does.
    pub fn note_connecting_if(&self, reason: &str, holds: impl FnOnce() -> bool) -> bool {
        let mut held = false;
        self.change(|trouble| {
            held = holds();
            if held {
                trouble.connecting = Some(Arc::from(reason));
            }
        });
        held
    }

    pub fn note_writing(&self, reason: &str) {
        self.change(|trouble| trouble.writing = Some(Arc::from(reason)));
    }

    /// Whether nothing can be written.
    pub fn is_in_trouble(&self) -> bool {
        self.trouble.borrow().why().is_some()
    }

    /// There is a connection.
    pub fn connected(&self) {
        self.change(|trouble| trouble.connecting = None);
    }

    /// The database has done what it was asked.
    pub fn written(&self) {
        self.change(|trouble| *trouble = Trouble::default());
    }

    fn change(&self, change: impl FnOnce(&mut Trouble)) {
        self.trouble.send_if_modified(|trouble| {
            let before = trouble.why().cloned();
            change(trouble);
            let changes = before.as_ref() != trouble.why();
            match trouble.why() {
                Some(reason) if changes => {
                    tracing::warn!(%reason, "nothing is recorded until the database takes it");
                }
                None if changes => tracing::info!("the database takes what was seen again"),
                _ => {}
            }
            changes
        });
    }
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
    pub writes: WritesFigures,
    pub by_hand: ByHandFigures,
    /// Users of whom something waits, as another transaction has had their row or state locked for long.
    pub held: Vec<String>,
}

/// Writes under way, noted so that a crash forgets none.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WritesFigures {
    /// Why none is noted at the moment.
    pub trouble: Option<String>,
    /// Not yet ended, and left by an earlier process and not yet seen to.
    pub open: usize,
    /// Forwarded without a note.
    pub unnoted: u64,
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
    /// Why some of what an earlier process left is not taken in yet.
    pub unread: Option<String>,
    /// Records that could not be read any more.
    pub damaged: u64,
}

impl Recorder {
    pub fn figures(&self) -> Figures {
        let health = &self.shared.health;
        let depth = self.shared.backlog.depth();
        let keeper = self.shared.keeper.as_ref();
        Figures {
            writes: self.writes(),
            by_hand: health.by_hand.figures(),
            held: self.held(),
            journal: JournalFigures {
                trouble: keeper
                    .and_then(|keeper| keeper.fault())
                    .map(|fault| fault.to_string()),
                unread: keeper.and_then(|keeper| keeper.unread()),
                waiting: depth.journaled,
                bytes: keeper.map_or(0, |keeper| keeper.weight()),
                oldest: depth.oldest_journaled,
                damaged: health.damaged.load(Ordering::Relaxed),
            },
            trouble: health.trouble.borrow().why().map(ToString::to_string),
            waiting: depth.waiting,
            lost: health.lost.load(Ordering::Relaxed),
            committed: health.committed.load(Ordering::Relaxed),
            unchanged: health.unchanged.load(Ordering::Relaxed),
            set_aside: health.set_aside.load(Ordering::Relaxed),
        }
    }

    fn held(&self) -> Vec<String> {
        let held = self.shared.backlog.held_for(failpoint::wait("held-long", LONG));
        held.into_iter().map(|user| user.to_string()).collect()
    }

    /// Changes since the process started that writes of apps made.
    pub fn written_by_apps(&self) -> u64 {
        self.shared.health.written_by_apps.load(Ordering::Relaxed)
    }

    fn writes(&self) -> WritesFigures {
        let intents = self.shared.intents.as_ref();
        let (open, unnoted) = intents.map_or((0, 0), |intents| intents.figures());
        WritesFigures {
            trouble: intents
                .and_then(|intents| intents.fault())
                .map(|fault| fault.to_string()),
            open,
            unnoted,
        }
    }
}
