//! How fast usertap asks where the provider publishes no limit.
//!
//! It starts at 50 requests in 10 seconds and doubles with every clean second whose allowance
//! was used: a provider on the same machine is read at full speed within eight seconds. A 429
//! halves it and holds it for a while; answers that slow down hold it.

use std::time::Duration;

use super::window::Window;
use crate::clock::{self, Instant};

/// 50 in 10 seconds, as the settings' documentation says.
const START: f64 = 5.0;
/// Ten pages of a hundred users a millisecond are more than a database takes.
const FASTEST: f64 = 1000.0;
/// Even a provider that always refuses is asked now and then.
const SLOWEST: f64 = 0.5;
/// After a refusal the same pace is kept this many seconds before it is tried to grow again.
const HELD_AFTER_REFUSAL: u32 = 10;
/// The window in which a pace is judged.
const SECOND: Duration = Duration::from_secs(1);
/// Answers this many times slower than the fastest second's, and then some, are trouble.
const SLOWER: u32 = 4;
const SLOWER_BY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    per_second: f64,
    held: u32,
}

/// What a second showed.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    sent: u32,
    refused: u32,
    slow: bool,
}

impl Pace {
    fn after(self, second: Second) -> Pace {
        if second.refused > 0 {
            return Pace {
                per_second: (self.per_second / 2.0).max(SLOWEST),
                held: HELD_AFTER_REFUSAL,
            };
        }
        let used = f64::from(second.sent) * 2.0 >= self.per_second;
        if self.held > 0 {
            return Pace {
                held: self.held - 1,
                ..self
            };
        }
        match used && !second.slow {
            true => Pace {
                per_second: (self.per_second * 2.0).min(FASTEST),
                ..self
            },
            false => self,
        }
    }

    fn window(self) -> Window {
        // A second's worth may leave at once, so that a growing pace is used at once.
        Window::new(self.per_second.ceil() as u32, SECOND.div_f64(self.per_second))
    }
}

/// The pace, its limiter, and what the current second has shown so far.
#[derive(Debug)]
pub(super) struct Adaptive {
    pace: Pace,
    window: Window,
    began: Instant,
    second: Second,
    answered: u32,
    waited: Duration,
    /// The mean of the fastest second.
    fastest: Option<Duration>,
}

impl Adaptive {
    pub fn new() -> Adaptive {
        let pace = Pace {
            per_second: START,
            held: 0,
        };
        Adaptive {
            pace,
            window: pace.window(),
            began: clock::now(),
            second: Second::default(),
            answered: 0,
            waited: Duration::ZERO,
            fastest: None,
        }
    }

    /// When the next request may go; nothing if at once.
    pub fn wait(&mut self) -> Option<Instant> {
        self.turn();
        self.window.wait()
    }

    pub fn charge(&mut self) {
        self.second.sent += 1;
        self.window.charge();
    }

    pub fn answered(&mut self, after: Duration) {
        self.answered += 1;
        self.waited += after;
    }

    pub fn refused(&mut self) {
        self.second.refused += 1;
    }

    pub fn per_second(&self) -> f64 {
        self.pace.per_second
    }

    /// Judges the second that is over, if one is.
    fn turn(&mut self) {
        let now = clock::now();
        if now.saturating_duration_since(self.began) < SECOND {
            return;
        }
        self.second.slow = self.slowed_down();
        let next = self.pace.after(self.second);
        if next.per_second != self.pace.per_second {
            self.window = next.window();
        }
        self.pace = next;
        (self.began, self.second) = (now, Second::default());
        (self.answered, self.waited) = (0, Duration::ZERO);
    }

    fn slowed_down(&mut self) -> bool {
        if self.answered == 0 {
            return self.second.sent > 0;
        }
        let mean = self.waited / self.answered;
        let fastest = self.fastest.map_or(mean, |fastest| fastest.min(mean));
        self.fastest = Some(fastest);
        mean > fastest * SLOWER + SLOWER_BY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(pace: Pace) -> Second {
        Second {
            sent: pace.per_second as u32 + 1,
            ..Second::default()
        }
    }

    #[test]
    fn clean_seconds_double_it_up_to_the_fastest() {
        let mut pace = Pace {
            per_second: START,
            held: 0,
        };
        for _ in 0..8 {
            pace = pace.after(used(pace));
        }
        assert_eq!(pace.per_second, FASTEST);
    }

    #[test]
    fn a_refusal_halves_and_holds_it() {
        let refused = Second {
            refused: 1,
            ..Second::default()
        };
        let mut pace = Pace {
            per_second: 80.0,
            held: 0,
        }
        .after(refused);
        for _ in 0..HELD_AFTER_REFUSAL {
            assert_eq!(pace.per_second, 40.0);
            pace = pace.after(used(pace));
        }
        assert_eq!(pace.after(used(pace)).per_second, 80.0);
        let beaten = (0..20).fold(pace, |pace, _| pace.after(refused));
        assert_eq!(beaten.per_second, SLOWEST);
    }

    #[test]
    fn neither_a_slow_nor_an_unused_second_makes_it_grow() {
        let pace = Pace {
            per_second: 20.0,
            held: 0,
        };
        assert_eq!(
            pace.after(Second {
                slow: true,
                ..used(pace)
            }),
            pace
        );
        assert_eq!(
            pace.after(Second {
                sent: 3,
                ..Second::default()
            }),
            pace
        );
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_quick_provider_a_thousand_requests_take_seconds() {
        let mut adaptive = Adaptive::new();
        let began = clock::now();
        for _ in 0..1000 {
            while let Some(until) = adaptive.wait() {
                tokio::time::sleep_until(until).await;
            }
            adaptive.charge();
            adaptive.answered(Duration::from_millis(2));
        }
        assert!(clock::now() - began < Duration::from_secs(9));
    }
}
