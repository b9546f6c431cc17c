//! Getting one page of the provider's list, tried again where that may help.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::plan::{Shown, Walk};
use super::{Backfill, TOLD_EVERY, WalkFault};
use crate::clock;
use crate::db::missing;
use crate::db::runs::{self, Run};
use crate::provider::{Cursor, Footing, Next, OwnRequest, Page, PageFault, Sighting};
use crate::reader::ReadFault;
use crate::upstream::{Fetched, Priority, UpstreamError};
use crate::user::{Observation, Source};

/// Pauses between attempts at a page that failed; then the walk fails, to be resumed.
pub(super) const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// No provider's window is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Attempts at the first page that does not look like one: rather another server than an accident.
const FIRST_PAUSES: usize = 2;
/// A provider that is silent for so long is worth a line in the log.
const SILENT: Duration = Duration::from_secs(10);
/// The recorder connects in milliseconds; a page sent before proves nothing of older rows.
const HEAD_WAIT: Duration = Duration::from_secs(30);

pub(super) struct Got {
    pub page: Page,
    /// Of what was sent first, where two requests make a page.
    pub fetched: Fetched,
    footing: Footing,
    /// What the page itself shows, without the one before.
    sum: Option<u64>,
}

impl Got {
    /// `users`: the marks of its page.
    pub fn shown<'p>(&self, users: &'p [String]) -> Shown<'p> {
        Shown {
            users,
            footing: self.footing,
            next: self.page.next.clone(),
            total: self.page.total,
            sum: self.sum,
        }
    }

    fn trusted(self, walk: &Walk) -> Result<Got, WalkFault> {
        match walk.doubt(&self.shown(&self.page.marks())) {
            Some(what) => Err(PageFault::Untrue { what }.into()),
            None => Ok(self),
        }
    }
}

impl Backfill {
    pub(super) async fn first_page(&self, run: &Run, walk: &mut Walk) -> Result<Got, WalkFault> {
        self.head_known().await;
        self.try_key().await?;
        let got = match walk.pages {
            0 => self.very_first_page(walk).await?,
            _ => self.page(walk).await?,
        };
        self.believe(run, walk, &got).await?;
        self.note_total(run, got.page.total).await?;
        Ok(got)
    }

    /// Where a key that is not taken is shown what anybody is, no page of users would tell.
    async fn try_key(&self) -> Result<(), WalkFault> {
        match (
            self.reader.try_key(Priority::Backfill).await,
            self.reader.upstream.refused_key(),
        ) {
            (Ok(()), _) => Ok(()),
            (Err(ReadFault::Upstream(error)), _) => Err(error.into()),
            (Err(_), Some(status)) => Err(WalkFault::Key(status)),
            (Err(_), None) => Err(UpstreamError::Broken.into()),
        }
    }

    /// The fewest that were said: who is gone meanwhile is not missing.
    pub(super) async fn note_total(&self, run: &Run, said: Option<u64>) -> Result<(), WalkFault> {
        let total = match said {
            Some(total) => Some(total),
            None => self.count().await,
        };
        if let Some(total) = total.and_then(|total| i64::try_from(total).ok()) {
            self.when_back(|| runs::set_total(&self.database, run.run, total))
                .await?;
        }
        Ok(())
    }

    /// An empty list is no news of users who are known, unless somebody has said so.
    async fn believe(&self, run: &Run, walk: &Walk, got: &Got) -> Result<(), WalkFault> {
        let is_empty = walk.pages == 0 && got.page.fetched == 0 && got.page.next == Next::End;
        if is_empty && !self.is_lifted(run).await? && self.is_anyone_known().await? {
            return Err(WalkFault::Nobody);
        }
        Ok(())
    }

    async fn is_anyone_known(&self) -> Result<bool, WalkFault> {
        self.when_back(|| missing::is_anyone_known(&self.database)).await
    }

    /// A walk's own patience is long; a provider that cannot be reached at all at its very beginning
    /// is a wrong setting more often than a restart.
    async fn very_first_page(&self, walk: &mut Walk) -> Result<Got, WalkFault> {
        let cursor = walk.cursor.as_ref();
        let request = self.page_request(walk, cursor);
        let soon = self.reader.upstream.own_soon(request, Priority::Backfill).await;
        match soon
            .map_err(WalkFault::from)
            .and_then(|fetched| self.read(fetched, cursor)?.trusted(walk))
        {
            Err(WalkFault::Upstream(error @ UpstreamError::Unreachable(_))) => Err(error.into()),
            Err(WalkFault::Key(status)) => Err(WalkFault::Key(status)),
            Err(_) => self.page(walk).await,
            got => got,
        }
    }

