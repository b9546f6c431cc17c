//! What `GET /v1/status` and `usertap status` say: how things are, and each problem's remedy.

mod problems;

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::cache;
use crate::clock;
use crate::config::Config;
use crate::db::runs::{Drift, Run};
use crate::db::{migrate, rows};
use crate::feed::Feed;
use crate::feed::slots::Slot;
use crate::poll;
use crate::proxy::{Readiness, Traffic, TrafficSnapshot};
use crate::record;
use crate::station::{Known, Station};
use crate::upstream::{Given, Health, Priority, Upstream};
use crate::webhook;

pub use crate::feed::slots::{AT_A_GLANCE, COUNTED};
pub use problems::{Problem, WORDS as PROBLEM_WORDS};

/// The whole picture; shown as JSON.
#[derive(Debug, Serialize)]
pub struct Status {
    pub healthy: bool,
    pub version: &'static str,
    pub provider: ProviderStatus,
    pub database: DatabaseStatus,
    pub backfill: Option<Run>,
    pub reconcile: Option<ReconcileStatus>,
    pub recorder: record::Figures,
    pub feed: FeedStatus,
    pub refetch: RefetchStatus,
    /// Nothing where none are taken in.
    pub webhooks: Option<webhook::Figures>,
    /// Nothing where polling is off.
    pub poll: Option<poll::Figures>,
    pub freshness: Freshness,
    pub traffic: TrafficSnapshot,
    pub cache: cache::Figures,
    pub budget: BudgetStatus,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
pub struct ProviderStatus {
    pub name: String,
    pub upstream: String,
    /// Which tenant at the provider: `project`, `branch`.
    pub tenant: serde_json::Map<String, serde_json::Value>,
    /// Seconds for which the provider asked to be left alone; 0 when it did not.
    pub paused_for: u64,
    /// Whether it is asked at all: `open` while it fails, `half-open` while one request tries.
    pub breaker: Health,
}

#[derive(Debug, Serialize)]
pub struct DatabaseStatus {
    pub answers: bool,
    /// Nobody needs it, and it is left alone (`DATABASE_IDLE`): what is said of it is what it said last.
    pub idle: bool,
    pub schema: String,
    pub counts: Option<rows::Counts>,
}

/// What the provider's limit was used for.
#[derive(Debug, Serialize)]
pub struct BudgetStatus {
    /// Requests sent, by who asked.
    pub given: Given,
    /// Requests a second of usertap's own, where no limit is known.
    pub pace: Option<f64>,
    /// The part of the known limit that the provider has shown to be there.
    pub learned: Option<f64>,
    /// The part of the limit that is this process's: the rest is other processes'.
    pub share: f64,
}

/// The last reconcile, and what it found.
#[derive(Debug, Serialize)]
pub struct ReconcileStatus {
    #[serde(flatten)]
    pub run: Run,
    pub drift: Drift,
    /// Not in the provider's list, and there all the same.
    pub spared: i64,
    /// Not in the list and not read: so many deletions at once want somebody's yes.
    pub held_back: i64,
}

impl From<Run> for ReconcileStatus {
    fn from(run: Run) -> ReconcileStatus {
        ReconcileStatus {
            drift: run.drift(),
            spared: run.spared,
            held_back: run.held_back,
            run,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct FeedStatus {
    pub head: Option<String>,
    /// Just before the first change kept.
    pub oldest: Option<String>,
    /// The tail hears of commits and reads them.
    pub following: bool,
    /// Consumers that read at this moment.
    pub readers: usize,
    pub slots: Vec<Slot>,
}

#[derive(Debug, Serialize)]
pub struct RefetchStatus {
    pub done: u64,
    pub failed: u64,
    /// Users whose reads keep failing.
    pub given_up: usize,
}

/// How old what the rows say may be, in seconds.
#[derive(Debug, Serialize)]
pub struct Freshness {
    /// The oldest of the ways that are on by which usertap learns of changes elsewhere. Nothing where
    /// one of them has told nothing yet.
    pub oldest: Option<i64>,
    /// Since the last walk over all users began that came to its end.
    pub walk: Option<i64>,
    /// Since the last webhook that told of users.
    pub webhook: Option<i64>,
    /// Since polling last found nothing more.
    pub poll: Option<i64>,
}

impl Freshness {
    fn of(known: Option<&Known>, webhooks: Option<&webhook::Figures>) -> Freshness {
        let walk = known.and_then(Known::walk_age);
        let poll = known.and_then(Known::poll_age);
        let webhook = webhooks.map(|figures| figures.last_told_age.and_then(|age| i64::try_from(age).ok()));
        let ways = std::iter::once(walk).chain(webhook).chain(poll);
        let all: Option<Vec<i64>> = ways.collect();
        Freshness {
            oldest: all.and_then(|ages| ages.into_iter().max()),
            walk,
            webhook: webhook.flatten(),
            poll: poll.flatten(),
        }
    }
}

/// Looks at everything; what slots have not taken is counted up to so many events each.
pub async fn status(station: &Station, traffic: &Traffic, counted: i64) -> Status {
    let known = match station.known(counted).await {
        Err(error) => Err(migrate::explained(&station.database.ahead(), error).await),
        known => known,
    };
    let recorder = station.recorder.figures();
    let given_up = station.refetch.given_up();
    let webhooks = station.webhooks.figures();
    let poll = station.polled();
    let problems = problems::all(
        station,
        traffic,
        &known,
        &recorder,
        &given_up,
        webhooks.as_ref(),
        poll.as_ref(),
    );
    let known = known.as_deref().ok();
    let freshness = Freshness::of(known, webhooks.as_ref());
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let refetch = station.refetch.figures();
    Status {
        healthy: problems.is_empty(),
        version: env!("CARGO_PKG_VERSION"),
        provider: provider(&station.config, &station.upstream),
        database: DatabaseStatus {
            answers: known.is_some(),
            idle: station.database.idle().is_alone(),
            schema: station.config.schema.clone(),
            counts: known.and_then(|known| known.counts.clone()),
        },
        backfill: known.and_then(|known| known.backfill.clone()),
        reconcile: known.and_then(|known| known.reconcile.clone().map(ReconcileStatus::from)),
        recorder,
        feed: feed(&station.feed, known),
        refetch: RefetchStatus {
            done: count(&refetch.done),
            failed: count(&refetch.failed),
            given_up: given_up.len(),
        },
        webhooks,
        poll,
        freshness,
        traffic: traffic.snapshot(),
        cache: station.cache.figures(),
        budget: BudgetStatus {
            given: station.upstream.given(),
            pace: station.upstream.pace(),
            learned: station.upstream.learned(),
            share: station.upstream.share(),
        },
        problems,
    }
}

/// Ready once the database, if it can be reached, is migrated. Without the provider, with a key that it refuses
/// or with somebody else in its place it is degraded too.
pub fn readiness(station: &Station) -> Readiness {
    let records = station.database_answers() && station.recorder.figures().trouble.is_none();
    match (station.database.is_open(), records) {
        (true, true) if provider_serves(&station.upstream) => Readiness::Ready,
        (false, true) => Readiness::NotReady,
        (true, true) | (_, false) => Readiness::Degraded,
    }
}

fn provider_serves(upstream: &Upstream) -> bool {
    let is_asked = upstream.health() == Health::Closed;
    is_asked && upstream.refused_key().is_none() && upstream.unlike().is_none()
}

fn provider(config: &Config, upstream: &Upstream) -> ProviderStatus {
    let tenant = config.tenant.identity.iter();
    let tenant = tenant.map(|(name, value)| (name.clone(), value.clone().into()));
    let paused = upstream.paused(Priority::Backfill);
    ProviderStatus {
        name: config.tenant.provider.clone(),
        upstream: config.upstream.origin().ascii_serialization(),
        tenant: tenant.collect(),
        breaker: upstream.health(),
        paused_for: paused.map_or(0, |until| until.saturating_duration_since(clock::now()).as_secs()),
    }
}

fn feed(feed: &Feed, known: Option<&Known>) -> FeedStatus {
    FeedStatus {
        head: known.map(|known| known.feed.head.to_string()),
        oldest: known.map(|known| known.feed.oldest.to_string()),
        following: feed.is_following(),
        readers: feed.readers(),
        slots: known.map_or_else(Vec::new, |known| known.slots.clone()),
    }
}
