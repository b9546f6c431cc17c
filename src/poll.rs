//! Polling: every so often the provider is asked what has changed, as its file says how.
//!
//! One process of a database polls; where it dies another goes on behind what was last committed. What
//! an answer told is durable before the place moves on, so that a crash repeats and never skips. Its
//! requests come after those of apps, and after reads that are owed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::clock;
use crate::db::instances::in_parting;
use crate::db::polls::{self, Kept};
use crate::db::{Database, DbError};
use crate::provider::{PageFault, PollPlace, Polled, Sighting, Then};
use crate::reader::Reader;
use crate::record::Durable;
use crate::tasks::Tasks;
use crate::upstream::{Fetched, Priority, UpstreamError};
use crate::user::{Observation, Origin, Source};

/// What an answer told is waited for; then it is asked again the next time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than it takes from a question until all that its answer told is durable.
const TELLING: TimeDelta = TimeDelta::minutes(2);

/// The task that polls.
pub struct Poll {
    pub reader: Reader,
    pub database: Database,
    pub tasks: Tasks,
    /// This process among those on the database.
    pub instance: Uuid,
    pub counts: Arc<Counts>,
}

/// Since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    users: AtomicU64,
    untold: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Users that were told of.
    pub users: u64,
    /// Events of unknown types, and what could not be read.
    pub untold: u64,
    /// Why the last attempt told nothing.
    pub trouble: Option<String>,
}

impl Counts {
    pub fn shown(&self) -> Figures {
        Figures {
            users: self.users.load(Ordering::Relaxed),
            untold: self.untold.load(Ordering::Relaxed),
            trouble: self.trouble().clone(),
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Why a poll told nothing; it is tried again the next time.
#[derive(Debug, thiserror::Error)]
enum PollFault {
    #[error("the provider could not be asked what has changed: {0}")]
    Upstream(#[from] UpstreamError),
    #[error("what the provider said has changed cannot be read: {0}")]
    Page(#[from] PageFault),
    #[error("what the provider said has changed cannot be read to its end, and was begun anew in vain: {0}")]
    Lost(PageFault),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("what the provider said has changed could not be recorded")]
    NotDurable,
    #[error("there is no server key: set the provider's secret key")]
    NoKey,
}

impl Poll {
    /// Polls until the process stops.
    pub async fn serve(self, every: Duration) {
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = async {
                due.tick().await;
                self.read_on().await
            };
            let polled = tokio::select! {
                () = self.tasks.stopping() => break,
                polled = next => polled,
            };
            self.note(polled);
        }
        let _ = in_parting(polls::release(&self.database, self.instance)).await;
    }

    fn note(&self, polled: Result<(), PollFault>) {
        let trouble = polled.err().map(|fault| fault.to_string());
        let mut noted = self.counts.trouble();
        if let Some(trouble) = trouble.as_ref().filter(|_| noted.is_none()) {
            tracing::warn!(trouble, "polling tells nothing; it is tried again");
        }
        *noted = trouble;
    }

    /// Reads until there is nothing more, unless another process does.
    async fn read_on(&self) -> Result<(), PollFault> {
        if !self.database.is_open() {
            return Ok(());
        }
        self.database.in_use().await;
        let Some(kept) = polls::take(&self.database, self.instance).await? else {
            return Ok(());
        };
        let mut place = self.place(kept).await?;
        let (mut missed, mut was_lost) = (None, false);
        loop {
            let polled = self.ask(&place).await?;
            place = polled.place;
            missed = missed.or(polled.missed);
            let is_done = polled.then == Then::Done;
            match polled.then {
                // It would be begun anew for ever.
                Then::Lost(fault) if was_lost => return Err(PollFault::Lost(fault)),
                Then::Lost(_) => was_lost = true,
                Then::More | Then::Done => {
                    if !self.keep(&place, missed.take(), is_done).await? || is_done {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// As it was kept. One that cannot be read is a beginning, behind which something is missed.
    async fn place(&self, kept: Kept) -> Result<PollPlace, PollFault> {
        let text = kept.place.as_deref();
        if let Some(place) = text.and_then(|text| serde_json::from_str(text).ok()) {
            return Ok(place);
        }
        let place = PollPlace::beginning(clock::wall());
        let told = text.map(|_| kept.done_at.unwrap_or_default());
        let missed = told.map(|at| at.checked_sub_signed(TELLING).unwrap_or(at));
        self.keep(&place, missed, false).await?;
        Ok(place)
    }

    /// `missed`: what changed from then on may not have been told.
    async fn keep(
        &self,
        place: &PollPlace,
        missed: Option<DateTime<Utc>>,
        is_done: bool,
    ) -> Result<bool, PollFault> {
        if let Some(from) = missed {
            tracing::warn!(%from, "what changed since then may not have been told: run `usertap reconcile`");
        }
        let text = serde_json::to_string(place).unwrap_or_default();
        Ok(polls::keep(&self.database, self.instance, &text, missed, is_done).await?)
    }

    /// One question; what it told is durable when it returns.
    async fn ask(&self, place: &PollPlace) -> Result<Polled, PollFault> {
        let (provider, tenant) = (&self.reader.provider, &self.reader.tenant);
        let request = provider.poll_request(tenant, place).ok_or(PollFault::NoKey)?;
        let fetched = self.reader.upstream.own(request, Priority::Backfill).await?;
        let answer = (fetched.status, &fetched.headers, &fetched.body[..]);
        let mut polled = provider.polled(tenant, place, answer, clock::wall())?;
        let told = std::mem::take(&mut polled.told);
        self.counts.users.fetch_add(told.len() as u64, Ordering::Relaxed);
        self.counts
            .untold
            .fetch_add(polled.untold as u64, Ordering::Relaxed);
        if told.is_empty() {
            return Ok(polled);
        }
        let observations: Vec<Observation> = told
            .into_iter()
            .map(|(name, sighting)| self.observation(&name, sighting, &fetched))
            .collect();
        let receipt = self.reader.recorder.submit(observations.into());
        match receipt.durable(PATIENCE).await {
            Durable::No => Err(PollFault::NotDurable),
            Durable::Journaled | Durable::Committed { .. } => Ok(polled),
        }
    }

    fn observation(&self, name: &str, sighting: Sighting, fetched: &Fetched) -> Observation {
        let head = self.reader.upstream.head();
        let sent = sighting.proof.stamp(head, fetched.sent, fetched.sent_at);
        sighting.observed(sent, Source::own(Origin::Poll, name))
    }
}
