//! Keeps a dead provider from costing every request its timeout.
//!
//! After some failures in a row nothing is sent for a short rest; then one request at a time tries.
//! The first that succeeds ends it, each that fails makes the next rest longer. A request with a body may
//! take as long as its sender likes: after a moment another may try beside it, one without a body at once,
//! and only the latest try says more than that all is well. What must never be: a provider that is well and
//! not asked for longer than the longest rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;

use super::UpstreamError;
use crate::clock::{self, Instant};

/// One lost connection or one slow answer is no outage.
const FAILURES: u32 = 5;
const FIRST_REST: Duration = Duration::from_millis(500);
/// An app's user hardly waits longer for a page.
const LONGEST_REST: Duration = Duration::from_secs(8);
/// So long a request whose body may be still to come tries alone.
const FLOWING_ALONE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    tries: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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
pub(super) enum Try {
    /// All of it is there.
    Prompt,
    /// Its body may be still to come.
    Flowing,
}

/// For the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Closed,
    Open,
    HalfOpen,
}

/// What became of a request, as far as the provider's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Well,
    Failed,
    /// It was not sent, or not all of it, or nobody waited for it.
    Unknown,
}

/// Leave to send a request; says what came of it, `Unknown` unless told.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    /// It was let through to see.
    tries: Option<u64>,
    came: Came,
}

impl Default for State {
    fn default() -> State {
        State::Closed(0)
    }
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

impl State {
    fn health(self) -> Health {
        match self {
            State::Closed(_) => Health::Closed,
            State::Resting { .. } => Health::Open,
            State::Trying { .. } => Health::HalfOpen,
        }
    }

