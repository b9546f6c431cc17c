//! A database that nobody needs is left alone, so that a hosted one can go to sleep (`DATABASE_IDLE`).
//!
//! Whoever asks for a connection needs the database, unless it asks in passing ([`Database::in_passing`]): what
//! only keeps house waits until somebody needs it, and until it is known what others did while it was left alone. What
//! must never be: a connection that is kept or made while nobody needs one; somebody who needs it and is not heard.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::Database;
use crate::clock::{self, Instant};

/// Whether anybody needs the database; by default it is in use for ever.
#[derive(Debug)]
pub struct Idle {
    after: Option<Duration>,
    standing: watch::Sender<Standing>,
    needed_at: Mutex<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    InUse,
    Alone,
    /// Somebody needs it again, and what others did meanwhile is not known yet.
    Waking,
}

/// Why a connection is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    OfNeed,
    /// See [`Database::in_passing`].
    InPassing,
    /// See [`Database::ahead`].
    Ahead,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle::after(None)
    }
}

impl Idle {
    /// To be left alone once nobody has needed it for so long; never where nothing is said.
    pub fn after(after: Option<Duration>) -> Idle {
        Idle {
            after,
            standing: watch::Sender::new(Standing::InUse),
            needed_at: Mutex::new(clock::now()),
        }
    }

    /// Somebody needs the database now. Whether it is in use: where it was left alone it is woken, and what others
    /// did meanwhile is known after [`Idle::until_in_use`].
    pub fn needed(&self) -> bool {
        if self.after.is_none() {
            return true;
        }
        *self.needed_at() = clock::now();
        let wakes = |standing: &mut Standing| {
            let is_alone = *standing == Standing::Alone;
            if is_alone {
                *standing = Standing::Waking;
            }
            is_alone
        };
        self.standing.send_if_modified(wakes);
        *self.standing.borrow() == Standing::InUse
    }

    /// Since when nobody has needed it, where that is long enough.
    pub fn is_due(&self, now: Instant) -> Option<Instant> {
        let needed_at = *self.needed_at();
        let is_due = now.saturating_duration_since(needed_at) >= self.after?;
        is_due.then_some(needed_at)
    }

    /// Leaves it alone, unless somebody has needed it after `since`.
    pub fn leave_alone(&self, since: Instant) -> bool {
        // Held until it is so: whoever needs it now finds it alone, and wakes it.
        let needed_at = self.needed_at();
        let nobody_did = *needed_at == since;
        if nobody_did {
            self.standing.send_replace(Standing::Alone);
        }
        nobody_did
    }

    /// What others did while it was left alone is known.
    pub fn woken(&self) {
        self.standing.send_replace(Standing::InUse);
    }

    pub fn is_alone(&self) -> bool {
        *self.standing.borrow() == Standing::Alone
    }

    pub fn is_left(&self) -> bool {
        *self.standing.borrow() != Standing::InUse
    }

    pub async fn until_needed(&self) {
        self.until(|standing| standing != Standing::Alone).await;
    }

    /// Left alone, or waking.
    pub async fn until_left(&self) {
        self.until(|standing| standing != Standing::InUse).await;
    }

    pub async fn until_in_use(&self) {
        self.until(|standing| standing == Standing::InUse).await;
    }

    async fn until(&self, is: impl Fn(Standing) -> bool) {
        // The sender is this one: it does not end before.
        let _ = self.standing.subscribe().wait_for(|standing| is(*standing)).await;
    }

    fn needed_at(&self) -> MutexGuard<'_, Instant> {
        self.needed_at
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Database {
    /// Whether anybody needs it.
    pub fn idle(&self) -> &Arc<Idle> {
        &self.idle
    }

    /// For what only keeps house: it needs nothing of its own, and waits until the database is in use.
    pub fn in_passing(&self) -> Database {
        self.asked(Asked::InPassing)
    }

    /// For what finds out who else is there: it needs nothing of its own, and waits for nothing.
    pub fn ahead(&self) -> Database {
        self.asked(Asked::Ahead)
    }

    /// Before anything is sent that nobody outside asked for: it is needed, and what others did is known.
    pub async fn in_use(&self) {
        self.idle.needed();
        self.idle.until_in_use().await;
    }

    fn asked(&self, asked: Asked) -> Database {
        Database {
            asked,
            ..self.clone()
        }
    }

    pub(super) async fn asked_for(&self) {
        match self.asked {
            Asked::OfNeed => drop(self.idle.needed()),
            Asked::InPassing => self.idle.until_in_use().await,
            Asked::Ahead => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_is_left_alone_once_nobody_has_needed_it_for_so_long() {
        let idle = Idle::after(Some(MINUTE));
        tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
        assert_eq!(idle.is_due(clock::now()), None);
        assert!(idle.needed());
        tokio::time::advance(MINUTE).await;
        let since = idle.is_due(clock::now()).unwrap();
        assert!(idle.leave_alone(since) && idle.is_alone());
        idle.until_left().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_needs_it_in_the_last_moment_keeps_it() {
        let idle = Idle::after(Some(MINUTE));
        tokio::time::advance(MINUTE).await;
        let since = idle.is_due(clock::now()).unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(idle.needed());
        assert!(!idle.leave_alone(since) && !idle.is_alone());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_needs_it_wakes_it_and_it_is_in_use_once_that_is_said() {
        let idle = Idle::after(Some(MINUTE));
        tokio::time::advance(MINUTE).await;
        assert!(idle.leave_alone(idle.is_due(clock::now()).unwrap()));
        assert!(!idle.needed() && !idle.is_alone());
        idle.until_needed().await;
        assert!(!idle.needed(), "what others did is not known yet");
        idle.woken();
        idle.until_in_use().await;
        assert!(idle.needed());
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_said_it_is_never_due() {
        let idle = Idle::default();
        tokio::time::advance(MINUTE * 60 * 24).await;
        assert_eq!(idle.is_due(clock::now()), None);
        assert!(idle.needed());
    }
}
