//! A lane of the writer, one step at a time: take, look, lock and judge, commit, let go.
//!
//! The decisions are the recorder's own; what is here is the order in which they are asked for, cut
//! up so that anything can happen in between.

use std::collections::{BTreeMap, VecDeque};

use super::figures::Event;
use super::polled;
use super::provider::number;
use super::without::Without;
use super::world::{World, Wrong};
use crate::clock;
use crate::record::Shared;
use crate::record::backlog::{Found, Taken};
use crate::record::batch::{Loaded, Plan, RowWrite};
use crate::record::journal::{Place, entry};
use crate::record::sql::Users;
use crate::record::sql::number::{Numbered, Numbering};
use crate::record::writer::Group;
use crate::record::writer::commit::put_off;
use crate::record::writer::fetch::Job;
use crate::record::writer::flight::{Flight, Landing};
use crate::record::writer::link;
use crate::record::writer::purge::purge_plan;
use crate::user::{IdType, Observation, Origin, UserId};

#[derive(Default)]
pub struct Lane {
    pub is_connected: bool,
    flying: Option<Flying>,
}

/// A batch with a lane.
struct Flying {
    flight: Flight,
    groups: VecDeque<Group>,
    phase: Phase,
}

enum Phase {
    Next,
    /// What a look has left.
    Looked(Vec<usize>, Users),
    /// A transaction that is open.
    Judged(Judged),
}

struct Judged {
    todo: Vec<usize>,
    plan: Plan,
    loaded: BTreeMap<UserId, Loaded>,
    users: Users,
    is_alone: bool,
    /// Where positions are given out too early.
    base: Option<i64>,
}

impl Lane {
    pub fn is_busy(&self) -> bool {
        self.flying.is_some()
    }
}

