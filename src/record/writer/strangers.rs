//! States of users who never were go after a while.
//!
//! Where several processes record, a not-found of a stranger leaves a state, so that no process takes a
//! late answer that was sent before it for the truth. Whoever names ids at random must not make the
//! table grow for ever. What must never be: a state removed while anything that was sent before it may
//! still come. An answer comes within minutes; what a journal holds for longer proves nothing any more
//! where another process has recorded meanwhile.

use std::time::Duration;

use super::Writer;
use crate::clock::{self, Instant};
use crate::failpoint;
use crate::user::{Position, Sent};

/// Longer than any list lags and any answer takes: see [`crate::user::Head::sent_before`].
const AFTER: Duration = Duration::from_secs(900);

/// Positions that were known so long ago.
#[derive(Debug, Default)]
pub(super) struct Aging {
    older: Option<Sent>,
    newer: Option<(Instant, Sent)>,
}

impl Aging {
    /// Everything up to this position is old enough.
    fn old_enough(&mut self, known: Sent, now: Instant, after: Duration) -> Option<Position> {
        match self.newer {
            Some((since, _)) if now.saturating_duration_since(since) < after => {}
            newer => {
                self.older = newer.map(|(_, sent)| sent);
                self.newer = Some((now, known));
            }
        }
        let older = self.older.filter(|older| older.epoch == known.epoch)?;
        Some(older.position)
    }
}

impl Writer {
    /// What fails is tried again the next time.
    pub(super) async fn forget_strangers(&mut self) {
        let after = failpoint::wait("strangers-after", AFTER);
        let known = self.shared.head.sent();
        let Some(up_to) = self.aging.old_enough(known, clock::now(), after) else {
            return;
        };
        let Ok(conn) = self.link.conn() else { return };
        if let Err(error) = self.sql.forget_strangers_up_to(conn, up_to).await {
            tracing::debug!(%error, "states of strangers stay for now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_old_enough_once_it_was_known_so_long_ago() {
        let (mut aging, start) = (Aging::default(), clock::now());
        let known = |position| Sent {
            epoch: 1,
            position: Position(position),
            ..Sent::NEVER
        };
        let mut at = |seconds: u64, position| {
            let now = start + Duration::from_secs(seconds);
            aging.old_enough(known(position), now, Duration::from_secs(60))
        };
        assert_eq!(at(0, 5), None);
        assert_eq!(at(59, 9), None);
        assert_eq!(at(60, 9), Some(Position(5)));
        assert_eq!(at(119, 12), Some(Position(5)));
        assert_eq!(at(120, 12), Some(Position(9)));
    }

    #[test]
    fn what_was_known_in_another_epoch_says_nothing() {
        let (mut aging, now) = (Aging::default(), clock::now());
        let known = |epoch| Sent {
            epoch,
            position: Position(5),
            ..Sent::NEVER
        };
        assert_eq!(aging.old_enough(known(1), now, Duration::ZERO), None);
        assert_eq!(aging.old_enough(known(2), now, Duration::ZERO), None);
        assert_eq!(aging.old_enough(known(2), now, Duration::ZERO), Some(Position(5)));
    }
}
