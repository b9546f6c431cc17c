//! A look through the provider's newest users: for those who were made by a write whose answer
//! nobody has read, so that nobody knows their ids.
//!
//! At once, and again when the provider can no longer be carrying the write out. It ends at the first
//! page that goes back beyond the oldest of these writes, or with the list. Where the provider's list cannot begin with
//! the newest, or so many are new that it takes too long, a whole walk follows. What must never be: a
//! write forgotten for a walk that had passed its user before there was one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{sleep, sleep_until};

use super::page::{Got, PAUSES};
use super::{Backfill, WalkFault};
use crate::clock::{self, Instant};
use crate::db::runs::{self, Kind, Run};
use crate::db::{DbError, walked};
use crate::failpoint;
use crate::provider::{Cursor, Next, PageFault};
use crate::record::{Effect, Intent, carried_out};
use crate::upstream::Priority;
use crate::user::{Origin, Seen, Source};

/// Beyond so many, a whole walk is the better way.
const PAGES: usize = 50;
/// The provider's clock and this one may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(10);
/// A walk that failed is not asked for again at once.
const FAILED_AGAIN: TimeDelta = TimeDelta::minutes(1);
/// Between attempts where the list cannot be read, and looks at how far a walk has come.
const AGAIN: Duration = Duration::from_secs(5);

/// How far a page goes.
enum Reached {
    All,
    Next(Option<Cursor>),
}

/// Writes that may each have made somebody.
#[derive(Default)]
struct Unnamed {
    /// Until when they are to be looked for among the newest.
    by_newest: Vec<(Instant, Intent)>,
    /// Until a whole walk is done that began after this.
    by_walk: Vec<(DateTime<Utc>, Intent)>,
}

impl Unnamed {
    fn due(&self) -> Option<Instant> {
        let check = (!self.by_walk.is_empty()).then(|| clock::now() + AGAIN);
        self.by_newest.iter().map(|(due, _)| *due).chain(check).min()
    }

    fn are_due(&self) -> bool {
        self.by_newest.iter().any(|(due, _)| *due <= clock::now())
    }

    fn put_off(&mut self) {
        let again = clock::now() + AGAIN;
        let put_off = |due: &mut Instant| *due = again.max(*due);
        self.by_newest.iter_mut().for_each(|(due, _)| put_off(due));
    }

    fn stay(&self) {
        let by_newest = self.by_newest.iter().map(|(_, intent)| intent);
        let by_walk = self.by_walk.iter().map(|(_, intent)| intent);
        by_newest.chain(by_walk).for_each(Intent::stays);
    }
}

impl Backfill {
    /// Looks for the users nobody has named, until the process stops.
    pub async fn find_the_unnamed(self) {
        let mut unnamed = Unnamed::default();
        loop {
            let due = unnamed.due();
            let mut is_new = false;
            tokio::select! {
                () = self.tasks.stopping() => break,
                intents = self.reader.recorder.unlearned() => {
                    let due = clock::now() + carried_out();
                    unnamed.by_newest.extend(intents.into_iter().map(|intent| (due, intent)));
                    is_new = true;
                }
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {}
            }
            let find = async {
                if is_new || unnamed.are_due() {
                    self.look_for(&mut unnamed).await?;
                }
                self.walk_for(&mut unnamed).await
            };
            match self.unless_stopping(find).await {
                Ok(()) => {}
                Err(WalkFault::HandedOver) => break,
                Err(fault) => {
                    tracing::warn!(error = %fault, "the newest users cannot be looked through; trying again");
                    unnamed.put_off();
                }
            }
        }
        unnamed.stay();
    }

    async fn look_for(&self, unnamed: &mut Unnamed) -> Result<(), WalkFault> {
        let began = clock::now();
        let Some(since) = unnamed.by_newest.iter().map(|(_, intent)| intent.at()).min() else {
            return Ok(());
        };
        let is_enough = self.look_through(since).await?;
        let done = |(due, _): &mut (Instant, Intent)| *due <= began;
        if is_enough {
            unnamed.by_newest.retain(|(due, _)| *due > began);
            return Ok(());
        }
        tracing::info!("a write may have made a user whom nobody named: everyone is looked through");
        let now = walked::now(&self.database).await?;
        let carried_out = unnamed.by_newest.extract_if(.., done);
        unnamed
            .by_walk
            .extend(carried_out.map(|(_, intent)| (now, intent)));
        self.request_walk().await
    }

