//! The one writer: takes what waits, judges it, commits it, lets the waiters go.
//!
//! There is no linger: while one transaction commits, the next batch gathers. A batch that the
//! database refuses is halved until the one user at fault stands alone and is set aside. What
//! must never be: a reply before its commit; a batch lost because a connection broke (it is tried
//! again; an observation that was committed after all is then equal).

mod flight;
mod link;
mod purge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::batch::{self, Circumstances, Loaded, Plan, RowWrite};
use super::merge::Standing;
use super::refusal::{self, Fault};
use super::sql::{Locking, Numbered, RowRefusal, Sql};
use super::{Job, Outcome, Shared};
use crate::clock;
use crate::config::Deleted;
use crate::db::{Database, DbError, Refusal};
use crate::user::{Origin, Seen, UserId};

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
        let close = self.shared.close.clone();
        let mut closing = false;
        if self.reconnect().await.is_err() {
            return;
        }
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

    fn settle_in_memory(&self, flight: &mut Flight, group: Vec<usize>) -> Vec<usize> {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let now = clock::now();
        let mut dirty = BTreeSet::new();
        let left = group.into_iter().filter(|&place| {
            let observation = flight.observation(place);
            if !dirty.contains(&observation.id) {
                if self
                    .shared
                    .memory
                    .settle_in_turn(observation, epoch, now)
                    .is_some()
                {
                    flight.fared(place, Outcome::Unchanged);
                    return false;
                }
                dirty.insert(observation.id.clone());
            }
            true
        });
        left.collect()
    }

    /// One statement over ids and stored hashes tells what changes nothing. Writes are spared
    /// it: they nearly always change something.
    async fn look(
        &mut self,
        flight: &mut Flight,
        todo: Vec<usize>,
    ) -> Result<Vec<usize>, (Failure, Vec<usize>)> {
        let reads = todo
            .iter()
            .all(|&place| flight.observation(place).source.origin != Origin::ProxyWrite);
        if todo.is_empty() || !reads {
            return Ok(todo);
        }
        match self.try_look(flight, &todo).await {
            Ok(left) => Ok(left),
            Err(failure) => Err((failure, todo)),
        }
    }

    async fn try_look(&mut self, flight: &mut Flight, todo: &[usize]) -> Result<Vec<usize>, Failure> {
        let mut loaded = self.load(flight, todo, Locking::None).await?;
        let plan = self.plan(flight, todo, &mut loaded);
        let mut left = Vec::new();
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let id = &flight.observation(place).id;
            match judged {
                Some(judged) if !plan.writes.contains_key(id) => flight.fared(place, judged.outcome),
                _ => left.push(place),
            }
        }
        self.mark(&plan, |id| !plan.writes.contains_key(id));
        self.remember_loaded(flight, todo, &plan, &loaded);
        self.settle_waiters(flight, todo, &plan, Some(&left));
        Ok(left)
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

    /// Positions, the checkpoint, the commit, and what follows from it.
    async fn finish(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &BTreeMap<UserId, Loaded>,
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        let conn = self.link.conn()?;
        let put_off: Vec<usize> = zip_none(todo, plan).collect();
        self.sql.end_set_aside(conn, plan).await.map_err(Failure::of)?;
        let kept = match (&flight.checkpoint, checkpoint && put_off.is_empty()) {
            (Some(at), true) => {
                let outcomes = flight.outcomes_with(todo, plan);
                Some(
                    self.sql
                        .checkpoint(conn, at, &outcomes)
                        .await
                        .map_err(Failure::of)?,
                )
            }
            _ => None,
        };
        let numbered = match plan.writes.is_empty() {
            true => None,
            false => Some(self.sql.number(conn, plan).await.map_err(Failure::of)?),
        };
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        if numbered.as_ref().is_some_and(|numbered| numbered.epoch != epoch) {
            self.link.drop_connection();
            return Err(Failure::Away);
        }
        self.sql.commit(conn).await.map_err(Failure::of)?;
        self.after_commit(flight, todo, plan, loaded, numbered).await;
        if let Some(kept) = kept {
            flight.checkpoint_done(kept);
        }
        Ok(put_off)
    }

    async fn after_commit(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &BTreeMap<UserId, Loaded>,
        numbered: Option<Numbered>,
    ) {
        self.clear_trouble();
        self.mark(plan, |_| true);
        self.remember_loaded(flight, todo, plan, loaded);
        if let Some(numbered) = &numbered {
            self.publish(flight, todo, plan, numbered);
        }
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            if let Some(judged) = judged {
                flight.fared(place, judged.outcome);
            }
        }
        self.settle_waiters(flight, todo, plan, None);
        self.count(plan);
        self.renew_partitions().await;
        self.purge_now(plan).await;
    }

    fn publish(&mut self, flight: &mut Flight, todo: &[usize], plan: &Plan, numbered: &Numbered) {
        let shared = &self.shared;
        shared.head.committed(numbered.epoch, numbered.last, clock::now());
        for (id, (position, nonce)) in &numbered.changes {
            self.link.committed(*position, *nonce);
            let changed = super::Changed {
                id: id.clone(),
                position: *position,
            };
            // Nobody may be subscribed.
            let _ = shared.changed.send(changed);
        }
        for (id, write) in &plan.writes {
            let keep = flight.keep(todo, id);
            shared
                .memory
                .remember(id, link::print_of(write, numbered, id), keep);
        }
        self.raise_doubts(flight, todo, plan, numbered);
        flight.changed(todo, &numbered.changes);
    }

    fn raise_doubts(&self, flight: &mut Flight, todo: &[usize], plan: &Plan, numbered: &Numbered) {
        let waiters = &self.shared.waiters;
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let id = flight.observation(place).id.clone();
            let raised = judged.is_some_and(|judged| judged.verdict.raises_doubt());
            if let (true, Some(&after)) = (raised, numbered.doubts.get(&id)) {
                let settled = waiters.wait(&id, after);
                flight.waits(place, id, settled);
            }
        }
        for (id, after) in &numbered.doubts {
            let write = plan.writes.get(id);
            if write.is_some_and(|write| !write.is_aside) {
                waiters.owe(id, *after, write.is_some_and(|write| write.doubt_is_awaited));
            }
        }
    }

    /// Those who wait for a doubt learn of what was applied or equal. `except` stays to be judged.
    fn settle_waiters(&self, flight: &Flight, todo: &[usize], plan: &Plan, except: Option<&[usize]>) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        for (place, judged) in todo.iter().zip(&plan.judged) {
            let observation = flight.observation(*place);
            let counts = judged.is_some_and(|judged| judged.verdict.counts_as_applied());
            if counts && observation.sent.epoch == epoch && !except.is_some_and(|left| left.contains(place)) {
                self.shared
                    .waiters
                    .settle(&observation.id, observation.sent.position);
            }
        }
    }

    /// Remembers the equal judgements that stand.
    fn mark(&self, plan: &Plan, stands: impl Fn(&UserId) -> bool) {
        for (id, tick) in plan.marks.iter().filter(|(id, _)| stands(id)) {
            self.shared.memory.mark(id, *tick);
        }
    }

    fn plan(&self, flight: &Flight, todo: &[usize], loaded: &mut BTreeMap<UserId, Loaded>) -> Plan {
        let memory = &self.shared.memory;
        let at = Circumstances {
            epoch: self.shared.epoch.load(Ordering::Acquire),
            now: clock::wall(),
            shared: memory.is_shared(),
        };
        let observations = todo.iter().map(|&place| flight.observation(place));
        batch::plan(observations, loaded, at, || self.shared.head.tick())
    }

    async fn load(
        &mut self,
        flight: &Flight,
        todo: &[usize],
        locking: Locking,
    ) -> Result<BTreeMap<UserId, Loaded>, Failure> {
        let ids: BTreeSet<&UserId> = todo.iter().map(|&place| &flight.observation(place).id).collect();
        let ids: Vec<&UserId> = ids.into_iter().collect();
        let is_partial = |place: &usize| matches!(flight.observation(*place).seen, Seen::Partial(_));
        let with_raw = todo.iter().any(is_partial);
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let floor = self.link.floor();
        let conn = self.link.conn()?;
        let loaded = self.sql.load(conn, &ids, floor, locking, with_raw).await;
        let mut loaded = loaded.map_err(Failure::of)?;
        for (id, loaded) in &mut loaded {
            loaded.known.mark = self.shared.memory.mark_of(id);
        }
        Ok(loaded)
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

    /// One user whom the database refuses: written in a way that tells why, or set aside.
    async fn alone(
        &mut self,
        flight: &mut Flight,
        todo: Vec<usize>,
        groups: &mut Vec<Vec<usize>>,
    ) -> Result<(), GivenUp> {
        let with_checkpoint = groups.is_empty() && flight.checkpoint.is_some();
        match self.try_alone(flight, &todo, with_checkpoint).await {
            Ok(put_off) if put_off.is_empty() => {}
            Ok(put_off) => groups.push(put_off),
            Err(Alone::Failed(Failure::Overtaken)) => groups.push(todo),
            Err(Alone::Failed(Failure::Away)) => {
                self.reconnect().await?;
                groups.push(todo);
            }
            Err(Alone::Failed(Failure::Refused)) => {
                let code = self.diagnose().await;
                self.pause(refusal::trouble(&code)).await?;
                groups.push(todo);
            }
            Err(Alone::Trouble(code)) => {
                self.pause(refusal::trouble(&code)).await?;
                groups.push(todo);
            }
        }
        Ok(())
    }

    async fn try_alone(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        checkpoint: bool,
    ) -> Result<Vec<usize>, Alone> {
        self.begin().await.map_err(Alone::Failed)?;
        let attempted = self.attempt_alone(flight, todo, checkpoint).await;
        if attempted.is_err() {
            self.rollback().await;
        }
        attempted
    }

    async fn attempt_alone(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        checkpoint: bool,
    ) -> Result<Vec<usize>, Alone> {
        let mut loaded = self
            .load(flight, todo, Locking::ForUpdate)
            .await
            .map_err(Alone::Failed)?;
        let mut plan = self.plan(flight, todo, &mut loaded);
        let ids: Vec<UserId> = plan.writes.keys().cloned().collect();
        for id in ids {
            self.write_alone(&id, &mut plan).await?;
        }
        let finished = self.finish(flight, todo, &plan, &loaded, checkpoint).await;
        finished.map_err(Alone::Failed)
    }

    /// Writes the user's row or turns the plan into setting it aside.
    async fn write_alone(&mut self, id: &UserId, plan: &mut Plan) -> Result<(), Alone> {
        let Some(write) = plan.writes.get_mut(id) else {
            return Ok(());
        };
        let conn = self.link.conn().map_err(Alone::Failed)?;
        let refused = match &write.row {
            row @ (RowWrite::Whole(_) | RowWrite::Skeleton) => self.sql.try_row(conn, id, row).await,
            RowWrite::Nothing => Ok(None),
            // Refused before it stood alone; only a row that is written whole can tell the code.
            RowWrite::Deletion | RowWrite::Quiet(_) => Ok(Some(RowRefusal::untold())),
        };
        let Some(refusal) = refused.map_err(|error| Alone::Failed(Failure::of(error)))? else {
            return Ok(());
        };
        if refusal::fault(&refusal.code) == Fault::Database {
            return Err(Alone::Trouble(refusal.code));
        }
        self.set_aside(id, plan, &refusal)
            .await
            .map_err(|error| Alone::Failed(Failure::of(error)))
    }

    /// Leaves the row as it is (a skeleton where there is none), notes the reason, owes a read.
    async fn set_aside(&mut self, id: &UserId, plan: &mut Plan, refused: &RowRefusal) -> Result<(), DbError> {
        let Some(write) = plan.writes.get_mut(id) else {
            return Ok(());
        };
        let conn = self.link.conn_or_away()?;
        let reason = refusal::reason(refused);
        self.sql.set_aside(conn, id, &refused.code, &reason).await?;
        tracing::warn!(user = %id, reason, "set aside");
        self.shared.health.set_aside.fetch_add(1, Ordering::Relaxed);
        let needs_row = write.before.standing == Standing::None && write.change.is_some();
        let stands = needs_row && self.sql.try_row(conn, id, &RowWrite::Skeleton).await?.is_none();
        plan.set_aside(id, stands);
        Ok(())
    }

    fn count(&self, plan: &Plan) {
        let health = &self.shared.health;
        let changes = plan
            .writes
            .values()
            .filter(|write| write.change.is_some())
            .count();
        health.committed.fetch_add(changes as u64, Ordering::Relaxed);
    }
}

fn given_up() {
    tracing::error!("stopped with the database away: what waited in memory is lost; run a backfill");
}

/// Why a user alone could not be written either.
enum Alone {
    Failed(Failure),
    /// Not the row's fault: the SQLSTATE.
    Trouble(String),
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

fn zip_none<'a>(todo: &'a [usize], plan: &'a Plan) -> impl Iterator<Item = usize> + 'a {
    todo.iter()
        .zip(&plan.judged)
        .filter(|(_, judged)| judged.is_none())
        .map(|(place, _)| *place)
}
