//! What follows from a commit: for memory, for those who wait, for subscribers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::super::batch::{Judged, Loaded, Plan};
use super::super::change::{self, Change};
use super::super::memory::Keep;
use super::super::sql::Numbered;
use super::super::waiters::Settling;
use super::super::{Changed, Effect, Shared};
use super::flight::Flight;
use super::print;
use crate::clock;
use crate::user::{Origin, UserId};

impl Shared {
    /// What a commit makes known: to memory, to those who wait, to whoever follows the changes.
    pub(in crate::record) fn follow(
        &self,
        flight: &mut Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &BTreeMap<UserId, Loaded>,
        numbered: Option<&Numbered>,
    ) {
        self.mark(plan, |_| true);
        self.remember_loaded(flight, todo, plan, loaded);
        if let Some(numbered) = numbered {
            self.publish(flight, todo, plan, numbered);
        }
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            if let Some(judged) = judged {
                flight.fared(place, judged.effect);
            }
        }
        self.count(plan);
        flight.deleted(plan);
        self.settle_waiters(flight, todo, plan, None, numbered);
    }

    fn publish(&self, flight: &mut Flight, todo: &[usize], plan: &Plan, numbered: &Numbered) {
        self.announce(plan, numbered);
        let asked_for = flight.asked_for(todo);
        for (id, write) in &plan.writes {
            let keep = match asked_for.contains(id) {
                true => Keep::Always,
                false => Keep::IfThere,
            };
            self.memory
                .remember(id, print::print_of(write, numbered, id), keep);
        }
        self.raise_doubts(flight, todo, plan, numbered);
        flight.changed(todo, &numbered.changes);
    }

    /// Remembers what was committed last, and tells of all of it, whoever keeps answers first.
    pub(in crate::record) fn announce(&self, plan: &Plan, numbered: &Numbered) {
        self.head.committed(numbered.epoch, numbered.last, clock::now());
        let written = numbered.states.keys().chain(numbered.doubts.keys());
        self.past.touched(written, numbered.last);
        for (id, (position, nonce)) in &numbered.changes {
            self.past.committed(*position, *nonce);
            let by = plan.writes.get(id).and_then(|write| write.change.as_ref());
            self.tell(id, by.map_or("", |change| &change.source.request_id));
            let changed = Changed {
                id: id.clone(),
                position: *position,
            };
            // Nobody may be subscribed.
            let _ = self.changed.send(changed);
        }
    }

    fn raise_doubts(&self, flight: &mut Flight, todo: &[usize], plan: &Plan, numbered: &Numbered) {
        let waiters = &self.waiters;
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let id = flight.observation(place).id.clone();
            let raised = judged.is_some_and(|judged| judged.verdict.raises_doubt());
            if let (true, Some(&after)) = (raised, numbered.doubts.get(&id)) {
                let settled = waiters.wait(&id, after);
                flight.waits(place, id, settled);
            }
        }
        for (id, after) in &numbered.doubts {
            self.tell(id, "");
            let write = plan.writes.get(id);
            if write.is_some_and(|write| !write.is_aside) {
                waiters.owe(id, *after, write.is_some_and(|write| write.doubt_is_awaited));
            }
        }
    }

    /// Those who wait for a doubt learn of what was applied or equal. `except` stays to be judged.
    pub(super) fn settle_waiters(
        &self,
        flight: &Flight,
        todo: &[usize],
        plan: &Plan,
        except: Option<&[usize]>,
        numbered: Option<&Numbered>,
    ) {
        let epoch = self.epoch.load(Ordering::Acquire);
        for (place, judged) in todo.iter().zip(&plan.judged) {
            let observation = flight.observation(*place);
            let is_left = except.is_some_and(|left| left.contains(place));
            let (Some(judged), false) = (judged, is_left || observation.sent.epoch != epoch) else {
                continue;
            };
            if let Some(settling) = settling(judged, &observation.id, numbered) {
                let waiters = &self.waiters;
                waiters.settle(&observation.id, observation.sent.position, &settling);
            }
        }
    }

    fn count(&self, plan: &Plan) {
        let health = &self.health;
        let changes = plan.writes.values().filter_map(|write| write.change.as_ref());
        let by_apps = |change: &&Change| change.source.origin == Origin::ProxyWrite;
        let written = changes.clone().filter(by_apps).count();
        health
            .committed
            .fetch_add(changes.count() as u64, Ordering::Relaxed);
        health
            .written_by_apps
            .fetch_add(written as u64, Ordering::Relaxed);
    }
}

/// What a judgement means for those who wait for this user.
fn settling(judged: &Judged, id: &UserId, numbered: Option<&Numbered>) -> Option<Settling> {
    if judged.effect == Effect::SetAside {
        return Some(Settling::SetAside);
    }
    if !judged.verdict.counts_as_applied() {
        return None;
    }
    let change = numbered.and_then(|numbered| numbered.changes.get(id));
    let change = change.map(|(position, nonce)| change::public(*position, *nonce));
    // Deleted before anybody saw them, or removed since: nothing stands, and an answer must not say that it does.
    let is_nobody = !judged.had_row && change.is_none();
    Some(match is_nobody {
        true => Settling::NoUser,
        false => Settling::Recorded(change),
    })
}
