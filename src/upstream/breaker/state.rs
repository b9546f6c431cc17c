//! How a provider has fared with those who asked it, and whether it is asked now.

use std::time::Duration;

use http::StatusCode;

use super::{Health, UpstreamError};
use crate::clock::Instant;

/// One lost connection or one slow answer is no outage.
pub(super) const FAILURES: u32 = 5;
pub(super) const FIRST_REST: Duration = Duration::from_millis(500);
/// An app's user hardly waits longer for a page.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(8);
/// So long a request whose body may be still to come tries alone.
pub(super) const FLOWING_ALONE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// So many failures since the last success.
    Closed(u32),
    Resting {
        until: Instant,
        rest: Duration,
    },
    /// A request is on its way to see; another may try from `until` on, however long this one takes.
    Trying {
        rest: Duration,
        until: Instant,
        by: Try,
        /// Which of all tries it is.
        number: u64,
    },
}

/// How soon a request can tell how the provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// All of it is there.
    Prompt,
    /// Its body may be still to come.
    Flowing,
}

/// What became of a request, as far as the provider's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    Well,
    Failed(Fault),
    /// It was not sent, or not all of it, or nobody waited for it.
    Unknown,
}

/// What a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it answered {0}")]
    Answered(StatusCode),
    #[error(transparent)]
    Unanswered(UpstreamError),
}

impl Fault {
    /// What to do about it, where it is more than to wait.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Fault::Answered(_) => None,
            Fault::Unanswered(error) => error.remedy(),
        }
    }
}

impl Default for State {
    fn default() -> State {
        State::Closed(0)
    }
}

impl State {
    pub fn health(self) -> Health {
        match self {
            State::Closed(_) => Health::Closed,
            State::Resting { .. } => Health::Open,
            State::Trying { .. } => Health::HalfOpen,
        }
    }

    pub fn is_closed(self) -> bool {
        matches!(self, State::Closed(_))
    }

    /// The state once a request is let through, or how long to wait.
    pub fn admitted(self, by: Try, number: u64, now: impl Fn() -> Instant) -> Result<State, Duration> {
        let trying = |rest| State::Trying {
            rest,
            until: now() + by.alone(),
            by,
            number,
        };
        match self {
            State::Closed(_) => Ok(self),
            State::Resting { until, rest } | State::Trying { until, rest, .. } if until <= now() => {
                Ok(trying(rest))
            }
            State::Trying {
                by: Try::Flowing,
                rest,
                ..
            } if by == Try::Prompt => Ok(trying(rest)),
            State::Resting { until, .. } => Err(until.saturating_duration_since(now())),
            State::Trying { .. } => Err(FIRST_REST),
        }
    }

    /// `tried`: it was let through to see, as this one.
    pub fn after(self, came: Came, tried: Option<u64>, now: impl Fn() -> Instant) -> State {
        let resting = |rest: Duration| State::Resting {
            until: now() + rest,
            rest,
        };
        match (self, came) {
            (_, Came::Well) => State::Closed(0),
            (State::Closed(failures), Came::Failed(_)) if failures + 1 >= FAILURES => resting(FIRST_REST),
            (State::Closed(failures), Came::Failed(_)) => State::Closed(failures + 1),
            (State::Trying { rest, number, .. }, Came::Failed(_)) if tried == Some(number) => {
                resting((rest * 2).min(LONGEST_REST))
            }
            (State::Trying { rest, number, .. }, Came::Unknown) if tried == Some(number) => {
                State::Resting { until: now(), rest }
            }
            // Sent before the rest began.
            (state, Came::Failed(_) | Came::Unknown) => state,
        }
    }
}

impl Try {
    /// For how long it tries alone.
    fn alone(self) -> Duration {
        match self {
            Try::Prompt => LONGEST_REST,
            Try::Flowing => FLOWING_ALONE,
        }
    }
}
