//! What may be kept and what may be given, as far as a request's and an answer's words decide.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_RANGE, PRAGMA, SET_COOKIE, TRAILER, VARY};
use http::{HeaderMap, StatusCode};

use crate::clock::Instant;
use crate::provider::CacheRules;

/// So far behind another replica may be at most.
const BEHIND: Duration = Duration::from_secs(1);

/// Whether others' changes are known up to a second ago.
pub(super) fn is_followed(bookmark: Option<Instant>, now: Instant) -> bool {
    bookmark.is_some_and(|at| now.saturating_duration_since(at) <= BEHIND)
}

/// What a request asks of whatever is kept, as far as it means it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// A new answer.
    pub fresh: bool,
    /// None that is older, in seconds.
    pub at_most: Option<u64>,
    /// None for which the provider must be asked.
    pub only_kept: bool,
}

impl Wish {
    pub(super) fn takes(self, age: u64) -> bool {
        self.at_most.is_none_or(|most| age <= most)
    }

    fn heed(mut self, directive: &str) -> Wish {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let is = |word: &str| name.trim().eq_ignore_ascii_case(word);
        let seconds = || value.trim().trim_matches('"').parse::<u64>().ok();
        if is("no-cache") || is("no-store") {
            self.fresh = true;
        } else if is("only-if-cached") {
            self.only_kept = true;
        } else if let Some(most) = seconds().filter(|_| is("max-age")) {
            self.fresh |= most == 0;
            self.at_most = Some(self.at_most.map_or(most, |other| other.min(most)));
        }
        self
    }
}

/// What is no more than a client's habit is not meant.
pub(super) fn wish(headers: &HeaderMap, rules: &CacheRules) -> Wish {
    let mut lines = headers.get_all(CACHE_CONTROL).iter().peekable();
    if lines.peek().is_none() {
        lines = headers.get_all(PRAGMA).iter().peekable();
    }
    let habitual = |says: &str| rules.habit.as_ref().is_some_and(|habit| habit.is(headers, says));
    let meant = lines
        .filter_map(|value| value.to_str().ok())
        .filter(|says| !habitual(says));
    let directives = meant.flat_map(|says| says.split(','));
    directives.map(str::trim).fold(Wish::default(), Wish::heed)
}

/// A plain answer, whole, that sets nothing at the caller and does not vary by what nobody knows.
pub fn may_keep(status: StatusCode, headers: &HeaderMap) -> bool {
    let varies = headers
        .get_all(VARY)
        .iter()
        .any(|value| value.as_bytes().contains(&b'*'));
    let marked = [SET_COOKIE, CONTENT_RANGE, TRAILER];
    (status == StatusCode::OK || status == StatusCode::NOT_FOUND)
        && !varies
        && !marked.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::provider::Habit;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        lines.collect()
    }

    #[test]
    fn only_what_is_no_habit_asks_for_a_fresh_answer() {
        let rules = CacheRules {
            habit: Some(Habit {
                headers: vec![HeaderName::from_static("x-sdk")],
                values: vec!["no-cache".to_owned()],
            }),
            ..CacheRules::default()
        };
        let wants = |lines: &[(&'static str, &'static str)]| wish(&headers(lines), &rules).fresh;
        for deliberate in ["no-cache", "no-store", "max-age=0", "private, Max-Age=0"] {
            assert!(wants(&[("cache-control", deliberate)]), "{deliberate}");
        }
        assert!(wants(&[("pragma", "no-cache")]));
        assert!(!wants(&[]) && !wants(&[("cache-control", "max-age=60")]));
        assert!(!wants(&[
            ("x-sdk", "1"),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache")
        ]));
        assert!(!wants(&[("x-sdk", "1"), ("pragma", "no-cache")]));
        assert!(wants(&[
            ("x-sdk", "1"),
            ("cache-control", "max-age=0"),
            ("pragma", "no-cache")
        ]));
    }

    #[test]
    fn an_age_is_a_number_of_seconds_and_the_smallest_counts() {
        let of = |says| wish(&headers(&[("cache-control", says)]), &CacheRules::default());
        for (says, at_most) in [
            ("max-age=60", Some(60)),
            ("private, Max-Age=\"60\"", Some(60)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age", None),
            ("max-age=soon", None),
            ("max-age=-1", None),
            ("max-age=99999999999999999999", None),
            ("s-maxage=1", None),
        ] {
            let wish = of(says);
            assert_eq!(
                (wish.at_most, wish.fresh, wish.only_kept),
                (at_most, false, false),
                "{says}"
            );
        }
        let wish = of("max-age=5, only-if-cached");
        assert!(wish.only_kept && wish.takes(5) && !wish.takes(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bookmark_is_good_for_a_second() {
        let at = crate::clock::now();
        assert!(!is_followed(None, at));
        assert!(is_followed(Some(at), at) && is_followed(Some(at), at + BEHIND));
        assert!(!is_followed(Some(at), at + BEHIND + Duration::from_millis(1)));
    }

    #[test]
    fn what_is_meant_for_one_browser_or_is_no_whole_answer_is_not_kept() {
        let ok = |lines: &[(&'static str, &'static str)]| may_keep(StatusCode::OK, &headers(lines));
        assert!(ok(&[("cache-control", "no-store"), ("vary", "accept-encoding")]));
        for not in [
            ("set-cookie", "a=1"),
            ("content-range", "bytes 0-1/2"),
            ("vary", "*"),
            ("trailer", "x"),
        ] {
            assert!(!ok(&[not]), "{not:?}");
        }
        assert!(!may_keep(StatusCode::CREATED, &HeaderMap::new()));
        assert!(!may_keep(StatusCode::BAD_GATEWAY, &HeaderMap::new()));
    }
}
