//! One limit spread evenly, and kept so that no period of its length ever sees more.
//!
//! GCRA (governor) with a small burst: a few at once, the rest evenly. In any window of the
//! limit's length that makes `burst + refill <= limit`, unlike a counter that starts anew.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::clock::{self, Instant};
use crate::config::Rate;

/// A hundredth of the limit may leave at once; all of it is taken off what the rest of a period
/// gives, so it is no more.
const BURST_SHARE: f64 = 100.0;
/// Yet two of a limit that is large enough: whose clock ticks later than it was asked to, by a
/// millisecond or so, makes up for it with the next one.
const BURST_OF_TWO: f64 = 50.0;
/// The provider counts arrivals, not departures: the network may squeeze them together by so much.
const SQUEEZED: Duration = Duration::from_millis(100);
/// No interval is longer: of a part as small as that nobody is given anything, and nothing can count so far.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);
/// In a short period by this part of it.
const SQUEEZED_SHARE: f64 = 0.02;

/// Can be asked first and charged later, so that several limits are charged together or not.
#[derive(Debug)]
pub(super) struct Window {
    limiter: RateLimiter<NotKeyed, Account, Pausable>,
    account: Account,
    burst: NonZeroU32,
    interval: Duration,
}

impl Window {
    /// Keeps to a part of a limit that the provider published, at the least to one request in the
    /// time that this takes.
    pub fn share(rate: Rate, share: f64) -> Window {
        let requests = f64::from(rate.requests) * share;
        let burst = at_once(requests);
        let refilled = if requests >= 2.0 {
            requests - f64::from(burst)
        } else {
            requests.min(1.0)
        };
        Window::new(burst, lengthened(rate.per).div_f64(refilled))
    }

    /// A new one with nothing left for the moment: what a window before it has given must not be given
    /// again. At once: one by one a large limit would fill up again meanwhile, without end.
    pub fn spent(self) -> Window {
        self.account.lock().asked_only = false;
        let _fits = self.limiter.check_n(self.burst);
        self
    }

    /// A new one in place of another: the next may go once as much of its interval has passed as of the other's. Where
    /// more or fewer may leave at once than before, with nothing left.
    pub fn after(self, before: &Window) -> Window {
        let window = self.spent();
        if window.burst == before.burst {
            let left = before
                .wait()
                .map(|until| until.saturating_duration_since(clock::now()));
            let left = left.unwrap_or_default().as_secs_f64() / before.interval.as_secs_f64();
            let passed = window.interval.mul_f64((1.0 - left).clamp(0.0, 1.0));
            let mut account = window.account.lock();
            let next = account.theoretical_arrival;
            account.theoretical_arrival = next.map(|next| next.saturating_sub(passed.into()));
        }
        window
    }

    /// `burst` at once, then one more each `interval`.
    pub fn new(burst: u32, interval: Duration) -> Window {
        let (account, burst) = (
            Account::default(),
            NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
        );
        let interval = interval.clamp(Duration::from_nanos(1), LONGEST);
        let quota = Quota::with_period(interval)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        Window {
            limiter: RateLimiter::new(quota, account.clone(), Pausable),
            account,
            burst,
            interval,
        }
    }

    /// When the next request may go; nothing if at once. Charges nothing.
    pub fn wait(&self) -> Option<Instant> {
        self.account.lock().asked_only = true;
        let refused = self.limiter.check().err();
        refused.map(|until| Instant::from_std(until.earliest_possible()))
    }

    /// Charges one request; right after [`Window::wait`] said "at once" it always fits.
    pub fn charge(&self) {
        self.account.lock().asked_only = false;
        let _fits = self.limiter.check();
    }
}

/// How many of a limit's requests may leave at once where they are spread evenly.
pub(super) fn at_once(requests: f64) -> u32 {
    let least = if requests >= BURST_OF_TWO { 2.0 } else { 1.0 };
    (requests / BURST_SHARE).floor().max(least) as u32
}

/// The period to count in, so that the provider never sees more in its own.
pub(super) fn lengthened(per: Duration) -> Duration {
    per + per.mul_f64(SQUEEZED_SHARE).min(SQUEEZED)
}

/// governor's state, with the difference between asking and charging.
#[derive(Debug, Clone, Default)]
struct Account(Arc<Mutex<Balance>>);

#[derive(Debug, Default)]
struct Balance {
    theoretical_arrival: Option<Nanos>,
    asked_only: bool,
}

impl Account {
    fn lock(&self) -> std::sync::MutexGuard<'_, Balance> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl StateStore for Account {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut balance = self.lock();
        let (answer, next) = decide(balance.theoretical_arrival)?;
        if !balance.asked_only {
            balance.theoretical_arrival = Some(next);
        }
        Ok(answer)
    }
}

/// The crate's clock, which tests can pause.
#[derive(Debug, Clone)]
struct Pausable;

impl Clock for Pausable {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        clock::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes whatever is given for `lasting` and says when.
    async fn greedily(window: &Window, lasting: Duration) -> Vec<Instant> {
        let end = clock::now() + lasting;
        let mut taken = Vec::new();
        while clock::now() < end {
            match window.wait() {
                Some(until) => tokio::time::sleep_until(until).await,
                None => {
                    window.charge();
                    taken.push(clock::now());
                }
            }
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn no_period_sees_more_than_the_limit_nor_much_less() {
        for (requests, seconds) in [(1, 1), (2, 1), (7, 2), (100, 10), (1000, 10)] {
            let per = Duration::from_secs(seconds);
            let window = Window::share(Rate { requests, per }, 1.0);
            let taken = greedily(&window, per * 5).await;
            let most = (0..taken.len())
                .map(|i| taken[i..].iter().take_while(|at| **at - taken[i] <= per).count())
                .max();
            assert!(most <= Some(requests as usize), "{requests}: {most:?}");
            let floor = if requests > 10 {
                requests as usize * 24 / 5
            } else {
                4
            };
            assert!(taken.len() >= floor, "{requests}: {}", taken.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_limit_is_that_part() {
        let per = Duration::from_secs(10);
        for (requests, share, most) in [(1000, 0.2, 200), (100, 0.2, 20), (100, 0.5, 50), (3, 0.2, 1)] {
            let taken = greedily(&Window::share(Rate { requests, per }, share), per * 10).await;
            let worst = (0..taken.len())
                .map(|i| taken[i..].iter().take_while(|at| **at - taken[i] < per).count())
                .max();
            assert!(worst <= Some(most), "{requests} * {share}: {worst:?}");
            assert!(taken.len() >= most * 5, "{requests} * {share}: {}", taken.len());
        }
        let spent = Window::share(Rate { requests: 1000, per }, 1.0).spent();
        assert!(spent.wait().is_some());
    }

    #[test]
    fn a_limit_that_nobody_can_use_up_is_spent_all_the_same() {
        let (requests, per) = (u32::MAX, Duration::from_secs(1));
        let spent = Window::share(Rate { requests, per }, 1.0).spent();
        assert!(spent.account.lock().theoretical_arrival.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn asking_costs_nothing() {
        let window = Window::new(1, Duration::from_secs(1));
        assert!((0..10).all(|_| window.wait().is_none()));
        window.charge();
        assert_eq!(window.wait(), Some(clock::now() + Duration::from_secs(1)));
    }
}
