//! `GET /metrics`: what the status says and what the proxy has measured, as Prometheus reads it.
//!
//! The same source as the status, so the two never differ. The README documents each name; a
//! dashboard that uses them is [`GRAFANA`]. What must never be: a label with an id, an address or
//! a path in it.

mod text;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock;
use crate::db::runs::Run;
use crate::proxy::Traffic;
use crate::record;
use crate::station::Station;
use crate::status::{self, BudgetStatus, FeedStatus, PROBLEM_WORDS, Problem, RefetchStatus, Status};
use crate::upstream::Health;

/// A dashboard for Grafana: import it and choose the Prometheus that scrapes usertap.
pub const GRAFANA: &str = include_str!("metrics/grafana.json");

pub use text::spelt;

/// Everything at this moment, as OpenMetrics.
pub async fn metrics(station: &Station, traffic: &Traffic) -> String {
    let status = status::status(station, traffic, status::COUNTED).await;
    let mut told = Told(Registry::with_prefix("usertap"));
    traffic.meters.register(&mut told.0);
    told.whole(&status);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _never = encode(&mut text, &told.0);
    text
}

/// What is written, each value under its name.
struct Told(Registry);

type Labels<'l> = &'l [(&'static str, &'l str)];

impl Told {
    fn whole(&mut self, status: &Status) {
        let provider = status.provider.name.as_str();
        let info: Labels = &[("version", status.version), ("provider", provider)];
        self.gauges(
            "build_info",
            "1, with the version and the provider",
            &[(info, 1.0)],
        );
        let healthy = f64::from(u8::from(status.healthy));
        self.gauge("healthy", "1 while there is no problem", healthy);
        self.problems(&status.problems);
        self.provider(status);
        self.database(status);
        self.recorder(&status.recorder);
        self.feed(&status.feed);
        self.reads(&status.refetch);
        self.webhooks(status);
        self.freshness(status);
        self.cache(status);
        self.budget(&status.budget);
        self.traffic(status);
    }

