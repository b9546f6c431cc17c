//! What the database says of how things are, for the status.
//!
//! It is asked in passing: whoever only looks at usertap keeps no database awake. While that is left alone, what
//! it said last stands.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::Station;
use crate::clock::{self, Instant};
use crate::db::runs::{Kind, Run};
use crate::db::surroundings::{self, Surroundings};
use crate::db::{DbError, Unfitness, epochs, partitions, polls, rights, rows, runs, users_table, walked};
use crate::feed::Bounds;
use crate::feed::slots::Slot;

/// Whoever asks while it is known that the database does not answer is told so before a monitor gives up.
const SOON: Duration = Duration::from_secs(1);
/// Users set aside that are named.
pub const NAMED: i64 = 20;

#[derive(Debug)]
pub struct Known {
    /// When it was asked.
    at: Instant,
    /// At whose beginning a process did not know all of whom it had written.
    pub unknown_epoch: Option<i64>,
    walk_age: Option<i64>,
    poll_age: Option<Option<i64>>,
    /// Polling could not tell what changed from then on, whether or not it is on still.
    pub missed: Option<DateTime<Utc>>,
    pub counts: Option<rows::Counts>,
    /// What keeps partitions of the feed from being made and dropped.
    pub unowned: Option<Unfitness>,
    /// What refuses to let old ones be dropped.
    pub undropped: Option<Unfitness>,
    /// The users' table is not there.
    pub table: Option<Unfitness>,
    pub surroundings: Surroundings,
    pub set_aside: Vec<rows::SetAside>,
    pub backfill: Option<Run>,
    pub reconcile: Option<Run>,
    pub feed: Bounds,
    pub slots: Vec<Slot>,
}

impl Known {
    async fn ask(station: &Station, counted: i64) -> Result<Known, DbError> {
        let database = &station.database.in_passing();
        let feed = station.feed.in_passing();
        let at = clock::now();
        let poll_age = match &station.polled {
            Some(_) => Some(polls::age(database).await?),
            None => None,
        };
        Ok(Known {
            at,
            unknown_epoch: epochs::unknown(database).await?,
            walk_age: walked::age(database).await?,
            poll_age,
            missed: polls::missed(database).await?,
            counts: rows::counts(database).await?,
            unowned: rights::of_partitions(database).await?,
            undropped: station.feed.keeps_old().then(|| partitions::undropped(database)),
            table: users_table::find(&database.names, &mut *database.get().await?)
                .await?
                .unfit,
            surroundings: surroundings::look(database).await?,
            set_aside: rows::set_aside(database, NAMED).await?,
            backfill: runs::latest(database, Kind::Backfill).await?,
            reconcile: runs::latest(database, Kind::Reconcile).await?,
            feed: feed.bounds().await?,
            slots: feed.slots(counted).await?,
        })
    }

    /// Seconds since the last walk began that came to its end.
    pub fn walk_age(&self) -> Option<i64> {
        self.walk_age.map(|age| self.by_now(age))
    }

    /// Where polling is on: seconds since it last found nothing more.
    pub fn poll_age(&self) -> Option<Option<i64>> {
        self.poll_age.map(|age| age.map(|age| self.by_now(age)))
    }

    /// Nothing is to be done for which nobody but the database would wake this process.
    pub(super) fn owes_nothing(&self) -> bool {
        let mut walks = self.backfill.iter().chain(&self.reconcile);
        let is_read = self
            .counts
            .as_ref()
            .is_some_and(|counts| counts.doubts + counts.set_aside == 0);
        is_read && walks.all(Run::is_over)
    }

    fn by_now(&self, age: i64) -> i64 {
        let ago = clock::now().saturating_duration_since(self.at).as_secs();
        age.saturating_add(i64::try_from(ago).unwrap_or(i64::MAX))
    }
}

impl Station {
    /// What slots have not taken is counted up to so many events each.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn known(&self, counted: i64) -> Result<Arc<Known>, DbError> {
        let last = || self.last_known().clone();
        match self.unless_left(self.asked(counted)).await {
            Some(asked) => {
                let known = Arc::new(asked?);
                *self.last_known() = Some(known.clone());
                Ok(known)
            }
            None => last()
                .ok_or_else(|| DbError::Away("nobody needs it, and it was not asked yet: ask again".into())),
        }
    }

    async fn asked(&self, counted: i64) -> Result<Known, DbError> {
        let ask = Known::ask(self, counted);
        if self.database_answers() {
            return ask.await;
        }
        let late = |_| Err(DbError::Away("it has not answered for seconds".into()));
        timeout(SOON, ask).await.unwrap_or_else(late)
    }

    /// What is asked in passing; nothing while the database is left alone.
    pub async fn unless_left<T>(&self, ask: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.database.idle().until_left() => None,
            asked = ask => Some(asked),
        }
    }

    fn last_known(&self) -> std::sync::MutexGuard<'_, Option<Arc<Known>>> {
        self.last_known
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
