//! Answers that arrive, or do not: what they tell is handed to the recorder.

use std::sync::Arc;
use std::time::Duration;

use super::exchange::{As, Asked, LAG, Shown, What, Write};
use super::figures::Event;
use super::machine::Later;
use super::provider::id;
use super::waiting::{Fact, Says, Then, Waiting};
use super::without::Without;
use super::world::{Orphan, World};
use crate::clock;
use crate::record::{Checkpoint, Intent, Submission, carried_out};
use crate::user::{Observation, Origin, Seen, Sent, Source, Tick};

/// A provider is done with a request whose connection is gone by then.
const AT_IT: Duration = Duration::from_secs(25);

impl World<'_> {
    /// An answer arrives, any: what it tells is handed over.
    pub fn deliver_one(&mut self, machine: usize) {
        let here = |asked: &Asked| asked.machine == machine && asked.answer.is_some();
        let here: Vec<usize> = (0..self.asked.len())
            .filter(|at| here(&self.asked[*at]))
            .collect();
        let Some(at) = self.dice.one_of(&here) else { return };
        let asked = self.asked.swap_remove(at);
        self.note(|| format!("the answer to {} arrives at machine {machine}", asked.what.name()));
        match asked.what {
            What::Write(user, write) if self.is_wild && self.dice.one_in(8) => self.lose(asked, user, write),
            _ => self.take(asked),
        }
    }

    /// It broke off, and the provider has carried it out.
    pub fn lose(&mut self, asked: Asked, user: usize, write: Write) {
        if !matches!(write, Write::Create(_)) {
            self.prompt[user] = self.provider.latest(user);
        }
        self.unanswered(asked.machine, user, write, asked.intent);
    }

    /// The write is in doubt at once, and again once it can no longer be carried out.
    pub fn unanswered(&mut self, machine: usize, user: usize, write: Write, intent: Option<Intent>) {
        self.figures.count(Event::LostAnswer);
        if let (Write::Create(_), Some(intent)) = (write, &intent) {
            return self.recorder(machine).never_learned(intent.clone());
        }
        if self.without != Without::DoubtAtOnce {
            let doubt = self.observation(user, 0, Seen::Touched, Sent::NEVER, Origin::ProxyWrite);
            self.submit(machine, vec![doubt], Vec::new(), Vec::new(), None);
        }
        if let Some(process) = &mut self.machines[machine].process {
            let then = clock::now() + carried_out();
            process.later.push((then, Later::Doubt(user, intent)));
        }
    }

    /// The connection breaks before the provider answers; it may carry the write out all the same.
    pub fn break_off(&mut self) {
        let open = |asked: &Asked| asked.answer.is_none() && matches!(asked.what, What::Write(..));
        let open: Vec<usize> = (0..self.asked.len())
            .filter(|at| open(&self.asked[*at]))
            .collect();
        let Some(at) = self.dice.one_of(&open) else { return };
        let asked = self.asked.swap_remove(at);
        let What::Write(user, write) = asked.what else {
            return;
        };
        self.note(|| format!("the write of user {user} breaks off"));
        self.orphan(user, write);
        self.unanswered(asked.machine, user, write, asked.intent);
    }

    /// Nobody waits for it any more.
    pub fn orphan(&mut self, user: usize, write: Write) {
        let until = clock::now() + AT_IT;
        self.orphans.push(Orphan { user, write, until });
    }

    /// A write that nobody waits for is carried out, or is not.
    pub fn carry_out_orphan(&mut self) {
        let now = clock::now();
        self.orphans.retain(|orphan| orphan.until >= now);
        if self.orphans.is_empty() {
            return;
        }
        let at = self.dice.below(self.orphans.len());
        let Orphan { user, write, .. } = self.orphans.swap_remove(at);
        if !self.dice.one_in(4) {
            self.note(|| format!("the provider carries out {write:?} of user {user}, of which nobody hears"));
            self.carry_out(user, write);
        }
    }

    pub fn take(&mut self, asked: Asked) {
        let (machine, shown) = (asked.machine, asked.answer.clone().unwrap_or_default());
        let (mut observations, mut facts) = (Vec::new(), Vec::new());
        for one in shown {
            let sent = self.stamp(&asked, one.user);
            let Some((seen, says)) = self.seen(one) else {
                continue;
            };
            let origin = asked.what.origin();
            let mut observation = self.observation(one.user, one.moment, seen, sent, origin);
            observation.unsettled = one.as_ == As::Unsettled && self.without != Without::Unsettled;
            observations.push(observation);
            facts.push(Fact {
                user: one.user,
                moment: one.moment,
                says,
            });
        }
        let intents: Vec<Intent> = asked.intent.into_iter().collect();
        let kept = if self.without == Without::NoteUntilDurable {
            Vec::new()
        } else {
            intents
        };
        let then = match asked.what {
            What::Page => Some(Then::Page),
            What::Newest(intents) => Some(Then::Newest(intents)),
            What::Owed(_, owed) => Some(Then::Read(owed.user, asked.sent.position)),
            _ => Some(Then::Nothing),
        };
        self.submit(machine, observations, facts, kept, then);
    }

    pub fn seen(&mut self, shown: Shown) -> Option<(Seen, Says)> {
        let Shown { user, moment, as_ } = shown;
        Some(match as_ {
            As::Is | As::Unsettled => {
                let whole = self.provider.whole(user, moment, &mut self.dice);
                (whole.unwrap_or(Seen::Missing), Says::All)
            }
            As::Partial => {
                let row = self.database.shows(user);
                let differs = row != self.provider.content(user, moment);
                let says = if differs { Says::Differs(row) } else { Says::Part };
                (self.provider.partial(user, moment)?, says)
            }
            As::Deleted => (Seen::Deleted, Says::All),
            As::Absent => (Seen::Missing, Says::Part),
            As::Touched => (Seen::Touched, Says::Written),
        })
    }

    pub fn stamp(&self, asked: &Asked, user: usize) -> Sent {
        let head = &self.shared(asked.machine).head;
        let is_list = matches!(asked.what, What::List | What::Page | What::Newest(_));
        let is_stranger = self.database.tables.users[user].state.is_none();
        let mut sent = match self.without {
            Without::EarlyStamp => head.sent(),
            Without::ListLag => asked.sent,
            _ if is_list && self.lags && self.knows_lag => head.sent_before(LAG, asked.sent_at),
            _ if is_list && self.lags => Sent::NEVER,
            _ => asked.sent,
        };
        match self.without {
            Without::Epoch if sent != Sent::NEVER => sent.epoch = self.database.tables.epoch,
            Without::Mark => sent.tick = Tick(u64::MAX),
            Without::MarkOfMissing if is_stranger => sent.tick = Tick(u64::MAX),
            _ => {}
        }
        sent
    }

    pub fn observation(
        &self,
        user: usize,
        moment: usize,
        seen: Seen,
        sent: Sent,
        origin: Origin,
    ) -> Observation {
        let source = Source {
            origin,
            route: "".into(),
            request_id: moment.to_string().into(),
        };
        Observation {
            id: id(user),
            seen,
            sent,
            source: Arc::new(source),
            unsettled: false,
        }
    }

    /// Hands it to the recorder; `then` waits for what becomes of it.
    pub fn submit(
        &mut self,
        machine: usize,
        mut observations: Vec<Observation>,
        facts: Vec<Fact>,
        intents: Vec<Intent>,
        then: Option<Then>,
    ) {
        match self.without {
            Without::DoubtOfPartial => observations.retain(|seen| !matches!(seen.seen, Seen::Partial(_))),
            Without::DoubtOfTouched => observations.retain(|seen| !matches!(seen.seen, Seen::Touched)),
            _ => {}
        }
        let without = self.without;
        let shared = self.shared(machine);
        if without == Without::OrderOfReceipt {
            shared.memory.judged(observations.iter().map(|seen| &seen.id));
        }
        let is_page = matches!(then, Some(Then::Page));
        let checkpoint = is_page.then(|| checkpoint(observations.len()));
        let submission = Submission {
            observations,
            checkpoint,
        };
        let process = self.machines[machine].process.as_ref();
        let losses = process.map_or(0, |process| process.losses);
        let receipt = self.recorder(machine).submit_for(submission, intents);
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        process.waiting.extend(then.map(|then| match then {
            Then::Page | Then::Newest(_) | Then::Read(..) => Waiting::fared(receipt, facts, then, losses),
            Then::Nothing => Waiting::answer(receipt, facts, then, losses),
            Then::Ack(_) => Waiting::durable(receipt, then, losses),
        }));
    }
}

fn checkpoint(fetched: usize) -> Checkpoint {
    Checkpoint {
        run: uuid::Uuid::nil(),
        owner: uuid::Uuid::nil(),
        state: String::new(),
        follows: None,
        fetched: fetched as u64,
        malformed: 0,
        done: false,
    }
}
