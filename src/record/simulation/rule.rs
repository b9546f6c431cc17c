//! The order rule alone against a simulated provider: small histories, of which some reach what the
//! whole world's reach rarely (an answer that was sent in another epoch).
//!
//! Users change at a provider with a real history (writes, deletions, restores, A→B→A); answers
//! carry the state of a moment between their sending and their receipt and arrive late and in any
//! order at one or two processes that crash; the database may lose commits. At rest every row must
//! be the provider's user, and nothing may ever go back behind what was shown. The same histories
//! with one clause of the rule switched off must fail: a clause without which nothing fails is
//! either idle or not tested.

mod mishap;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::batch::{Circumstances, DoubtWrite, Loaded, Plan, RowWrite, Write, plan};
use crate::record::merge::{Standing, Verdict};
use crate::user::{
    ContentHash, IdType, Observation, Origin, Position, Profile, Seen, Sent, Source, Tick, UserId, View,
};

/// The clause that is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// 4b without the position of the last change.
    Position,
    /// Equal does not count as applied now.
    Mark,
    /// A not-found of an unknown user leaves no mark.
    MarkOfMissing,
    /// Stamps of another epoch prove as if of this one.
    Epoch,
    /// The stamp is taken when the answer arrives.
    EarlyStamp,
    /// Webhooks prove by position.
    WebhookNever,
    /// What was left out is not read again.
    DoubtOfAmbiguous,
    /// A read in flight serves a doubt.
    ReadAfterDoubt,
    /// An older doubt keeps its place.
    NewPlaceOfDoubt,
    /// Equal does not clear a doubt.
    EqualSettles,
    /// A version passes a tombstone.
    TombstoneByPosition,
    /// An equal observation leaves the row's version alone.
    VersionOfEquals,
    /// Two processes judge as if each were alone.
    Shared,
    /// A lost history is not followed by reads.
    RereadAfterLoss,
}

const USERS: usize = 2;
const STEPS: usize = 60;
const HISTORIES: u64 = 4_000;

/// Splitmix64: the same histories at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap_or(0)
    }
}

/// A user's life at the provider: contents by time, `None` where there is no user.
type Life = Vec<Option<u8>>;

/// A question on its way.
#[derive(Clone)]
struct Asked {
    user: usize,
    process: usize,
    sent: Sent,
    what: What,
    /// The moment of the user's life that the answer shows, once the provider has answered.
    shows: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Read,
    Write(Option<u8>),
    Webhook,
}

#[derive(Clone, Default)]
struct Process {
    head: Position,
    epoch: i64,
    tick: u64,
    marks: BTreeMap<usize, Tick>,
}

/// What survives a crash.
#[derive(Clone)]
struct Kept {
    users: Vec<Loaded>,
    /// The latest moment of each life that the row has shown.
    shown: Vec<usize>,
    position: i64,
}

struct World {
    dice: Dice,
    without: Without,
    versioned: bool,
    lives: Vec<Life>,
    asked: Vec<Asked>,
    processes: Vec<Process>,
    kept: Kept,
    backup: Kept,
    epoch: i64,
}

type Wrong = &'static str;

impl World {
    fn new(seed: u64, without: Without) -> World {
        let mut dice = Dice(seed);
        let kept = Kept {
            users: vec![Loaded::stranger(); USERS],
            shown: vec![0; USERS],
            position: 0,
        };
        let processes = 1 + dice.below(2);
        World {
            versioned: dice.below(2) == 0,
            without,
            lives: vec![vec![None]; USERS],
            asked: Vec::new(),
            processes: vec![
                Process {
                    epoch: 1,
                    ..Process::default()
                };
                processes
            ],
            backup: kept.clone(),
            kept,
            epoch: 1,
            dice,
        }
    }

    fn run(mut self) -> Result<(), Wrong> {
        for _ in 0..STEPS {
            self.step()?;
        }
        for _ in 0..200 {
            if self.asked.is_empty() && !self.owes_anything() {
                return self.compare();
            }
            self.read_what_is_owed();
            self.answer();
            self.deliver()?;
        }
        Err("it never comes to rest")
    }

    fn step(&mut self) -> Result<(), Wrong> {
        let user = self.dice.below(USERS);
        match self.dice.below(40) {
            0..6 => self.ask(user, What::Read),
            6..10 => {
                let content = self.content();
                self.ask(user, What::Write(content));
            }
            10..13 => self.change_elsewhere(user),
            13..21 => self.answer(),
            21..35 => self.deliver()?,
            35..38 => self.read_what_is_owed(),
            38 => self.crash(),
            _ if self.dice.below(3) == 0 => self.lose_commits(),
            _ => self.backup = self.kept.clone(),
        }
        Ok(())
    }

    /// One of three contents, so that lives go back to what they were; or no user at all.
    fn content(&mut self) -> Option<u8> {
        u8::try_from(self.dice.below(4))
            .ok()
            .filter(|content| *content > 0)
    }

