//! Whether deliveries that no secret signed show that the secret is wrong. Pure.
//!
//! Anybody can post what is not signed rightly, as often as they like. A secret that is wrong shows in
//! another way: nothing at all is signed rightly, and the provider tries again, for minutes and hours. What
//! must never be: an alarm that a few requests of a stranger's raise where webhooks come in.

use std::time::Duration;

use crate::clock::Instant;
use crate::failpoint;

/// A right signature speaks for the secret so long.
const VOUCHED: Duration = Duration::from_secs(3_600);
/// Wrong ones nearer together are one attempt.
const APART: Duration = Duration::from_secs(60);
/// No sender waits longer before it tries again.
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3_600);

#[derive(Debug)]
pub(super) struct Wrong {
    apart: Duration,
    in_a_row: u64,
    attempts: u64,
    /// When the last attempt began.
    began: Option<Instant>,
    last: Option<Instant>,
    last_right: Option<Instant>,
}

impl Default for Wrong {
    fn default() -> Wrong {
        Wrong {
            apart: failpoint::wait("webhooks-apart", APART),
            in_a_row: 0,
            attempts: 0,
            began: None,
            last: None,
            last_right: None,
        }
    }
}

impl Wrong {
    pub fn right(&mut self, now: Instant) {
        *self = Wrong {
            last_right: Some(now),
            ..Wrong::default()
        };
    }

    pub fn wrong(&mut self, now: Instant) {
        self.in_a_row += 1;
        self.attempts = self.attempts(now);
        self.last = Some(now);
        let is_vouched = since(self.last_right, now).is_some_and(|age| age < VOUCHED);
        let is_apart = since(self.began, now).is_none_or(|age| age >= self.apart);
        if is_apart && !is_vouched {
            self.attempts += 1;
            self.began = Some(now);
        }
    }

    /// Since the last that was signed rightly.
    pub fn in_a_row(&self) -> u64 {
        self.in_a_row
    }

    /// Of those, attempts for which no right signature speaks; none once they have ended.
    pub fn attempts(&self, now: Instant) -> u64 {
        match since(self.last, now) {
            Some(age) if age <= LONGEST_PAUSE => self.attempts,
            _ => 0,
        }
    }
}

fn since(then: Option<Instant>, now: Instant) -> Option<Duration> {
    then.map(|then| now.saturating_duration_since(then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn many_at_once_are_one_attempt_and_a_providers_retries_are_several() {
        let (mut wrong, mut now) = (Wrong::default(), clock::now());
        for _ in 0..50 {
            wrong.wrong(now);
            now += APART / 100;
        }
        assert_eq!((wrong.in_a_row(), wrong.attempts(now)), (50, 1));
        for (pause, attempts) in [(300, 2), (1_800, 3), (7_200, 4), (36_000, 5)] {
            now += Duration::from_secs(pause);
            wrong.wrong(now);
            assert_eq!(wrong.attempts(now), attempts);
        }
        assert_eq!(wrong.attempts(now + LONGEST_PAUSE), 5);
        now += LONGEST_PAUSE + APART;
        assert_eq!(wrong.attempts(now), 0, "they have ended");
        wrong.wrong(now);
        assert_eq!(wrong.attempts(now), 1);
        wrong.right(now);
        assert_eq!((wrong.in_a_row(), wrong.attempts(now)), (0, 0));
    }

    #[test]
    fn a_right_signature_speaks_for_the_secret_for_an_hour() {
        let (mut wrong, now) = (Wrong::default(), clock::now());
        wrong.right(now);
        for minute in 1..60 {
            wrong.wrong(now + APART * minute);
        }
        assert_eq!(wrong.attempts(now + APART * 59), 0);
        wrong.wrong(now + VOUCHED);
        assert_eq!(wrong.attempts(now + VOUCHED), 1);
    }
}
