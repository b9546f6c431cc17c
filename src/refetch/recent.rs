//! Users read a moment ago, whom nobody waits for again. Pure.
//!
//! Events come in bursts: one read after a burst tells what each of them would have, so a user is read
//! at most so often for nobody in particular.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Instant;
use crate::user::UserId;

/// Between two reads of one user that nobody waits for.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Recent {
    read: HashMap<UserId, Instant>,
    order: VecDeque<(Instant, UserId)>,
}

impl Recent {
    pub fn was_read(&mut self, user: &UserId, now: Instant) {
        self.forget(now);
        self.read.insert(user.clone(), now);
        self.order.push_back((now, user.clone()));
    }

    pub fn is_recent(&mut self, user: &UserId, now: Instant) -> bool {
        self.forget(now);
        self.read.contains_key(user)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, user)) = self.order.pop_front_if(|(at, _)| *at + PAUSE <= now) {
            // Read again since, it stands further behind too.
            if self.read.get(&user) == Some(&at) {
                self.read.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::user::IdType;

    #[test]
    fn a_user_is_recent_for_a_moment_after_the_last_read() {
        let (mut recent, now) = (Recent::default(), clock::now());
        let [ada, bea] = ["ada", "bea"].map(|id| UserId::parse(id, IdType::Text).unwrap());
        recent.was_read(&ada, now);
        recent.was_read(&ada, now + PAUSE / 2);
        assert!(!recent.is_recent(&bea, now));
        assert!(recent.is_recent(&ada, now + PAUSE));
        assert!(!recent.is_recent(&ada, now + PAUSE + PAUSE / 2));
        assert!(recent.read.is_empty() && recent.order.is_empty());
    }
}