impl World<'_> {
    pub fn step_lane(&mut self, machine: usize, lane: usize) -> Result<(), Wrong> {
        let Some(process) = &mut self.machines[machine].process else {
            return Ok(());
        };
        if !process.lanes[lane].is_connected && !self.connect(machine, lane) {
            return Ok(());
        }
        let Some(flying) = self.lane(machine, lane).flying.take() else {
            self.board(machine, lane);
            return Ok(());
        };
        let shared = self.shared(machine);
        let flying = match flying.phase {
            Phase::Judged(judged) => {
                let next = Flying {
                    phase: Phase::Next,
                    ..flying
                };
                Some(self.commit(&shared, (machine, lane), next, judged)?)
            }
            Phase::Looked(todo, are) => {
                let next = Flying {
                    phase: Phase::Next,
                    ..flying
                };
                Some(self.lock_and_judge(&shared, (machine, lane), next, todo, are))
            }
            Phase::Next => self.next_group(&shared, (machine, lane), flying)?,
        };
        if self.machines[machine].process.is_some() {
            self.lane(machine, lane).flying = flying;
        }
        Ok(())
    }

    fn lane(&mut self, machine: usize, lane: usize) -> &mut Lane {
        match &mut self.machines[machine].process {
            Some(process) => &mut process.lanes[lane],
            None => unreachable!("a lane of a dead process"),
        }
    }

    /// A connection whose history is known.
    fn connect(&mut self, machine: usize, lane: usize) -> bool {
        let (without, shared) = (self.without, self.shared(machine));
        let database = &mut self.database;
        let Some(process) = &mut self.machines[machine].process else {
            return false;
        };
        process.is_away |= database.is_away;
        if database.is_away {
            return false;
        }
        let sent = shared.head.sent();
        let (known, last) = shared.past.known(sent);
        let mut history = database.history(known, last);
        if shared.past.is_lost(&history, sent) {
            self.figures.count(Event::NewEpoch);
            history = database.new_epoch(known);
            if without != Without::ForgetLost {
                shared.begun(&history);
            }
        }
        let before = database.take_place(process.id);
        if shared.past.took_place(before) && without != Without::Distrust {
            shared.memory.distrust();
        }
        shared.connected(&history);
        process.lanes[lane].is_connected = true;
        process.losses = self.losses;
        true
    }

    fn board(&mut self, machine: usize, lane: usize) {
        let shared = self.shared(machine);
        let at_most = 1 + self.dice.below(4);
        let Some(Some(batch)) = polled(shared.backlog.take(at_most, 1 << 20)) else {
            return;
        };
        let taken = batch.taken.into_iter();
        let jobs: Vec<Job> = taken.map(|taken| self.fetched(machine, taken)).collect();
        let is_traced = batch.is_traced && self.without != Without::Traced;
        let flight = Flight::new(jobs, is_traced, batch.page);
        self.lane(machine, lane).flying = Some(Flying {
            groups: VecDeque::from([Group::Together(flight.all())]),
            flight,
            phase: Phase::Next,
        });
    }

    fn fetched(&mut self, machine: usize, taken: Taken) -> Job {
        let observations = match taken.observations {
            Found::Here(observations) => observations,
            Found::InJournal(place) => self.from_journal(machine, place).into(),
        };
        Job {
            number: taken.number,
            observations,
            rest: taken.rest,
        }
    }

    fn from_journal(&mut self, machine: usize, place: Place) -> Vec<Observation> {
        self.figures.count(Event::Drained);
        let (without, epoch) = (self.without, self.database.tables.epoch);
        let machine = &self.machines[machine];
        let Some(process) = &machine.process else {
            return Vec::new();
        };
        let is_own = process.held.is_of(process.id, place) || without == Without::TicksOfAnother;
        let Ok(entry) = entry::decode(machine.disk.read(place), IdType::Text, is_own) else {
            return Vec::new();
        };
        let mut observations = entry.observations;
        for seen in &mut observations {
            match without {
                Without::EntryKeepsSent => seen.sent = process.recorder.shared.head.sent(),
                Without::EntryKeepsEpoch => seen.sent.epoch = epoch,
                _ => {}
            }
        }
        observations
    }

    /// The next group is looked at, or all have landed.
    fn next_group(
        &mut self,
        shared: &Shared,
        at: (usize, usize),
        mut flying: Flying,
    ) -> Result<Option<Flying>, Wrong> {
        let flight = &mut flying.flight;
        let todo = match flying.groups.pop_front() {
            None => {
                self.land(at.0, flying.flight);
                return Ok(None);
            }
            Some(Group::Alone(todo)) => return Ok(Some(self.judge_alone(shared, at, flying, todo))),
            Some(Group::Together(group)) if flight.is_traced => group,
            Some(Group::Together(group)) => shared.settle_in_memory(flight, group),
        };
        let is_read = |place: &usize| flight.observation(*place).source.origin != Origin::ProxyWrite;
        if todo.is_empty() || !todo.iter().all(is_read) {
            flying.phase = Phase::Looked(todo, Users::Any);
            return Ok(Some(flying));
        }
        if self.database.is_away {
            return Ok(Some(self.broken(at, flying, Group::Together(todo))));
        }
        let mut loaded = self.load(shared, flight, &todo);
        let are = flight.whose(&loaded);
        let (left, plan) = shared.looked(flight, &todo, &mut loaded);
        let is_over = |place: &usize| !left.contains(place);
        self.check_order(&flying.flight, &todo, &plan, is_over)?;
        flying.phase = Phase::Looked(left, are);
        Ok(Some(flying))
    }

    fn load(&self, shared: &Shared, flight: &Flight, todo: &[usize]) -> BTreeMap<UserId, Loaded> {
        let observations: Vec<&Observation> = todo.iter().map(|place| flight.observation(*place)).collect();
        let mut loaded = self.database.load(&observations);
        shared.note_loaded(&mut loaded);
        loaded
    }

    /// The connection is gone: the same again on the next.
    fn broken(&mut self, at: (usize, usize), mut flying: Flying, group: Group) -> Flying {
        flying.groups.push_front(group);
        self.database.unlock(at);
        self.lane(at.0, at.1).is_connected = false;
        flying
    }

    fn lock_and_judge(
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
            Users::Strangers => shared.strangers(flight, &todo, self.database.floor()),
            Users::Any => self.load(shared, flight, &todo),
        };
        let users = if are == Users::Any {
            flight.whose(&loaded)
        } else {
            are
        };
        if !self.database.locks(&loaded, at) {
            flying.phase = Phase::Looked(todo, are);
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

    fn judged(
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
    fn judge_alone(
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

    fn commit(
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
        let is_foreign =
            self.database.tables.epoch != shared.epoch.load(std::sync::atomic::Ordering::Acquire);
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
        let numbered = self.number(&plan, base);
        if self.is_wild && self.dice.one_in(20) {
            self.figures.count(Event::CutAfter);
            return Ok(self.broken(at, flying, again(todo)));
        }
        let checkpoint = flying.groups.is_empty() && flying.flight.checkpoint.is_some();
        shared.follow(&mut flying.flight, &todo, &plan, &loaded, numbered.as_ref());
        if self.without == Without::WaitForDoubt {
            for (id, position) in numbered.iter().flat_map(|numbered| &numbered.doubts) {
                let settling = crate::record::waiters::Settling::Recorded(None);
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
    fn number(&mut self, plan: &Plan, base: Option<i64>) -> Option<Numbered> {
        if plan.writes.is_empty() {
            return None;
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
        Some(numbered)
    }

    /// All of the batch is committed: rows of deleted users go, whoever waits is let go.
    fn land(&mut self, machine: usize, mut flight: Flight) {
        for user in flight.take_deleted() {
            if self.purges {
                self.purge(machine, &user);
            }
        }
        let shared = self.shared(machine);
        let places = shared.landed(flight.landing(Landing::All));
        self.machines[machine].consumed(&places, self.without);
        if let Some(process) = &mut self.machines[machine].process {
            process.is_away = false;
        }
    }

    /// In a transaction of its own.
    fn purge(&mut self, machine: usize, id: &UserId) {
        let (user, shared) = (number(id), self.shared(machine));
        if self.database.is_away || !self.database.is_free(user) {
            return;
        }
        let loaded = self.database.loaded(user, false);
        if loaded.known.standing != crate::record::merge::Standing::Deleted {
            return;
        }
        let plan = purge_plan(id, &loaded);
        self.database.purge_row(user);
        let Some(numbered) = self.number(&plan, None) else {
            return;
        };
        self.figures.count(Event::Purged);
        shared.head.committed(numbered.epoch, numbered.last, clock::now());
        link::tell(&shared, &numbered, &plan);
        if self.without != Without::ForgetPurged {
            shared.memory.forget(id);
        }
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
