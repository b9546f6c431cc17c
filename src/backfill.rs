//! The walk over all users of the provider, page by page, through the same extraction and the
//! same recorder as everything else.
//!
//! The checkpoint moves in the transaction that writes the page, so that a walk cut off anywhere
//! goes on where its last page was committed, and its account balances: fetched = inserted +
//! updated + unchanged + older + set aside. Two pages at most are in memory. What must never be:
//! an empty page taken for the end when its place was lost; a page counted twice or not at all.

mod newest;
pub mod plan;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep};
use uuid::Uuid;

use crate::db::runs::{self, Run};
use crate::db::{Database, DbError};
use crate::provider::{Cursor, OwnRequest, Page, PageFault, Provider, Tenant};
use crate::record::{Checkpoint, Receipt, Recorder, Submission};
use crate::tasks::Tasks;
use crate::upstream::{Fetched, Priority, Upstream, UpstreamError};
use crate::user::{Head, Observation, Origin, Source};

use plan::{Astray, Step, Walk};

/// How often a serving process looks for a walk to take.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pauses between attempts at a page that failed; then the walk fails, to be resumed.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// Attempts at the first page that does not look like one: rather another server than an accident.
const FIRST_PAUSES: usize = 2;
/// A provider that is silent for so long is worth a line in the log.
const SILENT: Duration = Duration::from_secs(10);
/// The recorder connects in milliseconds; a page sent before proves nothing of older rows.
const HEAD_WAIT: Duration = Duration::from_secs(30);

/// What a walk needs.
#[derive(Debug, Clone)]
pub struct Backfill {
    pub provider: Arc<Provider>,
    pub tenant: Arc<Tenant>,
    pub upstream: Arc<Upstream>,
    pub recorder: Recorder,
    pub head: Arc<Head>,
    pub database: Database,
    pub tasks: Tasks,
    /// This process among those on the database.
    pub instance: Uuid,
}