    /// The state once a request is let through, or how long to wait.
    fn admitted(self, by: Try, number: u64, now: impl Fn() -> Instant) -> Result<State, Duration> {
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
    fn after(self, came: Came, tried: Option<u64>, now: impl Fn() -> Instant) -> State {
        let resting = |rest: Duration| State::Resting {
            until: now() + rest,
            rest,
        };
        match (self, came) {
            (_, Came::Well) => State::Closed(0),
            (State::Closed(failures), Came::Failed) if failures + 1 >= FAILURES => resting(FIRST_REST),
            (State::Closed(failures), Came::Failed) => State::Closed(failures + 1),
            (State::Trying { rest, number, .. }, Came::Failed) if tried == Some(number) => {
                resting((rest * 2).min(LONGEST_REST))
            }
            (State::Trying { rest, number, .. }, Came::Unknown) if tried == Some(number) => {
                State::Resting { until: now(), rest }
            }
            // Sent before the rest began.
            (state, Came::Failed | Came::Unknown) => state,
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

impl Breaker {
    /// Whether there would be leave, or after how long it is worth asking again. Takes none: whoever is the
    /// one that tries must be about to send.
    pub fn admits(&self, by: Try) -> Result<(), Duration> {
        self.state().admitted(by, 0, clock::now).map(drop)
    }

    /// Leave to send at once, or after how long it is worth asking again.
    pub fn admit(&self, by: Try) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        let number = self.tries.fetch_add(1, Ordering::Relaxed);
        *state = state.admitted(by, number, clock::now)?;
        Ok(Pass {
            breaker: self,
            tries: matches!(*state, State::Trying { .. }).then_some(number),
            came: Came::Unknown,
        })
    }

    pub fn health(&self) -> Health {
        self.state().health()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Pass<'_> {
    /// No answer has come for so long after it was sent, which says something only where it was time enough.
    pub fn timed_out(&mut self, waited: Duration, enough: Duration) {
        if self.came == Came::Unknown && waited >= enough {
            self.came = Came::Failed;
        }
    }

    /// Whatever answers is there, unless it stands before a provider that is not.
    pub fn note(&mut self, status: Result<StatusCode, UpstreamError>) {
        self.came = match status {
            Ok(status) if matches!(status.as_u16(), 502..=504 | 520..=530) => Came::Failed,
            Ok(_) => Came::Well,
            Err(UpstreamError::Unfinished) => Came::Unknown,
            Err(_) => Came::Failed,
        };
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        let after = state.after(self.came, self.tries, clock::now);
        if std::mem::discriminant(&*state) != std::mem::discriminant(&after) {
            tracing::info!(now = after.health().word(), "the provider's breaker");
        }
        *state = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(breaker: &Breaker, came: Result<u16, UpstreamError>) -> Result<(), Duration> {
        let mut pass = breaker.admit(Try::Prompt)?;
        pass.note(came.map(|status| StatusCode::from_u16(status).unwrap()));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_bring_a_rest_and_success_ends_it() {
        let breaker = Breaker::default();
        for failure in [
            Err(UpstreamError::Timeout),
            Ok(503),
            Err(UpstreamError::Unreachable),
            Ok(504),
        ] {
            assert_eq!(send(&breaker, failure), Ok(()));
        }
        assert_eq!(breaker.health(), Health::Closed);
        assert_eq!(send(&breaker, Err(UpstreamError::Broken)), Ok(()));
        assert_eq!(
            (breaker.health(), send(&breaker, Ok(200))),
            (Health::Open, Err(FIRST_REST))
        );
        tokio::time::advance(FIRST_REST).await;
        assert_eq!(
            (breaker.health(), breaker.admits(Try::Prompt)),
            (Health::Open, Ok(()))
        );
        assert_eq!(
            (send(&breaker, Ok(404)), breaker.health()),
            (Ok(()), Health::Closed)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_takes_long_holds_up_nobody_for_long() {
        let breaker = Breaker::default();
        let early = breaker.admit(Try::Prompt).unwrap();
        for _ in 0..FAILURES {
            assert_eq!(send(&breaker, Err(UpstreamError::Timeout)), Ok(()));
        }
        tokio::time::advance(FIRST_REST).await;
        let slow = breaker.admit(Try::Prompt).unwrap();
        drop(early);
        assert_eq!(
            breaker.admits(Try::Prompt),
            Err(FIRST_REST),
            "what was sent before is no try"
        );
        tokio::time::advance(LONGEST_REST).await;
        assert_eq!(send(&breaker, Ok(200)), Ok(()));
        drop(slow);
        assert_eq!(breaker.health(), Health::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn who_left_late_and_got_no_answer_in_what_was_left_says_nothing() {
        let breaker = Breaker::default();
        let enough = Duration::from_secs(4);
        for seconds in [[3; FAILURES as usize], [4; FAILURES as usize]] {
            assert_eq!(breaker.health(), Health::Closed);
            for waited in seconds.map(Duration::from_secs) {
                breaker.admit(Try::Prompt).unwrap().timed_out(waited, enough);
            }
        }
        assert_eq!(breaker.health(), Health::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn one_success_between_failures_is_health() {
        let breaker = Breaker::default();
        for round in 0..FAILURES * 3 {
            let came = if round % 4 == 3 { Ok(500) } else { Ok(502) };
            assert_eq!(send(&breaker, came), Ok(()));
        }
        assert_eq!(breaker.health(), Health::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_tries_and_each_failure_lengthens_the_rest() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            send(&breaker, Ok(503)).unwrap();
        }
        let mut rest = FIRST_REST;
        for _ in 0..8 {
            tokio::time::advance(rest).await;
            let mut pass = breaker.admit(Try::Prompt).unwrap();
            assert!(breaker.admit(Try::Prompt).is_err(), "another is trying");
            pass.note(Err(UpstreamError::Timeout));
            drop(pass);
            rest = (rest * 2).min(LONGEST_REST);
            assert_eq!(breaker.admit(Try::Prompt).map(drop), Err(rest));
        }
        assert_eq!(rest, LONGEST_REST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_came_to_nothing_leaves_the_next_one_free() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            send(&breaker, Ok(503)).unwrap();
        }
        tokio::time::advance(FIRST_REST).await;
        drop(breaker.admit(Try::Prompt).unwrap());
        assert_eq!(send(&breaker, Ok(200)), Ok(()));
        assert_eq!(breaker.health(), Health::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_dawdles_keeps_nobody_from_trying() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            send(&breaker, Ok(503)).unwrap();
        }
        tokio::time::advance(FIRST_REST).await;
        let flowing = breaker.admit(Try::Flowing).unwrap();
        assert_eq!(breaker.admits(Try::Flowing), Err(FIRST_REST));
        let mut prompt = breaker.admit(Try::Prompt).unwrap();
        drop(flowing);
        let prompt_tries = Err(FIRST_REST);
        assert_eq!(
            breaker.admits(Try::Prompt),
            prompt_tries,
            "another's end is not its own"
        );
        prompt.note(Ok(StatusCode::OK));
        drop(prompt);
        assert_eq!(breaker.health(), Health::Closed);
        for _ in 0..FAILURES {
            send(&breaker, Ok(503)).unwrap();
        }
        tokio::time::advance(FIRST_REST).await;
        let _flowing = breaker.admit(Try::Flowing).unwrap();
        tokio::time::advance(FLOWING_ALONE).await;
        assert!(breaker.admit(Try::Flowing).is_ok(), "where nobody else asks");
    }
}
