//! The provider said "not now": how long, and whom it holds back.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::header::{AGE, RETRY_AFTER};
use http::{HeaderMap, HeaderName};

use super::Priority;
use crate::clock::Instant;
use crate::provider::{Clocks, HeaderNames};

/// A 429 without `Retry-After` means a short while.
const UNSAID: Duration = Duration::from_secs(1);
const LONGEST_UNSAID: Duration = Duration::from_secs(60);
/// An answer that says "that was the last" is no refusal yet: it is believed for a minute.
const LONGEST_SPENT: Duration = Duration::from_secs(60);
const X_RETRY_AFTER: HeaderName = HeaderName::from_static("x-retry-after");
static REMAINING: LazyLock<HeaderNames> = LazyLock::new(|| {
    let names = [
        "x-rate-limit-remaining",
        "x-ratelimit-remaining",
        "ratelimit-remaining",
    ];
    names.into_iter().map(HeaderName::from_static).collect()
});
const RESET: [HeaderName; 3] = [
    HeaderName::from_static("x-rate-limit-reset"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("ratelimit-reset"),
];
/// No provider's window is longer; a wrong header must not silence usertap for a day.
const LONGEST: Duration = Duration::from_secs(3600);

/// Whom a refusal concerns, the fewest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Yields {
    /// Some caller was refused: usertap's own requests make room.
    Own,
    /// The tenant's own key was refused: whoever uses it would be.
    Everyone,
}

/// For how long nobody asks any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    pub everyone: Option<Duration>,
    pub own: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Until {
    everyone: Option<Instant>,
    own: Option<Instant>,
}

/// Until when nobody asks.
#[derive(Debug, Default)]
pub(super) struct Pause {
    everyone: Option<Instant>,
    own: Option<Instant>,
    /// The same as other processes were told. Never told on: two would keep it alive for ever.
    of_others: Until,
    /// Refusals in a row that did not say for how long.
    unsaid: u32,
}

impl Pause {
    /// A refusal. Where it does not say for how long, each in a row is taken for twice as long as
    /// the one before, spread so that not everybody comes back at once; `jitter` is from 0 to 1.
    pub fn refused(&mut self, said: Option<Duration>, whom: Yields, jitter: f64, now: Instant) {
        let wait = said.unwrap_or_else(|| {
            let doubled = UNSAID
                .saturating_mul(2u32.saturating_pow(self.unsaid))
                .min(LONGEST_UNSAID);
            self.unsaid += 1;
            doubled.mul_f64(1.0 + jitter / 2.0)
        });
        self.extend(now + wait, whom);
    }

    /// Not a refusal: the next one is the first again.
    pub fn served(&mut self) {
        self.unsaid = 0;
    }

    /// A later end never comes before an earlier one's.
    pub fn extend(&mut self, until: Instant, whom: Yields) {
        self.own = self.own.max(Some(until));
        if whom == Yields::Everyone {
            self.everyone = self.everyone.max(Some(until));
        }
    }

    /// What another process was told holds here as well.
    pub fn told(&mut self, left: &Left, now: Instant) {
        let until = |left: Option<Duration>| left.map(|left| now + left.min(LONGEST));
        self.of_others.everyone = self.of_others.everyone.max(until(left.everyone));
        self.of_others.own = self.of_others.own.max(until(left.own));
    }

    /// For others: what this process was told itself.
    pub fn left(&self, now: Instant) -> Left {
        let left = |until: Option<Instant>| until.filter(|until| *until > now).map(|until| until - now);
        Left {
            everyone: left(self.everyone),
            own: left(self.own),
        }
    }

    pub fn until(&self, priority: Priority, now: Instant) -> Option<Instant> {
        let end = match priority {
            Priority::App | Priority::Stranger => self.everyone.max(self.of_others.everyone),
            Priority::Refetch | Priority::Backfill => self.own.max(self.of_others.own),
        };
        end.filter(|end| *end > now)
    }
}

/// For how long a refusal asks to be left alone, where it says so: `Retry-After` in seconds or as a date, and
/// what some providers have in its place or beside it. No time at all says nothing: it is what comes of a
/// clock that is ahead of the provider's where that is not shown.
pub(super) fn refusal(headers: &HeaderMap, wall: DateTime<Utc>) -> Option<Duration> {
    let now = now(headers, wall);
    let asked = asked_for(headers, now).or_else(|| reset(headers, now));
    asked.map(|wait| wait.min(LONGEST)).filter(|wait| !wait.is_zero())
}