/// Why a walk stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum WalkFault {
    #[error("the provider's list could not be read: {0}; check UPSTREAM and the way there")]
    Upstream(#[from] UpstreamError),
    #[error("{0}; is UPSTREAM the provider's API?")]
    NotTheProvider(PageFault),
    #[error(transparent)]
    Page(#[from] PageFault),
    #[error("the provider refuses the key ({0}): correct the provider's secret key")]
    Key(u16),
    #[error(transparent)]
    Astray(#[from] Astray),
    #[error(transparent)]
    Database(#[from] DbError),
    /// Another process has it, or this one stops; nothing is lost.
    #[error("the walk was handed over")]
    HandedOver,
}

impl Backfill {
    /// Takes and walks what is asked for, until the process stops.
    pub async fn serve(self) {
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.stopping() => return,
                _ = look.tick() => {}
            }
            match runs::take(&self.database, self.instance).await {
                Ok(Some(run)) => self.walk_to_its_end(&run).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "no walk can be looked for"),
            }
        }
    }

    /// Walks, and writes down why where the end is not reached. When the process stops, the page
    /// that is being written is the last, and the walk is free for another.
    pub async fn walk_to_its_end(&self, run: &Run) {
        tracing::info!(run = %run.run, resumed = run.resumed, "backfill begins");
        let noted = match self.walk(run).await {
            Ok(()) => {
                tracing::info!(run = %run.run, "backfill done");
                Ok(())
            }
            Err(WalkFault::HandedOver) => runs::release(&self.database, run.run, self.instance).await,
            Err(fault) => {
                tracing::error!(run = %run.run, error = %fault, "backfill failed; started again, it goes on where it stopped");
                runs::fail(&self.database, run.run, self.instance, &fault.to_string()).await
            }
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "the end of the backfill could not be noted");
        }
    }

    /// While one page is written, the next is written behind it and the one after is fetched.
    async fn walk(&self, run: &Run) -> Result<(), WalkFault> {
        let mut walk = begin(run);
        let mut page = self.unless_stopping(self.first_page(run, &mut walk)).await?;
        let mut before: Option<Receipt> = None;
        loop {
            let (submission, step) = self.digest(run.run, walk, page)?;
            let submitted = self.recorder.submit(submission);
            match step {
                Step::Done(_) => {
                    recorded(before).await?;
                    return recorded(Some(submitted)).await;
                }
                Step::Next(next) => {
                    walk = next;
                    let following = self.unless_stopping(self.page(&mut walk));
                    let (written, following) = tokio::join!(recorded(before), following);
                    written?;
                    page = match following {
                        Ok(page) => page,
                        Err(fault) => {
                            recorded(Some(submitted)).await?;
                            return Err(fault);
                        }
                    };
                    before = Some(submitted);
                }
            }
        }
    }

    async fn unless_stopping<T>(
        &self,
        step: impl Future<Output = Result<T, WalkFault>>,
    ) -> Result<T, WalkFault> {
        tokio::select! {
            done = step => done,
            () = self.tasks.stopping() => Err(WalkFault::HandedOver),
        }
    }

    async fn first_page(&self, run: &Run, walk: &mut Walk) -> Result<Got, WalkFault> {
        self.head_known().await;
        let got = match walk.pages {
            0 => self.very_first_page(walk).await?,
            _ => self.page(walk).await?,
        };
        let total = match got.page.total {
            Some(total) => Some(total),
            None => self.count().await,
        };
        if let Some(total) = total.and_then(|total| i64::try_from(total).ok()) {
            runs::set_total(&self.database, run.run, total).await?;
        }
        Ok(got)
    }

    /// A walk's own patience is long; a provider that cannot be reached at all at its very beginning
    /// is a wrong setting more often than a restart.
    async fn very_first_page(&self, walk: &mut Walk) -> Result<Got, WalkFault> {
        match self.try_page(walk, Priority::App).await {
            Err(WalkFault::Upstream(UpstreamError::Unreachable)) => Err(UpstreamError::Unreachable.into()),
            Err(WalkFault::Key(status)) => Err(WalkFault::Key(status)),
            Err(_) => self.page(walk).await,
            got => got,
        }
    }

    /// How many users there are, where that is a request of its own; without it nothing is missing
    /// but the time left.
    async fn count(&self) -> Option<u64> {
        let request = self.provider.count_request(&self.tenant)?;
        let answer = self.upstream.own(request, Priority::Backfill).await.ok()?;
        self.provider.count(answer.status, &answer.headers, &answer.body)
    }

    async fn head_known(&self) {
        let known = async {
            while self.head.sent().epoch == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Without it everything that differs is read once more: slow, not wrong.
        let _ = tokio::time::timeout(HEAD_WAIT, known).await;
    }

    /// The page as observations, with the checkpoint that goes into their transaction.
    fn digest(&self, run: Uuid, walk: Walk, got: Got) -> Result<(Submission, Step), WalkFault> {
        let Got { page, fetched } = got;
        let users: Vec<&str> = page
            .sightings
            .iter()
            .map(|sighting| sighting.id.as_str())
            .collect();
        let place = |user: &str| {
            let id = crate::user::UserId::parse(user, self.tenant.id_type)?;
            self.provider.cursor_at(&id)
        };
        let step = walk.advance(&users, page.next, place)?;
        let (Step::Next(after) | Step::Done(after)) = &step;
        let checkpoint = Checkpoint {
            run,
            owner: self.instance,
            state: serde_json::to_string(after).unwrap_or_default(),
            fetched: page.fetched as u64,
            malformed: page.malformed as u64,
            done: matches!(step, Step::Done(_)),
        };
        let source = Arc::new(Source {
            origin: Origin::Backfill,
            route: "list users".into(),
            request_id: Uuid::new_v4().to_string().into(),
        });
        let observations = page.sightings.into_iter().map(|sighting| Observation {
            sent: sighting.proof.stamp(&self.head, fetched.sent, fetched.sent_at),
            id: sighting.id,
            seen: sighting.seen,
            source: source.clone(),
            unsettled: false,
        });
        let submission = Submission {
            observations: observations.collect(),
            checkpoint: Some(checkpoint),
        };
        Ok((submission, step))
    }

    /// The page at the walk's place, tried again where that may help.
    async fn page(&self, walk: &mut Walk) -> Result<Got, WalkFault> {
        for attempt in 0.. {
            let fault = match self.try_page(walk, Priority::Backfill).await {
                Err(WalkFault::Page(PageFault::UnknownParameter)) if !walk.plain => {
                    *walk = std::mem::take(walk).plainly();
                    continue;
                }
                Err(fault) => fault,
                got => return got,
            };
            let Some(pause) = pause(&fault, walk, attempt) else {
                return Err(named(fault, walk));
            };
            tracing::warn!(error = %fault, "a page could not be read; trying again");
            sleep(pause).await;
        }
        Err(WalkFault::HandedOver)
    }

    async fn fetch(&self, request: OwnRequest, priority: Priority) -> Result<Fetched, UpstreamError> {
        let mut asking = pin!(self.upstream.own(request, priority));
        tokio::select! {
            answer = &mut asking => return answer,
            () = sleep(SILENT) => {
                tracing::warn!("no page from the provider for {} s; still trying", SILENT.as_secs());
            }
        }
        asking.await
    }

    async fn try_page(&self, walk: &Walk, priority: Priority) -> Result<Got, WalkFault> {
        let cursor = walk.cursor.as_ref();
        let asked = self.provider.page_request(&self.tenant, cursor, walk.plain);
        self.ask(asked.request, cursor, priority).await
    }

    async fn ask(
        &self,
        request: OwnRequest,
        cursor: Option<&Cursor>,
        priority: Priority,
    ) -> Result<Got, WalkFault> {
        let fetched = self.fetch(request, priority).await?;
        let (status, headers, body) = (fetched.status, &fetched.headers, &fetched.body);
        match self.provider.page(&self.tenant, cursor, status, headers, body) {
            Ok(page) => Ok(Got { page, fetched }),
            Err(PageFault::Status { status }) if matches!(status.as_u16(), 401 | 403) => {
                Err(WalkFault::Key(status.as_u16()))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Waits until a page is committed.
async fn recorded(page: Option<Receipt>) -> Result<(), WalkFault> {
    let Some(page) = page else { return Ok(()) };
    match page.fared().await {
        Some(fared) if fared.checkpoint_kept => Ok(()),
        _ => Err(WalkFault::HandedOver),
    }
}

struct Got {
    page: Page,
    fetched: Fetched,
}

/// Where the last page was committed; the beginning where none was.
fn begin(run: &Run) -> Walk {
    let kept = run
        .checkpoint
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    kept.unwrap_or_default()
}

/// How long to wait before a page is tried again; nothing where that cannot help.
fn pause(fault: &WalkFault, walk: &Walk, attempt: usize) -> Option<Duration> {
    let at_most = match fault {
        WalkFault::Page(PageFault::Shape { .. }) if walk.pages == 0 => FIRST_PAUSES,
        WalkFault::Upstream(_) | WalkFault::Page(PageFault::Shape { .. }) => PAUSES.len(),
        WalkFault::Page(PageFault::Status { status })
            if status.is_server_error() || status.as_u16() == 429 =>
        {
            PAUSES.len()
        }
        _ => 0,
    };
    PAUSES.get(attempt).filter(|_| attempt < at_most).copied()
}

/// Where not one page was like the provider's, that is what to say.
fn named(fault: WalkFault, walk: &Walk) -> WalkFault {
    match fault {
        WalkFault::Page(fault) if walk.pages == 0 => WalkFault::NotTheProvider(fault),
        fault => fault,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn tries(fault: &WalkFault, walk: &Walk) -> usize {
        (0..)
            .take_while(|attempt| pause(fault, walk, *attempt).is_some())
            .count()
    }

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        let begun = Walk {
            pages: 1,
            ..Walk::default()
        };
        let status = |code| {
            WalkFault::Page(PageFault::Status {
                status: StatusCode::from_u16(code).unwrap(),
            })
        };
        for fault in [
            status(503),
            status(429),
            WalkFault::Upstream(UpstreamError::Broken),
        ] {
            assert_eq!(tries(&fault, &begun), PAUSES.len(), "{fault}");
        }
        for fault in [status(404), WalkFault::Key(401), WalkFault::HandedOver] {
            assert_eq!(tries(&fault, &begun), 0, "{fault}");
        }
    }

    #[test]
    fn a_first_page_that_is_none_is_soon_given_up() {
        let shape = || WalkFault::Page(PageFault::Shape { what: "no list" });
        assert_eq!(tries(&shape(), &Walk::default()), FIRST_PAUSES);
        let told = named(shape(), &Walk::default()).to_string();
        assert!(told.contains("UPSTREAM"), "{told}");
    }
}
