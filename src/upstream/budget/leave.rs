//! Leave to send one request, and who waits for it.

use super::limits::Answers;
use super::{Ask, Budget};
use crate::clock::{self, Instant};
use crate::upstream::UpstreamError;

/// Leave to send one request; to be dropped as soon as its answer begins, or it is certain that none
/// comes.
#[derive(Debug)]
pub(in crate::upstream) struct Leave<'b> {
    budget: &'b Budget,
    answers: Answers,
    given: Instant,
    unused: bool,
}

impl<'b> Leave<'b> {
    pub(super) fn new(budget: &'b Budget, answers: Answers, given: Instant) -> Leave<'b> {
        Leave {
            budget,
            answers,
            given,
            unused: false,
        }
    }

    /// Since when there is leave.
    pub fn given(&self) -> Instant {
        self.given
    }

    /// Nothing is sent.
    pub fn give_back(mut self) {
        self.unused = true;
    }

    /// An answer has begun, or this is why none does.
    pub fn end(self, failed: Option<&UpstreamError>) {
        if failed.is_some_and(|failed| failed.sent_nothing()) {
            self.give_back();
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.answers.is_none() {
            let mut state = self.budget.state();
            match self.unused {
                true => state.limits.never_left(self.answers),
                false => state.limits.answered(self.answers, self.given, clock::now()),
            }
            drop(state);
            self.budget.changed.notify_waiters();
        }
    }
}

/// While it lives, the lane's head counts as waiting; also when it gave up or was dropped.
pub(super) struct Waiting<'b>(&'b Budget, usize);

impl<'b> Waiting<'b> {
    pub fn new(budget: &'b Budget, place: usize, ask: Ask) -> Waiting<'b> {
        budget.state().lanes.set(place, Some(ask));
        Waiting(budget, place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().lanes.set(self.1, None);
        self.0.changed.notify_waiters();
    }
}

/// While it lives, the request counts as one that waits.
pub(super) struct Wanted<'b> {
    budget: &'b Budget,
    ask: Ask,
    cost: f64,
}

impl<'b> Wanted<'b> {
    pub fn new(budget: &'b Budget, ask: Ask) -> Wanted<'b> {
        let mut state = budget.state();
        let cost = state.limits.cost(ask.what);
        state.demand.came(ask.priority, cost);
        state.demand.waits(ask.priority, cost);
        state.waiting += 1;
        drop(state);
        Wanted { budget, ask, cost }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.demand.went(self.ask.priority, self.cost);
        state.waiting -= 1;
    }
}
