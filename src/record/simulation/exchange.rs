//! Questions on their way to the provider, and what their answers tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::figures::Event;
use super::machine::Later;
use super::provider::{USERS, content, id};
use super::waiting::{Fact, Says, Then, Waiting};
use super::without::Without;
use super::world::{Hook, Orphan, World};
use crate::clock;
use crate::record::{CARRIED_OUT, Checkpoint, Intent, Owed, Submission};
use crate::user::{Observation, Origin, Seen, Sent, Source, Tick};

/// The provider's lists show nothing older than this.
pub const LAG: Duration = Duration::from_secs(3);
/// A provider is done with a request whose connection is gone by then.
const AT_IT: Duration = Duration::from_secs(25);

/// A question on its way.
pub struct Asked {
    pub machine: usize,
    pub sent: Sent,
    pub sent_at: Instant,
    pub what: What,
    pub intent: Option<Intent>,
    /// Once the provider has answered.
    pub answer: Option<Vec<Shown>>,
}

#[derive(Clone)]
pub enum What {
    /// A read with the server's key.
    Read(usize),
    /// A browser's read.
    Glance(usize),
    Write(usize, Write),
    /// An app's list.
    List,
    /// A page of a walk.
    Page,
    /// A look through the newest, for these writes.
    Newest(Vec<Intent>),
    /// A read that was owed.
    Owed(usize, Owed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Set(u8),
    /// The answer has no whole user.
    Silently(u8),
    /// The provider goes on changing the user after the answer.
    Unsettled(u8, u8),
    Create(u8),
    Delete,
}

/// What an answer shows of a user.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub user: usize,
    pub moment: usize,
    pub as_: As,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// Whole, or not found.
    Is,
    Partial,
    Deleted,
    Touched,
    Unsettled,
}