/// By the provider's clock. A cache on the way leaves the date as it was, and says how long ago that is.
fn now(headers: &HeaderMap, wall: DateTime<Utc>) -> DateTime<Utc> {
    let age = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.parse::<u32>().ok());
    let age = TimeDelta::seconds(age.unwrap_or_default().into());
    let then = Clocks::of(headers, wall).provider;
    then.map_or(wall, |then| then.checked_add_signed(age).unwrap_or(then))
}

/// In so many words.
fn asked_for(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    [RETRY_AFTER, X_RETRY_AFTER].iter().find_map(|name| {
        let text = headers.get(name)?.to_str().ok()?;
        let said = seconds(text).or_else(|| date(text, now));
        said.filter(|wait| !wait.is_zero())
    })
}

/// For how long nothing is left of a limit, where an answer says that it was the last.
pub(super) fn spent(headers: &HeaderMap, wall: impl FnOnce() -> DateTime<Utc>) -> Option<Duration> {
    let mut lines = headers.iter().filter(|(name, _)| REMAINING.has(name));
    let none_left = lines.any(|(_, left)| left == "0");
    none_left
        .then(|| reset(headers, now(headers, wall())))
        .flatten()
        .map(|wait| wait.min(LONGEST_SPENT))
}

/// For how long a provider that cannot answer asks to be left alone, where it says so: when its limit begins
/// anew is another matter.
pub(super) fn rest(headers: &HeaderMap, wall: DateTime<Utc>) -> Option<Duration> {
    asked_for(headers, now(headers, wall)).map(|wait| wait.min(LONGEST_SPENT))
}

/// When a limit begins anew: so many seconds from now, or at a time since 1970 in seconds or
/// milliseconds, which no wait can be mistaken for.
fn reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = RESET.iter().find_map(|name| headers.get(name)?.to_str().ok())?;
    let number: i64 = text.trim().parse().ok().filter(|number| *number >= 0)?;
    let millis = match number {
        0..1_000_000_000 => number * 1_000,
        1_000_000_000..100_000_000_000 => (number * 1_000).saturating_sub(now.timestamp_millis()),
        _ => number.saturating_sub(now.timestamp_millis()),
    };
    Some(Duration::from_millis(millis.max(0).unsigned_abs()))
}

/// Whole ones by the standard; some count more exactly, and rounding up is never too early.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let is_more = part.bytes().any(|digit| digit != b'0');
    let is_number = !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let whole: u64 = whole.parse().ok().filter(|_| is_number)?;
    Some(Duration::from_secs(whole.saturating_add(is_more.into())))
}

