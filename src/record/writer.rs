//! The one writer: takes what waits, judges it, commits it, lets the waiters go.
//!
//! There is no linger: while one transaction commits, the next batch gathers. A batch that the
//! database refuses is halved until the one user at fault stands alone and is set aside. What
//! must never be: a reply before its commit; a batch lost because a connection broke (it is tried
//! again; an observation that was committed after all is then equal).

mod alone;
mod commit;
mod flight;
mod link;
mod look;
mod purge;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::Shared;
use super::backlog::{Found, Rest, Taken};
use super::batch::Plan;
use super::journal::Place;
use super::sql::{Locking, Sql, Users};
use crate::clock;
use crate::config::Deleted;
use crate::db::{Database, DbError, Refusal};
use crate::user::Observation;

use flight::Flight;
use link::Link;
use look::Left;

/// Observations in one transaction: beyond this, a bigger batch writes no faster.
const BATCH: usize = 1_000;
/// Bytes of users' JSON in one transaction.
const BATCH_BYTES: usize = 8 << 20;
/// How often rows whose time has come are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(30);
/// Between attempts while the database refuses everything.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    shared: Arc<Shared>,
    database: Database,
    sql: Sql,
    deleted: Deleted,
    link: Link,
}

/// One submission, read and ready to be judged.
struct Job {
    observations: Arc<[Observation]>,
    rest: Rest,
}

/// The recorder was closed while the database was away: what waits is given up.
struct GivenUp;

