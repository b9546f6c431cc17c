//! One transaction of a lane: lock and judge, commit, and what follows from it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::figures::Event;
use super::lane::{Flying, Judged, Phase};
use super::provider::number;
use super::without::Without;
use super::world::{World, Wrong};
use crate::clock;
use crate::record::Shared;
use crate::record::batch::{Loaded, Plan, RowWrite};
use crate::record::merge::Standing;
use crate::record::sql::Users;
use crate::record::sql::number::{Numbered, Numbering};
use crate::record::waiters::Settling;
use crate::record::writer::Group;
use crate::record::writer::flight::{Flight, Landing};
use crate::record::writer::purge::purge_plan;
use crate::record::writer::transaction::put_off;
use crate::user::UserId;

impl World<'_> {
    pub fn lock_and_judge(
        &mut self,
        shared: &Shared,
        at: (usize, usize),
        mut flying: Flying,
        todo: Vec<usize>,
        are: Users,
    ) -> Flying {
        let with_checkpoint = flying.groups.is_empty() && flying.flight.checkpoint.is_some();
        if todo.is_empty() && !with_checkpoint {
            return flying;
        }
        if self.database.is_away {
            return self.broken(at, flying, Group::Together(todo));
        }
        let flight = &flying.flight;
        let mut loaded = match are {
            Users::Strangers => shared.strangers(flight, &todo),
            Users::Any => self.load(shared, flight, &todo),
        };
        let users = if are == Users::Any {
            flight.whose(&loaded)
        } else {
            are
        };
        if !self.database.locks(&loaded, at) {
            if !self.leave_held(&mut flying, &todo, &loaded, at) {
                flying.phase = Phase::Looked(todo, are);
            }
            return flying;
        }
        let plan = shared.plan(flight, &todo, &mut loaded);
        if plan
            .writes
            .values()
            .any(|write| self.database.refuses(&write.row))
        {
            self.database.unlock(at);
            refused(&mut flying, todo, users);
            return flying;
        }
        flying.phase = Phase::Judged(self.judged(todo, plan, loaded, users, false));
        flying
    }

    /// Some wait until they are free; others go back to the backlog, and the rest of the flight goes on.
    fn leave_held(
        &mut self,
        flying: &mut Flying,
        todo: &[usize],
        loaded: &BTreeMap<UserId, Loaded>,
        at: (usize, usize),
    ) -> bool {
        if !flying.flight.can_leave() || self.dice.one_in(2) {
            return false;
        }
        self.figures.count(Event::Held);
        let held = self.database.held(loaded, at);
        let (rest, _) = flying.flight.leave(todo.to_vec(), &held);
        if !rest.is_empty() {
            flying.groups.push_front(Group::Together(rest));
        }
        true
    }

    pub fn judged(
        &mut self,
        todo: Vec<usize>,
        plan: Plan,
        loaded: BTreeMap<UserId, Loaded>,
        users: Users,
        is_alone: bool,
    ) -> Judged {
        let is_early = self.without == Without::PositionsAtTheEnd;
        let base = is_early.then_some(self.database.tables.position);
        if is_early {
            self.database.tables.position += Numbering::of(&plan).taken;
        }
        Judged {
            todo,
            plan,
            loaded,
            users,
            is_alone,
            base,
        }
    }

    /// One user whom the database refuses.
    pub fn judge_alone(
        &mut self,
        shared: &Shared,
        at: (usize, usize),
        mut flying: Flying,
        todo: Vec<usize>,
    ) -> Flying {
        if self.database.is_away {
            return self.broken(at, flying, Group::Alone(todo));
        }
        let mut loaded = self.load(shared, &flying.flight, &todo);
        if !self.database.locks(&loaded, at) {
            flying.groups.push_front(Group::Alone(todo));
            return flying;
        }
        let mut plan = shared.plan(&flying.flight, &todo, &mut loaded);
        let refused = plan
            .writes
            .iter()
            .filter(|(_, write)| self.database.refuses(&write.row));
        let refused: Vec<(UserId, bool)> = refused
            .map(|(id, write)| (id.clone(), write.needs_skeleton()))
            .collect();
        for (id, stands) in refused {
            self.figures.count(Event::Refused);
            plan.set_aside(&id, stands);
            if let Some(write) = plan.writes.get_mut(&id).filter(|_| stands) {
                write.row = RowWrite::Skeleton;
            }
        }
        flying.phase = Phase::Judged(self.judged(todo, plan, loaded, Users::Any, true));
        flying
    }

    pub fn commit(
        &mut self,
        shared: &Shared,
        at: (usize, usize),
        mut flying: Flying,
        judged: Judged,
    ) -> Result<Flying, Wrong> {
        let Judged {
            todo,
            plan,
            loaded,
            users,
            is_alone,
            base,
        } = judged;
        let again = |todo| {
            if is_alone {
                Group::Alone(todo)
            } else {
                Group::Together(todo)
            }
        };
        let is_foreign = self.database.tables.epoch != shared.epoch.load(Ordering::Acquire)
            || self.database.has_moved() && self.without != Without::LookAround;
        let is_cut = self.is_wild && self.dice.one_in(20);
        if self.database.is_away || is_foreign || is_cut || !self.lane(at.0, at.1).is_connected {
            self.figures.count(Event::CutBefore);
            return Ok(self.broken(at, flying, again(todo)));
        }
        self.database.unlock(at);
        if self.database.conflicts(&plan) {
            self.figures.count(Event::Overtaken);
            if users == Users::Strangers {
                flying.flight.not_strangers();
            }
            flying.groups.push_front(again(todo));
            return Ok(flying);
        }
        self.check_order(&flying.flight, &todo, &plan, |_| true)?;
        let numbered = self.number(&plan, base)?;
        if self.is_wild && self.dice.one_in(20) {
            self.figures.count(Event::CutAfter);
            return Ok(self.broken(at, flying, again(todo)));
        }
        let checkpoint = flying.groups.is_empty() && flying.flight.checkpoint.is_some();
        shared.follow(&mut flying.flight, &todo, &plan, &loaded, numbered.as_ref());
        if self.without == Without::WaitForDoubt {
            for (id, position) in numbered.iter().flat_map(|numbered| &numbered.doubts) {
                let settling = Settling::Recorded(None);
                shared.waiters.settle(id, *position, &settling);
            }
        }
        let left = put_off(&todo, &plan);
        match left.is_empty() {
            true if checkpoint => flying.flight.checkpoint_done(true),
            true => {}
            false => flying.groups.push_front(Group::Together(left)),
        }
        if !flying.groups.is_empty() {
            let landed = flying.flight.landing(Landing::Judged);
            let places = shared.landed(landed);
            self.machines[at.0].consumed(&places, self.without);
        }
        Ok(flying)
    }

    /// Positions, and all that is written under them.
    pub fn number(&mut self, plan: &Plan, base: Option<i64>) -> Result<Option<Numbered>, Wrong> {
        if plan.writes.is_empty() {
            return Ok(None);
        }
        let numbering = Numbering::of(plan);
        let tables = &mut self.database.tables;
        let base = base.unwrap_or_else(|| {
            tables.position += numbering.taken;
            tables.position - numbering.taken
        });
        let numbered = numbering.numbered(plan, base, tables.epoch);
        self.database.apply(plan, &numbered);
        self.figures.count(Event::Commit);
        match self.database.uses(&numbered) {
            true => Ok(Some(numbered)),
            false => Err("a position is used twice"),
        }
    }

    /// All of the batch is committed: rows of deleted users go, whoever waits is let go.
    pub fn land(&mut self, machine: usize, mut flight: Flight) -> Result<(), Wrong> {
        for user in flight.take_deleted() {
            if self.purges {
                self.purge(machine, &user)?;
            }
        }
        let shared = self.shared(machine);
        let places = shared.landed(flight.landing(Landing::All));
        self.machines[machine].consumed(&places, self.without);
        shared.put_back(&mut flight, clock::now());
        if let Some(process) = &mut self.machines[machine].process {
            process.is_away = false;
        }
        Ok(())
    }

    /// In a transaction of its own.
    pub fn purge(&mut self, machine: usize, id: &UserId) -> Result<(), Wrong> {
        let (user, shared) = (number(id), self.shared(machine));
        if self.database.is_away || !self.database.is_free(user) || self.database.has_moved() {
            return Ok(());
        }
        let loaded = self.database.loaded(user, false);
        if loaded.known.standing != Standing::Deleted {
            return Ok(());
        }
        let plan = purge_plan(id, &loaded);
        self.database.purge_row(user);
        let Some(numbered) = self.number(&plan, None)? else {
            return Ok(());
        };
        self.figures.count(Event::Purged);
        shared.announce(&plan, &numbered);
        Ok(())
    }
}

/// Halved, or the one user at fault stands alone.
fn refused(flying: &mut Flying, todo: Vec<usize>, users: Users) {
    if users == Users::Strangers {
        flying.flight.not_strangers();
        flying.groups.push_front(Group::Together(todo));
        return;
    }
    match flying.flight.halves(&todo) {
        Some((one, other)) => {
            flying.groups.push_front(Group::Together(other));
            flying.groups.push_front(Group::Together(one));
        }
        None => flying.groups.push_back(Group::Alone(todo)),
    }
}
