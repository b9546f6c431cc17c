//! Who may ask the provider, and when: apps whose credentials it has lately accepted first, then
//! other callers, then re-reads that nobody waits for, then the backfill.
//!
//! In each lane first come, first served; only the heads of the lanes compete. A lane that waits
//! goes before the lower ones, yet every twentieth turn is theirs, so that none starves. Callers
//! whom the provider has not accepted share a fifth of the limit, so that junk cannot spend it.
//! What must never be: more requests in any period than a published limit allows.

mod demand;
mod lanes;
mod learned;
mod leave;
mod limits;
mod told;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::Priority;
use super::pace::Adaptive;
use super::pause::{Left, Pause, Yields};
use super::share::Wants;
use crate::clock::{self, Instant};
use crate::config::Limit;
use crate::provider::Use;
use demand::Demand;
use lanes::{LANES, Lanes, lane};
use leave::{Waiting, Wanted};
use limits::{Answers, Limits};
use told::Told;

pub(super) use leave::Leave;

/// What an app is told to wait where nobody can say more exactly.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Budget {
    state: Mutex<State>,
    lanes: [tokio::sync::Mutex<()>; LANES],
    /// Somebody went or gave up: the heads look again.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// The published limits; all that count a request must admit it.
    limits: Limits,
    /// Where there are none.
    adaptive: Adaptive,
    pause: Pause,
    lanes: Lanes,
    /// Requests in all lanes, behind their heads too.
    waiting: usize,
    told: Told,
    given: Given,
    demand: Demand,
}

/// Requests that were given leave, by who asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Given {
    pub app: u64,
    /// Apps whose credentials the provider had not lately accepted.
    pub stranger: u64,
    pub refetch: u64,
    pub backfill: u64,
}

/// A request that asks for leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub priority: Priority,
    pub what: Use,
}

/// What the head of a lane is to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Go(Answers),
    At(Instant),
    AfterOthers,
}

impl Budget {
    pub fn new(limits: &[Limit]) -> Budget {
        let state = State {
            limits: Limits::new(limits),
            adaptive: Adaptive::new(),
            pause: Pause::default(),
            lanes: Lanes::default(),
            waiting: 0,
            told: Told::default(),
            given: Given::default(),
            demand: Demand::new(clock::now()),
        };
        Budget {
            state: Mutex::new(state),
            lanes: Default::default(),
            changed: Notify::new(),
        }
    }

