//! Positions, and what a process knows of them when it sends a request.
//!
//! [`Head`] is the highest position this process knows to be committed. It only ever lags: a
//! head that lags makes an observation ambiguous, a head that runs ahead would make it wrong.
//! Who moves it: the recorder, after a commit. Who reads it: whoever sends to the provider.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::clock::Instant;

/// A place in the order of commits. The first is 1; 0 is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub i64);

/// Orders what one process judged without a commit (an observation equal to its row).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

/// What the process knew just before the first byte of the attempt that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub epoch: i64,
    pub position: Position,
    pub tick: Tick,
}

impl Sent {
    /// Proves nothing by position: webhooks, lists of unknown lag, another epoch.
    pub const NEVER: Sent = Sent {
        epoch: 0,
        position: Position(0),
        tick: Tick(0),
    };
}

/// How far back [`Head::sent_before`] can look; a list that lags longer proves nothing.
const REMEMBERED: Duration = Duration::from_secs(600);
/// One remembered head a second is exact enough for lags that are published in seconds.
const GRAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Head {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    now: Sent,
    past: VecDeque<(Instant, Sent)>,
}

impl Default for Head {
    fn default() -> Self {
        Head {
            inner: Mutex::new(Inner {
                now: Sent::NEVER,
                past: VecDeque::new(),
            }),
        }
    }
}

impl Head {
    /// The stamp for an attempt whose first byte leaves now.
    pub fn sent(&self) -> Sent {
        self.lock().now
    }

    /// The stamp for an answer that may show the provider's state of `lag` ago.
    pub fn sent_before(&self, lag: Duration, now: Instant) -> Sent {
        let inner = self.lock();
        let known_then = |(at, _): &&(Instant, Sent)| now.saturating_duration_since(*at) >= lag;
        let past = inner.past.iter().rev().find(known_then);
        past.map_or(Sent::NEVER, |(_, sent)| *sent)
    }

    /// Notes a commit up to `position` in `epoch`. Within an epoch the head never goes back, and a commit
    /// of an earlier epoch that is told late moves nothing.
    pub fn committed(&self, epoch: i64, position: Position, now: Instant) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.remember(now);
        if inner.now.epoch < epoch || inner.now.epoch == epoch && inner.now.position < position {
            inner.now.epoch = epoch;
            inner.now.position = position;
        }
    }

    /// The next tick: strictly greater than that of every stamp taken before.
    pub fn tick(&self) -> Tick {
        let mut inner = self.lock();
        inner.now.tick.0 += 1;
        inner.now.tick
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    /// Keeps what was known until `now`, at most once a [`GRAIN`].
    fn remember(&mut self, now: Instant) {
        let due = |(at, _): &(Instant, Sent)| now.saturating_duration_since(*at) >= GRAIN;
        if self.past.back().is_none_or(due) {
            self.past.push_back((now, self.now));
        }
        let old = |(at, _): &(Instant, Sent)| now.saturating_duration_since(*at) > REMEMBERED;
        while self.past.front().is_some_and(old) {
            self.past.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_some_time_ago_is_never_newer_than_that() {
        let head = Head::default();
        let start = crate::clock::now();
        let at = |s: u64| start + Duration::from_secs(s);
        head.committed(1, Position(5), at(0));
        head.committed(1, Position(9), at(10));
        head.committed(1, Position(12), at(20));
        assert_eq!(head.sent().position, Position(12));
        assert_eq!(
            head.sent_before(Duration::from_secs(11), at(21)).position,
            Position(5)
        );
        assert_eq!(head.sent_before(Duration::from_secs(22), at(21)), Sent::NEVER);
    }

    #[test]
    fn a_stamp_taken_before_a_tick_is_smaller() {
        let head = Head::default();
        let before = head.sent();
        let tick = head.tick();
        assert!(before.tick < tick && head.sent().tick == tick);
    }
}
