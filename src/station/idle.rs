//! `DATABASE_IDLE`: the database is left alone while nobody needs it.
//!
//! Others may record meanwhile, and know nothing of this process: what it remembers counts for nothing until a
//! beat has told who is there, and what they did. What must never be: the database left alone while something is
//! owed to it, or while another process is at work on it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{sleep, sleep_until, timeout};

use super::Station;
use crate::clock::{self, Instant};
use crate::db::instances::{self, Heard, Kind, in_parting};
use crate::db::{DbError, due};
use crate::feed::slots;

/// A connection that was in use in the last moment is given up no later.
const GIVE_UP_EVERY: Duration = Duration::from_secs(1);

impl Station {
    /// After a beat: leaves the database alone where nobody has needed it for long, until somebody does.
    pub(super) async fn leave_alone(&self, kind: Kind, heard: &Heard) {
        let idle = self.database.idle();
        let Some(since) = idle.is_due(clock::now()) else {
            return;
        };
        let reconcile_at = match self.owes_nothing(heard).await {
            Ok(true) => self.reconcile_at().await,
            Ok(false) => {
                idle.needed();
                return;
            }
            Err(error) => Err(error),
        };
        let Ok(reconcile_at) = reconcile_at else {
            return;
        };
        // Until the next beat.
        self.standing.leaves();
        self.recorder.set_shared(true);
        self.cache.hears_nothing();
        if !idle.leave_alone(since) {
            return;
        }
        tracing::info!(
            "nobody has needed the database for DATABASE_IDLE: it is left alone until somebody does"
        );
        // Others need not find out.
        let _ = in_parting(instances::leave(&self.database.ahead(), self.instance)).await;
        self.until_needed(reconcile_at).await;
        if !self.tasks.is_stopping() {
            self.meet(kind).await;
            idle.woken();
        }
    }

    /// Where something is owed, so is another whole `DATABASE_IDLE`.
    async fn owes_nothing(&self, heard: &Heard) -> Result<bool, DbError> {
        let recorder = self.recorder.figures();
        let waits = recorder.waiting + recorder.journal.waiting + recorder.writes.open;
        let held = recorder.held.len() + recorder.by_hand.held.len();
        let is_alone = heard.others.is_empty() && recorder.trouble.is_none();
        Ok(is_alone && waits + held == 0 && self.known(slots::COUNTED).await?.owes_nothing())
    }

    /// When the next reconcile is due, where they are on.
    async fn reconcile_at(&self) -> Result<Option<Instant>, DbError> {
        let Some(every) = self.config.reconcile_every else {
            return Ok(None);
        };
        let left = due::reconcile_in(&self.database.in_passing(), every).await?;
        Ok(Some(clock::now() + left))
    }

    /// Somebody who asks through this process needs the database. Where it was left alone: resolves once what others
    /// did meanwhile is known, or an answer may wait no longer.
    pub fn needs_database(&self) -> Option<BoxFuture<'_, ()>> {
        let idle = self.database.idle();
        if idle.needed() {
            return None;
        }
        let in_use = timeout(self.config.sync_timeout, idle.until_in_use());
        Some(Box::pin(async { drop(in_use.await) }))
    }

    async fn until_needed(&self, reconcile_at: Option<Instant>) {
        let idle = self.database.idle();
        while idle.is_alone() {
            self.database.forget_connections();
            tokio::select! {
                () = self.tasks.stopping() => return,
                () = idle.until_needed() => {}
                () = sleep_until(reconcile_at.unwrap_or_else(clock::now)), if reconcile_at.is_some() => drop(idle.needed()),
                () = sleep(GIVE_UP_EVERY) => {}
            }
        }
    }
}
