//! How slowly a body may come: a bound on each pause, and on how little comes in many short ones.
//!
//! Only the time counts in which its sender is waited for, never that in which whoever takes it has no room. What
//! must never be: somebody on a slow line cut off; a place kept by a byte now and then.

use std::time::Duration;

use super::body::Cut;
use crate::failpoint;

/// So much may be waited for no longer than [`LONG`]: 270 bytes a second, less than any line in use brings. A smaller body
/// has that long as a whole.
const LEAST: usize = 16 << 10;
const LONG: Duration = Duration::from_secs(60);

/// Of one body.
#[derive(Debug)]
pub(super) struct Pace {
    /// For one pause.
    idle: Duration,
    due: Option<Due>,
}

/// What is still to come, and for how long it may be waited for.
#[derive(Debug)]
struct Due {
    bytes: usize,
    left: Duration,
}

impl Pace {
    /// It may drip: an answer may be a stream of events that come now and then.
    pub fn of_answer(idle: Duration) -> Pace {
        Pace { idle, due: None }
    }

    pub fn of_request(idle: Duration) -> Pace {
        let due = Some(Due::within(idle));
        Pace { idle, due }
    }

    /// How long the next bytes may be waited for.
    pub fn left(&self) -> Duration {
        self.due.as_ref().map_or(self.idle, |due| due.left.min(self.idle))
    }

    /// So many bytes came, for which so long was waited.
    pub fn came(&mut self, bytes: usize, waited: Duration) {
        let Some(due) = &mut self.due else { return };
        due.left = due.left.saturating_sub(waited);
        match due.bytes.checked_sub(bytes) {
            None | Some(0) => *due = Due::within(self.idle),
            Some(still) => due.bytes = still,
        }
    }

    /// Why it is cut once all that was left was waited.
    pub fn cut(&self) -> Cut {
        match &self.due {
            Some(due) if due.left < self.idle => Cut::Dripping,
            _ => Cut::Idle,
        }
    }
}

impl Due {
    fn within(idle: Duration) -> Due {
        Due {
            bytes: LEAST,
            // Whoever may pause for longer need not be faster.
            left: failpoint::wait("dripping", LONG).max(idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(8);
    const SECOND: Duration = Duration::from_secs(1);

    /// How long pieces of so many bytes may come, one in so many seconds.
    fn lasts(mut pace: Pace, bytes: usize, every: u64) -> u64 {
        let every = SECOND * every as u32;
        let pieces = (0..10_000).take_while(|_| {
            let is_in_time = every < pace.left();
            pace.came(bytes, every);
            is_in_time
        });
        pieces.count() as u64 * every.as_secs()
    }

    #[test]
    fn a_request_that_drips_has_a_minute_and_one_on_a_slow_line_all_the_time_it_needs() {
        assert_eq!(lasts(Pace::of_request(IDLE), 1, 5), 55);
        assert_eq!(lasts(Pace::of_request(IDLE), 1, 9), 0);
        // What is larger at first earns nothing for later.
        let mut after_much = Pace::of_request(IDLE);
        after_much.came(1 << 30, SECOND);
        assert_eq!(lasts(after_much, 1, 5), 55);
        assert_eq!(lasts(Pace::of_request(IDLE), 2_000, 6), 60_000);
        assert_eq!(lasts(Pace::of_answer(IDLE), 1, 5), 50_000);
    }

    #[test]
    fn whoever_may_pause_for_long_need_not_be_faster() {
        let idle = LONG * 5;
        assert_eq!(Pace::of_request(idle).left(), idle);
        assert_eq!(Pace::of_request(idle).cut(), Cut::Idle);
        assert_eq!(lasts(Pace::of_request(idle), LEAST, 299), 2_990_000);
    }

    #[test]
    fn the_cut_says_which_bound_it_was() {
        let mut pace = Pace::of_request(IDLE);
        assert_eq!(pace.cut(), Cut::Idle);
        pace.came(1, LONG - SECOND);
        assert_eq!((pace.left(), pace.cut()), (SECOND, Cut::Dripping));
        pace.came(LEAST, SECOND / 2);
        assert_eq!((pace.left(), pace.cut()), (IDLE, Cut::Idle));
    }
}
