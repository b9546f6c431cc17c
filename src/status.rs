//! What `GET /v1/status` and `usertap status` say: how things are, and each problem's remedy.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::cache;
use crate::db::runs::{Drift, Kind, Run};
use crate::db::{DbError, rows, runs};
use crate::feed::Bounds;
use crate::feed::slots::{self, Slot};
use crate::proxy::{Readiness, Traffic, TrafficSnapshot};
use crate::record;
use crate::station::Station;
use crate::upstream::{Given, Health};

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
}

/// Something is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub what: String,
    pub remedy: String,
}

/// Users set aside that a status names.
const NAMED: i64 = 20;

/// Looks at everything.
pub async fn status(station: &Station, traffic: &Traffic) -> Status {
    let known = Known::ask(station).await;
    let recorder = station.recorder.figures();
    let mut problems = problems(&known, &recorder);
    problems.extend(of_provider(station.upstream.health()));
    let feed = feed(station, known.as_ref().ok());
    let (answers, counts, backfill, reconcile) = match known {
        Ok(known) => (true, known.counts, known.backfill, known.reconcile),
        Err(_) => (false, None, None, None),
    };
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let refetch = station.refetch.figures();
    Status {
        healthy: problems.is_empty(),
        version: env!("CARGO_PKG_VERSION"),
        provider: provider(station),
        database: DatabaseStatus {
            answers,
            schema: station.config.schema.clone(),
            counts,
        },
        backfill,
        reconcile: reconcile.map(ReconcileStatus::from),
        recorder,
        feed,
        refetch: RefetchStatus {
            done: count(&refetch.done),
            failed: count(&refetch.failed),
        },
        traffic: traffic.snapshot(),
        cache: station.cache.figures(),
        budget: BudgetStatus {
            given: station.upstream.given(),
            pace: station.upstream.pace(),
            learned: station.upstream.learned(),
        },
        problems,
    }
}

/// Ready once the database, if it can be reached, is migrated.
pub fn readiness(station: &Station) -> Readiness {
    let answers = station.database_answers.load(Ordering::Relaxed);
    match (
        station.database.is_open(),
        answers && station.recorder.figures().trouble.is_none(),
    ) {
        (true, true) => Readiness::Ready,
        (false, true) => Readiness::NotReady,
        (_, false) => Readiness::Degraded,
    }
}

fn provider(station: &Station) -> ProviderStatus {
    let tenant = station.config.tenant.identity.iter();
    let tenant = tenant.map(|(name, value)| (name.clone(), value.clone().into()));
    let paused = station.upstream.paused(crate::upstream::Priority::Backfill);
    ProviderStatus {
        name: station.config.tenant.provider.clone(),
        upstream: station.config.upstream.origin().ascii_serialization(),
        tenant: tenant.collect(),
        breaker: station.upstream.health(),
        paused_for: paused.map_or(0, |until| {
            until.saturating_duration_since(crate::clock::now()).as_secs()
        }),
    }
}

fn feed(station: &Station, known: Option<&Known>) -> FeedStatus {
    FeedStatus {
        head: known.map(|known| known.feed.head.to_string()),
        oldest: known.map(|known| known.feed.oldest.to_string()),
        following: station.feed.is_following(),
        readers: station.feed.readers(),
        slots: known.map_or_else(Vec::new, |known| known.slots.clone()),
    }
}

struct Known {
    counts: Option<rows::Counts>,
    set_aside: Vec<rows::SetAside>,
    backfill: Option<Run>,
    reconcile: Option<Run>,
    feed: Bounds,
    slots: Vec<Slot>,
}

impl Known {
    async fn ask(station: &Station) -> Result<Known, DbError> {
        let database = &station.database;
        Ok(Known {
            counts: rows::counts(database).await?,
            set_aside: rows::set_aside(database, NAMED).await?,
            backfill: runs::latest(database, Kind::Backfill).await?,
            reconcile: runs::latest(database, Kind::Reconcile).await?,
            feed: station.feed.bounds().await?,
            slots: station.feed.slots().await?,
        })
    }
}

