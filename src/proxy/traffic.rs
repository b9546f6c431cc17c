//! What passed through, counted for the status and the metrics.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;

use super::meters::Meters;
use crate::clock::{self, Instant};

/// So long a user whose id cannot be one is worth telling.
const UNFIT_FOR: Duration = Duration::from_secs(3_600);

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Traffic {
    counters: [AtomicU64; Counted::ALL],
    /// Routes whose unreadable answers stand in the log already; as many at most as the
    /// provider's file has routes.
    logged: Mutex<HashSet<Box<str>>>,
    /// Answers that should tell of users and could not be read, since the last of which some could.
    unread: AtomicU64,
    /// Which route told last of a user whose id cannot be one, and when.
    unfit: Mutex<Option<(Box<str>, Instant)>>,
    pub meters: Meters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Counted {
    Forwarded,
    Recorded,
    Unmatched,
    Foreign,
    Malformed,
    Unanswered,
    Failed,
    Own,
    Upgraded,
}

impl Counted {
    const ALL: usize = Counted::Upgraded as usize + 1;
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TrafficSnapshot {
    /// Requests sent to the provider for apps.
    pub forwarded: u64,
    /// Exchanges whose users went to the recorder.
    pub recorded: u64,
    /// Requests on no route of the provider's file: a sign that its API has moved on.
    pub unmatched: u64,
    /// Requests of other tenants.
    pub foreign: u64,
    /// Answers, or users in them, that could not be read on a recorded route.
    pub malformed: u64,
    /// Writes whose answer never came.
    pub unanswered: u64,
    /// Requests that ended in an error of usertap's own.
    pub failed: u64,
    /// Answered without the provider.
    pub own: u64,
    pub upgraded: u64,
}

impl Traffic {
    pub fn snapshot(&self) -> TrafficSnapshot {
        let [
            forwarded,
            recorded,
            unmatched,
            foreign,
            malformed,
            unanswered,
            failed,
            own,
            upgraded,
        ] = self
            .counters
            .each_ref()
            .map(|counter| counter.load(Ordering::Relaxed));
        TrafficSnapshot {
            forwarded,
            recorded,
            unmatched,
            foreign,
            malformed,
            unanswered,
            failed,
            own,
            upgraded,
        }
    }

    pub(super) fn count(&self, what: Counted) {
        self.add(what, 1);
    }

    pub(super) fn add(&self, what: Counted, more: u64) {
        if let Some(counter) = self.counters.get(what as usize) {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// An answer told of a user whose id cannot be one.
    pub(super) fn unfit(&self, route: &str) {
        *lock(&self.unfit) = Some((route.into(), clock::now()));
    }

    /// An answer that should tell of users was read, or none of them could be.
    pub(super) fn told(&self, is_read: bool) {
        match is_read {
            true => self.unread.store(0, Ordering::Relaxed),
            false => {
                self.unread.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// So many such answers in a row.
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// The route that told of such a user last, within the hour.
    pub fn told_of_unfit(&self) -> Option<Box<str>> {
        let told = lock(&self.unfit).clone();
        told.filter(|(_, at)| clock::now().saturating_duration_since(*at) < UNFIT_FOR)
            .map(|(route, _)| route)
    }

    /// Counts what could not be read on a route; the first time on each, it is logged.
    pub(super) fn malformed(&self, route: &str, how_many: u64, what: &'static str) {
        self.add(Counted::Malformed, how_many);
        if lock(&self.logged).insert(route.into()) {
            tracing::warn!(
                route,
                what,
                "an answer of the provider could not be read; it was passed on as it came and recorded as \
                 far as possible (said once for each route)"
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_shows_under_its_own_name() {
        let traffic = Traffic::default();
        traffic.count(Counted::Forwarded);
        traffic.add(Counted::Upgraded, 3);
        traffic.malformed("GET /users/{id}", 2, "not JSON");
        let shown = traffic.snapshot();
        assert_eq!((shown.forwarded, shown.upgraded, shown.malformed), (1, 3, 2));
        assert_eq!((shown.recorded, shown.failed, shown.own), (0, 0, 0));
    }
}