    /// How many users there are, where that is a request of its own; without it nothing is missing
    /// but the time left.
    async fn count(&self) -> Option<u64> {
        let request = self.reader.provider.count_request(&self.reader.tenant)?;
        let answer = self.reader.upstream.own(request, Priority::Backfill).await.ok()?;
        self.reader
            .provider
            .count(answer.status, &answer.headers, &answer.body)
    }

    pub(super) async fn head_known(&self) {
        let known = async {
            while self.reader.upstream.head().sent().epoch == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let (mut known, began) = (pin!(known), clock::now());
        // Without it everything that differs is read once more: slow, not wrong.
        while began.elapsed() < HEAD_WAIT && timeout(TOLD_EVERY, known.as_mut()).await.is_err() {
            self.tell_trouble().await;
        }
    }

    /// The page at the walk's place, tried again where that may help.
    pub(super) async fn page(&self, walk: &mut Walk) -> Result<Got, WalkFault> {
        let mut attempt = 0;
        loop {
            let fault = match self.try_page(walk).await {
                Err(WalkFault::Page(PageFault::UnknownParameter)) if !walk.plain => {
                    *walk = std::mem::take(walk).plainly();
                    continue;
                }
                Err(fault) => fault,
                got => return got,
            };
            let pause = pause(&fault, walk, attempt);
            attempt += usize::from(told_to_wait(&fault).is_none());
            let fault = named(fault, walk);
            let Some(pause) = pause else {
                return Err(fault);
            };
            tracing::warn!(error = %fault, "a page could not be read; trying again");
            self.held_up(&format!("a page could not be read, and is tried again: {fault}"))
                .await;
            sleep(pause).await;
        }
    }

    async fn fetch(&self, request: OwnRequest, priority: Priority) -> Result<Fetched, UpstreamError> {
        let mut asking = pin!(self.reader.upstream.own(request, priority));
        tokio::select! {
            answer = &mut asking => return answer,
            () = sleep(SILENT) => {
                let silent = format!("no page from the provider for {} s; still trying", SILENT.as_secs());
                tracing::warn!("{silent}");
                if priority == Priority::Backfill {
                    return tokio::join!(asking, self.held_up(&silent)).0;
                }
            }
        }
        asking.await
    }

    /// For whoever follows the walk elsewhere.
    pub(super) async fn held_up(&self, by: &str) {
        if let Err(error) = runs::held_up(&self.database, self.instance, by).await {
            tracing::debug!(%error, "what holds the walk up could not be noted");
        }
    }

    async fn try_page(&self, walk: &Walk) -> Result<Got, WalkFault> {
        let look = self
            .reader
            .provider
            .look(walk.cursor.as_ref(), walk.lost, walk.page);
        let mut got = self.ask_at(walk, look.cursor.as_ref()).await?;
        got.footing = look.footing;
        if let Some(again) = &look.again {
            let before = self.ask_at(walk, Some(again)).await?.page;
            got.footing = look.footing.with_again(before.fetched as u64);
            got.page = got.page.behind(before);
        }
        got.trusted(walk)
    }

    async fn ask_at(&self, walk: &Walk, cursor: Option<&Cursor>) -> Result<Got, WalkFault> {
        let request = self.page_request(walk, cursor);
        self.ask(request, cursor, Priority::Backfill).await
    }

    fn page_request(&self, walk: &Walk, cursor: Option<&Cursor>) -> OwnRequest {
        let tenant = &self.reader.tenant;
        let asked = self.reader.provider.page_request(tenant, cursor, walk.plain);
        asked.request
    }

    pub(super) async fn ask(
        &self,
        request: OwnRequest,
        cursor: Option<&Cursor>,
        priority: Priority,
    ) -> Result<Got, WalkFault> {
        self.read(self.fetch(request, priority).await?, cursor)
    }

    fn read(&self, fetched: Fetched, cursor: Option<&Cursor>) -> Result<Got, WalkFault> {
        let (status, headers, body) = (fetched.status, &fetched.headers, &fetched.body);
        match self
            .reader
            .provider
            .page(&self.reader.tenant, cursor, status, headers, body)
        {
            Ok(page) => Ok(Got {
                sum: page.sum(),
                footing: Footing::Firm,
                page,
                fetched,
            }),
            Err(PageFault::Status { status }) if matches!(status.as_u16(), 401 | 403) => {
                Err(WalkFault::Key(status.as_u16()))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

/// What a page tells.
impl Backfill {
    pub(super) fn observed(
        &self,
        sightings: Vec<Sighting>,
        fetched: &Fetched,
        source: &Arc<Source>,
    ) -> Vec<Observation> {
        let observation = |sighting: Sighting| {
            let head = self.reader.upstream.head();
            let sent = sighting.proof.stamp(head, fetched.sent, fetched.sent_at);
            sighting.observed(sent, source.clone())
        };
        sightings.into_iter().map(observation).collect()
    }
}

/// How long to wait before a page is tried again; nothing where that cannot help.
fn pause(fault: &WalkFault, walk: &Walk, attempt: usize) -> Option<Duration> {
    if let Some(wait) = told_to_wait(fault) {
        return Some(wait);
    }
    let at_most = match fault {
        WalkFault::Page(PageFault::Shape { .. } | PageFault::Text { .. }) if walk.pages == 0 => FIRST_PAUSES,
        WalkFault::Upstream(_)
        | WalkFault::Page(PageFault::Shape { .. } | PageFault::Text { .. } | PageFault::Untrue { .. }) => {
            PAUSES.len()
        }
        WalkFault::Page(PageFault::Status { status })
            if status.is_server_error() || status.as_u16() == 429 =>
        {
            PAUSES.len()
        }
        _ => 0,
    };
    PAUSES.get(attempt).filter(|_| attempt < at_most).copied()
}

/// A provider that says for how long is taken at its word, however often.
fn told_to_wait(fault: &WalkFault) -> Option<Duration> {
    match fault {
        WalkFault::Upstream(error) => limited(error),
        _ => None,
    }
}

/// For how long the limit is used up. Never for no time at all.
pub(super) fn limited(error: &UpstreamError) -> Option<Duration> {
    match error {
        UpstreamError::Limited { retry_after, .. } => Some((*retry_after).clamp(PAUSES[0], LONGEST_WAIT)),
        _ => None,
    }
}

/// Where not one page was like the provider's, that is what to say; else which one was not.
fn named(fault: WalkFault, walk: &Walk) -> WalkFault {
    match fault {
        WalkFault::Page(fault @ (PageFault::Shape { .. } | PageFault::Status { .. })) if walk.pages == 0 => {
            WalkFault::NotTheProvider(fault)
        }
        WalkFault::Page(fault @ (PageFault::Shape { .. } | PageFault::Text { .. })) => WalkFault::AtPage {
            page: walk.pages + 1,
            fault,
        },
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
    fn whoever_says_for_how_long_is_waited_for_however_often() {
        let wait = |seconds| {
            let retry_after = Duration::from_secs(seconds);
            let fault = WalkFault::Upstream(UpstreamError::Limited {
                retry_after,
                in_line: true,
            });
            assert!(!fault.to_string().contains("UPSTREAM"), "{fault}");
            pause(&fault, &Walk::default(), 1_000)
        };
        assert_eq!(wait(400), Some(Duration::from_secs(400)));
        assert_eq!((wait(0), wait(1_000_000)), (Some(PAUSES[0]), Some(LONGEST_WAIT)));
    }

    #[test]
    fn a_first_page_that_is_none_is_soon_given_up() {
        let shape = || WalkFault::Page(PageFault::Shape { what: "no list" });
        assert_eq!(tries(&shape(), &Walk::default()), FIRST_PAUSES);
        let told = named(shape(), &Walk::default()).to_string();
        assert!(told.contains("UPSTREAM"), "{told}");
        let text = WalkFault::Page(PageFault::Text { at: 7 });
        let told = named(text, &Walk::default()).to_string();
        assert!(told.contains("page 1") && !told.contains("UPSTREAM"), "{told}");
    }
}