    /// Waits for leave to send one request now. Fails as soon as it is certain that there is none
    /// before `deadline`, with the time after which the first is there.
    pub async fn leave(&self, ask: Ask, deadline: Instant) -> Result<Leave<'_>, Duration> {
        let now = clock::now();
        if let Some(answers) = self.state().goes_at_once(ask, now) {
            return Ok(Leave::new(self, answers, now));
        }
        let _wanted = Wanted::new(self, ask);
        let place = lane(ask, self.state().limits.apart());
        let Ok(_head) = timeout_at(deadline, self.queue(place).lock()).await else {
            return Err(self.refuse(ask, self.paused(ask.priority)));
        };
        let _waiting = Waiting::new(self, place, ask);
        self.leave_as_head(ask, place, deadline).await
    }

    async fn leave_as_head(&self, ask: Ask, place: usize, deadline: Instant) -> Result<Leave<'_>, Duration> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = clock::now();
            let turn = self.state().turn(ask, place, now);
            let until = match turn {
                Turn::Go(answers) => return Ok(Leave::new(self, answers, now)),
                Turn::At(until) if until > deadline => return Err(self.refuse(ask, Some(until))),
                Turn::At(until) => until,
                Turn::AfterOthers if now >= deadline => return Err(self.refuse(ask, None)),
                Turn::AfterOthers => deadline,
            };
            let _looked_again = timeout_at(until, changed).await;
        }
    }

    /// There is no place in time, and this is when the first is there, as far as that is known. After how
    /// long that is.
    fn refuse(&self, ask: Ask, first: Option<Instant>) -> Duration {
        let now = clock::now();
        let first = first.or_else(|| self.state().wait(ask)).unwrap_or(now + SHORT);
        first.saturating_duration_since(now)
    }

    /// After how long an app is told to come back for which there was no place, the first being there after
    /// so long.
    pub fn tell(&self, ask: Ask, first: Duration) -> Duration {
        let mut state = self.state();
        let now = clock::now();
        let (place, every) = (lane(ask, state.limits.apart()), state.limits.every(ask));
        let told = state.told.next(place, now + first, every);
        told.saturating_duration_since(now)
    }

    /// The provider refused: everybody concerned waits as long as it said, or longer each time
    /// where it said nothing.
    pub fn refused(&self, said: Option<Duration>, whom: Yields, jitter: f64) {
        let mut state = self.state();
        let now = clock::now();
        state.pause.refused(said, whom, jitter, now);
        state.adaptive.refused();
        if whom == Yields::Everyone {
            state.limits.refused(now);
        }
    }

    /// The provider did not refuse. `spent` says for how long nothing is left of its limit.
    pub fn served(&self, spent: Option<Duration>, whom: Yields) {
        let mut state = self.state();
        match spent {
            Some(wait) => state.pause.extend(clock::now() + wait, whom),
            None => state.pause.served(),
        }
    }

    /// An own request was answered after so long.
    pub fn answered(&self, after: Duration) {
        self.state().adaptive.answered(after);
    }

    /// This part of the limit is this process's from now on. Whoever has had any of the rest since `since` is there
    /// still, and leaves nothing that counts for it.
    pub fn hold(&self, share: f64, since: Instant) {
        if self.state().limits.hold(share, since, clock::now()) {
            self.changed.notify_waiters();
        }
    }

    /// Nothing of the limit is this process's yet, and whatever went before others may have spent.
    pub fn hold_nothing(&self) {
        self.state().limits.hold_nothing(clock::now());
    }

    /// The part that others must leave to this process for now.
    pub fn share(&self) -> f64 {
        let mut state = self.state();
        state.limits.turn(clock::now());
        state.limits.share()
    }

    /// What of the whole limit could be used here, by what was asked for of late.
    pub fn wants(&self) -> Wants {
        let mut state = self.state();
        let rate = state.limits.slowest();
        state.demand.wants(rate, clock::now())
    }

    /// What others were told by the provider holds here too.
    pub fn yield_with_others(&self, left: &Left) {
        self.state().pause.told(left, clock::now());
    }

    /// For how long the provider wants nothing more, as it said to this process.
    pub fn yields(&self) -> Left {
        self.state().pause.left(clock::now())
    }

    /// Requests a second that usertap allows itself where no limit is known.
    pub fn pace(&self) -> Option<f64> {
        let state = self.state();
        (!state.limits.count(Use::Read)).then(|| state.adaptive.per_second())
    }

    /// The part of the published limit that the provider has shown to be there.
    pub fn learned(&self) -> Option<f64> {
        let state = self.state();
        state.limits.count(Use::Read).then(|| state.limits.learned())
    }

    pub fn given(&self) -> Given {
        self.state().given
    }

    pub fn paused(&self, priority: Priority) -> Option<Instant> {
        self.state().pause.until(priority, clock::now())
    }

    fn queue(&self, place: usize) -> &tokio::sync::Mutex<()> {
        &self.lanes[place % LANES]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// Where nobody waits there is no turn to be waited for.
    fn goes_at_once(&mut self, ask: Ask, now: Instant) -> Option<Answers> {
        if !self.is_free(ask) && self.waiting > 0 {
            return None;
        }
        let place = lane(ask, self.limits.apart());
        let Turn::Go(answers) = self.turn(ask, place, now) else {
            return None;
        };
        let cost = self.limits.cost(ask.what);
        self.demand.came(ask.priority, cost);
        Some(answers)
    }

    fn is_free(&self, ask: Ask) -> bool {
        matches!(ask.priority, Priority::App | Priority::Stranger) && !self.limits.count(ask.what)
    }

    fn turn(&mut self, ask: Ask, place: usize, now: Instant) -> Turn {
        if let Some(until) = self.pause.until(ask.priority, now) {
            return Turn::At(until);
        }
        if self.is_free(ask) {
            self.given.count(ask.priority);
            return Turn::Go(Answers::default());
        }
        self.limits.turn(now);
        if let Some(until) = self.limits.wait_alone(ask) {
            return Turn::At(until);
        }
        if self.waiting > 0 && self.lanes.first(|other| self.contends(other, now)) != Some(place) {
            return Turn::AfterOthers;
        }
        match self.wait(ask) {
            Some(until) => Turn::At(until),
            None => Turn::Go(self.charge(ask, place)),
        }
    }

    /// Whether a lane's head could go but for the others: who is paused, or held by what counts
    /// only its kind, must not stop the rest, and apps have no part in usertap's own pace.
    fn contends(&self, other: Ask, now: Instant) -> bool {
        let free = self.pause.until(other.priority, now).is_none();
        free && !self.is_free(other) && self.limits.wait_alone(other).is_none()
    }

    fn wait(&mut self, ask: Ask) -> Option<Instant> {
        match self.limits.count(ask.what) {
            true => self.limits.wait(ask),
            false => self.adaptive.wait(),
        }
    }

    fn charge(&mut self, ask: Ask, place: usize) -> Answers {
        self.given.count(ask.priority);
        self.lanes.went(place);
        match self.limits.count(ask.what) {
            true => self.limits.charge(ask),
            false => {
                self.adaptive.charge();
                Answers::default()
            }
        }
    }
}

impl Given {
    fn count(&mut self, priority: Priority) {
        *match priority {
            Priority::App => &mut self.app,
            Priority::Stranger => &mut self.stranger,
            Priority::Refetch => &mut self.refetch,
            Priority::Backfill => &mut self.backfill,
        } += 1;
    }
}

#[cfg(test)]
mod tests;