    /// Every word, those too of which there is none: an alert must not wait for a first time.
    fn problems(&mut self, problems: &[Problem]) {
        let count = |word: &str| problems.iter().filter(|problem| problem.word == word).count() as f64;
        let labels: Vec<[(&'static str, &str); 1]> =
            PROBLEM_WORDS.iter().map(|word| [("problem", *word)]).collect();
        let samples: Vec<(Labels, f64)> = labels
            .iter()
            .map(|labels| (labels.as_slice(), count(labels[0].1)))
            .collect();
        self.gauges("problems", "Problems in the status, by their word", &samples);
    }

    fn provider(&mut self, status: &Status) {
        let available = match status.provider.breaker {
            Health::Closed => 1.0,
            Health::HalfOpen => 0.5,
            Health::Open => 0.0,
        };
        self.gauge(
            "upstream_available",
            "1 while the provider is asked, 0 while it fails and is left alone, 0.5 while one request tries or only \
             callers whom it does not know, or usertap's own requests, are kept out",
            available,
        );
        self.gauge(
            "upstream_paused_seconds",
            "For how long the provider still asked to be left alone",
            status.provider.paused_for as f64,
        );
    }

    fn database(&mut self, status: &Status) {
        let answers = f64::from(u8::from(status.database.answers));
        self.gauge("database_up", "1 while the database answers", answers);
        let idle = f64::from(u8::from(status.database.idle));
        let left_alone = "1 while nobody needs the database and it is left alone";
        self.gauge("database_idle", left_alone, idle);
        if let Some(counts) = &status.database.counts {
            let users = "Rows in users_sync, as the planner estimates them";
            self.gauge("users", users, counts.users as f64);
            let doubts = "Users of whom a read is owed";
            self.gauge("doubts", doubts, counts.doubts as f64);
            let aside = "Users whose rows the database refuses";
            self.gauge("set_aside", aside, counts.set_aside as f64);
        }
        let walks = [
            ("backfill", status.backfill.as_ref()),
            (
                "reconcile",
                status.reconcile.as_ref().map(|reconcile| &reconcile.run),
            ),
        ];
        self.walks(&walks);
        if let Some(reconcile) = &status.reconcile {
            let drift = reconcile.drift;
            self.gauges(
                "drift_users",
                "What the last reconcile found changed without usertap's knowing, by what it was",
                &[
                    (&[("change", "created")], drift.created as f64),
                    (&[("change", "changed")], drift.changed as f64),
                    (&[("change", "deleted")], drift.deleted as f64),
                ],
            );
        }
    }

    fn walks(&mut self, walks: &[(&'static str, Option<&Run>)]) {
        let labels: Vec<_> = walks.iter().map(|(kind, _)| [("kind", *kind)]).collect();
        let samples = |value: fn(&Run) -> f64| -> Vec<(Labels, f64)> {
            let runs = walks.iter().zip(&labels);
            runs.filter_map(|((_, run), labels)| Some((labels.as_slice(), value((*run)?))))
                .collect()
        };
        let running = samples(|run| f64::from(u8::from(run.state == "running")));
        let fetched = samples(|run| run.fetched as f64);
        self.gauges("walk_running", "1 while a walk over all users runs", &running);
        self.gauges("walk_users", "Users that the last walk has fetched", &fetched);
    }

    fn recorder(&mut self, recorder: &record::Figures) {
        self.counter("changes", "Changes committed", recorder.committed);
        self.counter(
            "unchanged",
            "Users seen as their rows had them already",
            recorder.unchanged,
        );
        self.counter("refused_rows", "Rows set aside", recorder.set_aside);
        self.counter(
            "lost_answers",
            "Answers not recorded for want of room",
            recorder.lost,
        );
        self.gauge("waiting", "Answers that wait in memory", recorder.waiting as f64);
        let journal = &recorder.journal;
        self.gauge(
            "journal_waiting",
            "Answers that wait on disk",
            journal.waiting as f64,
        );
        self.gauge("journal_bytes", "Size of the journal", journal.bytes as f64);
        let age = journal
            .oldest
            .map_or(0.0, |oldest| (clock::wall() - oldest).as_seconds_f64().max(0.0));
        self.gauge("journal_oldest_seconds", "Age of the oldest answer on disk", age);
        self.counter(
            "journal_damaged",
            "Answers on disk that could not be read",
            journal.damaged,
        );
        let writes = &recorder.writes;
        self.gauge(
            "writes_open",
            "Writes under way that are noted on disk",
            writes.open as f64,
        );
        self.counter(
            "writes_unnoted",
            "Writes forwarded without a note",
            writes.unnoted,
        );
    }

    fn feed(&mut self, feed: &FeedStatus) {
        let following = f64::from(u8::from(feed.following));
        self.gauge("feed_following", "1 while the feed hears of commits", following);
        self.gauge(
            "feed_readers",
            "Consumers that read at this moment",
            feed.readers as f64,
        );
        let labels: Vec<_> = feed
            .slots
            .iter()
            .map(|slot| [("slot", slot.name.as_str())])
            .collect();
        let slots = || feed.slots.iter().zip(&labels);
        let events: Vec<_> = slots()
            .filter_map(|(slot, on)| Some((on.as_slice(), slot.lag?.events as f64)))
            .collect();
        let seconds: Vec<_> = slots()
            .filter_map(|(slot, on)| Some((on.as_slice(), slot.lag?.seconds as f64)))
            .collect();
        self.gauges("slot_lag_changes", "Changes that a slot has not taken", &events);
        self.gauges("slot_lag_seconds", "Age of the oldest of them", &seconds);
    }

    fn reads(&mut self, reads: &RefetchStatus) {
        self.counters(
            "refetches",
            "Reads of users in doubt",
            &[
                (&[("result", "done")], reads.done),
                (&[("result", "failed")], reads.failed),
            ],
        );
        let unreadable = reads.given_up as f64;
        self.gauge("unreadable_users", "Users whose reads keep failing", unreadable);
    }

    fn webhooks(&mut self, status: &Status) {
        let webhooks = status.webhooks.clone().unwrap_or_default();
        let results = [
            ("applied", webhooks.applied),
            ("hint", webhooks.hints),
            ("unchanged", webhooks.unchanged),
            ("journaled", webhooks.journaled),
            ("set-aside", webhooks.set_aside),
            ("duplicate", webhooks.duplicates),
            ("ignored", webhooks.ignored),
            ("unknown", webhooks.unknown),
            ("foreign", webhooks.foreign),
            ("malformed", webhooks.malformed),
            ("not-durable", webhooks.not_durable),
            ("too-large", webhooks.too_large),
            ("broken", webhooks.broken),
            ("refused", webhooks.refused.values().sum()),
        ];
        let labels: Vec<_> = results.iter().map(|(word, _)| [("result", *word)]).collect();
        let samples: Vec<(Labels, u64)> = labels
            .iter()
            .zip(results)
            .map(|(labels, (_, count))| (labels.as_slice(), count))
            .collect();
        self.counters("webhooks", "Webhooks, by what came of them", &samples);
        self.counter(
            "webhooks_partly_understood",
            "Webhooks that told of users and of what the provider's file does not know",
            webhooks.partly_understood,
        );
        let silent = webhooks.silent_for as f64;
        let help = "How long no rightly signed webhook has come";
        self.gauge("webhooks_silent_seconds", help, silent);
    }

    /// Nothing for a way that is off, or has told nothing yet.
    fn freshness(&mut self, status: &Status) {
        let freshness = &status.freshness;
        let ways = [
            ([("by", "walk")], freshness.walk),
            ([("by", "webhook")], freshness.webhook),
            ([("by", "poll")], freshness.poll),
        ];
        let samples: Vec<(Labels, f64)> = ways
            .iter()
            .filter_map(|(labels, age)| Some((labels.as_slice(), (*age)? as f64)))
            .collect();
        let help = "How long ago changes elsewhere were last learned of, by the way they were";
        self.gauges("freshness_seconds", help, &samples);
    }

    fn cache(&mut self, status: &Status) {
        let cache = &status.cache;
        self.gauge("cache_answers", "Answers kept", cache.entries as f64);
        self.gauge("cache_bytes", "Their size", cache.bytes as f64);
    }

    fn budget(&mut self, budget: &BudgetStatus) {
        let given = budget.given;
        self.counters(
            "upstream_requests",
            "Requests sent to the provider, by who asked",
            &[
                (&[("by", "app")], given.app),
                (&[("by", "stranger")], given.stranger),
                (&[("by", "refetch")], given.refetch),
                (&[("by", "backfill")], given.backfill),
            ],
        );
        if let Some(pace) = budget.pace {
            let help = "Requests a second that usertap allows itself, where no limit is known";
            self.gauge("budget_pace", help, pace);
        }
        if let Some(learned) = budget.learned {
            let help = "The part of the known limit that the provider has shown to be there";
            self.gauge("budget_learned_ratio", help, learned);
        }
    }

    fn traffic(&mut self, status: &Status) {
        let traffic = &status.traffic;
        self.counter(
            "unmatched",
            "Requests on no route of the provider's file",
            traffic.unmatched,
        );
        self.counter("foreign", "Requests of other tenants", traffic.foreign);
        self.counter(
            "malformed",
            "Answers, or users in them, that could not be read",
            traffic.malformed,
        );
        self.counter("unanswered", "Writes whose answer never came", traffic.unanswered);
        self.counter("upgraded", "Tunnels opened", traffic.upgraded);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, &[(&[], value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, &[(&[], value)]);
    }

    fn gauges(&mut self, name: &str, help: &str, samples: &[(Labels, f64)]) {
        let family: Family<Vec<(String, String)>, Gauge<f64, std::sync::atomic::AtomicU64>> =
            Family::default();
        for (labels, value) in samples {
            family.get_or_create(&owned(labels)).set(*value);
        }
        self.0.register(name, help, family);
    }

    fn counters(&mut self, name: &str, help: &str, samples: &[(Labels, u64)]) {
        let family: Family<Vec<(String, String)>, Counter> = Family::default();
        for (labels, value) in samples {
            family.get_or_create(&owned(labels)).inc_by(*value);
        }
        self.0.register(name, help, family);
    }
}

fn owned(labels: Labels) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}