fn date(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall() -> DateTime<Utc> {
        let wall = DateTime::parse_from_rfc3339("1994-11-06T08:49:07Z");
        wall.unwrap().to_utc()
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        lines.collect()
    }

    fn asked(text: &'static str) -> Option<Duration> {
        refusal(&headers(&[("retry-after", text)]), wall())
    }

    #[test]
    fn seconds_dates_and_nonsense_are_understood() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT"), None);
        assert_eq!(
            ["5.5", "0.2", "3.0"].map(asked),
            [6, 1, 3].map(|n| Some(Duration::from_secs(n)))
        );
        assert_eq!(["soon", "1.", "1.x", "-1", ""].map(asked), [None; 5]);
        assert_eq!(asked("99999999999"), Some(LONGEST));
        assert_eq!(refusal(&HeaderMap::new(), wall()), None);
    }

    #[test]
    fn other_headers_are_understood_too() {
        let said = |lines: &[(&'static str, &'static str)]| refusal(&headers(lines), wall());
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(said(&[("x-retry-after", "9")]), seconds(9));
        assert_eq!(said(&[("x-ratelimit-reset", "12")]), seconds(12));
        assert_eq!(
            said(&[("x-ratelimit-reset", "784111750"), ("retry-after", "3")]),
            seconds(3)
        );
        let zero_beside = [("retry-after", "0"), ("x-ratelimit-reset", "20")];
        assert_eq!(said(&zero_beside), seconds(20));
        let at = (wall().timestamp() + 20).to_string().leak();
        let at_millis = (wall().timestamp_millis() + 21_000).to_string().leak();
        // 1994 is too early to be told from a wait.
        assert_eq!(said(&[("ratelimit-reset", at)]), Some(LONGEST));
        assert_eq!(said(&[("ratelimit-reset", at_millis)]), seconds(21));
        let left = |left| {
            spent(
                &headers(&[("x-ratelimit-remaining", left), ("x-ratelimit-reset", "30")]),
                wall,
            )
        };
        assert_eq!((left("0"), left("1")), (seconds(30), None));
        assert_eq!(spent(&headers(&[("x-ratelimit-remaining", "0")]), wall), None);
    }

    /// Whoever says a time says it by the clock that its `Date` shows, which may be another than ours.
    #[test]
    fn a_time_is_read_by_the_providers_clock() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:07 GMT");
        let seconds = |n| Some(Duration::from_secs(n));
        for off in [-86_400, -3_000, 0, 20, 86_400] {
            let ours = wall() + chrono::TimeDelta::seconds(off);
            let said = |line| refusal(&headers(&[date, line]), ours);
            assert_eq!(
                said(("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")),
                seconds(30),
                "{off}"
            );
            let at_millis = (wall().timestamp_millis() + 21_000).to_string().leak();
            assert_eq!(said(("x-ratelimit-reset", at_millis)), seconds(21), "{off}");
            assert_eq!(said(("retry-after", "7")), seconds(7), "{off}");
        }
    }

    /// A cache on the way gives an old answer with its old date, and says how old it is.
    #[test]
    fn an_answer_that_was_kept_on_its_way_shows_an_older_clock() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:07 GMT");
        let until = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        let said = |age| refusal(&headers(&[date, until, ("age", age)]), wall());
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(
            (said("10"), said("0"), said("-5")),
            (seconds(20), seconds(30), seconds(30))
        );
        assert_eq!((said("30"), said("4294967295")), (None, None));
    }

    #[test]
    fn no_date_is_too_early_or_too_late_to_be_read() {
        for date in [
            "Mon, 01 Jan 0001 00:00:00 +0000",
            "Wed, 01 Jan 262142 00:00:00 +0000",
        ] {
            let reset = ("x-ratelimit-reset", "9223372036854775807");
            for line in [reset, ("retry-after", "Wed, 01 Jan 262142 00:00:00 +0000")] {
                let said = refusal(&headers(&[("date", date), line, ("age", "4294967295")]), wall());
                assert!(said.is_none_or(|wait| wait == LONGEST), "{date}");
            }
        }
    }

    #[test]
    fn what_is_not_said_doubles_until_all_is_well() {
        let now = crate::clock::now();
        let mut pause = Pause::default();
        let refused = |pause: &mut Pause| {
            *pause = Pause {
                unsaid: pause.unsaid,
                ..Pause::default()
            };
            pause.refused(None, Yields::Own, 0.0, now);
            pause.until(Priority::Backfill, now).unwrap() - now
        };
        let waits: Vec<u64> = (0..8).map(|_| refused(&mut pause).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        pause.served();
        assert_eq!(refused(&mut pause), UNSAID);
    }

    #[test]
    fn no_time_at_all_is_not_said_either() {
        let now = crate::clock::now();
        let mut pause = Pause::default();
        for (said, wait) in [("0", UNSAID), ("Sun, 06 Nov 1994 08:49:00 GMT", UNSAID * 2)] {
            let said = refusal(&headers(&[("retry-after", said)]), wall());
            pause.refused(said, Yields::Everyone, 0.0, now);
            assert_eq!(pause.until(Priority::App, now), Some(now + wait));
        }
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

    #[test]
    fn what_others_were_told_holds_here_and_is_not_told_on() {
        let now = crate::clock::now();
        let (mut pause, short) = (Pause::default(), Duration::from_secs(3));
        let left = Left {
            everyone: None,
            own: Some(short),
        };
        pause.told(&left, now);
        assert_eq!(pause.until(Priority::Backfill, now), Some(now + short));
        assert_eq!(pause.until(Priority::App, now), None);
        assert_eq!(pause.left(now), Left::default());
        pause.extend(now + short, Yields::Everyone);
        let told = Some(Duration::from_secs(2));
        let all = Left {
            everyone: told,
            own: told,
        };
        assert_eq!(pause.left(now + Duration::from_secs(1)), all);
        assert_eq!(pause.left(now + short), Left::default());
    }
}
