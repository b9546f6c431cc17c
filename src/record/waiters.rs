//! Answers that wait for a doubt to be settled, and the readers that settle it.
//!
//! An answer that raised a doubt at position m waits for any observation of that user, sent at or
//! after m, that is applied or equal: not necessarily its own read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use super::owed::Owed;
use crate::user::{Position, UserId};

/// Hints to the reader; the doubts in the database are the truth, so a full queue loses nothing.
pub const OWED_QUEUE: usize = 1_024;

/// From here on, users whose waiters have all given up are looked for and dropped.
const MANY: usize = 1_024;

#[derive(Debug, Clone)]
pub struct Waiters {
    waiting: Arc<Mutex<HashMap<UserId, Vec<Waiter>>>>,
    owed: mpsc::Sender<Owed>,
}

/// What settled a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settling {
    /// An observation that was applied or equal: the public position of the change, if there was one.
    Recorded(Option<String>),
    /// There is no such user, and no row.
    NoUser,
    /// What the provider shows, the database refuses.
    SetAside,
}

#[derive(Debug)]
struct Waiter {
    after: Position,
    settled: oneshot::Sender<Settling>,
}

impl Waiters {
    pub fn new() -> (Waiters, mpsc::Receiver<Owed>) {
        let (owed, reader) = mpsc::channel(OWED_QUEUE);
        let waiting = Arc::default();
        (Waiters { waiting, owed }, reader)
    }

    /// Asks for the read; the receiver resolves when the doubt is settled.
    pub fn wait(&self, user: &UserId, after: Position) -> oneshot::Receiver<Settling> {
        let (settled, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.len() > MANY {
            waiting.retain(|_, of_user| of_user.iter().any(|waiter| !waiter.settled.is_closed()));
        }
        let of_user = waiting.entry(user.clone()).or_default();
        of_user.retain(|waiter| !waiter.settled.is_closed());
        of_user.push(Waiter { after, settled });
        receiver
    }

    /// Tells the reader; nobody waits for its answer but those who said so.
    pub fn owe(&self, user: &UserId, after: Position, awaited: bool) {
        let user = user.clone();
        let _ = self.owed.try_send(Owed { user, after, awaited });
    }

    /// An observation of `user` that was sent at `sent` has been judged, and this came of it.
    pub fn settle(&self, user: &UserId, sent: Position, settling: &Settling) {
        let mut waiting = self.lock();
        let Some(of_user) = waiting.get_mut(user) else {
            return;
        };
        let still = of_user.drain(..).filter_map(|waiter| match waiter.after <= sent {
            true => {
                let _ = waiter.settled.send(settling.clone());
                None
            }
            false => (!waiter.settled.is_closed()).then_some(waiter),
        });
        let still: Vec<Waiter> = still.collect();
        if still.is_empty() {
            waiting.remove(user);
        } else {
            waiting.insert(user.clone(), still);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Waiter>>> {
        self.waiting
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::IdType;

    #[test]
    fn only_a_read_sent_after_the_doubt_settles_it() {
        let (waiters, _reader) = Waiters::new();
        let user = UserId::parse("u", IdType::Text).unwrap();
        let mut early = waiters.wait(&user, Position(5));
        let mut late = waiters.wait(&user, Position(9));
        waiters.settle(&user, Position(7), &Settling::Recorded(None));
        assert!(early.try_recv().is_ok() && late.try_recv().is_err());
        waiters.settle(&user, Position(9), &Settling::SetAside);
        assert!(late.try_recv().is_ok());
        assert!(waiters.lock().is_empty());
    }
}
