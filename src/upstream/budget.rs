//! Who may ask the provider, and when: apps first, then re-reads that nobody waits for, then the
//! backfill.
//!
//! In each lane first come, first served; only the heads of the lanes compete. A lane that waits
//! goes before the lower ones, yet every twentieth turn is theirs, so that none starves. What
//! must never be: more requests in any period than a published limit allows.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::Priority;
use super::pace::Adaptive;
use super::pause::{Pause, Yields};
use super::window::Window;
use crate::clock::{self, Instant};
use crate::config::Rate;

const LANES: usize = 3;
/// After so many turns of others a waiting lane goes first once.
const PATIENCE: u32 = 19;
/// What an app is told to wait where nobody can say more exactly.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Budget {
    state: Mutex<State>,
    lanes: [tokio::sync::Mutex<()>; LANES],
    /// Somebody went or gave up: the heads look again.
    changed: Notify,
    limited: bool,
}

#[derive(Debug)]
struct State {
    /// The published limits; all must admit.
    windows: Vec<Window>,
    /// Where there are none.
    adaptive: Adaptive,
    pause: Pause,
    waiting: [bool; LANES],
    passed_over: [u32; LANES],
}

/// What the head of a lane is to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Go,
    At(Instant),
    AfterOthers,
}

impl Budget {
    pub fn new(rates: &[Rate]) -> Budget {
        let state = State {
            windows: rates.iter().map(|rate| Window::keeping(*rate)).collect(),
            adaptive: Adaptive::new(),
            pause: Pause::default(),
            waiting: [false; LANES],
            passed_over: [0; LANES],
        };
        Budget {
            state: Mutex::new(state),
            lanes: Default::default(),
            changed: Notify::new(),
            limited: !rates.is_empty(),
        }
    }

    /// Waits for leave to send one request now. Fails as soon as it is certain that there is none
    /// before `deadline`, with the time after which it is worth asking again.
    pub async fn leave(&self, priority: Priority, deadline: Instant) -> Result<(), Duration> {
        if !self.limited && priority == Priority::App && self.paused(priority).is_none() {
            return Ok(());
        }
        let Ok(_head) = timeout_at(deadline, self.lane(priority).lock()).await else {
            return Err(self.paused(priority).map_or(SHORT, from_now));
        };
        let _waiting = Waiting::new(self, priority);
        self.leave_as_head(priority, deadline).await
    }

    async fn leave_as_head(&self, priority: Priority, deadline: Instant) -> Result<(), Duration> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let until = match self.state().turn(priority, self.limited) {
                Turn::Go => return Ok(()),
                Turn::At(until) if until > deadline => return Err(from_now(until)),
                Turn::At(until) => until,
                Turn::AfterOthers if clock::now() >= deadline => return Err(SHORT),
                Turn::AfterOthers => deadline,
            };
            let _looked_again = timeout_at(until, changed).await;
        }
    }

    /// The provider refused: everybody concerned waits at least so long.
    pub fn refused(&self, wait: Duration, whom: Yields) {
        let mut state = self.state();
        state.pause.extend(clock::now() + wait, whom);
        state.adaptive.refused();
    }

    /// An own request was answered after so long.
    pub fn answered(&self, after: Duration) {
        self.state().adaptive.answered(after);
    }

    /// Requests a second that usertap allows itself where no limit is known.
    pub fn pace(&self) -> Option<f64> {
        (!self.limited).then(|| self.state().adaptive.per_second())
    }

    pub fn paused(&self, priority: Priority) -> Option<Instant> {
        self.state().pause.until(priority, clock::now())
    }

    fn lane(&self, priority: Priority) -> &tokio::sync::Mutex<()> {
        let [app, refetch, backfill] = &self.lanes;
        match priority {
            Priority::App => app,
            Priority::Refetch => refetch,
            Priority::Backfill => backfill,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn turn(&mut self, priority: Priority, limited: bool) -> Turn {
        if let Some(until) = self.pause.until(priority, clock::now()) {
            return Turn::At(until);
        }
        if !limited && priority == Priority::App {
            return Turn::Go;
        }
        if first(self.contenders(limited), self.passed_over) != Some(priority as usize) {
            return Turn::AfterOthers;
        }
        match self.wait(limited) {
            Some(until) => Turn::At(until),
            None => {
                self.charge(priority, limited);
                Turn::Go
            }
        }
    }

    /// Lanes whose head could go but for the others: who is paused must not stop the rest, and
    /// apps have no part in usertap's own pace.
    fn contenders(&self, limited: bool) -> [bool; LANES] {
        let now = clock::now();
        let free = |priority| self.pause.until(priority, now).is_none();
        let [app, refetch, backfill] = self.waiting;
        [
            app && limited && free(Priority::App),
            refetch && free(Priority::Refetch),
            backfill && free(Priority::Backfill),
        ]
    }

    fn wait(&mut self, limited: bool) -> Option<Instant> {
        match limited {
            true => self.windows.iter().filter_map(Window::wait).max(),
            false => self.adaptive.wait(),
        }
    }

    fn charge(&mut self, priority: Priority, limited: bool) {
        match limited {
            true => self.windows.iter().for_each(Window::charge),
            false => self.adaptive.charge(),
        }
        let lanes = self.passed_over.iter_mut().zip(self.waiting);
        for (lane, (passed_over, waiting)) in lanes.enumerate() {
            *passed_over = match lane == priority as usize || !waiting {
                true => 0,
                false => *passed_over + 1,
            };
        }
    }
}

/// The lane whose turn it is: the highest that waits, unless a lower one was passed over too often.
fn first(waiting: [bool; LANES], passed_over: [u32; LANES]) -> Option<usize> {
    let lanes = || {
        waiting
            .iter()
            .zip(passed_over)
            .enumerate()
            .filter(|(_, (waits, _))| **waits)
    };
    let overdue = lanes().find(|(_, (_, passed_over))| *passed_over >= PATIENCE);
    overdue.or_else(|| lanes().next()).map(|(lane, _)| lane)
}

fn from_now(until: Instant) -> Duration {
    until.saturating_duration_since(clock::now())
}

/// While it lives, the lane's head counts as waiting; also when it gave up or was dropped.
struct Waiting<'b>(&'b Budget, usize);

impl<'b> Waiting<'b> {
    fn new(budget: &'b Budget, priority: Priority) -> Waiting<'b> {
        let waiting = Waiting(budget, priority as usize);
        waiting.set(true);
        waiting
    }

    fn set(&self, waits: bool) {
        if let Some(waiting) = self.0.state().waiting.get_mut(self.1) {
            *waiting = waits;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.set(false);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
