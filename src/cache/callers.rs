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

    /// What an answer says whose request was sent at `at`: one that comes late says nothing of later.
    pub fn note(&self, caller: CallerKey, standing: Standing, at: Instant) {
        let is_known = |(known, since): (Standing, Instant)| match known == standing {
            true if standing == Standing::Accepted => at.saturating_duration_since(since) < GRAIN,
            _ => at < since,
        };
        if !self.0.get(&caller).is_some_and(is_known) {
            self.0.insert(caller, (standing, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_says_nothing_of_later() {
        let callers = Callers::new(LATELY);
        let (ada, early) = (CallerKey::of_nobody(1), crate::clock::now());
        let late = early + Duration::from_secs(2);
        callers.note(ada, Standing::Refused, late);
        callers.note(ada, Standing::Accepted, early);
        assert_eq!(callers.standing(ada), Standing::Refused);
        callers.note(ada, Standing::Accepted, late + GRAIN);
        callers.note(ada, Standing::Refused, late);
        assert_eq!(callers.standing(ada), Standing::Accepted);
        callers.note(ada, Standing::Refused, late + GRAIN);
        callers.note(ada, Standing::Refused, late + GRAIN * 2);
        callers.note(ada, Standing::Accepted, late + GRAIN + GRAIN / 2);
        assert!(!callers.accepted_within(ada, LATELY, late + GRAIN * 2));
    }
}
