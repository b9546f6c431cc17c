//! Questions on their way to the provider, and what their answers tell.

use std::time::Duration;

use tokio::time::Instant;

use super::figures::Event;
use super::provider::id;
use super::without::Without;
use super::world::World;
use crate::clock;
use crate::record::{Intent, Owed};
use crate::user::{Origin, Sent};

/// The provider's lists show nothing older than this.
pub const LAG: Duration = Duration::from_secs(3);

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
    /// Not on a list.
    Absent,
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
        let content = self.provider.any(&mut self.dice);
        let contents = self.provider.contents;
        let write = match (content, self.provider.exists(user), self.dice.below(6)) {
            (Some(content), false, _) => Write::Create(content),
            (Some(content), true, 0) => Write::Silently(content),
            (Some(content), true, 1) => Write::Unsettled(content, 1 + content % contents),
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
            What::List | What::Page => self.list(true),
            // Its pages overlap, and it goes on until it has seen enough.
            What::Newest(_) => self.list(false),
        };
        self.note(|| format!("the provider answers {} with {shown:?}", what.name()));
        self.asked[at].answer = Some(shown);
    }

    pub fn shown(&self, user: usize, as_: As) -> Shown {
        let moment = self.provider.latest(user);
        Shown { user, moment, as_ }
    }

    /// Whoever is there, each as of some moment since the lag. Whoever moves from one page to another
    /// while they are read may be on none.
    pub fn list(&mut self, drifts: bool) -> Vec<Shown> {
        let since = clock::now().checked_sub(LAG).unwrap_or_else(clock::now);
        let since = if self.lags { since } else { clock::now() };
        if self.lags {
            self.figures.count(Event::LaggingList);
        }
        let absent_counts = self.without == Without::AbsenceIsNone;
        let mut shown = Vec::new();
        for user in 0..self.users {
            let moment = self.provider.moment_since(user, since, &mut self.dice);
            let is_missed = drifts && self.dice.one_in(8);
            let is_on_it = self.provider.content(user, moment).is_some() && !is_missed;
            let as_ = if is_on_it { As::Is } else { As::Absent };
            if is_on_it || absent_counts {
                shown.push(Shown { user, moment, as_ });
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
        match write {
            Write::Create(_) => self.made[user] = last,
            _ => self.is_to_be_told(user, last),
        }
        if self.tells && self.dice.one_in(3) {
            self.send_webhook(user, moment);
        }
        vec![Shown { user, moment, as_ }]
    }
}

impl What {
    pub fn origin(&self) -> Origin {
        match self {
            What::Read(_) | What::Glance(_) | What::List => Origin::ProxyRead,
            What::Write(..) => Origin::ProxyWrite,
            What::Page => Origin::Backfill,
            What::Newest(_) | What::Owed(..) => Origin::Refetch,
        }
    }

    pub fn name(&self) -> String {
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
