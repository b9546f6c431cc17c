//! What is too old goes, a whole partition at a time.
//!
//! Rows are never deleted one by one. A partition goes once its last change is older than
//! `FEED_RETENTION` and no slot still needs it; a slot that nobody reads keeps it up to
//! [`FOR_SLOTS`] times as long, so that it cannot fill the disk. So that little traffic ages too, a
//! partition that holds something old is closed early: the positions left in it are skipped.
//! What was dropped last stays known as the floor, the oldest position that can be resumed from.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval_at};

use super::Shared;
use crate::clock::{self, Instant};
use crate::db::partitions::{self, Closing};
use crate::db::{Database, DbError};

/// How many times the retention a slot keeps what it has not taken.
pub const FOR_SLOTS: u32 = 4;
/// A partition is closed once it holds something as old as this part of the retention: what is
/// kept is at most so much older than it must be.
const PARTS: u32 = 8;

/// What nobody mends is not said at every look.
const WARN_EVERY: Duration = Duration::from_secs(3_600);

/// Whoever reads the oldest changes has a lock at one look, not at so many in a row.
const REFUSED: u32 = 3;

/// How long changes are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub keep: Duration,
}

impl Retention {
    /// How long for a slot that has not taken them.
    pub fn for_slots(self) -> Duration {
        self.keep.saturating_mul(FOR_SLOTS)
    }

    fn look_every(self) -> Duration {
        let part = self.keep / PARTS;
        part.clamp(Duration::from_millis(200), Duration::from_secs(600))
    }
}

/// Drops what is due, without an end; of several processes one at a time does. Notes whether it is
/// kept from that.
pub(super) async fn keep(shared: Arc<Shared>) {
    let (database, retention) = (&shared.database.in_passing(), shared.retention);
    let every = retention.look_every();
    let mut looks = interval_at(clock::now() + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut warned, mut refused) = (None, 0);
    loop {
        looks.tick().await;
        if !database.is_open() {
            continue;
        }
        let looked = look(database, retention).await;
        refused = match &looked {
            Err(DbError::Refused { .. }) => refused + 1,
            Err(DbError::Away(_)) => refused,
            Err(DbError::Unfit(_)) | Ok(_) => 0,
        };
        shared.keeps_old.store(refused >= REFUSED, Ordering::Relaxed);
        match looked {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(
                dropped,
                "partitions of the feed older than FEED_RETENTION are gone"
            ),
            Err(error) if is_telling(&error, refused) && is_due(&mut warned, clock::now()) => {
                tracing::warn!(%error, "old partitions of the feed stay");
            }
            Err(error) => tracing::debug!(%error, "old partitions stay for now"),
        }
    }
}

fn is_telling(error: &DbError, refused: u32) -> bool {
    matches!(error, DbError::Unfit(_)) || refused >= REFUSED
}

/// At the first time, and then now and then.
fn is_due(warned: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = warned.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
    if is_due {
        *warned = Some(now);
    }
    is_due
}

/// Closes and drops what is due; says how many partitions went.
///
/// # Errors
/// As the database gives them; a lock that is not to be had within a moment is one of them.
pub async fn look(database: &Database, retention: Retention) -> Result<usize, DbError> {
    let mut conn = database.get().await?;
    let closing = Closing {
        after: retention.keep / PARTS,
        drop_after: retention.keep,
        drop_for_slots_after: retention.for_slots(),
    };
    partitions::close(database, &mut conn, &closing).await?;
    let mut dropped = 0;
    while partitions::drop_oldest(database, &mut conn, &closing).await? {
        dropped += 1;
    }
    Ok(dropped)
}
