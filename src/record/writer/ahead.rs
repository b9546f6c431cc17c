//! Partitions for the positions to come: made before these are given out, by one lane at a time.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use diesel_async::AsyncPgConnection;

use super::Writer;
use crate::clock::{self, Instant};
use crate::db::partitions;
use crate::user::Position;

/// Between attempts, of all lanes together.
const PAUSE: Duration = Duration::from_secs(60);

/// How far they are.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Where they were made last.
    made_at: Position,
    /// When they last could not be.
    failed_at: Option<Instant>,
}

impl Ahead {
    fn made(&self, at: Position) {
        *self.lock() = Known {
            made_at: at,
            failed_at: None,
        };
    }

    fn failed(&self) {
        self.lock().failed_at = Some(clock::now());
    }

    fn rests(&self) -> bool {
        let at = self.lock().failed_at;
        at.is_some_and(|at| clock::now().saturating_duration_since(at) < PAUSE)
    }

    /// One position may have been given out for no change at all.
    fn are_due(&self, last: Position) -> bool {
        last.0 - self.lock().made_at.0 >= partitions::RENEW_EVERY
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Writer {
    pub(super) async fn renew_partitions(&mut self) {
        let last = self.shared.head.sent().position;
        if !self.shared.ahead.are_due(last) {
            return;
        }
        let shared = self.shared.clone();
        let _alone = shared.past.looking.lock().await;
        let Some(mut conn) = self.link.conn.take() else {
            return;
        };
        self.make_partitions(&mut conn, last).await;
        self.link.conn = Some(conn);
    }

    /// Where it cannot be done yet, what is there lasts a while: it is tried again every
    /// [`PAUSE`], and said.
    pub(super) async fn make_partitions(&self, conn: &mut AsyncPgConnection, last: Position) {
        let ahead = &self.shared.ahead;
        if ahead.rests() {
            return;
        }
        match partitions::ahead(&self.database, conn).await {
            Ok(()) => ahead.made(last),
            Err(error) => {
                ahead.failed();
                tracing::warn!(%error, "no new partition for the change rows yet");
            }
        }
    }
}
