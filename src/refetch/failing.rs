//! Users whose owed reads fail, and when each is tried again. Pure.
//!
//! A user at whom the provider's answer says nothing is left alone twice as long each time, up to an
//! hour; where the provider itself could not be asked, never long. After some attempts it counts as
//! given up: it is named with the reason until a read tells something.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Instant;
use crate::reader::ReadFault;
use crate::user::UserId;

const FIRST: Duration = Duration::from_secs(5);
/// Where the provider cannot be asked the user is not at fault.
const UNASKED: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3_600);
/// Attempts after which somebody should know.
const GIVEN_UP: u32 = 4;
/// Users remembered; the others are tried at each look.
const AT_MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Failing {
    users: HashMap<UserId, Failed>,
}

#[derive(Debug, Clone)]
struct Failed {
    /// In a row at which the provider answered, and said nothing of the user.
    attempts: u32,
    reason: String,
    next: Instant,
}

/// A user who is read no more than now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    pub user: UserId,
    pub attempts: u32,
    pub reason: String,
    pub next: Instant,
}

impl Failing {
    /// True where it has just been given up.
    pub fn failed(&mut self, user: &UserId, fault: &ReadFault, now: Instant) -> bool {
        let is_asked = !matches!(fault, ReadFault::Upstream(_));
        if self.users.len() >= AT_MOST && !self.users.contains_key(user) {
            return false;
        }
        let failed = self.users.entry(user.clone()).or_insert_with(|| Failed {
            attempts: 0,
            reason: String::new(),
            next: now,
        });
        failed.attempts += u32::from(is_asked);
        failed.reason = fault.to_string();
        failed.next = now + pause(failed.attempts, is_asked);
        is_asked && failed.attempts == GIVEN_UP
    }

    pub fn told(&mut self, user: &UserId) {
        self.users.remove(user);
    }

    /// Whether a read that nobody waits for may be tried.
    pub fn may_be_tried(&self, user: &UserId, now: Instant) -> bool {
        self.users.get(user).is_none_or(|failed| failed.next <= now)
    }

    /// Those given up, in the order of ids.
    pub fn given_up(&self) -> Vec<GivenUp> {
        let given_up = self
            .users
            .iter()
            .filter(|(_, failed)| failed.attempts >= GIVEN_UP);
        let mut given_up: Vec<GivenUp> = given_up
            .map(|(user, failed)| GivenUp {
                user: user.clone(),
                attempts: failed.attempts,
                reason: failed.reason.clone(),
                next: failed.next,
            })
            .collect();
        given_up.sort_by(|one, other| one.user.cmp(&other.user));
        given_up
    }
}

fn pause(attempts: u32, is_asked: bool) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    match is_asked {
        true => doubled.min(LONGEST),
        false => doubled.min(UNASKED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::upstream::{Obstacle, UpstreamError};
    use crate::user::IdType;

    fn user(id: &str) -> UserId {
        UserId::parse(id, IdType::Text).unwrap()
    }

    #[test]
    fn a_user_of_whom_nothing_is_said_is_left_alone_longer_each_time_and_then_named() {
        let (mut failing, ada, mut now) = (Failing::default(), user("ada"), clock::now());
        for (attempt, pause) in [(1, 5), (2, 10), (3, 20), (4, 40)] {
            assert!(failing.may_be_tried(&ada, now));
            assert_eq!(failing.given_up(), []);
            let is_given_up = failing.failed(&ada, &ReadFault::Unclear(500), now);
            assert_eq!(is_given_up, attempt == 4);
            now += Duration::from_secs(pause);
            assert!(!failing.may_be_tried(&ada, now - Duration::from_millis(1)));
        }
        let given_up = failing.given_up();
        assert_eq!((&given_up[0].user, given_up[0].attempts), (&ada, 4));
        assert!(given_up[0].reason.contains("500"), "{}", given_up[0].reason);
        for _ in 0..40 {
            failing.failed(&ada, &ReadFault::Unclear(500), now);
        }
        assert!(failing.may_be_tried(&ada, now + LONGEST));
        failing.told(&ada);
        assert!(failing.may_be_tried(&ada, now) && failing.given_up().is_empty());
    }

    #[test]
    fn an_outage_of_the_provider_is_no_users_fault() {
        let (mut failing, ada, now) = (Failing::default(), user("ada"), clock::now());
        let away = ReadFault::Upstream(UpstreamError::Unreachable(Obstacle::Refused));
        for _ in 0..100 {
            assert!(!failing.failed(&ada, &away, now));
        }
        assert!(!failing.may_be_tried(&ada, now) && failing.may_be_tried(&ada, now + UNASKED));
        assert_eq!(failing.given_up(), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut failing, now) = (Failing::default(), clock::now());
        for n in 0..AT_MOST + 5 {
            failing.failed(&user(&n.to_string()), &ReadFault::NoKey, now);
        }
        assert_eq!(failing.users.len(), AT_MOST);
    }
}
