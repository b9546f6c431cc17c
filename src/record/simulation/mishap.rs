//! What goes wrong: processes killed, a database that is away, fails over or refuses rows.

use super::exchange::{Asked, What};
use super::figures::Event;
use super::machine::LANES;
use super::without::Without;
use super::world::{THEMES, World, Wrong};

impl World<'_> {
    /// What goes wrong most differs from history to history.
    pub fn mishap(&mut self, machine: usize, user: usize) -> Result<(), Wrong> {
        let theme = if self.dice.one_in(3) {
            self.dice.below(THEMES)
        } else {
            self.theme
        };
        match (theme, self.dice.below(6)) {
            (0, 0..2) => self.outage(),
            (0, 2 | 3) => self.kill_or_start(machine),
            (0, _) => self.keep(machine),
            (1, 0..2) => self.database.standby = self.database.tables.clone(),
            (1, 2 | 3) => self.lose_commits()?,
            (1, 4) => self.kill_or_start(machine),
            (1, _) => self.wait(),
            (2, 0..3) => self.constrain(),
            (2, _) => self.wait(),
            (3, 0..3) => self.kill_or_start(machine),
            (3, 3) => self.change_elsewhere(user, false),
            (3, _) => self.carry_out_orphan(),
            (_, ..3) => self.kill_or_start(machine),
            (_, 3) => self.break_off(),
            _ => self.carry_out_orphan(),
        }
        Ok(())
    }

    pub fn kill_or_start(&mut self, machine: usize) {
        match self.machines[machine].process {
            Some(_) if !self.kills => {}
            Some(_) => self.kill(machine),
            None => self.start(machine),
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self, machine: usize) {
        if self.machines[machine].process.take().is_none() {
            return;
        }
        self.note(|| format!("machine {machine} is killed"));
        self.figures.count(Event::Kill);
        (0..LANES).for_each(|lane| self.database.unlock((machine, lane)));
        self.database.forget_strangers();
        let (lost, kept) = std::mem::take(&mut self.asked)
            .into_iter()
            .partition(|asked| asked.machine == machine);
        self.asked = kept;
        let lost: Vec<Asked> = lost;
        for asked in lost {
            if let (What::Write(user, write), None) = (asked.what, asked.answer) {
                self.orphan(user, write);
            }
        }
        self.hooks.iter_mut().for_each(|hook| hook.is_under_way = false);
        self.tell_who_lives();
    }

    pub fn start(&mut self, machine: usize) {
        if self.machines[machine].process.is_some() {
            return;
        }
        self.processes += 1;
        self.note(|| format!("machine {machine} starts"));
        if self.database.is_away {
            self.figures.count(Event::StartInOutage);
        }
        self.machines[machine].start(self.processes, false, self.without);
        self.tell_who_lives();
        if self.machines[machine].take_up(self.without) {
            self.ask(machine, What::Newest(Vec::new()), None);
        }
    }

    /// Each knows whether another records too.
    pub fn tell_who_lives(&mut self) {
        let live = self
            .machines
            .iter()
            .filter_map(|machine| machine.process.as_ref());
        let is_shared = live.clone().count() > 1 && self.without != Without::Shared;
        live.for_each(|process| process.recorder.set_shared(is_shared));
    }

    pub fn outage(&mut self) {
        self.database.is_away = !self.database.is_away;
        let is_away = self.database.is_away;
        self.note(|| format!("the database is away: {is_away}"));
        if is_away {
            self.figures.count(Event::Outage);
            self.cut_all();
        }
    }

    pub fn cut_all(&mut self) {
        let live = self
            .machines
            .iter_mut()
            .filter_map(|machine| machine.process.as_mut());
        live.flat_map(|process| &mut process.lanes)
            .for_each(|lane| lane.is_connected = false);
        for machine in 0..self.machines.len() {
            (0..LANES).for_each(|lane| self.database.unlock((machine, lane)));
        }
    }

    /// A pooler keeps the connections on which no transaction is open.
    fn cut_open(&mut self) {
        let live = self
            .machines
            .iter_mut()
            .filter_map(|machine| machine.process.as_mut());
        live.flat_map(|process| &mut process.lanes)
            .for_each(|lane| lane.is_connected &= !lane.is_open());
    }

    /// A standby takes over that had not got everything.
    pub fn lose_commits(&mut self) -> Result<(), Wrong> {
        self.hear()?;
        if self.database.standby.position < self.database.tables.position {
            self.figures.count(Event::LostCommits);
        }
        let is_cut = self.dice.one_in(2);
        self.note(|| format!("the database fails over, connections break: {is_cut}"));
        self.database.fail_over();
        match is_cut {
            true => self.cut_all(),
            false => self.cut_open(),
        }
        self.losses += 1;
        Ok(())
    }

    pub fn constrain(&mut self) {
        let contents = usize::from(self.provider.contents);
        let refuses = match self.database.refuses {
            None => u8::try_from(1 + self.dice.below(contents)).ok(),
            Some(_) => None,
        };
        self.database.refuses = refuses;
        self.note(|| format!("the table refuses {refuses:?}"));
    }
}
