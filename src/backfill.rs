//! The walk over all users of the provider, page by page, through the same extraction and the
//! same recorder as everything else.
//!
//! The checkpoint moves in the transaction that writes the page, so that a walk cut off anywhere
//! goes on where its last page was committed, and its account balances: fetched = inserted +
//! updated + unchanged + older + set aside. Two pages at most are in memory. What must never be:
//! an empty page taken for the end when its place was lost; a page counted twice or not at all.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep};
use uuid::Uuid;

use crate::db::runs::{self, Run};
use crate::db::{Database, DbError};
use crate::provider::{Page, PageFault, Provider, Tenant};
use crate::record::{Checkpoint, Recorder, Submission};
use crate::tasks::Tasks;
use crate::upstream::{Fetched, Priority, Upstream, UpstreamError};
use crate::user::{Head, Observation, Origin, Source};

use plan::{Astray, Step, Walk};

/// How often a serving process looks for a walk to take.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pauses between attempts at a page that failed; then the walk fails, to be resumed.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

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
    #[error("the provider's list could not be read: {0}")]
    Upstream(#[from] UpstreamError),
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

    /// Walks, and writes down why where the end is not reached.
    pub async fn walk_to_its_end(&self, run: &Run) {
        tracing::info!(run = %run.run, resumed = run.resumed, "backfill begins");
        let walked = tokio::select! {
            walked = self.walk(run) => walked,
            () = self.tasks.stopping() => Err(WalkFault::HandedOver),
        };
        let noted = match walked {
            Ok(()) => {
                tracing::info!(run = %run.run, "backfill done");
                Ok(())
            }
            Err(WalkFault::HandedOver) => runs::release(&self.database, run.run).await,
            Err(fault) => {
                tracing::error!(run = %run.run, error = %fault, "backfill failed; started again, it goes on where it stopped");
                runs::fail(&self.database, run.run, &fault.to_string()).await
            }
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "the end of the backfill could not be noted");
        }
    }

    async fn walk(&self, run: &Run) -> Result<(), WalkFault> {
        let mut walk = begin(run);
        let mut page = self.page(&mut walk).await?;
        self.note_total(run, &page).await?;
        loop {
            let (submission, step) = self.digest(run.run, walk, page)?;
            let recorded = self.record(submission);
            match step {
                Step::Done(_) => return recorded.await,
                Step::Next(next) => {
                    walk = next;
                    let (recorded, following) = tokio::join!(recorded, self.page(&mut walk));
                    recorded?;
                    page = following?;
                }
            }
        }
    }

    async fn note_total(&self, run: &Run, page: &Got) -> Result<(), WalkFault> {
        if let Some(total) = page.page.total.and_then(|total| i64::try_from(total).ok()) {
            runs::set_total(&self.database, run.run, total).await?;
        }
        Ok(())
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

    async fn record(&self, submission: Submission) -> Result<(), WalkFault> {
        match self.recorder.submit(submission).fared().await {
            Some(fared) if fared.checkpoint_kept => Ok(()),
            _ => Err(WalkFault::HandedOver),
        }
    }

    /// The page at the walk's place, tried again where that may help.
    async fn page(&self, walk: &mut Walk) -> Result<Got, WalkFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let fault = match self.try_page(walk).await {
                Err(WalkFault::Page(PageFault::UnknownParameter)) if !walk.plain => {
                    *walk = std::mem::take(walk).plainly();
                    continue;
                }
                Err(fault) if is_passing(&fault) => fault,
                got => return got,
            };
            let Some(pause) = pauses.next() else {
                return Err(fault);
            };
            tracing::warn!(error = %fault, "a page could not be read; trying again");
            sleep(*pause).await;
        }
    }

    async fn try_page(&self, walk: &Walk) -> Result<Got, WalkFault> {
        let asked = self
            .provider
            .page_request(&self.tenant, walk.cursor.as_ref(), walk.plain);
        let fetched = self.upstream.own(asked.request, Priority::Backfill).await?;
        let (status, headers, body) = (fetched.status, &fetched.headers, &fetched.body);
        let page = self
            .provider
            .page(&self.tenant, walk.cursor.as_ref(), status, headers, body);
        match page {
            Ok(page) => Ok(Got { page, fetched }),
            Err(PageFault::Status { status }) if matches!(status.as_u16(), 401 | 403) => {
                Err(WalkFault::Key(status.as_u16()))
            }
            Err(fault) => Err(fault.into()),
        }
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

fn is_passing(fault: &WalkFault) -> bool {
    match fault {
        WalkFault::Upstream(_) | WalkFault::Page(PageFault::Shape { .. }) => true,
        WalkFault::Page(PageFault::Status { status }) => status.is_server_error() || status.as_u16() == 429,
        _ => false,
    }
}
