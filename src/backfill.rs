//! The walk over all users of the provider, page by page, through the same extraction and the
//! same recorder as everything else.
//!
//! The checkpoint moves in the transaction that writes the page, so that a walk cut off anywhere
//! goes on where its last page was committed, and its account balances: fetched = inserted +
//! updated + unchanged + older + set aside. A few pages at most are in memory. What must never be:
//! an empty page taken for the end when its place was lost; a page counted twice or not at all.

mod missing;
mod newest;
mod page;
pub mod plan;
mod submitting;

use std::pin::pin;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use crate::db::instances::in_parting;
use crate::db::runs::{self, Kind, Run};
use crate::db::{Database, DbError, due};
use crate::failpoint;
use crate::provider::{Page, PageFault};
use crate::reader::{ReadFault, Reader};
use crate::record::{Checkpoint, Receipt, Submission};
use crate::tasks::Tasks;
use crate::upstream::UpstreamError;
use crate::user::{Origin, Source, UserId};

use missing::Unseen;
use page::Got;
use plan::{Astray, Step, Walk};
use submitting::{Submitting, Written};

/// How often a serving process looks for a walk to take.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between attempts at a database that is away.
const AWAY: Duration = Duration::from_secs(1);

/// A page that is not committed by then: why, is said again and again, for what is said may not get through.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// What a walk needs.
#[derive(Debug, Clone)]
pub struct Backfill {
    pub reader: Reader,
    pub database: Database,
    pub tasks: Tasks,
    /// This process among those on the database.
    pub instance: Uuid,
}

