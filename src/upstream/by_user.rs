//! Limits that a provider counts for each user by itself.
//!
//! A user's requests go at once until as many have gone in the period as the provider takes; the next
//! waits for its turn. A request counts from its answer: some of ten that left together may be held up on
//! their way, and the provider counts from when each arrived. What must never be: one user's limit that
//! holds up another's requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::sleep_until;

use super::burst::Burst;
use super::window::lengthened;
use crate::clock::{self, Instant};
use crate::config::Rate;

/// Users remembered; whoever was forgotten is for the provider to count.
const USERS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct ByUser(Mutex<HashMap<String, Taken>>);

#[derive(Debug)]
struct Taken {
    burst: Burst,
    /// The provider has refused this user's requests until then.
    refused_until: Option<Instant>,
}

impl ByUser {
    /// Waits until this user's next request may go. Fails at once where that is after `deadline`,
    /// with how long it is worth waiting.
    pub async fn leave(&self, user: String, rate: Rate, deadline: Instant) -> Result<LeaveFor<'_>, Duration> {
        loop {
            let now = clock::now();
            match self.take(&user, rate, now) {
                Ok(()) => return Ok(LeaveFor::new(self, user)),
                Err(until) if until > deadline => return Err(until.saturating_duration_since(now)),
                Err(until) => sleep_until(until).await,
            }
        }
    }

    /// The provider has refused a request that had leave: this user waits, nobody else.
    pub fn refused(&self, user: &str, wait: Duration) {
        if let Some(taken) = self.users().get_mut(user) {
            taken.refused_until = taken.refused_until.max(Some(clock::now() + wait));
        }
    }

    fn take(&self, user: &str, rate: Rate, now: Instant) -> Result<(), Instant> {
        let mut users = self.users();
        if users.len() >= USERS && !users.contains_key(user) {
            users.retain(|_, taken| taken.counts(now));
        }
        if users.len() >= USERS && !users.contains_key(user) {
            users.clear();
        }
        users
            .entry(user.to_owned())
            .or_insert_with(|| Taken::of(rate))
            .take(now)
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Leave to send one request; to be dropped as soon as its answer begins, or it is certain that none
/// comes.
#[derive(Debug)]
pub struct LeaveFor<'u> {
    of: &'u ByUser,
    user: String,
    unused: bool,
}

impl<'u> LeaveFor<'u> {
    fn new(of: &'u ByUser, user: String) -> LeaveFor<'u> {
        LeaveFor {
            of,
            user,
            unused: false,
        }
    }

    /// Nothing was sent: nothing counts.
    pub fn give_back(mut self) {
        self.unused = true;
    }
}

impl Drop for LeaveFor<'_> {
    fn drop(&mut self) {
        let mut users = self.of.users();
        match users.get_mut(&self.user) {
            Some(taken) if self.unused => taken.burst.never_left(),
            Some(taken) => taken.burst.answered(clock::now()),
            None => {}
        }
    }
}

impl Taken {
    fn of(rate: Rate) -> Taken {
        Taken {
            burst: Burst::of(f64::from(rate.requests), lengthened(rate.per)),
            refused_until: None,
        }
    }

    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(until) = self.refused_until.filter(|until| *until > now) {
            return Err(until);
        }
        self.burst.turn(now);
        match self.burst.wait() {
            Some(until) => Err(until),
            None => {
                self.burst.leaves();
                Ok(())
            }
        }
    }

    fn counts(&mut self, now: Instant) -> bool {
        self.burst.turn(now);
        self.burst.all() > 0 || self.refused_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate {
        requests: 10,
        per: Duration::from_secs(10),
    };

    /// Goes and is answered at once.
    async fn go(by_user: &ByUser, user: &str, deadline: Instant) -> Result<(), Duration> {
        by_user.leave(user.to_owned(), TEN, deadline).await.map(drop)
    }

    #[tokio::test(start_paused = true)]
    async fn ten_go_at_once_and_the_eleventh_waits_for_the_first_to_leave_the_period() {
        let by_user = ByUser::default();
        let start = clock::now();
        let far = start + Duration::from_secs(60);
        for _ in 0..10 {
            go(&by_user, "ada", far).await.unwrap();
        }
        assert_eq!(clock::now(), start);
        go(&by_user, "bea", far).await.unwrap();
        assert_eq!(clock::now(), start, "another user's");
        go(&by_user, "ada", far).await.unwrap();
        assert!(clock::now() > start + TEN.per);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_up_on_its_way_counts_from_when_it_may_have_arrived() {
        let by_user = ByUser::default();
        let (start, far) = (clock::now(), clock::now() + Duration::from_secs(60));
        let late = by_user.leave("ada".into(), TEN, far).await.unwrap();
        for _ in 0..9 {
            go(&by_user, "ada", far).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        drop(late);
        for _ in 0..9 {
            go(&by_user, "ada", far).await.unwrap();
        }
        assert!(clock::now() < start + Duration::from_secs(18));
        go(&by_user, "ada", far).await.unwrap();
        assert!(clock::now() >= start + Duration::from_secs(18));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_sent_does_not_count() {
        let by_user = ByUser::default();
        let start = clock::now();
        for _ in 0..30 {
            by_user.leave("ada".into(), TEN, start).await.unwrap().give_back();
        }
        assert_eq!(clock::now(), start);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once_for_how_long() {
        let by_user = ByUser::default();
        let soon = clock::now() + Duration::from_secs(8);
        for _ in 0..10 {
            go(&by_user, "ada", soon).await.unwrap();
        }
        let wait = go(&by_user, "ada", soon).await.unwrap_err();
        assert!(wait > TEN.per && wait < TEN.per * 2, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_up_that_user_alone() {
        let by_user = ByUser::default();
        let (start, far) = (clock::now(), clock::now() + Duration::from_secs(60));
        go(&by_user, "ada", far).await.unwrap();
        by_user.refused("ada", Duration::from_secs(3));
        go(&by_user, "bea", far).await.unwrap();
        assert_eq!(clock::now(), start);
        go(&by_user, "ada", far).await.unwrap();
        assert!(clock::now() >= start + Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn users_are_remembered_in_bounds() {
        let by_user = ByUser::default();
        let start = clock::now();
        for user in 0..USERS * 2 {
            let _ = by_user.take(&user.to_string(), TEN, start);
        }
        assert!(by_user.users().len() <= USERS);
    }
}
