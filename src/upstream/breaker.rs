//! Keeps a dead provider from costing every request its timeout.
//!
//! After some failures in a row nothing is sent for a short rest; then one request at a time tries.
//! The first that succeeds ends it, each that fails makes the next rest longer. A request with a body may
//! take as long as its sender likes: after a moment another may try beside it, one without a body at once,
//! and only the latest try says more than that all is well. Anybody can ask what makes a provider fail: what
//! fails for strangers keeps out strangers alone. So it is with usertap's own requests: a list may fail where
//! all that apps ask for is well. What must never be: a provider that is well and not asked for longer than the
//! longest rest; an app whom it knows kept out by what failed for somebody else.

mod state;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;

use super::{Obstacle, Priority, Upstream, UpstreamError};
use crate::clock;
use state::{Came, State};

pub use state::Fault;
pub(super) use state::Try;

#[derive(Debug, Default)]
pub(super) struct Breaker {
    states: Mutex<States>,
    /// Somebody is kept out. A request that finds it unset needs no lock to know.
    falters: AtomicBool,
    tries: AtomicU64,
}

/// What failed for those who are known rests all: while the first rests, so do the others.
#[derive(Debug, Clone, Copy, Default)]
struct States {
    /// For callers whom the provider knows.
    known: State,
    strangers: State,
    /// For what usertap asks that nobody waits for.
    own: State,
    /// The last failure.
    fault: Option<Fault>,
}

/// For the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Closed,
    Open,
    HalfOpen,
}

/// Leave to send a request; says what came of it, `Unknown` unless told.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    whose: Priority,
    /// It was let through to see.
    tries: Option<u64>,
    came: Came,
}

impl Health {
    fn word(self) -> &'static str {
        match self {
            Health::Closed => "closed",
            Health::Open => "open",
            Health::HalfOpen => "half-open",
        }
    }
}

impl States {
    fn of(&mut self, whose: Priority) -> &mut State {
        match whose {
            Priority::App => &mut self.known,
            Priority::Stranger => &mut self.strangers,
            Priority::Refetch | Priority::Backfill => &mut self.own,
        }
    }

    /// Where those who are known are not kept out, some are asked for, as while one tries.
    fn health(&self) -> Health {
        let are_others_closed = self.strangers.is_closed() && self.own.is_closed();
        match (self.known.health(), are_others_closed) {
            (Health::Closed, false) => Health::HalfOpen,
            (known, _) => known,
        }
    }

    fn trouble(&self) -> Option<Fault> {
        self.fault.filter(|_| self.health() != Health::Closed)
    }

    /// Lets a request through, or says how long to wait. Others go only where those might who are known, and
    /// are never the ones that try for them.
    fn admit(&mut self, whose: Priority, by: Try, number: u64) -> Result<State, Duration> {
        self.known.admitted(by, number, clock::now)?;
        let state = self.of(whose);
        *state = state.admitted(by, number, clock::now)?;
        Ok(*state)
    }

    fn came(&mut self, whose: Priority, came: Came, tried: Option<u64>) {
        if let Came::Failed(fault) = came {
            self.fault = Some(fault);
        }
        if came == Came::Well {
            (self.known, self.strangers, self.own) = Default::default();
            return;
        }
        let state = self.of(whose);
        *state = state.after(came, tried, clock::now);
        if whose == Priority::App {
            self.strangers = self.strangers.after(came, None, clock::now);
            self.own = self.own.after(came, None, clock::now);
        }
    }
}

impl Breaker {
    /// Whether there would be leave, or after how long it is worth asking again. Takes none: whoever is the
    /// one that tries must be about to send.
    pub fn admits(&self, whose: Priority, by: Try) -> Result<(), Duration> {
        let mut states = *self.states();
        states.admit(whose, by, 0).map(drop)
    }

    /// Leave to send at once, or after how long it is worth asking again.
    pub fn admit(&self, whose: Priority, by: Try) -> Result<Pass<'_>, Duration> {
        let number = self.tries.fetch_add(1, Ordering::Relaxed);
        let state = self.states().admit(whose, by, number)?;
        Ok(Pass {
            breaker: self,
            whose,
            tries: matches!(state, State::Trying { .. }).then_some(number),
            came: Came::Unknown,
        })
    }

    /// Whether requests of this kind are kept out, or let through one at a time.
    pub fn falters(&self, whose: Priority) -> bool {
        self.falters.load(Ordering::Relaxed) && !self.states().of(whose).is_closed()
    }

    pub fn health(&self) -> Health {
        self.states().health()
    }

    /// The last failure, unless all is well.
    pub fn trouble(&self) -> Option<Fault> {
        self.states().trouble()
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Pass<'_> {
    /// No answer has come for so long after it was sent, which says something only where it was time enough.
    pub fn timed_out(&mut self, waited: Duration, enough: Duration) {
        if self.came == Came::Unknown && waited >= enough {
            self.came = Came::Failed(Fault::Unanswered(UpstreamError::Timeout));
        }
    }

    /// Whatever answers is there, unless it stands before a provider that is not.
    pub fn note(&mut self, status: Result<StatusCode, UpstreamError>) {
        self.came = match status {
            Ok(status) if matches!(status.as_u16(), 502..=504 | 520..=530) => {
                Came::Failed(Fault::Answered(status))
            }
            Ok(_) => Came::Well,
            // What usertap itself lacks says nothing of the provider.
            Err(UpstreamError::Unfinished | UpstreamError::Unreachable(Obstacle::Short)) => Came::Unknown,
            Err(error) => Came::Failed(Fault::Unanswered(error)),
        };
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut states = self.breaker.states();
        let before = states.health();
        states.came(self.whose, self.came, self.tries);
        let after = states.health();
        if before != after {
            self.breaker
                .falters
                .store(after != Health::Closed, Ordering::Relaxed);
            tracing::info!(
                now = after.word(),
                last = states.trouble().map(tracing::field::display),
                "the provider's breaker"
            );
        }
    }
}

impl Upstream {
    /// Whether it has failed so often that such requests are kept out, or let through one at a time.
    pub fn falters(&self, priority: Priority) -> bool {
        self.breaker.falters(priority)
    }

    /// Whether one without a body would be let through now to try.
    pub fn would_try(&self, priority: Priority) -> bool {
        self.falters(priority) && self.breaker.admits(priority, Try::Prompt).is_ok()
    }

    /// How the provider has fared lately.
    pub fn health(&self) -> Health {
        self.breaker.health()
    }

    /// Its last failure, while it is left alone or tried.
    pub fn trouble(&self) -> Option<Fault> {
        self.breaker.trouble()
    }
}

#[cfg(test)]
mod tests;
