//! When those are told to come back for whom there is no place in time: each at a time of its own.
//!
//! Who comes back then finds a place, as far as nobody new has taken it. What must never be: all told the
//! same second, of whom a few would go and the rest be told the next; somebody told to wait for those who
//! were told nothing, because there was something else to give them.

use std::time::Duration;

use super::lanes::LANES;
use crate::clock::Instant;

/// Those who were told before may not come back at all: nobody waits longer than this for their places.
const LONGEST: Duration = Duration::from_secs(60);

/// When whoever was told last is to come, of each lane.
#[derive(Debug, Default)]
pub(super) struct Told([Option<Instant>; LANES]);

impl Told {
    /// The next in a lane whose first place is there at `first`, and one more after each `every`.
    pub fn next(&mut self, lane: usize, first: Instant, every: Duration) -> Instant {
        let Some(last) = self.0.get_mut(lane) else {
            return first;
        };
        let behind = last.map_or(first, |last| last + every.min(LONGEST));
        *last.insert(behind.clamp(first, first + LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_told_a_time_of_its_own_and_none_one_that_is_far() {
        let mut told = Told::default();
        let (now, every) = (crate::clock::now(), Duration::from_secs(2));
        let mut next = |lane, first| (told.next(lane, now + first, every) - now).as_secs();
        let seconds = Duration::from_secs;
        assert_eq!([(); 3].map(|()| next(0, seconds(5))), [5, 7, 9]);
        assert_eq!(next(2, seconds(5)), 5, "another lane");
        assert_eq!(next(0, seconds(30)), 30, "those before have come by then");
        let last = (0..100).map(|_| next(0, seconds(30))).last();
        assert_eq!(last, Some(90));
    }
}