/// Why a walk stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum WalkFault {
    #[error("the provider's list could not be read: {}{}", .0, remedy(.0))]
    Upstream(#[from] UpstreamError),
    #[error("{0}; is UPSTREAM the provider's API?")]
    NotTheProvider(PageFault),
    #[error("page {page} of the provider's list: {fault}{}", cure(fault))]
    AtPage { page: u64, fault: PageFault },
    #[error(transparent)]
    Page(#[from] PageFault),
    #[error("the provider refuses the key ({0}): correct the provider's secret key")]
    Key(u16),
    #[error("user {user}, who is not in the provider's list, could not be read: {fault}")]
    Read { user: UserId, fault: ReadFault },
    /// Some providers answer so where their own database fails.
    #[error(
        "the provider's list is empty although users are known: if they are all gone indeed, run usertap reconcile --yes"
    )]
    Nobody,
    #[error(transparent)]
    Astray(#[from] Astray),
    #[error(transparent)]
    Database(#[from] DbError),
    /// Another process has it, or this one stops; nothing is lost.
    #[error("the walk was handed over")]
    HandedOver,
}

impl WalkFault {
    /// What the walk has kept does not fit the list: it would fail at the same place again.
    fn is_of_the_way(&self) -> bool {
        matches!(
            self,
            WalkFault::Astray(_) | WalkFault::Page(PageFault::Untrue { .. })
        )
    }
}

impl Backfill {
    /// Takes and walks what is asked for, and asks for a reconcile every so often where that is set,
    /// until the process stops.
    pub async fn serve(self, reconcile_every: Option<Duration>) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = async {
                look.tick().await;
                self.take(reconcile_every).await
            };
            // One that was taken and not begun is free as soon as this process has left.
            let taken = tokio::select! {
                () = self.tasks.stopping() => return,
                taken = next => taken,
            };
            match taken {
                Ok(Some(run)) => self.walk_to_its_end(&run).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "no walk can be looked for"),
            }
        }
    }

    async fn take(&self, reconcile_every: Option<Duration>) -> Result<Option<Run>, DbError> {
        let database = self.database.in_passing();
        if let Some(every) = reconcile_every {
            due::reconcile(&database, every).await?;
        }
        runs::take(&database, self.instance).await
    }

    /// Walks, and writes down why where the end is not reached. When the process stops, what has been fetched
    /// is the last, and the walk is free for another.
    pub async fn walk_to_its_end(&self, run: &Run) {
        let kind = run.kind().as_str();
        tracing::info!(run = %run.run, resumed = run.resumed, "{kind} begins");
        let walked = match run.kind() {
            Kind::Backfill => self.walk(run, &mut Unseen::default()).await,
            Kind::Reconcile => self.reconcile(run).await,
        };
        let noted = match walked {
            Ok(()) => {
                tracing::info!(run = %run.run, "{kind} done");
                Ok(())
            }
            Err(WalkFault::HandedOver) => {
                in_parting(runs::release(&self.database, run.run, self.instance)).await
            }
            Err(fault) => {
                let is_spoilt = fault.is_of_the_way();
                let then = if is_spoilt {
                    "begins anew"
                } else {
                    "goes on where it stopped"
                };
                tracing::error!(run = %run.run, error = %fault, "{kind} failed; started again, it {then}");
                runs::fail(
                    &self.database,
                    run.run,
                    self.instance,
                    &fault.to_string(),
                    is_spoilt,
                )
                .await
            }
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "the end of the {kind} could not be noted");
        }
    }

    /// While pages are written, the next is fetched. Whatever ends it, what the recorder has is waited for.
    async fn walk(&self, run: &Run, unseen: &mut Unseen) -> Result<(), WalkFault> {
        let write = |page| -> Written<'_> { Box::pin(self.recorded(self.reader.recorder.submit(page))) };
        let mut submitting = Submitting::new(write);
        let walked = self.pages(run, unseen, &mut submitting).await;
        submitting.ended().await?;
        walked
    }

    async fn pages<'w>(
        &self,
        run: &Run,
        unseen: &mut Unseen,
        submitting: &mut Submitting<'w, impl Fn(Submission) -> Written<'w>>,
    ) -> Result<(), WalkFault> {
        let mut walk = begin(run);
        let mut kept = run.checkpoint.clone();
        let mut page = self.unless_stopping(self.first_page(run, &mut walk)).await?;
        loop {
            let total = page.page.total;
            let (mut submission, mut step) = self.digest(run, walk, page, kept)?;
            if let Step::Done(_) = step {
                self.unless_stopping(self.note_total(run, total)).await?;
            }
            self.meet(run, &submission, unseen).await?;
            if let (noted @ 1.., Some(at)) = (unseen.take_noted(), &mut submission.checkpoint) {
                step.add_changed(noted);
                at.state = state(&step);
            }
            kept = submission.checkpoint.as_ref().map(|at| at.state.clone());
            submitting.add(submission).await?;
            match step {
                Step::Done(_) => return Ok(()),
                Step::Next(next) => walk = next,
            }
            page = submitting
                .beside(self.unless_stopping(self.page(&mut walk)))
                .await?;
        }
    }

    /// Waits until a page is committed.
    async fn recorded(&self, page: Receipt) -> Result<(), WalkFault> {
        let mut faring = pin!(page.fared());
        let fared = loop {
            match timeout(TOLD_EVERY, faring.as_mut()).await {
                Ok(fared) => break fared,
                Err(_late) => self.tell_trouble().await,
            }
        };
        failpoint::reached("walk.recorded");
        match fared {
            Some(fared) if fared.checkpoint_kept => Ok(()),
            _ => Err(WalkFault::HandedOver),
        }
    }

    /// Why no page is committed, as far as the database takes a note of it.
    async fn tell_trouble(&self) {
        if let Some(trouble) = self.reader.recorder.figures().trouble {
            self.held_up(&format!("nothing is recorded: {trouble}")).await;
        }
    }

    /// What the database answers: an outage is waited out.
    async fn when_back<T, F>(&self, ask: impl Fn() -> F) -> Result<T, WalkFault>
    where
        F: Future<Output = Result<T, DbError>>,
    {
        let back = async {
            let mut is_told = false;
            loop {
                match ask().await {
                    Err(DbError::Away(reason)) => {
                        if !std::mem::replace(&mut is_told, true) {
                            tracing::warn!(reason, "the database is away: the walk waits for it");
                        }
                        sleep(AWAY).await;
                    }
                    answer => return Ok(answer?),
                }
            }
        };
        self.unless_stopping(back).await
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

    /// The page as observations, with the checkpoint that goes into their transaction. It follows that of
    /// the page before.
    fn digest(
        &self,
        run: &Run,
        walk: Walk,
        got: Got,
        follows: Option<String>,
    ) -> Result<(Submission, Step), WalkFault> {
        let users = got.page.marks();
        let place = |mark: &str| {
            let user = Page::user(mark, self.reader.tenant.id_type)?;
            self.reader.provider.cursor_at(&user)
        };
        let (told, step) = walk.advance(&got.shown(&users), place)?;
        let Got {
            mut page, fetched, ..
        } = got;
        page.retain(&told.new);
        let checkpoint = Checkpoint {
            run: run.run,
            owner: self.instance,
            state: state(&step),
            follows,
            fetched: page.fetched as u64,
            malformed: page.malformed as u64,
            // A reconcile has still to read whom it did not meet.
            done: matches!(step, Step::Done(_)) && run.kind() == Kind::Backfill,
        };
        let source = Source::own(origin(run.kind()), "list users");
        let submission = Submission {
            observations: self.observed(page.sightings, &fetched, &source),
            checkpoint: Some(checkpoint),
        };
        Ok((submission, step))
    }
}

/// A limit that is used up is nobody's mistake.
fn remedy(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Limited { .. } => "",
        _ => "; check UPSTREAM and the way there",
    }
}

/// One names its own.
fn cure(fault: &PageFault) -> &'static str {
    match fault {
        PageFault::Text { .. } => "",
        _ => "; see what answers there in the provider's place",
    }
}

/// As a checkpoint keeps it.
fn state(step: &Step) -> String {
    let (Step::Next(after) | Step::Done(after)) = step;
    serde_json::to_string(after).unwrap_or_default()
}

/// Where the last page was committed; the beginning where none was.
fn begin(run: &Run) -> Walk {
    let kept = run
        .checkpoint
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    let kept = kept.map(|walk: Walk| walk.resumed(run.fetched.unsigned_abs()));
    kept.unwrap_or_default()
}

fn origin(kind: Kind) -> Origin {
    match kind {
        Kind::Backfill => Origin::Backfill,
        Kind::Reconcile => Origin::Reconcile,
    }
}