    /// One that is under way may be beyond whom it is for: they stay until one is done that began later.
    async fn walk_for(&self, unnamed: &mut Unnamed) -> Result<(), WalkFault> {
        if unnamed.by_walk.is_empty() {
            return Ok(());
        }
        let began = walked::last_began(&self.database).await?;
        unnamed
            .by_walk
            .retain(|(after, _)| began.is_none_or(|began| began <= *after));
        match unnamed.by_walk.is_empty() {
            true => Ok(()),
            false => self.request_walk().await,
        }
    }

    /// Unless one is under way, or has just failed.
    async fn request_walk(&self) -> Result<(), WalkFault> {
        let last = runs::latest(&self.database, Kind::Backfill).await?;
        let now = walked::now(&self.database).await?;
        let just_failed = |run: &Run| {
            let recently = run.ended_at.is_some_and(|at| (now - at).abs() < FAILED_AGAIN);
            run.is_failed() && recently
        };
        if last.is_none_or(|run| run.is_over() && !just_failed(&run)) {
            runs::request(&self.database).await?;
        }
        Ok(())
    }

    /// Whether all who were made since then have a row when it returns.
    async fn look_through(&self, since: DateTime<Utc>) -> Result<bool, WalkFault> {
        self.head_known().await;
        let (mut cursor, mut plain, mut met) = (None, false, 0);
        for _ in 0..PAGES {
            let Some(got) = self.newest_page(cursor.as_ref(), &mut plain).await? else {
                break;
            };
            met += got.page.fetched as u64;
            match self.take_newest(got, since, met).await? {
                Reached::All => return Ok(true),
                Reached::Next(next) => cursor = next,
            }
        }
        Ok(false)
    }

    /// Nothing where the list has no such order.
    async fn newest_page(&self, cursor: Option<&Cursor>, plain: &mut bool) -> Result<Option<Got>, WalkFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let Some(asked) = self
                .reader
                .provider
                .newest_request(&self.reader.tenant, cursor, *plain)
            else {
                return Ok(None);
            };
            let got = self.ask(asked.request, cursor, Priority::Refetch).await;
            let fault = match got {
                Ok(got) => return Ok(Some(got)),
                Err(WalkFault::Page(PageFault::UnknownParameter)) if !*plain => {
                    *plain = true;
                    continue;
                }
                Err(fault) => fault,
            };
            match pauses.next() {
                Some(pause) => sleep(*pause).await,
                None => return Err(fault),
            }
        }
    }

    /// `met`: users on this page and those before.
    async fn take_newest(&self, got: Got, since: DateTime<Utc>, met: u64) -> Result<Reached, WalkFault> {
        let Got { page, fetched, .. } = got;
        let is_cut_off = page.total.is_some_and(|total| walked::is_short(met, total));
        let oldest = page.sightings.last().and_then(|last| made_at(&last.seen));
        let source = Source::own(Origin::Refetch, "list newest users");
        let seen = self.observed(page.sightings, &fetched, &source);
        let fared = self.reader.recorder.submit(seen.into()).fared().await;
        let effects = fared.ok_or_else(|| self.unwritten())?.effects;
        failpoint::reached("newest.recorded");
        let is_far_enough = match oldest {
            Some(oldest) => oldest < since - CLOCKS_DIFFER,
            None => !effects.contains(&Effect::Inserted),
        };
        Ok(match page.next {
            _ if is_far_enough => Reached::All,
            Next::End if is_cut_off => {
                let what = "the newest end before all of them that it says there are";
                return Err(PageFault::Shape { what }.into());
            }
            Next::End => Reached::All,
            Next::More(next) => Reached::Next(Some(next)),
            // Its user was deleted: from the beginning.
            Next::Lost => Reached::Next(None),
        })
    }

    /// Where too much waits for the database nobody waits for a commit any more.
    fn unwritten(&self) -> WalkFault {
        match self.tasks.is_stopping() {
            true => WalkFault::HandedOver,
            false => {
                DbError::Away("what was found waits in the journal, or is asked for again".into()).into()
            }
        }
    }
}

fn made_at(seen: &Seen) -> Option<DateTime<Utc>> {
    match seen {
        Seen::Whole(view) => view.profile.created_at,
        _ => None,
    }
}
