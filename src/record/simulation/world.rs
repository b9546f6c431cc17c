//! One history: a provider, a database and one or two machines, and what happens to them.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::database::Database;
use super::dice::Dice;
use super::exchange::{Asked, What, Write};
use super::figures::{Event, Figures};
use super::machine::{LANES, Later, Machine};
use super::provider::{Provider, USERS};
use super::waiting::{Then, Told};
use super::without::Without;
use crate::clock;
use crate::record::intents::settle::doubt;
use crate::record::{Next, Owed, Recorder, Shared};
use crate::user::{Origin, Position, Seen, Sent};

/// Outages, failovers, refusals, silent changes, kills.
pub const THEMES: usize = 5;

/// What went wrong.
pub type Wrong = &'static str;

/// A webhook that is not acknowledged.
pub struct Hook {
    pub number: u64,
    pub user: usize,
    pub moment: usize,
    pub copies: usize,
    pub is_under_way: bool,
    pub since: Instant,
}

/// A write that nobody waits for and the provider may still carry out.
pub struct Orphan {
    pub user: usize,
    pub write: Write,
    pub until: Instant,
}

pub struct World<'r> {
    pub dice: Dice,
    seed: u64,
    pub without: Without,
    runtime: &'r Runtime,
    pub provider: Provider,
    pub theme: usize,
    /// Its lists lag, and by how much is known.
    pub lags: bool,
    pub knows_lag: bool,
    /// Rows of deleted users are removed.
    pub purges: bool,
    /// It sends webhooks.
    pub tells: bool,
    /// Those of whom anything is asked: of one alone, more happens to it.
    pub users: usize,
    /// Mishaps among a hundred steps.
    mishaps: usize,
    /// Processes are killed.
    pub kills: bool,
    /// Observations that a lane takes at once, where it is not left to chance.
    pub batch: Option<usize>,
    pub database: Database,
    pub machines: Vec<Machine>,
    pub processes: u64,
    pub asked: Vec<Asked>,
    pub hooks: Vec<Hook>,
    pub orphans: Vec<Orphan>,
    /// From which moment on a row must be, at rest: what was told, or will be.
    pub told: Vec<Option<usize>>,
    /// The last moment at which each was made through usertap: who was not deleted since is found, even
    /// where nobody saw the answer.
    pub made: Vec<usize>,
    /// From which moment on a row must be as soon as what is owed is read.
    pub prompt: Vec<usize>,
    /// Things go wrong.
    pub is_wild: bool,
    /// Failovers: what was committed before may be gone.
    pub losses: usize,
    pub figures: Figures,
    trace: Option<Vec<String>>,
}

