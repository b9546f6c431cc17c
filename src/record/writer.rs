//! The one writer: takes what waits, judges it, commits it, lets the waiters go.
//!
//! There is no linger: while one transaction commits, the next batch gathers. A batch that the
//! database refuses is halved until the one user at fault stands alone and is set aside. What
//! must never be: a reply before its commit; a batch lost because a connection broke (it is tried
//! again; an observation that was committed after all is then equal).

mod alone;
mod by_hand;
mod commit;
mod flight;
mod link;
mod look;
mod purge;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::sql::{Locking, Sql};
use super::{Job, Shared};
use crate::clock;
use crate::config::Deleted;
use crate::db::{Database, DbError, Refusal};

use flight::Flight;
use link::Link;

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
    jobs: mpsc::Receiver<Job>,
    /// A page that goes alone and waits for its turn.
    kept: Option<Job>,
    link: Link,
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
    pub fn new(
        shared: Arc<Shared>,
        database: Database,
        deleted: Deleted,
        jobs: mpsc::Receiver<Job>,
    ) -> Writer {
        Writer {
            sql: Sql::new(&database.names),
            link: Link::default(),
            shared,
            database,
            deleted,
            jobs,
            kept: None,
        }
    }

    /// Runs until the recorder is closed and what waited is written.
    pub async fn run(mut self) {
        let mut purges = interval(PURGE_EVERY);
        purges.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(by_hand::LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = self.shared.clone();
        let close = shared.close.clone();
        let mut closing = false;
        if self.reconnect().await.is_err() {
            // Closed before it ever reached the database: what was taken meanwhile goes with it.
            if !self.jobs.is_empty() {
                given_up();
            }
            return;
        }
        self.clear_trouble();
        loop {
            if let Some(job) = self.kept.take() {
                if self.flush(job).await.is_err() {
                    return given_up();
                }
                continue;
            }
            let ran = tokio::select! {
                biased;
                () = close.cancelled(), if !closing => {
                    closing = true;
                    self.jobs.close();
                    Ok(())
                }
                () = shared.by_hand.notified(), if !closing => {
                    self.number_by_hand().await;
                    Ok(())
                }
                _ = looks.tick(), if !closing => {
                    self.number_by_hand().await;
                    Ok(())
                }
                job = self.jobs.recv() => match job {
                    Some(job) => self.flush(job).await,
                    None => return,
                },
                _ = purges.tick(), if !closing => self.purge_due().await,
            };
            if ran.is_err() {
                return given_up();
            }
        }
    }

    async fn flush(&mut self, first: Job) -> Result<(), GivenUp> {
        let mut flight = Flight::new(self.gather(first));
        let done = self.settle(&mut flight).await;
        let bytes = flight.bytes();
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.shared
            .health
            .waiting
            .fetch_sub(flight.jobs(), Ordering::Relaxed);
        self.shared.memory.judged(flight.users());
        if done.is_ok() {
            // Whether or not anything had to be written: the database was asked and answered.
            self.clear_trouble();
            flight.reply();
        }
        done
    }

    /// What waits, up to a transaction's worth. A page with a checkpoint goes alone.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let (mut count, mut bytes) = (first.observations.len(), first.bytes);
        let alone = first.checkpoint.is_some();
        let mut jobs = vec![first];
        while !alone && count < BATCH && bytes < BATCH_BYTES {
            let Ok(job) = self.jobs.try_recv() else { break };
            if job.checkpoint.is_some() {
                self.kept = Some(job);
                break;
            }
            count += job.observations.len();
            bytes += job.bytes;
            jobs.push(job);
        }
        jobs
    }

    async fn settle(&mut self, flight: &mut Flight) -> Result<(), GivenUp> {
        let mut groups = vec![flight.all()];
        while let Some(group) = groups.pop() {
            let is_last = groups.is_empty();
            let todo = self.settle_in_memory(flight, group);
            let todo = match self.look(flight, todo).await {
                Ok(todo) => todo,
                Err((failure, todo)) => {
                    self.recover(failure, flight, todo, &mut groups).await?;
                    continue;
                }
            };
            let with_checkpoint = is_last && flight.checkpoint.is_some();
            if todo.is_empty() && !with_checkpoint {
                continue;
            }
            match self.transact(flight, &todo, with_checkpoint).await {
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
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        self.begin().await?;
        let attempted = self.attempt(flight, todo, checkpoint).await;
        if attempted.is_err() {
            self.rollback().await;
        }
        attempted
    }

    async fn attempt(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        let mut loaded = self.load(flight, todo, Locking::ForUpdate).await?;
        let plan = self.plan(flight, todo, &mut loaded);
        let now = clock::wall();
        let conn = self.link.conn()?;
        self.sql.write_rows(conn, &plan, now).await.map_err(Failure::of)?;
        self.finish(flight, todo, &plan, &loaded, checkpoint).await
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

fn given_up() {
    tracing::error!("stopped with the database away: what waited in memory is lost; run a backfill");
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
