//! The provider said "not now": how long, and whom it holds back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::Priority;
use crate::clock::Instant;

/// A 429 without `Retry-After` means a short while.
const UNSAID: Duration = Duration::from_secs(1);
/// No provider's window is longer; a wrong header must not silence usertap for a day.
const LONGEST: Duration = Duration::from_secs(3600);

/// Whom a refusal concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yields {
    /// The tenant's own key was refused: whoever uses it would be.
    Everyone,
    /// Some caller was refused: usertap's own requests make room.
    Own,
}

/// Until when nobody asks.
#[derive(Debug, Default)]
pub(super) struct Pause {
    everyone: Option<Instant>,
    own: Option<Instant>,
}

impl Pause {
    /// A later end never comes before an earlier one's.
    pub fn extend(&mut self, until: Instant, whom: Yields) {
        self.own = self.own.max(Some(until));
        if whom == Yields::Everyone {
            self.everyone = self.everyone.max(Some(until));
        }
    }

    pub fn until(&self, priority: Priority, now: Instant) -> Option<Instant> {
        let end = match priority {
            Priority::App => self.everyone,
            Priority::Refetch | Priority::Backfill => self.own,
        };
        end.filter(|end| *end > now)
    }
}

/// What `Retry-After` asks for, in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap, wall: DateTime<Utc>) -> Duration {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let said = said.and_then(|text| seconds(text).or_else(|| date(text, wall)));
    said.unwrap_or(UNSAID).min(LONGEST)
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

fn date(text: &str, wall: DateTime<Utc>) -> Option<Duration> {
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((at.to_utc() - wall).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &'static str) -> Duration {
        let wall = DateTime::parse_from_rfc3339("1994-11-06T08:49:07Z")
            .unwrap()
            .to_utc();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, wall)
    }

    #[test]
    fn seconds_dates_and_nonsense_are_understood() {
        assert_eq!(asked("7"), Duration::from_secs(7));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Duration::from_secs(30));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT"), Duration::ZERO);
        assert_eq!(asked("soon"), UNSAID);
        assert_eq!(asked("99999999999"), LONGEST);
        assert_eq!(retry_after(&HeaderMap::new(), crate::clock::wall()), UNSAID);
    }

    #[test]
    fn a_refused_caller_holds_back_only_usertap_itself() {
        let now = crate::clock::now();
        let later = now + Duration::from_secs(5);
        let mut pause = Pause::default();
        pause.extend(later, Yields::Own);
        assert_eq!(pause.until(Priority::App, now), None);
        assert_eq!(pause.until(Priority::Backfill, now), Some(later));
        pause.extend(now + Duration::from_secs(2), Yields::Everyone);
        assert_eq!(pause.until(Priority::Refetch, now), Some(later));
        assert!(pause.until(Priority::App, now).is_some() && pause.until(Priority::App, later).is_none());
    }
}
