//! Whom this process has written lately, so that they can be read again where it is lost.

use std::collections::VecDeque;

use crate::user::{Position, UserId};

/// Sightings of users written last that are remembered: a few seconds of what a database can take at
/// its utmost, hours of what apps usually do. A standby lags by less than a second.
pub(super) const TOUCHED: usize = if cfg!(test) { 64 } else { 1 << 15 };

/// Whom this process has written lately. Everything after `dropped` is in it.
#[derive(Debug)]
pub(super) struct Touched {
    users: VecDeque<(Position, UserId)>,
    pub(super) dropped: Position,
}

impl Default for Touched {
    /// Nothing is known of what was written before.
    fn default() -> Touched {
        Touched {
            users: VecDeque::new(),
            dropped: Position(i64::MAX),
        }
    }
}

impl Touched {
    pub(super) fn push(&mut self, position: Position, user: UserId) {
        self.users.push_back((position, user));
        if self.users.len() > TOUCHED
            && let Some((position, _)) = self.users.pop_front()
        {
            self.dropped = self.dropped.max(position);
        }
    }

    pub(super) fn take_after(&mut self, certain: Position) -> impl Iterator<Item = UserId> {
        let (lost, kept) = std::mem::take(&mut self.users)
            .into_iter()
            .partition(|(position, _)| *position > certain);
        self.users = kept;
        let lost: VecDeque<(Position, UserId)> = lost;
        lost.into_iter().map(|(_, user)| user)
    }
}
