//! Limits that a provider counts for each user by itself.
//!
//! A user's requests go at once until as many have gone in the period as the provider takes; the next
//! waits for its turn. What must never be: one user's limit that holds up another's requests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::sleep_until;

use super::window::SQUEEZED;
use crate::clock::{self, Instant};
use crate::config::Rate;

/// Users remembered; whoever was forgotten is for the provider to count.
const USERS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct ByUser(Mutex<HashMap<String, Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// The oldest first.
    at: VecDeque<Instant>,
    /// The provider has refused this user's requests until then.
    refused_until: Option<Instant>,
}

impl ByUser {
    /// Waits until this user's next request may go. Fails at once where that is after `deadline`,
    /// with how long it is worth waiting.
    pub async fn leave(&self, user: &str, rate: Rate, deadline: Instant) -> Result<(), Duration> {
        loop {
            let now = clock::now();
            match self.take(user, rate, now) {
                Ok(()) => return Ok(()),
                Err(until) if until > deadline => return Err(until.saturating_duration_since(now)),
                Err(until) => sleep_until(until).await,
            }
        }
    }

    /// The provider has refused: this user waits, nobody else.
    pub fn refused(&self, user: &str, wait: Duration) {
        let until = clock::now() + wait;
        let mut users = self.users();
        let taken = users.entry(user.to_owned()).or_default();
        taken.refused_until = taken.refused_until.max(Some(until));
    }

    fn take(&self, user: &str, rate: Rate, now: Instant) -> Result<(), Instant> {
        let period = rate.per + SQUEEZED;
        let mut users = self.users();
        if users.len() >= USERS && !users.contains_key(user) {
            users.retain(|_, taken| taken.counts(now, period));
        }
        if users.len() >= USERS && !users.contains_key(user) {
            users.clear();
        }
        users
            .entry(user.to_owned())
            .or_default()
            .take(rate.requests, now, period)
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Taken {
    fn take(&mut self, most: u32, now: Instant, period: Duration) -> Result<(), Instant> {
        if let Some(until) = self.refused_until.filter(|until| *until > now) {
            return Err(until);
        }
        while self.at.front().is_some_and(|first| *first + period <= now) {
            self.at.pop_front();
        }
        match self.at.front() {
            Some(first) if self.at.len() >= most as usize => Err(*first + period),
            _ => {
                self.at.push_back(now);
                Ok(())
            }
        }
    }

    fn counts(&self, now: Instant, period: Duration) -> bool {
        self.at.back().is_some_and(|last| *last + period > now)
            || self.refused_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate {
        requests: 10,
        per: Duration::from_secs(10),
    };

    #[tokio::test(start_paused = true)]
    async fn ten_go_at_once_and_the_eleventh_waits_for_the_first_to_leave_the_period() {
        let by_user = ByUser::default();
        let start = clock::now();
        let far = start + Duration::from_secs(60);
        for _ in 0..10 {
            by_user.leave("ada", TEN, far).await.unwrap();
        }
        assert_eq!(clock::now(), start);
        by_user.leave("bea", TEN, far).await.unwrap();
        assert_eq!(clock::now(), start, "another user's");
        by_user.leave("ada", TEN, far).await.unwrap();
        assert!(clock::now() > start + TEN.per);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once_for_how_long() {
        let by_user = ByUser::default();
        let soon = clock::now() + Duration::from_secs(8);
        for _ in 0..10 {
            by_user.leave("ada", TEN, soon).await.unwrap();
        }
        let wait = by_user.leave("ada", TEN, soon).await.unwrap_err();
        assert!(wait > TEN.per && wait < TEN.per * 2, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_up_that_user_alone() {
        let by_user = ByUser::default();
        by_user.refused("ada", Duration::from_secs(3));
        let (start, far) = (clock::now(), clock::now() + Duration::from_secs(60));
        by_user.leave("bea", TEN, far).await.unwrap();
        assert_eq!(clock::now(), start);
        by_user.leave("ada", TEN, far).await.unwrap();
        assert!(clock::now() >= start + Duration::from_secs(3));
    }

    #[test]
    fn users_are_remembered_in_bounds() {
        let by_user = ByUser::default();
        let start = clock::now();
        for user in 0..USERS * 2 {
            let _ = by_user.take(&user.to_string(), TEN, start);
        }
        assert!(by_user.users().len() <= USERS);
    }
}
