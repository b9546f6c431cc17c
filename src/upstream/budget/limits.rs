//! The published limits, and what of them is there for whom.

use std::time::Duration;

use super::Ask;
use super::learned::Learned;
use crate::clock::{self, Instant};
use crate::config::Limit;
use crate::provider::Use;
use crate::upstream::Priority;
use crate::upstream::window::Window;

/// What callers share whom the provider has not lately accepted.
const STRANGERS: f64 = 0.2;
/// A part so small is none; a window of nothing has no length.
const LEAST: f64 = 1e-6;
/// Who has no part at all looks again after this long: others leave one at their next heartbeat.
const LEFT_WITHOUT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Limits {
    limits: Vec<Limit>,
    windows: Vec<Counting>,
    strangers: Vec<Counting>,
    /// Only while the provider shows that it has less than it published.
    narrower: Vec<Counting>,
    learned: Learned,
    /// The part of all of it that is this process's.
    share: f64,
}

#[derive(Debug)]
struct Counting {
    limit: Limit,
    window: Window,
}

impl Limits {
    pub fn new(limits: &[Limit]) -> Limits {
        Limits {
            limits: limits.to_vec(),
            windows: windows(limits, |limit| Window::keeping(limit.rate)),
            strangers: windows(limits, |limit| Window::share(limit.rate, STRANGERS)),
            narrower: Vec::new(),
            learned: Learned::default(),
            share: 1.0,
        }
    }

    /// Whether any limit counts what is asked.
    pub fn count(&self, what: Use) -> bool {
        self.limits.iter().any(|limit| limit.counts(what))
    }

    /// Whether the provider counts reads and writes apart.
    pub fn apart(&self) -> bool {
        self.limits.iter().any(|limit| limit.of.is_some())
    }

    /// The wait for what only requests of this kind are held by.
    pub fn wait_alone(&self, ask: Ask) -> Option<Instant> {
        let own = self
            .strangers
            .iter()
            .filter(|_| ask.priority == Priority::Stranger);
        let kinds = self.windows.iter().filter(|counting| counting.limit.of.is_some());
        longest(own.chain(kinds), ask.what)
    }

    pub fn wait(&self, ask: Ask) -> Option<Instant> {
        if self.share == 0.0 {
            return Some(clock::now() + LEFT_WITHOUT);
        }
        let all = longest(self.windows.iter().chain(&self.narrower), ask.what);
        all.max(self.wait_alone(ask))
    }

    pub fn charge(&self, ask: Ask) {
        let own = self
            .strangers
            .iter()
            .filter(|_| ask.priority == Priority::Stranger);
        let all = self.windows.iter().chain(&self.narrower).chain(own);
        all.filter(|counting| counting.limit.counts(ask.what))
            .for_each(|counting| counting.window.charge());
    }

    /// The provider has refused what the limit allowed.
    pub fn refused(&mut self, now: Instant) {
        if self.learned.refused(now) {
            self.narrow();
        }
    }

    /// Creeps back to the published limit while all is well.
    pub fn turn(&mut self, now: Instant) {
        if self.learned.turn(now) {
            self.narrow();
        }
    }

    pub fn learned(&self) -> f64 {
        self.learned.share()
    }

    fn narrow(&mut self) {
        let share = (self.learned.share() * self.share).max(LEAST);
        self.narrower = match self.learned.share() < 1.0 {
            true => windows(&self.limits, |limit| Window::share(limit.rate, share).spent()),
            false => Vec::new(),
        };
    }

    /// How much of the whole limit one such request costs, in seconds of it.
    pub fn cost(&self, what: Use) -> f64 {
        let counting = self.limits.iter().filter(|limit| limit.counts(what));
        let costs =
            counting.map(|limit| limit.rate.per.as_secs_f64() / f64::from(limit.rate.requests.max(1)));
        costs.fold(0.0, f64::max)
    }

    pub fn share(&self) -> f64 {
        self.share
    }

    /// Other processes have the rest of the limit. Says whether anything has changed.
    pub fn hold(&mut self, share: f64) -> bool {
        if share == self.share {
            return false;
        }
        self.share = share;
        let part = share.max(LEAST);
        self.windows = windows(&self.limits, |limit| Window::share(limit.rate, part).spent());
        self.strangers = windows(&self.limits, |limit| {
            Window::share(limit.rate, part * STRANGERS).spent()
        });
        self.narrow();
        true
    }
}

fn windows(limits: &[Limit], window: impl Fn(&Limit) -> Window) -> Vec<Counting> {
    let counting = |limit: &Limit| Counting {
        limit: *limit,
        window: window(limit),
    };
    limits.iter().map(counting).collect()
}

fn longest<'w>(counting: impl Iterator<Item = &'w Counting>, what: Use) -> Option<Instant> {
    counting
        .filter(|counting| counting.limit.counts(what))
        .filter_map(|counting| counting.window.wait())
        .max()
}
