//! How each request was answered and how long things took, for the metrics.
//!
//! Counted once for each answer, in the words of the headers. What must never be: a label that
//! comes from outside (a path, an id), of which there would be no end.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::outcome::{Outcome, Why};
use crate::cache::{Bypass, Cached, Served};
use crate::clock::{self, Instant};
use crate::record::Recorded;

type Words = [(&'static str, &'static str); 2];
type Seconds = Family<[(&'static str, &'static str); 1], Histogram>;

/// From what a hit takes to what `TIMEOUT` allows.
const SECONDS: [f64; 16] = [
    0.000_025, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 10.0,
];

#[derive(Debug)]
pub struct Meters {
    requests: Family<Words, Counter>,
    recorded: Family<Words, Counter>,
    errors: Family<[(&'static str, &'static str); 1], Counter>,
    took: Seconds,
    /// Of `recorded`, what most answers come to.
    unchanged: Counter,
    /// Of `requests` and `took`, so that no answer looks them up.
    answered: [(Cached, Counter, Histogram); Cached::ALL.len()],
    commit_wait: Histogram,
    budget_wait: Histogram,
    upstream: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        let requests: Family<Words, Counter> = Family::default();
        let recorded: Family<Words, Counter> = Family::default();
        let unchanged = recorded.get_or_create(&recorded_words(&UNCHANGED)).clone();
        let took = Seconds::new_with_constructor(seconds as fn() -> Histogram);
        let answered = Cached::ALL.map(|cached| {
            let words = cache_words(cached);
            let count = requests.get_or_create(&words).clone();
            (cached, count, took.get_or_create(&[words[0]]).clone())
        });
        Meters {
            requests,
            unchanged,
            recorded,
            errors: Family::default(),
            took,
            answered,
            commit_wait: seconds(),
            budget_wait: seconds(),
            upstream: seconds(),
        }
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Meters {
    pub(super) fn answered(&self, cached: Cached, outcome: &Outcome, took: Duration) {
        self.given(cached, took);
        match *outcome == UNCHANGED {
            true => self.unchanged.inc(),
            false => self.recorded.get_or_create(&recorded_words(outcome)).inc(),
        };
    }

    /// usertap has answered itself.
    pub(super) fn own_answer(&self, began: Instant) {
        let took = clock::now().saturating_duration_since(began);
        self.answered(Cached::Bypass(Bypass::Own), &Outcome::Nothing(Why::Own), took);
    }

    /// A fresh hit, which records nothing.
    pub(super) fn hit(&self, took: Duration) {
        self.given(Cached::Hit(Served::Fresh), took);
    }

    fn given(&self, cached: Cached, took: Duration) {
        let mut answered = self.answered.iter();
        if let Some((_, count, seconds)) = answered.find(|(own, ..)| *own == cached) {
            count.inc();
            seconds.observe(took.as_secs_f64());
        }
    }

    /// An error of usertap's own, by the word of `x-usertap-error`.
    pub(super) fn error(&self, word: &'static str) {
        self.errors.get_or_create(&[("error", word)]).inc();
    }

    /// An answer has waited so long for its commit.
    pub(super) fn commit_waited(&self, wait: Duration) {
        self.commit_wait.observe(wait.as_secs_f64());
    }

    /// A request has waited so long for the budget, and then so long for the answer's head.
    pub(super) fn forwarded(&self, wait: Duration, upstream: Duration) {
        self.budget_wait.observe(wait.as_secs_f64());
        self.upstream.observe(upstream.as_secs_f64());
    }

    /// Puts them under their names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests of apps, by the words of x-usertap-cache",
            self.requests.clone(),
        );
        registry.register(
            "recorded",
            "Answers that went through the recorder or past it, by the words of x-usertap-recorded",
            self.recorded.clone(),
        );
        registry.register(
            "errors",
            "Errors of usertap's own, by the word of x-usertap-error",
            self.errors.clone(),
        );
        registry.register(
            "request_seconds",
            "From a request's head to its answer's head",
            self.took.clone(),
        );
        registry.register(
            "commit_wait_seconds",
            "What answers wait for their users' commit",
            self.commit_wait.clone(),
        );
        registry.register(
            "budget_wait_seconds",
            "What forwarded requests wait before they are sent",
            self.budget_wait.clone(),
        );
        registry.register(
            "upstream_seconds",
            "What the provider takes to the head of its answer to an app",
            self.upstream.clone(),
        );
    }
}

const UNCHANGED: Outcome = Outcome::Recorded(Recorded::Committed { position: None });

fn recorded_words(outcome: &Outcome) -> Words {
    let (word, reason) = outcome.word_and_reason();
    [("recorded", word), ("reason", reason)]
}

fn cache_words(cached: Cached) -> Words {
    let words = cached.words();
    let (word, reason) = words.split_once("; ").unwrap_or((words, ""));
    [("cache", word), ("reason", reason)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Missed, Outage};

    /// One more word here is one more in [`Cached::ALL`].
    fn is_listed(cached: Cached) -> bool {
        match cached {
            Cached::Hit(Served::Fresh | Served::Coalesced)
            | Cached::Miss(Missed::Absent | Missed::Expired | Missed::Changed)
            | Cached::Stale(
                Outage::Unreachable
                | Outage::Timeout
                | Outage::Broken
                | Outage::Error
                | Outage::RateLimited
                | Outage::BreakerOpen,
            )
            | Cached::Bypass(
                Bypass::Off
                | Bypass::Method
                | Bypass::Route
                | Bypass::Foreign
                | Bypass::NoCache
                | Bypass::Body
                | Bypass::Connection
                | Bypass::Repeated
                | Bypass::Unfollowed
                | Bypass::Own,
            ) => Cached::ALL.contains(&cached),
        }
    }

    #[test]
    fn every_answer_is_counted_under_its_words_once() {
        let words: std::collections::BTreeSet<&str> =
            Cached::ALL.iter().map(|cached| cached.words()).collect();
        assert_eq!(words.len(), Cached::ALL.len());
        assert!(Cached::ALL.into_iter().all(is_listed));
        let meters = Meters::default();
        for cached in Cached::ALL {
            meters.answered(cached, &Outcome::Nothing(Why::Own), Duration::from_millis(1));
            assert_eq!(meters.requests.get_or_create(&cache_words(cached)).get(), 1);
        }
    }
}
