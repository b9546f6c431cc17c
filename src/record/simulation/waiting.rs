//! Who waits for what becomes of a submission, and what must hold when it is told.

use std::pin::Pin;

use super::machine::PATIENCE;
use super::polled;
use crate::record::{Durable, Fared, Intent, Receipt, Recorded};
use crate::user::{Position, UserId};

/// What an answer says of a user.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    pub user: usize,
    pub moment: usize,
    pub says: Says,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// All of it, or that it is gone.
    All,
    /// That it was written.
    Written,
    /// Some of it, as the row says it.
    Part,
    /// Some of it, and the row said this instead.
    Differs(Option<u8>),
}

pub struct Waiting {
    wait: Wait,
    pub facts: Vec<Fact>,
    pub then: Then,
    /// Failovers that its process had noticed when it was handed over.
    pub losses: usize,
}

enum Wait {
    Answer(Pin<Box<dyn Future<Output = Recorded>>>),
    Fared(Pin<Box<dyn Future<Output = Option<Fared>>>>),
    Durable(Pin<Box<dyn Future<Output = Durable>>>),
}

/// What follows once it is told.
pub enum Then {
    Nothing,
    /// The webhook is acknowledged.
    Ack(u64),
    /// The read that was owed has ended.
    Read(UserId, Position),
    /// The page of the walk is written.
    Page,
    /// The look through the newest is written: these writes have ended.
    Newest(Vec<Intent>),
}

/// What was told.
#[derive(Debug)]
pub enum Told {
    Answer(Recorded),
    Fared(Option<Fared>),
    Durable(Durable),
}

impl Told {
    /// 2xx for a webhook.
    pub fn is_durable(&self) -> bool {
        matches!(
            self,
            Told::Durable(Durable::Committed { .. } | Durable::Journaled)
        )
    }
}

impl Waiting {
    /// As an app's answer does.
    pub fn answer(receipt: Receipt, facts: Vec<Fact>, then: Then, losses: usize) -> Waiting {
        let wait = Wait::Answer(Box::pin(receipt.recorded(PATIENCE)));
        Waiting {
            wait,
            facts,
            then,
            losses,
        }
    }

    /// As a webhook does: not for the reads that are owed because of it.
    pub fn durable(receipt: Receipt, then: Then, losses: usize) -> Waiting {
        Waiting {
            wait: Wait::Durable(Box::pin(receipt.durable(PATIENCE))),
            facts: Vec::new(),
            then,
            losses,
        }
    }

    /// As whoever waits for the commit alone.
    pub fn fared(receipt: Receipt, facts: Vec<Fact>, then: Then, losses: usize) -> Waiting {
        let wait = Wait::Fared(Box::pin(receipt.fared()));
        Waiting {
            wait,
            facts,
            then,
            losses,
        }
    }

    pub fn told(&mut self) -> Option<Told> {
        match &mut self.wait {
            Wait::Answer(answer) => polled(answer).map(Told::Answer),
            Wait::Fared(fared) => polled(fared).map(Told::Fared),
            Wait::Durable(durable) => polled(durable).map(Told::Durable),
        }
    }
}
