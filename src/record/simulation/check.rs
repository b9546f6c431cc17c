//! What must hold all along, and at rest.

use std::time::Duration;

use super::figures::Event;
use super::machine::LANES;
use super::provider::{USERS, number};
use super::waiting::{Fact, Says, Told};
use super::world::{World, Wrong};
use crate::record::Effect;
use crate::record::batch::Plan;
use crate::record::change::Kind;
use crate::record::merge::Verdict;
use crate::record::writer::flight::Flight;
use crate::record::{Recorded, Unrecorded};
use crate::user::{Position, Seen};

use super::database::Row;
use super::exchange::What;

/// Rounds until everything must be at rest.
const ROUNDS: usize = 120;

impl World<'_> {
    /// Nothing that was shown may be followed by something older.
    pub fn check_order(
        &mut self,
        flight: &Flight,
        todo: &[usize],
        plan: &Plan,
        is_over: impl Fn(&usize) -> bool,
    ) -> Result<(), Wrong> {
        for (place, judged) in todo.iter().zip(&plan.judged).filter(|(place, _)| is_over(place)) {
            let observation = flight.observation(*place);
            let (Some(judged), false) = (judged, is_hint(&observation.seen)) else {
                continue;
            };
            if judged.effect == Effect::SetAside {
                continue;
            }
            let (user, moment) = (number(&observation.id), moment(&observation.source.request_id));
            self.note(|| {
                format!(
                    "user {user}, moment {moment}, sent {:?}: {judged:?}",
                    observation.sent
                )
            });
            let shown = &mut self.database.tables.shown[user];
            if judged.verdict == Verdict::Apply && moment < *shown {
                return Err("a row went back");
            }
            if judged.verdict.counts_as_applied() {
                *shown = moment.max(*shown);
            }
        }
        Ok(())
    }

    /// What was told of a submission.
    pub fn check(&mut self, facts: &[Fact], told: &Told) -> Result<(), Wrong> {
        self.note(|| format!("{facts:?}: {told:?}"));
        match told {
            Told::Answer(Recorded::Committed { .. }) => {
                facts.iter().try_for_each(|fact| self.committed(*fact))
            }
            Told::Answer(Recorded::None(Unrecorded::NoUser)) => {
                facts.iter().try_for_each(|fact| self.committed(*fact))
            }
            Told::Answer(Recorded::Journaled) => {
                let all = facts.iter().filter(|fact| fact.says != Says::Part);
                all.for_each(|fact| self.is_to_be_told(fact.user, fact.moment));
                self.figures.count(Event::Journaled);
                Ok(())
            }
            Told::Fared(Some(fared)) => {
                if fared.effects.len() != facts.len() && !facts.is_empty() {
                    return Err("an account does not balance");
                }
                self.fared(facts, &fared.effects);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The row says it: as of that moment or of a later one.
    fn committed(&mut self, fact: Fact) -> Result<(), Wrong> {
        let Fact { user, moment, says } = fact;
        self.figures.count(Event::Committed);
        let shows = self.database.shows(user);
        let shown = &mut self.database.tables.shown[user];
        match says {
            // A part proves nothing by position: the row may have agreed with it as of an earlier moment
            // that was the same. One that differed must have had the row looked into.
            Says::Differs(row) if row == shows && *shown < moment => {
                return Err("an answer said committed, and nobody looked into what differed");
            }
            Says::Part | Says::Differs(_) => return Ok(()),
            Says::All | Says::Written => {}
        }
        if *shown < moment && shows != self.provider.content(user, moment) {
            return Err("an answer said committed, and the row says something else");
        }
        *shown = moment.max(*shown);
        self.is_to_be_told(user, moment);
        Ok(())
    }

    fn fared(&mut self, facts: &[Fact], effects: &[Effect]) {
        if let ([fact], [Effect::Inserted | Effect::Updated | Effect::Unchanged | Effect::Absent]) =
            (facts, effects)
        {
            let shown = &mut self.database.tables.shown[fact.user];
            *shown = fact.moment.max(*shown);
        }
    }

    /// Everything is mended, and what is under way ends.
    pub fn come_to_rest(&mut self) -> Result<(), Wrong> {
        self.note(|| "from here on everything comes to rest".into());
        self.is_wild = false;
        self.database.is_away = false;
        self.database.refuses = None;
        (0..self.machines.len()).for_each(|machine| self.start(machine));
        for _ in 0..12 {
            if !self.is_settled() {
                self.settle()?;
            }
        }
        // What stands aside waits for its time.
        if self.losses == 0 && self.database.tables.users.iter().all(|user| user.aside.is_none()) {
            self.compare_prompt()?;
        }
        self.pass(Duration::from_secs(3));
        for round in 0..ROUNDS {
            self.settle()?;
            if std::mem::take(&mut self.database.tables.is_unknown) {
                self.read_everybody()?;
            }
            if self.is_at_rest() {
                return self.compare();
            }
            self.carry_out_orphan();
            let seconds = if round % 8 == 7 { 31 } else { 3 };
            self.pass(Duration::from_secs(seconds));
        }
        for machine in 0..self.machines.len() {
            let machine = &self.machines[machine];
            let process = machine.process.as_ref().map(super::machine::Process::busy_with);
            let (disk, users) = (machine.disk.holds(), &self.database.tables.users);
            let told = format!("{process:?}, {disk}, {users:?}, {} asked", self.asked.len());
            self.note(|| told);
        }
        Err("it never comes to rest")
    }

    /// A reconcile, as the status asks for.
    fn read_everybody(&mut self) -> Result<(), Wrong> {
        for _ in 0..3 {
            self.settle()?;
            self.pass(Duration::from_secs(3));
        }
        for user in 0..USERS {
            self.ask(0, What::Read(user), None);
        }
        Ok(())
    }

    /// Whatever can be done without time passing.
    fn settle(&mut self) -> Result<(), Wrong> {
        for _ in 0..4 {
            self.answer_one();
        }
        for machine in 0..self.machines.len() {
            for _ in 0..3 {
                self.deliver_one(machine);
            }
            self.deliver_webhook(machine);
            for lane in (0..LANES).cycle().take(LANES * 8) {
                if self.has_work(machine) {
                    self.step_lane(machine, lane)?;
                }
            }
            self.hear()?;
            self.keep(machine);
            self.read_owed(machine);
        }
        Ok(())
    }

    /// Nothing more happens before time passes.
    fn is_settled(&self) -> bool {
        let owes = self.database.tables.users.iter().any(|user| user.doubt.is_some());
        let is_busy = |machine| self.has_work(machine) || self.awaits(machine);
        self.asked.is_empty() && self.hooks.is_empty() && !owes && !(0..self.machines.len()).any(is_busy)
    }

    fn awaits(&self, machine: usize) -> bool {
        let process = self.machines[machine].process.as_ref();
        process.is_some_and(|process| !process.waiting.is_empty())
    }

    fn has_work(&self, machine: usize) -> bool {
        let process = self.machines[machine].process.as_ref();
        process.is_some_and(super::machine::Process::has_work)
    }

    fn is_at_rest(&self) -> bool {
        if !self.is_settled() || !self.orphans.is_empty() {
            return false;
        }
        let is_busy = |machine: &super::machine::Machine| {
            machine
                .process
                .as_ref()
                .is_none_or(super::machine::Process::is_busy)
                || !machine.disk.is_empty()
        };
        !self.machines.iter().any(is_busy)
    }

    /// A write that the provider had carried out when its answer was lost is read at once.
    fn compare_prompt(&self) -> Result<(), Wrong> {
        for user in 0..USERS {
            let shown = self.database.tables.shown[user];
            if shown < self.prompt[user]
                && !self
                    .provider
                    .was(user, self.database.shows(user), self.prompt[user])
            {
                return Err("a write whose answer was lost is not read at once");
            }
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), Wrong> {
        for user in 0..USERS {
            self.figures.count(Event::RowCompared);
            let made = Some(self.made[user]).filter(|made| *made > 0 && self.provider.exists(user));
            let told = self.told[user].max(made);
            let first = told.unwrap_or(0);
            let shows = self.database.shows(user);
            let is_unseen = told.is_none() && shows.is_none();
            if !is_unseen && !self.provider.was(user, shows, first) {
                return Err("a row is stale at rest");
            }
            if self.database.tables.users[user].aside.is_some() {
                return Err("a row stands aside at rest");
            }
        }
        self.replay()
    }

    /// The feed, replayed from its beginning, is the table; and it is in order.
    fn replay(&mut self) -> Result<(), Wrong> {
        let mut rows: Vec<Option<Row>> = vec![None; USERS];
        let (mut last, tables) = (Position(0), &self.database.tables);
        for change in &tables.changes {
            if change.position <= last {
                return Err("positions are not in the order of commits");
            }
            last = change.position;
            let row = &mut rows[change.user];
            let follows = match change.kind {
                Kind::Created => row.is_none(),
                Kind::Restored => row.is_none_or(|row| row.is_deleted),
                Kind::Updated | Kind::Deleted | Kind::Purged => true,
            };
            if !follows && change.after.is_some() {
                return Err("a change does not follow the one before it");
            }
            *row = change.after;
        }
        let table: Vec<Option<Row>> = tables.users.iter().map(|user| user.row).collect();
        self.figures
            .count_many(Event::Replayed, tables.changes.len() as u64);
        match rows == table {
            true => Ok(()),
            false => Err("the feed, replayed, is not the table"),
        }
    }
}

/// Whether it can only raise the question what a user is.
fn is_hint(seen: &Seen) -> bool {
    !matches!(seen, Seen::Whole(_) | Seen::Deleted | Seen::Missing)
}

fn moment(request: &str) -> usize {
    request.parse().unwrap_or(0)
}
