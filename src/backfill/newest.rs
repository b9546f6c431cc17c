//! A look through the provider's newest users: for those who were made by a write whose answer
//! nobody has read, so that nobody knows their ids.
//!
//! At once, and again when the provider can no longer be carrying the write out. It ends at the first
//! page that goes back beyond the oldest of these writes. Where the provider's list cannot begin with
//! the newest, or so many are new that it takes too long, a whole walk follows.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{sleep, sleep_until};

use super::page::{Got, PAUSES};
use super::{Backfill, WalkFault};
use crate::clock::{self, Instant};
use crate::db::runs;
use crate::failpoint;
use crate::provider::{Cursor, Next, PageFault};
use crate::record::{Intent, Outcome, carried_out};
use crate::upstream::Priority;
use crate::user::{Origin, Seen, Source};

/// Beyond so many, a whole walk is the better way.
const PAGES: usize = 50;
/// The provider's clock and this one may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(10);
/// Between attempts where the list cannot be read.
const AGAIN: Duration = Duration::from_secs(5);

/// How far a page goes.
enum Reached {
    All,
    Next(Option<Cursor>),
}

impl Backfill {
    /// Looks for the users nobody has named, until the process stops.
    pub async fn find_the_unnamed(self) {
        let mut writes: Vec<(Instant, Intent)> = Vec::new();
        loop {
            let due = writes.iter().map(|(due, _)| *due).min();
            tokio::select! {
                () = self.tasks.stopping() => break,
                intents = self.reader.recorder.unlearned() => {
                    let due = clock::now() + carried_out();
                    writes.extend(intents.into_iter().map(|intent| (due, intent)));
                }
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {}
            }
            let (began, since) = (clock::now(), writes.iter().map(|(_, intent)| intent.at()).min());
            let Some(since) = since else { continue };
            match self.unless_stopping(self.look_through(since)).await {
                Ok(()) => writes.retain(|(due, _)| *due > began),
                Err(WalkFault::HandedOver) => break,
                Err(fault) => {
                    tracing::warn!(error = %fault, "the newest users cannot be looked through; trying again");
                    let again = clock::now() + AGAIN;
                    writes.iter_mut().for_each(|(due, _)| *due = again.max(*due));
                }
            }
        }
        writes.iter().for_each(|(_, intent)| intent.stays());
    }

    /// All who were made since then have a row when it returns.
    async fn look_through(&self, since: DateTime<Utc>) -> Result<(), WalkFault> {
        self.head_known().await;
        let (mut cursor, mut plain) = (None, false);
        for _ in 0..PAGES {
            let Some(got) = self.newest_page(cursor.as_ref(), &mut plain).await? else {
                break;
            };
            match self.take_newest(got, since).await? {
                Reached::All => return Ok(()),
                Reached::Next(next) => cursor = next,
            }
        }
        tracing::info!("a write may have made a user whom nobody named: everyone is looked through");
        runs::request(&self.database).await?;
        Ok(())
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

    async fn take_newest(&self, got: Got, since: DateTime<Utc>) -> Result<Reached, WalkFault> {
        let Got { page, fetched, .. } = got;
        let oldest = page.sightings.last().and_then(|last| made_at(&last.seen));
        let source = Source::own(Origin::Refetch, "list newest users");
        let seen = self.observed(page.sightings, &fetched, &source);
        let fared = self.reader.recorder.submit(seen.into()).fared().await;
        let outcomes = fared.ok_or(WalkFault::HandedOver)?.outcomes;
        failpoint::reached("newest.recorded");
        let is_far_enough = match oldest {
            Some(oldest) => oldest < since - CLOCKS_DIFFER,
            None => !outcomes.contains(&Outcome::Inserted),
        };
        Ok(match page.next {
            Next::End => Reached::All,
            _ if is_far_enough => Reached::All,
            Next::More(next) => Reached::Next(Some(next)),
            // Its user was deleted: from the beginning.
            Next::Lost => Reached::Next(None),
        })
    }
}

fn made_at(seen: &Seen) -> Option<DateTime<Utc>> {
    match seen {
        Seen::Whole(view) => view.profile.created_at,
        _ => None,
    }
}
