//! A lane of the writer, one step at a time: take, look, lock and judge, commit, let go.
//!
//! The decisions are the recorder's own; what is here is the order in which they are asked for, cut
//! up so that anything can happen in between.

use std::collections::{BTreeMap, VecDeque};

use super::figures::Event;
use super::polled;
use super::without::Without;
use super::world::{World, Wrong};
use crate::record::Shared;
use crate::record::backlog::{Found, Taken};
use crate::record::batch::{Loaded, Plan};
use crate::record::journal::{Place, entry};
use crate::record::sql::Users;
use crate::record::writer::Group;
use crate::record::writer::fetch::Fetched;
use crate::record::writer::flight::Flight;
use crate::user::{IdType, Observation, Origin, UserId};

#[derive(Default)]
pub struct Lane {
    pub is_connected: bool,
    flying: Option<Flying>,
}

/// A batch with a lane.
pub struct Flying {
    pub flight: Flight,
    pub groups: VecDeque<Group>,
    pub phase: Phase,
}

pub enum Phase {
    Next,
    /// What a look has left.
    Looked(Vec<usize>, Users),
    /// A transaction that is open.
    Judged(Judged),
}

pub struct Judged {
    pub todo: Vec<usize>,
    pub plan: Plan,
    pub loaded: BTreeMap<UserId, Loaded>,
    pub users: Users,
    pub is_alone: bool,
    /// Where positions are given out too early.
    pub base: Option<i64>,
}

impl Flying {
    /// The connection is gone, and with it what was open on it.
    fn rolled_back(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Next) {
            Phase::Next => {}
            Phase::Looked(todo, _) => self.groups.push_front(Group::Together(todo)),
            Phase::Judged(judged) => self.groups.push_front(judged.again()),
        }
    }
}

impl Judged {
    pub fn again(self) -> Group {
        match self.is_alone {
            true => Group::Alone(self.todo),
            false => Group::Together(self.todo),
        }
    }
}

impl Lane {
    pub fn is_busy(&self) -> bool {
        self.flying.is_some()
    }

    /// A transaction is open on its connection.
    pub fn is_open(&self) -> bool {
        let phase = self.flying.as_ref().map(|flying| &flying.phase);
        matches!(phase, Some(Phase::Judged(_)))
    }
}

impl World<'_> {
    pub fn step_lane(&mut self, machine: usize, lane: usize) -> Result<(), Wrong> {
        let Some(process) = &mut self.machines[machine].process else {
            return Ok(());
        };
        let link = &mut process.lanes[lane];
        if !link.is_connected {
            link.flying.iter_mut().for_each(Flying::rolled_back);
            if !self.connect(machine, lane)? {
                return Ok(());
            }
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

    pub fn lane(&mut self, machine: usize, lane: usize) -> &mut Lane {
        match &mut self.machines[machine].process {
            Some(process) => &mut process.lanes[lane],
            None => unreachable!("a lane of a dead process"),
        }
    }

    fn board(&mut self, machine: usize, lane: usize) {
        let shared = self.shared(machine);
        let at_most = self.batch.unwrap_or(1 + self.dice.below(4));
        let Some(Some(batch)) = polled(shared.backlog.take(at_most, 1 << 20)) else {
            return;
        };
        let taken = batch.taken.into_iter();
        let fetched: Vec<Fetched> = taken.map(|taken| self.fetched(machine, taken)).collect();
        let is_traced = batch.is_traced && self.without != Without::Traced;
        let mut flight = Flight::new(fetched, is_traced, batch.page);
        flight.is_exclusive = batch.is_exclusive;
        self.lane(machine, lane).flying = Some(Flying {
            groups: VecDeque::from([Group::Together(flight.all())]),
            flight,
            phase: Phase::Next,
        });
    }

    fn fetched(&mut self, machine: usize, taken: Taken) -> Fetched {
        let observations = match taken.observations {
            Found::Here(observations) => observations,
            Found::InJournal(place) => self.drained(machine, place).into(),
        };
        Fetched {
            number: taken.number,
            observations,
            rest: taken.rest,
        }
    }

    fn drained(&mut self, machine: usize, place: Place) -> Vec<Observation> {
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
                self.land(at.0, flying.flight)?;
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
        if flight.page.is_some() && flight.can_be_strangers() && self.dice.one_in(4) {
            // As in an initial copy, and more often wrong.
            flying.phase = Phase::Looked(todo, Users::Strangers);
            return Ok(Some(flying));
        }
        let mut loaded = self.load(shared, flight, &todo);
        let are = flight.whose(&loaded);
        let (left, plan) = shared.looked(flight, &todo, &mut loaded);
        let is_over = |place: &usize| !left.contains(place);
        self.check_order(&flying.flight, &todo, &plan, is_over)?;
        flying.phase = Phase::Looked(left, are);
        Ok(Some(flying))
    }

    pub fn load(&self, shared: &Shared, flight: &Flight, todo: &[usize]) -> BTreeMap<UserId, Loaded> {
        let observations: Vec<&Observation> = todo.iter().map(|place| flight.observation(*place)).collect();
        let mut loaded = self.database.load(&observations);
        shared.note_loaded(&mut loaded);
        loaded
    }

    /// The connection is gone: the same again on the next.
    pub fn broken(&mut self, at: (usize, usize), mut flying: Flying, group: Group) -> Flying {
        flying.groups.push_front(group);
        self.database.unlock(at);
        self.lane(at.0, at.1).is_connected = false;
        flying
    }
}
