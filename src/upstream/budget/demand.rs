//! What this process could use of the provider's limit, as far as its requests show.
//!
//! Where few come in a second, nobody can tell how many will come in the next: what is usual is known
//! from as long as it takes for many, and chance is given room beside it. Whoever waits asks for more at
//! once.

use crate::clock::Instant;
use crate::config::Rate;
use crate::upstream::Priority;
use crate::upstream::share::Wants;

/// In a period there may come more than is usual by so many standard deviations.
const CHANCE: f64 = 2.0;
/// What is usual is what came in about the time in which so many may, a period at the most.
const USUAL: f64 = 300.0;
/// No less, for one heartbeat is no measure.
const SHORTEST: f64 = 2.0;

#[derive(Debug)]
pub(super) struct Demand {
    since: Instant,
    apps: Load,
    own: Load,
}

/// What those ask for who go in the same order, in seconds of the whole limit.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    came: Sum,
    usual: Usual,
    waiting: f64,
    /// Since the last look.
    has_waited: bool,
}

/// Of what each request costs, and of the squares of that.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    costs: f64,
    squares: f64,
}

/// A second, the older the less it counts.
#[derive(Debug, Default, Clone, Copy)]
struct Usual {
    sum: Sum,
    /// How much of it counts, from 0 to 1: little at first.
    known: f64,
}

impl Demand {
    pub fn new(now: Instant) -> Demand {
        Demand {
            since: now,
            apps: Load::default(),
            own: Load::default(),
        }
    }

    pub fn came(&mut self, priority: Priority, cost: f64) {
        let came = &mut self.of(priority).came;
        came.costs += cost;
        came.squares += cost * cost;
    }

    /// One that came has to wait; [`Demand::went`] is to follow.
    pub fn waits(&mut self, priority: Priority, cost: f64) {
        let load = self.of(priority);
        load.waiting += cost;
        load.has_waited = true;
    }

    pub fn went(&mut self, priority: Priority, cost: f64) {
        self.of(priority).waiting -= cost;
    }

    /// Of this limit, as it looks now; nothing where there is none. A walk asks for one page after the other: where
    /// it had to wait, it could use more than it asked for.
    pub fn wants(&mut self, limit: Option<Rate>, now: Instant) -> Wants {
        let Some(rate) = limit else {
            return Wants::default();
        };
        let (passed, period) = (now.saturating_duration_since(self.since), rate.per.as_secs_f64());
        if !passed.is_zero() {
            self.since = now;
            let many = period * USUAL / f64::from(rate.requests.max(1));
            let long = many.min(period).max(SHORTEST);
            self.apps.look(passed.as_secs_f64(), long);
            self.own.look(passed.as_secs_f64(), long);
        }
        let walks = self.own.walks();
        Wants {
            apps: self.apps.wants(period),
            own: if walks { 1.0 } else { self.own.wants(period) },
        }
    }

    fn of(&mut self, priority: Priority) -> &mut Load {
        match priority {
            Priority::App | Priority::Stranger => &mut self.apps,
            Priority::Refetch | Priority::Backfill => &mut self.own,
        }
    }
}

impl Load {
    fn look(&mut self, passed: f64, long: f64) {
        let came = std::mem::take(&mut self.came);
        self.usual.add(came, passed, long);
    }

    fn walks(&mut self) -> bool {
        std::mem::replace(&mut self.has_waited, self.waiting > TINY)
    }

    /// What is usual, what chance may add to it in a period, and what waits.
    fn wants(&self, period: f64) -> f64 {
        let Sum { costs, squares } = self.usual.a_second();
        let chance = CHANCE * (squares / period.max(TINY)).sqrt();
        (costs + chance + self.waiting.max(0.0)).clamp(0.0, 1.0)
    }
}

impl Usual {
    fn add(&mut self, came: Sum, passed: f64, long: f64) {
        let counts = -(-passed / long).exp_m1();
        let towards = |usual: &mut f64, now: f64| *usual += (now - *usual) * counts;
        towards(&mut self.sum.costs, came.costs / passed);
        towards(&mut self.sum.squares, came.squares / passed);
        towards(&mut self.known, 1.0);
    }

    fn a_second(&self) -> Sum {
        let known = self.known.max(TINY);
        Sum {
            costs: self.sum.costs / known,
            squares: self.sum.squares / known,
        }
    }
}

/// Sums and differences of the same numbers may leave a trace.
const TINY: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Option<Rate> = limit(100, 10);

    const fn limit(requests: u32, seconds: u64) -> Option<Rate> {
        let per = Duration::from_secs(seconds);
        Some(Rate { requests, per })
    }

    /// So many requests of a tenth of a second each: ten a second are the whole limit.
    fn come(demand: &mut Demand, many: u32) {
        (0..many).for_each(|_| demand.came(Priority::App, 0.1));
    }

    #[test]
    fn it_is_what_is_usual_with_room_for_chance() {
        let start = crate::clock::now();
        let mut demand = Demand::new(start);
        for second in 1..=60 {
            come(&mut demand, 4);
            let wants = demand.wants(LIMIT, start + Duration::from_secs(second));
            // Forty in ten seconds, give or take six, and twice that.
            assert!(
                (wants.apps - 0.526).abs() < 0.001 && wants.own == 0.0,
                "{wants:?}"
            );
        }
        // A second without any changes little, a minute all.
        let wants = demand.wants(LIMIT, start + Duration::from_secs(61));
        assert!((0.45..0.526).contains(&wants.apps), "{wants:?}");
        let wants = demand.wants(LIMIT, start + Duration::from_secs(121));
        assert!(wants.apps < 0.05, "{wants:?}");
    }

    #[test]
    fn the_shorter_a_provider_counts_the_more_room_has_chance() {
        let start = crate::clock::now();
        let wants = |limit| {
            let mut demand = Demand::new(start);
            come(&mut demand, 2);
            demand.wants(limit, start + Duration::from_secs(1)).apps
        };
        let (second, minute) = (wants(limit(10, 1)), wants(limit(600, 60)));
        assert!((second - 0.483).abs() < 0.001, "{second}");
        assert!((minute - 0.237).abs() < 0.001, "{minute}");
    }

    #[test]
    fn who_waits_asks_for_more_at_once_and_a_walk_for_all() {
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        (0..30).for_each(|_| demand.waits(Priority::Stranger, 0.1));
        assert_eq!(demand.wants(LIMIT, at(1)).apps, 1.0);
        (0..30).for_each(|_| demand.went(Priority::Stranger, 0.1));
        assert!(demand.wants(LIMIT, at(2)).apps < TINY);
        // It had to wait since the last look, and does still, and did, and did not.
        demand.waits(Priority::Backfill, 0.1);
        demand.went(Priority::Backfill, 0.1);
        demand.waits(Priority::Backfill, 0.1);
        assert_eq!(demand.wants(LIMIT, at(3)), Wants { apps: 0.0, own: 1.0 });
        demand.went(Priority::Backfill, 0.1);
        assert_eq!(demand.wants(LIMIT, at(4)).own, 1.0);
        assert!(demand.wants(LIMIT, at(5)).own < TINY);
    }
}