    fn ask(&mut self, user: usize, what: What) {
        let process = self.dice.below(self.processes.len());
        let sent = self.stamp(process);
        self.asked.push(Asked {
            user,
            process,
            sent,
            what,
            shows: None,
        });
    }

    fn stamp(&self, process: usize) -> Sent {
        let process = &self.processes[process];
        Sent {
            epoch: process.epoch,
            position: process.head,
            tick: Tick(process.tick),
        }
    }

    /// In the provider's own console; a webhook tells of it some time.
    fn change_elsewhere(&mut self, user: usize) {
        let content = self.content();
        self.lives[user].push(content);
        let shows = self.lives[user].len() - 1;
        self.asked.push(Asked {
            user,
            process: 0,
            sent: Sent::NEVER,
            what: What::Webhook,
            shows: Some(shows),
        });
    }

    /// The provider answers one question, any.
    fn answer(&mut self) {
        let open: Vec<usize> = (0..self.asked.len())
            .filter(|&at| self.asked[at].shows.is_none())
            .collect();
        if open.is_empty() {
            return;
        }
        let asked = &mut self.asked[open[self.dice.below(open.len())]];
        if let What::Write(content) = asked.what {
            self.lives[asked.user].push(content);
        }
        asked.shows = Some(self.lives[asked.user].len() - 1);
    }

    /// Up to three answers arrive together, in any order.
    fn deliver(&mut self) -> Result<(), Wrong> {
        let process = self.dice.below(self.processes.len());
        let mut batch = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let here: Vec<usize> = (0..self.asked.len())
                .filter(|&at| self.asked[at].shows.is_some() && self.asked[at].process == process)
                .collect();
            if !here.is_empty() {
                batch.push(self.asked.swap_remove(here[self.dice.below(here.len())]));
            }
        }
        while !batch.is_empty() {
            batch = self.record(process, batch)?;
        }
        Ok(())
    }

    fn owes_anything(&self) -> bool {
        self.kept.users.iter().any(|loaded| loaded.known.doubt.is_some())
    }

    /// Any process reads a user in doubt; it knows the doubt, so its head is no older.
    fn read_what_is_owed(&mut self) {
        for user in 0..USERS {
            let Some(doubt) = self.kept.users[user].known.doubt else {
                continue;
            };
            let is_read = |asked: &Asked| asked.user == user && asked.what == What::Read;
            let serves = |asked: &Asked| asked.sent.epoch == self.epoch && asked.sent.position >= doubt;
            let any = self.without == Without::ReadAfterDoubt;
            if self
                .asked
                .iter()
                .any(|asked| is_read(asked) && (any || serves(asked)))
            {
                continue;
            }
            let process = self.dice.below(self.processes.len());
            let (epoch, here) = (self.epoch, &mut self.processes[process]);
            here.head = match here.epoch == epoch {
                true => here.head.max(doubt),
                false => doubt,
            };
            here.epoch = epoch;
            let sent = self.stamp(process);
            self.asked.push(Asked {
                user,
                process,
                sent,
                what: What::Read,
                shows: None,
            });
        }
    }

    fn compare(&self) -> Result<(), Wrong> {
        for (life, loaded) in self.lives.iter().zip(&self.kept.users) {
            let agrees = match (life.last().copied().flatten(), loaded.known.standing) {
                (Some(content), Standing::Present(there)) => there == ContentHash([content; 16]),
                (None, standing) => !matches!(standing, Standing::Present(_)),
                (Some(_), _) => false,
            };
            if !agrees {
                return Err("a row is stale at rest");
            }
        }
        Ok(())
    }
}

fn id(user: usize) -> UserId {
    UserId::parse(&user.to_string(), IdType::Text).unwrap()
}

fn number(id: &UserId) -> usize {
    id.as_str().parse().unwrap()
}

fn source() -> Arc<Source> {
    Arc::new(Source {
        origin: Origin::ProxyRead,
        route: "".into(),
        request_id: "".into(),
    })
}

/// The first seed whose history goes wrong, and how.
fn first_wrong(without: Without) -> Option<(u64, Wrong)> {
    (0..HISTORIES).find_map(|seed| {
        let wrong = World::new(seed, without).run().err()?;
        Some((seed, wrong))
    })
}

#[test]
fn no_history_of_the_rule_alone_leaves_a_row_stale() {
    assert_eq!(first_wrong(Without::Nothing), None);
}

#[test]
fn every_clause_of_the_rule_is_needed() {
    use Without::*;
    for without in [
        Position,
        Mark,
        MarkOfMissing,
        Epoch,
        EarlyStamp,
        WebhookNever,
        DoubtOfAmbiguous,
        ReadAfterDoubt,
        NewPlaceOfDoubt,
        EqualSettles,
        TombstoneByPosition,
        VersionOfEquals,
        Shared,
        RereadAfterLoss,
    ] {
        assert_ne!(
            first_wrong(without),
            None,
            "{without:?} is switched off and nothing fails"
        );
    }
}
