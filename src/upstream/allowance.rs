//! What one published limit allows: most of it at once, the rest evenly.
//!
//! An app that asks for forty users to draw a page is not to wait for them one by one, as long as the
//! provider would take them all. So three quarters of a limit are counted as the provider counts
//! them, each request until it is a period old, and may go at any moment; the last quarter is spread
//! evenly, so that after a burst nobody stands still for a whole period. usertap's own requests never
//! burst: they would take from apps what these may need in a moment.
//!
//! The provider counts when a request arrives. A single request, or a burst as a whole, may be held up
//! on its way, by new connections for the most part, and the next one may not: so what is under way
//! counts as just gone, and once it is answered it went as much later as it took longer than the
//! quickest. What must never be: more requests in any period of the limit's length than the limit.

use std::time::Duration;

use super::burst::Burst;
use super::window::{self, Window};
use crate::clock::Instant;
use crate::config::Rate;

/// What is kept back to be spread evenly.
const EVEN: f64 = 0.25;
/// Of fewer requests a quarter is too few to be spread.
const SPREAD: f64 = 8.0;

/// A part is a little less than it was where it was reckoned with.
const ROUNDED: f64 = 1e-6;

/// Who asks: apps may burst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Asks {
    #[default]
    App,
    Own,
}

/// Can be asked first and charged later, so that several limits are charged together or not.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Rate,
    /// The part of the limit that this is.
    share: f64,
    /// What others leave to this: a larger part until what was spent of that has ceased to count.
    kept: f64,
    burst: Burst,
    even: Option<Window>,
    own: Window,
}

impl Allowance {
    /// Keeps to a part of a limit, at the least to one request in the time that this takes.
    pub fn share(rate: Rate, share: f64) -> Allowance {
        let requests = f64::from(rate.requests) * share;
        let evenly = if requests < SPREAD { 0.0 } else { requests * EVEN };
        let period = window::lengthened(rate.per);
        Allowance {
            rate,
            share,
            kept: share,
            burst: Burst::of(requests - evenly, period),
            even: (evenly > 0.0).then(|| Window::share(rate, share * EVEN)),
            own: Window::new(
                window::at_once(requests),
                period.div_f64(requests.max(f64::MIN_POSITIVE)),
            ),
        }
    }

    /// Forgets what no longer counts; before anything is asked.
    pub fn turn(&mut self, now: Instant) {
        self.burst.turn(now);
    }

    /// When the next request may go; nothing if at once. Charges nothing.
    pub fn wait(&self, asks: Asks) -> Option<Instant> {
        let wait = match self.burst.counted() < self.requests(self.share).max(1) {
            true => self.even_or_burst(),
            false => self.beyond(),
        };
        wait.max(self.pace(asks))
    }

    fn even_or_burst(&self) -> Option<Instant> {
        let even = self.even.as_ref().map(Window::wait);
        even.map_or(self.burst.wait(), |even| even.min(self.burst.wait()))
    }

    /// As much as it may be of this part went of a larger one before. Nobody stands still until that no longer counts:
    /// one goes as often as of this part, of what others leave all the same.
    fn beyond(&self) -> Option<Instant> {
        let evenly = f64::from(self.rate.requests) * self.share;
        let every = Duration::try_from_secs_f64(window::lengthened(self.rate.per).as_secs_f64() / evenly);
        let next = self
            .burst
            .next(every.unwrap_or(window::LONGEST).min(window::LONGEST));
        next.max(self.burst.falls_below(self.requests(self.kept)))
    }

    fn requests(&self, share: f64) -> u32 {
        (f64::from(self.rate.requests) * share + ROUNDED) as u32
    }

    /// When the next may go for all that others ask: usertap's own go evenly.
    pub fn pace(&self, asks: Asks) -> Option<Instant> {
        match asks {
            Asks::App => None,
            Asks::Own => self.own.wait(),
        }
    }

    /// Charges one request; right after [`Allowance::wait`] said "at once" it always fits. Says whether
    /// [`Allowance::answered`] or [`Allowance::never_left`] is to follow.
    pub fn charge(&mut self, asks: Asks) -> bool {
        if asks == Asks::Own {
            self.own.charge();
        }
        match self.even.as_ref().filter(|even| even.wait().is_none()) {
            Some(even) => {
                even.charge();
                self.burst.goes_evenly();
                false
            }
            None => {
                self.burst.leaves();
                true
            }
        }
    }

    /// Nothing of a request that was charged was sent.
    pub fn never_left(&mut self) {
        self.burst.never_left();
    }

    /// A request that went at `sent` is answered, or never will be; it took so much longer than it had to.
    pub fn answered(&mut self, sent: Instant, longer: Duration) {
        let slack = self.burst.period().saturating_sub(self.rate.per);
        self.burst.answered(sent + longer.saturating_sub(slack));
    }

    /// Keeps to another part from now on. What went before goes on to count, and of what is new here what those
    /// may have spent who had it before `since`.
    pub fn resize(&mut self, share: f64, since: Instant, now: Instant) {
        let next = Allowance::share(self.rate, share);
        self.even = match (next.even, &self.even) {
            (Some(next), Some(before)) => Some(next.after(before)),
            (next, _) => next.map(Window::spent),
        };
        self.own = next.own.after(&self.own);
        self.burst.resize(&next.burst, since, now);
        self.share = share;
        self.kept = self.kept.max(share);
    }

    /// Leaves to others what neither is this part nor counts any more of a larger one, but for the next request.
    pub fn give_up(&mut self) {
        let spent = f64::from(self.burst.counted().saturating_add(1)) / f64::from(self.rate.requests.max(1));
        self.kept = self.kept.min(spent.max(self.share));
    }

    /// Others leave nothing to this, and left nothing before.
    pub fn keep_nothing(&mut self) {
        self.kept = 0.0;
        self.burst.kept_nothing();
    }

    /// The part of the whole limit that others leave to this.
    pub fn kept(&self) -> f64 {
        self.kept
    }
}

#[cfg(test)]
mod tests;
