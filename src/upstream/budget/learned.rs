//! How much of its published limit the provider really has, as its refusals show.
//!
//! A refusal takes a quarter off; after a while without one a tenth of the limit comes back at a
//! time. What others spend of the same limit is learned in the same way.

use std::time::Duration;

use crate::clock::Instant;

const LOWERED: f64 = 0.75;
const LEAST: f64 = 0.05;
const REGAINED: f64 = 0.1;
/// Refusals of requests that were sent together are one.
const TOGETHER: Duration = Duration::from_secs(1);
/// As long without a refusal as most limits count, then the next step back.
const WELL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Learned {
    share: f64,
    refused: Option<Instant>,
    /// When it last changed.
    since: Option<Instant>,
}

impl Default for Learned {
    fn default() -> Learned {
        Learned {
            share: 1.0,
            refused: None,
            since: None,
        }
    }
}

impl Learned {
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Says whether the share has changed.
    pub fn refused(&mut self, now: Instant) -> bool {
        let together = self
            .refused
            .is_some_and(|at| now.saturating_duration_since(at) < TOGETHER);
        self.since = Some(now);
        if together {
            return false;
        }
        self.refused = Some(now);
        self.share = (self.share * LOWERED).max(LEAST);
        true
    }

    /// Says whether the share has changed.
    pub fn turn(&mut self, now: Instant) -> bool {
        let well = self
            .since
            .is_some_and(|at| now.saturating_duration_since(at) >= WELL);
        if !well || self.share >= 1.0 {
            return false;
        }
        self.since = Some(now);
        self.share = (self.share + REGAINED).min(1.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_lower_it_and_time_brings_it_back() {
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut learned = Learned::default();
        assert!(learned.refused(at(0)) && !learned.refused(at(0)));
        assert!(!learned.turn(at(29)));
        assert!(learned.turn(at(31)));
        assert!((learned.share() - 0.85).abs() < 1e-9);
        assert!(learned.turn(at(62)) && learned.turn(at(93)) && !learned.turn(at(200)));
        assert_eq!(learned.share(), 1.0);
        for second in 300..340 {
            learned.refused(at(second));
        }
        assert_eq!(learned.share(), LEAST);
    }
}