fn problems(known: &Result<Known, DbError>, recorder: &record::Figures) -> Vec<Problem> {
    let problem = |what: String, remedy: &str| Problem {
        what,
        remedy: remedy.into(),
    };
    let mut problems = Vec::new();
    if let Some(trouble) = &recorder.trouble {
        problems.push(problem(
            trouble.clone(),
            "answers leave `journaled`; mend the database, nothing else is needed",
        ));
    }
    problems.extend(of_journal(&recorder.journal));
    problems.extend(of_writes(&recorder.writes));
    if recorder.lost > 0 {
        let what = format!(
            "{} answers found the queue full and were not recorded",
            recorder.lost
        );
        problems.push(problem(what, "run `usertap backfill`, then restart usertap"));
    }
    match known {
        Err(error) => problems.push(problem(error.to_string(), "check DATABASE_URL and the server")),
        Ok(known) => {
            problems.extend(known.set_aside.iter().map(|aside| Problem {
                what: format!("user {} is set aside: {}", aside.id, aside.reason),
                remedy: format!(
                    "mend the row or the constraint; it is tried again at {}",
                    aside.next_try
                ),
            }));
            problems.extend(known.backfill.as_ref().and_then(of_walk));
            problems.extend(known.reconcile.as_ref().and_then(of_walk));
            problems.extend(known.slots.iter().filter_map(of_slot));
        }
    }
    problems
}

fn of_journal(journal: &record::JournalFigures) -> Vec<Problem> {
    let trouble = journal.trouble.as_ref().map(|trouble| Problem {
        what: trouble.clone(),
        remedy: "until then answers leave `queued` while the database is away, and `kill -9` loses them"
            .into(),
    });
    let damaged = (journal.damaged > 0).then(|| Problem {
        what: format!(
            "{} answers in the journal could not be read any more",
            journal.damaged
        ),
        remedy: "run `usertap backfill`, then restart usertap".into(),
    });
    trouble.into_iter().chain(damaged).collect()
}

fn of_writes(writes: &record::WritesFigures) -> Option<Problem> {
    writes.trouble.as_ref().map(|trouble| Problem {
        what: format!("writes are forwarded without a note: {trouble}"),
        remedy: "until then `kill -9` in the middle of a write leaves its user unread: run `usertap backfill` after one"
            .into(),
    })
}

fn of_slot(slot: &Slot) -> Option<Problem> {
    let (what, remedy) = match slot.status {
        slots::Status::Reserved | slots::Status::Extended => return None,
        slots::Status::Unreserved => (
            "is too far behind: what it has not taken is about to go",
            "start its consumer at once, or delete the slot",
        ),
        slots::Status::Lost => (
            "is lost: changes it has not taken are gone",
            "delete it, take the snapshot and make it anew at the snapshot's as_of",
        ),
    };
    Some(Problem {
        what: format!("slot {} {what}", slot.name),
        remedy: remedy.into(),
    })
}

fn of_provider(health: Health) -> Option<Problem> {
    (health == Health::Open).then(|| Problem {
        what: "the provider fails: reads are answered stale where they can be, writes fail".into(),
        remedy: "nothing to do here but wait; if it lasts, check UPSTREAM and the provider's own status"
            .into(),
    })
}

fn of_walk(run: &Run) -> Option<Problem> {
    let kind = &run.kind;
    match run.state.as_str() {
        "failed" => Some(Problem {
            what: format!(
                "the {kind} failed: {}",
                run.error.as_deref().unwrap_or("no reason was noted")
            ),
            remedy: format!("mend the cause and run `usertap {kind}` again: it goes on where it stopped"),
        }),
        "done" if !run.balanced() => Some(Problem {
            what: format!("the last {kind}'s account does not balance"),
            remedy: format!("run `usertap {kind}` again and report this"),
        }),
        "done" if run.held_back > 0 => Some(Problem {
            what: format!(
                "{} users who are not in the provider's list were not read: so many deletions at once are held back",
                run.held_back
            ),
            remedy: "if they are meant to be gone, run `usertap reconcile --yes`; if not, check UPSTREAM and the key"
                .into(),
        }),
        _ => None,
    }
}
