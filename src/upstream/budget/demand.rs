//! What this process could use of the provider's limit, as far as its requests show.

use crate::clock::Instant;
use crate::upstream::Priority;
use crate::upstream::share::Wants;

/// Who asked so much a while ago may ask half as much again: others must not take that away.
const ROOM: f64 = 1.5;

/// In seconds of the whole limit.
#[derive(Debug)]
pub(super) struct Demand {
    since: Instant,
    came: Cost,
    waiting: Cost,
}

#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    apps: f64,
    own: f64,
}

impl Cost {
    fn of(&mut self, priority: Priority) -> &mut f64 {
        match priority {
            Priority::App | Priority::Stranger => &mut self.apps,
            Priority::Refetch | Priority::Backfill => &mut self.own,
        }
    }
}

impl Demand {
    pub fn new(now: Instant) -> Demand {
        Demand {
            since: now,
            came: Cost::default(),
            waiting: Cost::default(),
        }
    }

    pub fn came(&mut self, priority: Priority, cost: f64) {
        *self.came.of(priority) += cost;
        *self.waiting.of(priority) += cost;
    }

    pub fn went(&mut self, priority: Priority, cost: f64) {
        *self.waiting.of(priority) -= cost;
    }

    /// Since the last call. A walk asks for one page after the other: whoever waits at all could use
    /// more than it asked for.
    pub fn wants(&mut self, now: Instant) -> Wants {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64().max(0.1);
        let used = |came: f64, waiting: f64| (came / seconds * ROOM + waiting.max(0.0)).clamp(0.0, 1.0);
        let walks = self.waiting.own > TINY;
        let wants = Wants {
            apps: used(self.came.apps, self.waiting.apps),
            own: if walks {
                1.0
            } else {
                used(self.came.own, self.waiting.own)
            },
        };
        (self.since, self.came) = (now, Cost::default());
        wants
    }
}

/// Sums and differences of the same numbers may leave a trace.
const TINY: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_what_was_asked_and_what_waits() {
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        // A tenth of a second each: ten a second are the whole limit.
        for _ in 0..4 {
            demand.came(Priority::App, 0.1);
            demand.went(Priority::App, 0.1);
        }
        let wants = demand.wants(at(2));
        assert!((wants.apps - 0.3).abs() < 1e-9 && wants.own == 0.0, "{wants:?}");
        demand.came(Priority::Backfill, 0.1);
        assert_eq!(demand.wants(at(4)), Wants { apps: 0.0, own: 1.0 });
        demand.went(Priority::Backfill, 0.1);
        for _ in 0..30 {
            demand.came(Priority::Stranger, 0.1);
        }
        assert_eq!(demand.wants(at(5)).apps, 1.0);
    }
}