/// Why a transaction did not happen.
enum Failure {
    /// The connection: try the same again.
    Away,
    /// One of these users: halve.
    Refused,
    /// A concurrent transaction: try the same again.
    Overtaken,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, database: Database, deleted: Deleted, left_by: Vec<Uuid>) -> Writer {
        let process = shared.keeper.as_ref().and_then(|keeper| keeper.process());
        Writer {
            sql: Sql::new(&database.names),
            link: Link::of(process.unwrap_or_else(Uuid::new_v4), left_by),
            shared,
            database,
            deleted,
        }
    }

    /// Runs until the recorder is closed and what waited is written, or is left to the journal.
    pub async fn run(mut self) {
        let ran = self.write().await;
        self.shared.backlog.end();
        if ran.is_err() && self.shared.keeper.is_some() {
            tracing::warn!("stopped with the database away: what is not written waits in the journal");
        }
    }

    async fn write(&mut self) -> Result<(), GivenUp> {
        let mut purges = interval(PURGE_EVERY);
        purges.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = self.shared.clone();
        self.reconnect().await?;
        self.clear_trouble();
        loop {
            tokio::select! {
                biased;
                taken = shared.backlog.take(BATCH, BATCH_BYTES) => match taken {
                    Some((taken, traced)) => self.flush(taken, traced).await?,
                    None => return Ok(()),
                },
                _ = purges.tick(), if !shared.close.is_cancelled() => self.purge_due().await?,
            }
        }
    }

    async fn flush(&mut self, taken: Vec<Taken>, traced: bool) -> Result<(), GivenUp> {
        let mut flight = Flight::new(self.fetched(taken).await, traced);
        self.settle(&mut flight).await?;
        self.shared.memory.judged(flight.users());
        // Whether or not anything had to be written: the database was asked and answered.
        self.clear_trouble();
        flight.reply();
        let done = self.shared.backlog.done();
        if let (Some(keeper), false) = (self.shared.keeper.clone(), done.is_empty()) {
            let _ = tokio::task::spawn_blocking(move || keeper.consumed(&done)).await;
        }
        Ok(())
    }

    /// What only the journal holds is read from there.
    async fn fetched(&self, taken: Vec<Taken>) -> Vec<Job> {
        let places: Vec<Place> = taken
            .iter()
            .filter_map(|taken| taken.observations.place())
            .collect();
        let mut read = self.read(places).await.into_iter();
        let jobs = taken.into_iter().map(|taken| Job {
            observations: match taken.observations {
                Found::Here(observations) => observations,
                Found::InJournal(_) => read.next().flatten().unwrap_or_default(),
            },
            rest: taken.rest,
        });
        jobs.collect()
    }

    async fn read(&self, places: Vec<Place>) -> Vec<Option<Arc<[Observation]>>> {
        let Some(keeper) = self.shared.keeper.clone().filter(|_| !places.is_empty()) else {
            return Vec::new();
        };
        let reading = tokio::task::spawn_blocking(move || {
            let entries = places.into_iter().map(|place| keeper.entry(place));
            entries.map(|entry| Some(entry?.observations.into())).collect()
        });
        let read: Vec<Option<Arc<[Observation]>>> = reading.await.unwrap_or_default();
        let damaged = read.iter().filter(|entry| entry.is_none()).count();
        if damaged > 0 {
            self.shared
                .health
                .damaged
                .fetch_add(damaged as u64, Ordering::Relaxed);
            tracing::error!(
                damaged,
                "records of the journal are damaged: run `usertap backfill`"
            );
        }
        read
    }

    async fn settle(&mut self, flight: &mut Flight) -> Result<(), GivenUp> {
        let mut groups = vec![flight.all()];
        while let Some(group) = groups.pop() {
            let is_last = groups.is_empty();
            let todo = match flight.is_traced {
                true => group,
                false => self.settle_in_memory(flight, group),
            };
            let Left { todo, are } = match self.look(flight, todo).await {
                Ok(left) => left,
                Err((failure, todo)) => {
                    self.recover(failure, flight, todo, &mut groups).await?;
                    continue;
                }
            };
            let with_checkpoint = is_last && flight.checkpoint.is_some();
            if todo.is_empty() && !with_checkpoint {
                continue;
            }
            match self.transact(flight, &todo, are, with_checkpoint).await {
                Ok(put_off) if put_off.is_empty() => {}
                Ok(put_off) => groups.push(put_off),
                Err(failure) => self.recover(failure, flight, todo, &mut groups).await?,
            }
        }
        Ok(())
    }

    /// One transaction. What a user's earlier change in it puts off is given back.
    async fn transact(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        are: Users,
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        self.begin().await?;
        let attempted = self.attempt(flight, todo, are, checkpoint).await;
        if attempted.is_err() {
            self.rollback().await;
        }
        attempted
    }

    async fn attempt(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        are: Users,
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        let (mut loaded, users) = match are {
            Users::Strangers => (self.strangers(flight, todo), are),
            Users::Any => {
                let loaded = self.load(flight, todo, Locking::ForUpdate).await?;
                let users = flight.whose(&loaded);
                (loaded, users)
            }
        };
        let plan = self.plan(flight, todo, &mut loaded);
        let written = self.write_rows(&plan, users).await;
        let finished = match written {
            Ok(()) => self.finish(flight, todo, &plan, &loaded, users, checkpoint).await,
            Err(failure) => Err(failure),
        };
        match (finished, users) {
            (Err(Failure::Refused), Users::Strangers) => {
                flight.not_strangers();
                Err(Failure::Overtaken)
            }
            (finished, _) => finished,
        }
    }

    async fn write_rows(&mut self, plan: &Plan, users: Users) -> Result<(), Failure> {
        let now = clock::wall();
        let conn = self.link.conn()?;
        let written = self.sql.write_rows(conn, plan, users, now).await;
        written.map_err(Failure::of)
    }

    /// What to do about a failure: connect again, halve, or set the one user aside.
    async fn recover(
        &mut self,
        failure: Failure,
        flight: &mut Flight,
        todo: Vec<usize>,
        groups: &mut Vec<Vec<usize>>,
    ) -> Result<(), GivenUp> {
        match failure {
            Failure::Overtaken => groups.push(todo),
            Failure::Away => {
                self.reconnect().await?;
                groups.push(todo);
            }
            Failure::Refused => match flight.halves(&todo) {
                Some((one, other)) => groups.extend([other, one]),
                None => self.alone(flight, todo, groups).await?,
            },
        }
        Ok(())
    }
}

impl Failure {
    fn of(error: DbError) -> Failure {
        match error {
            DbError::Away(_) => Failure::Away,
            DbError::Refused {
                kind: Refusal::Serialization,
                ..
            } => Failure::Overtaken,
            DbError::Refused { .. } | DbError::Unfit(_) => Failure::Refused,
        }
    }
}