impl World<'_> {
    pub fn ask(&mut self, machine: usize, what: What, intent: Option<Intent>) {
        self.note(|| format!("machine {machine} asks {}", what.name()));
        let sent = self.shared(machine).head.sent();
        self.asked.push(Asked {
            machine,
            sent,
            sent_at: clock::now(),
            what,
            intent,
            answer: None,
        });
    }

    /// The write is noted, then forwarded.
    pub fn ask_write(&mut self, machine: usize, user: usize) {
        let content = content(&mut self.dice);
        let write = match (content, self.provider.exists(user), self.dice.below(6)) {
            (Some(content), false, _) => Write::Create(content),
            (Some(content), true, 0) => Write::Silently(content),
            (Some(content), true, 1) => Write::Unsettled(content, 1 + content % 3),
            (Some(content), true, _) => Write::Set(content),
            (None, ..) => Write::Delete,
        };
        let named = if matches!(write, Write::Create(_)) {
            vec![]
        } else {
            vec![id(user)]
        };
        let shared = self.shared(machine);
        let intents = shared.intents.as_ref();
        let intent = intents.map(|intents| intents.announce(named).0);
        if let Some(intents) = intents.filter(|_| self.without != Without::NoteFirst) {
            self.machines[machine].disk.note(intents.take());
        }
        self.ask(machine, What::Write(user, write), intent);
    }

    /// The provider answers one question, any.
    pub fn answer_one(&mut self) {
        let open = self
            .asked
            .iter()
            .enumerate()
            .filter(|(_, asked)| asked.answer.is_none());
        let open: Vec<usize> = open.map(|(at, _)| at).collect();
        let Some(at) = self.dice.one_of(&open) else { return };
        let what = self.asked[at].what.clone();
        let shown = match what {
            What::Read(user) | What::Owed(user, _) => vec![self.shown(user, As::Is)],
            What::Glance(user) => vec![self.shown(user, As::Partial)],
            What::Write(user, write) => self.carry_out(user, write),
            What::List | What::Page | What::Newest(_) => self.list(),
        };
        self.note(|| format!("the provider answers {} with {shown:?}", what.name()));
        self.asked[at].answer = Some(shown);
    }

    fn shown(&self, user: usize, as_: As) -> Shown {
        let moment = self.provider.latest(user);
        Shown { user, moment, as_ }
    }

    /// Whoever is there, each as of some moment since the lag.
    fn list(&mut self) -> Vec<Shown> {
        let since = clock::now().checked_sub(LAG).unwrap_or_else(clock::now);
        let since = if self.lags { since } else { clock::now() };
        if self.lags {
            self.figures.count(Event::LaggingList);
        }
        let absent_counts = self.without == Without::AbsenceIsNone;
        let mut shown = Vec::new();
        for user in 0..USERS {
            let moment = self.provider.moment_since(user, since, &mut self.dice);
            if self.provider.content(user, moment).is_some() || absent_counts {
                shown.push(Shown {
                    user,
                    moment,
                    as_: As::Is,
                });
            }
        }
        shown
    }

    pub fn carry_out(&mut self, user: usize, write: Write) -> Vec<Shown> {
        let now = clock::now();
        let exists = self.provider.exists(user);
        let (content, as_) = match write {
            Write::Create(_) if exists => return Vec::new(),
            Write::Set(_) | Write::Silently(_) | Write::Unsettled(..) | Write::Delete if !exists => {
                return vec![self.shown(user, As::Is)];
            }
            Write::Set(content) | Write::Create(content) => (Some(content), As::Is),
            Write::Silently(content) => (Some(content), As::Touched),
            Write::Unsettled(content, _) => (Some(content), As::Unsettled),
            Write::Delete => (None, As::Deleted),
        };
        let moment = self.provider.becomes(user, content, now);
        let mut last = moment;
        if let Write::Unsettled(_, then) = write {
            last = self.provider.becomes(user, Some(then), now);
        }
        self.is_to_be_told(user, last);
        if self.dice.one_in(3) {
            self.send_webhook(user, moment);
        }
        vec![Shown { user, moment, as_ }]
    }

    /// In the provider's own console.
    pub fn change_elsewhere(&mut self, user: usize, is_told: bool) {
        let content = content(&mut self.dice);
        let moment = self.provider.becomes(user, content, clock::now());
        self.note(|| {
            format!("user {user} becomes {content:?} elsewhere (moment {moment}, webhook: {is_told})")
        });
        if is_told {
            self.is_to_be_told(user, moment);
            self.send_webhook(user, moment);
        }
    }

    fn send_webhook(&mut self, user: usize, moment: usize) {
        let copies = 1 + usize::from(self.dice.one_in(3));
        let number = self.hooks.len() as u64 + 1 + self.hooks.last().map_or(0, |hook| hook.number);
        let since = clock::now();
        self.hooks.push(Hook {
            number,
            user,
            moment,
            copies,
            is_under_way: false,
            since,
        });
    }

    /// A webhook arrives at a machine, however late.
    pub fn deliver_webhook(&mut self, machine: usize) {
        let free = self
            .hooks
            .iter()
            .enumerate()
            .filter(|(_, hook)| !hook.is_under_way);
        let free: Vec<usize> = free.map(|(at, _)| at).collect();
        let Some(at) = self.dice.one_of(&free) else { return };
        let hook = &mut self.hooks[at];
        hook.is_under_way = true;
        let (number, user, moment) = (hook.number, hook.user, hook.moment);
        if clock::now() > hook.since {
            self.figures.count(Event::LateWebhook);
        }
        let sent = match self.without {
            Without::WebhookNever => self.shared(machine).head.sent(),
            _ => Sent::NEVER,
        };
        let seen = self
            .provider
            .whole(user, moment, &mut self.dice)
            .unwrap_or(Seen::Touched);
        self.note(|| format!("a webhook of user {user} as of moment {moment} arrives at machine {machine}"));
        let observation = self.observation(user, moment, seen, sent, Origin::Webhook);
        let then = Then::Ack(number);
        self.submit(machine, vec![observation], Vec::new(), Vec::new(), Some(then));
        if self.without == Without::AckOnceDurable {
            self.acknowledge(number);
        }
    }

    pub fn acknowledge(&mut self, number: u64) {
        let Some(at) = self.hooks.iter().position(|hook| hook.number == number) else {
            return;
        };
        let hook = &mut self.hooks[at];
        hook.is_under_way = false;
        hook.copies -= 1;
        if hook.copies == 0 {
            self.hooks.remove(at);
        } else {
            self.figures.count(Event::DoubledWebhook);
        }
    }

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
    fn lose(&mut self, asked: Asked, user: usize, write: Write) {
        if !matches!(write, Write::Create(_)) {
            self.prompt[user] = self.provider.latest(user);
        }
        self.unanswered(asked.machine, user, write, asked.intent);
    }

    /// The write is in doubt at once, and again once it can no longer be carried out.
    fn unanswered(&mut self, machine: usize, user: usize, write: Write, intent: Option<Intent>) {
        self.figures.count(Event::LostAnswer);
        if let (Write::Create(_), Some(intent)) = (write, &intent) {
            return self.recorder(machine).never_learned(intent.clone());
        }
        if self.without != Without::DoubtAtOnce {
            let doubt = self.observation(user, 0, Seen::Touched, Sent::NEVER, Origin::ProxyWrite);
            self.submit(machine, vec![doubt], Vec::new(), Vec::new(), None);
        }
        if let Some(process) = &mut self.machines[machine].process {
            let then = clock::now() + CARRIED_OUT;
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

    fn take(&mut self, asked: Asked) {
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

    fn seen(&mut self, shown: Shown) -> Option<(Seen, Says)> {
        let Shown { user, moment, as_ } = shown;
        Some(match as_ {
            As::Is | As::Unsettled => {
                let whole = self.provider.whole(user, moment, &mut self.dice);
                (whole.unwrap_or(Seen::Missing), Says::All)
            }
            As::Partial => {
                let differs = self.database.shows(user) != self.provider.content(user, moment);
                let says = if differs { Says::Differs } else { Says::Part };
                (self.provider.partial(user, moment)?, says)
            }
            As::Deleted => (Seen::Deleted, Says::All),
            As::Touched => (Seen::Touched, Says::Written),
        })
    }

    fn stamp(&self, asked: &Asked, user: usize) -> Sent {
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
            Then::Nothing | Then::Ack(_) => Waiting::answer(receipt, facts, then, losses),
        }));
    }
}

impl What {
    fn origin(&self) -> Origin {
        match self {
            What::Read(_) | What::Glance(_) | What::List => Origin::ProxyRead,
            What::Write(..) => Origin::ProxyWrite,
            What::Page => Origin::Backfill,
            What::Newest(_) | What::Owed(..) => Origin::Refetch,
        }
    }

    fn name(&self) -> String {
        match self {
            What::Read(user) => format!("a read of user {user}"),
            What::Glance(user) => format!("a browser's read of user {user}"),
            What::Write(user, write) => format!("{write:?} of user {user}"),
            What::List => "a list".into(),
            What::Page => "a page of a walk".into(),
            What::Newest(_) => "the newest users".into(),
            What::Owed(user, owed) => format!("the read of user {user} that is owed after {:?}", owed.after),
        }
    }
}

fn checkpoint(fetched: usize) -> Checkpoint {
    Checkpoint {
        run: uuid::Uuid::nil(),
        owner: uuid::Uuid::nil(),
        state: String::new(),
        fetched: fetched as u64,
        malformed: 0,
        done: false,
    }
}
