//! What the provider has lately thought of whom.

use std::time::Duration;

use moka::sync::Cache as Store;

use super::key::{CallerKey, Ready};
use crate::clock::Instant;

/// Callers remembered: some megabytes. Who is forgotten is a stranger until it is accepted again.
const CALLERS: u64 = 100_000;
/// What was accepted within an hour counts as lately, however short `STALE_IF_ERROR` is.
const LATELY: Duration = Duration::from_secs(3_600);
/// An acceptance is noted anew no more often than this.
const GRAIN: Duration = Duration::from_secs(10);

/// What the provider last said of a caller's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, lately.
    Stranger,
    Accepted,
    Refused,
}

pub(super) struct Callers(Store<CallerKey, (Standing, Instant), Ready>);

impl Callers {
    pub fn new(stale: Duration) -> Callers {
        let store = Store::builder()
            .max_capacity(CALLERS)
            .time_to_live(stale.max(LATELY));
        Callers(store.build_with_hasher(Ready::default()))
    }

    pub fn standing(&self, caller: CallerKey) -> Standing {
        self.0
            .get(&caller)
            .map_or(Standing::Stranger, |(standing, _)| standing)
    }

    pub fn accepted_within(&self, caller: CallerKey, time: Duration, now: Instant) -> bool {
        let known = self.0.get(&caller);
        known.is_some_and(|(standing, at)| {
            standing == Standing::Accepted && now.saturating_duration_since(at) < time
        })
    }

    pub fn note(&self, caller: CallerKey, standing: Standing, now: Instant) {
        let noted =
            |(known, at): (Standing, Instant)| known == standing && now.saturating_duration_since(at) < GRAIN;
        if !self.0.get(&caller).is_some_and(noted) {
            self.0.insert(caller, (standing, now));
        }
    }
}