impl<'r> World<'r> {
    pub fn new(seed: u64, without: Without, runtime: &'r Runtime) -> World<'r> {
        let mut dice = Dice::of(seed, 0);
        let provider = Provider::new(&mut dice, clock::now());
        let machines = 1 + dice.below(2);
        let lags = dice.one_in(2);
        let mut world = World {
            seed,
            without,
            runtime,
            provider,
            theme: dice.below(THEMES),
            lags,
            knows_lag: dice.one_in(2),
            purges: dice.one_in(3),
            tells: dice.one_in(2),
            users: 1 + dice.below(USERS),
            mishaps: 9 + 11 * dice.below(2),
            kills: dice.one_in(2),
            batch: None,
            database: Database::new(without),
            machines: (0..machines).map(|_| Machine::default()).collect(),
            processes: 0,
            asked: Vec::new(),
            hooks: Vec::new(),
            orphans: Vec::new(),
            told: vec![None; USERS],
            made: vec![0; USERS],
            prompt: vec![0; USERS],
            is_wild: true,
            losses: 0,
            figures: Figures::default(),
            trace: None,
            dice,
        };
        for machine in 0..machines {
            world.start(machine);
        }
        world.figures.count(Event::History);
        world
    }

    pub fn traced(mut self) -> Self {
        self.trace = Some(Vec::new());
        self
    }

    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    pub fn run(&mut self, steps: &[usize]) -> Result<(), Wrong> {
        for step in steps {
            self.dice = Dice::of(self.seed, *step);
            self.step()?;
            self.hear()?;
        }
        self.dice = Dice::of(self.seed, usize::MAX);
        self.figures.count_many(Event::Step, steps.len() as u64);
        self.come_to_rest()
    }

    fn step(&mut self) -> Result<(), Wrong> {
        let user = self.dice.below(self.users);
        let machine = self.dice.below(self.machines.len());
        let lives = self.machines[machine].process.is_some();
        if self.dice.below(100) < self.mishaps {
            return self.mishap(machine, user);
        }
        match self.dice.below(91) {
            0..10 if lives => self.ask(machine, What::Read(user), None),
            10..19 if lives => self.ask_write(machine, user),
            19..21 if lives => self.ask(machine, What::Glance(user), None),
            21..24 if lives => self.ask(machine, What::List, None),
            24 if lives => self.walk(machine),
            25 => self.break_off(),
            26..30 => self.change_elsewhere(user, true),
            30..31 => self.change_elsewhere(user, false),
            31..45 => self.answer_one(),
            45..55 if lives => self.deliver_one(machine),
            55..59 if lives => self.deliver_webhook(machine),
            59..79 if lives => self.step_lanes(machine)?,
            79..83 if lives => self.read_owed(machine),
            83..87 => self.keep(machine),
            87..91 => self.wait(),
            _ => {}
        }
        Ok(())
    }

    pub fn step_lanes(&mut self, machine: usize) -> Result<(), Wrong> {
        let lane = self.dice.below(LANES);
        for _ in 0..=self.dice.below(4) {
            let process = self.machines[machine].process.as_ref();
            if process.is_some_and(super::machine::Process::has_work) {
                self.step_lane(machine, lane)?;
            }
        }
        Ok(())
    }

    pub fn recorder(&self, machine: usize) -> Recorder {
        match &self.machines[machine].process {
            Some(process) => process.recorder.clone(),
            None => unreachable!("the machine is down"),
        }
    }

    pub fn shared(&self, machine: usize) -> Arc<Shared> {
        self.recorder(machine).shared
    }

    pub fn is_to_be_told(&mut self, user: usize, moment: usize) {
        self.told[user] = self.told[user].max(Some(moment));
    }

    fn walk(&mut self, machine: usize) {
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        if !process.is_walking {
            process.is_walking = true;
            self.ask(machine, What::Page, None);
        }
    }

    /// Any process reads a user in doubt: by the hints it was given, or by a look into the database.
    pub fn read_owed(&mut self, machine: usize) {
        let nobody_looks = self.without == Without::TakenOver;
        let looked = match self.database.is_away || nobody_looks || self.dice.one_in(2) && self.is_wild {
            true => Vec::new(),
            false => self.database.doubted(),
        };
        let without = self.without;
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        let mut owed: Vec<Owed> = Vec::new();
        while let Ok(hint) = process.owed.try_recv() {
            owed.push(hint);
        }
        owed.extend(looked.into_iter().map(|(user, after)| Owed {
            user: super::provider::id(user),
            after,
            awaited: false,
        }));
        for mut owed in owed {
            if without == Without::ReadAfterDoubt {
                owed.after = Position(0);
            }
            let begins = self.machines[machine]
                .process
                .as_mut()
                .is_some_and(|process| process.under_way.begins(&owed));
            if begins {
                self.ask(
                    machine,
                    What::Owed(super::provider::number(&owed.user), owed),
                    None,
                );
            }
        }
    }

    pub fn keep(&mut self, machine: usize) {
        let takes = !self.is_wild || !self.dice.one_in(6);
        let is_killed = self.is_wild && self.kills && self.dice.one_in(12);
        if !takes {
            self.figures.count(Event::DiskFull);
        }
        if !self.machines[machine].keep(takes, is_killed, self.without) {
            self.kill(machine);
        }
        if self.machines[machine].process.is_some() && self.machines[machine].take_up(self.without) {
            self.ask(machine, What::Newest(Vec::new()), None);
        }
    }

    pub fn wait(&mut self) {
        let seconds = if self.dice.one_in(12) {
            31
        } else {
            1 + self.dice.below(3)
        };
        self.pass(Duration::from_secs(seconds as u64));
    }

    pub fn pass(&mut self, time: Duration) {
        self.runtime.block_on(tokio::time::advance(time));
        self.note(|| format!("{} s pass", time.as_secs()));
        self.look_around();
        for machine in 0..self.machines.len() {
            self.do_what_is_due(machine);
        }
    }

    fn do_what_is_due(&mut self, machine: usize) {
        let now = clock::now();
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        let (due, later) = std::mem::take(&mut process.later)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        process.later = later;
        let due: Vec<(Instant, Later)> = due;
        for (_, due) in due {
            self.once_more(machine, due);
        }
    }

    /// The provider can no longer be at it.
    fn once_more(&mut self, machine: usize, due: Later) {
        let is_off = self.without == Without::DoubtOnceMore;
        match due {
            Later::LookFor(intents) => self.ask(machine, What::Newest(intents), None),
            _ if is_off => {}
            Later::Doubt(user, intent) => {
                let seen = self.observation(user, 0, Seen::Touched, Sent::NEVER, Origin::ProxyWrite);
                self.submit(
                    machine,
                    vec![seen],
                    Vec::new(),
                    intent.into_iter().collect(),
                    None,
                );
            }
            Later::CutOff(writes) => doubt(&self.recorder(machine), &writes, |write| {
                vec![write.intent.clone()]
            }),
        }
    }

    /// What was told to those who wait: what was read for an answer comes before the answer.
    pub fn hear(&mut self) -> Result<(), Wrong> {
        for machine in 0..self.machines.len() {
            let Some(process) = &mut self.machines[machine].process else {
                continue;
            };
            let (mut told, mut still) = (Vec::new(), Vec::new());
            for mut waiting in std::mem::take(&mut process.waiting) {
                match waiting.told() {
                    None => still.push(waiting),
                    Some(what) => told.push((waiting, what)),
                }
            }
            process.waiting = still;
            told.sort_by_key(|(_, what)| matches!(what, Told::Answer(_)));
            for (waiting, what) in told {
                // Until a process has noticed a failover it cannot know what was lost.
                if waiting.losses == self.losses {
                    self.check(&waiting.facts, &what)?;
                }
                self.follow_up(machine, waiting.then, &what);
            }
        }
        Ok(())
    }

    fn follow_up(&mut self, machine: usize, then: Then, told: &Told) {
        match then {
            Then::Nothing => {}
            Then::Ack(number) if told.is_durable() => self.acknowledge(number),
            Then::Ack(number) => {
                let hook = self.hooks.iter_mut().find(|hook| hook.number == number);
                hook.into_iter().for_each(|hook| hook.is_under_way = false);
            }
            Then::Page => {
                if let Some(process) = &mut self.machines[machine].process {
                    process.is_walking = false;
                }
            }
            Then::Newest(intents) => drop(intents),
            Then::Read(user, sent) => {
                let Some(process) = &mut self.machines[machine].process else {
                    return;
                };
                if let Next::Now(next) = process.under_way.ended(&user, Some(sent)) {
                    self.ask(machine, What::Owed(super::provider::number(&user), next), None);
                }
            }
        }
    }
}
