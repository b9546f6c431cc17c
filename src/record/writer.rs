//! The writer: takes what waits, judges it, commits it, lets the waiters go.
//!
//! A batch is taken in [`turn`] and flies ([`flight`]); what only the journal has of it is [`fetch`]ed. Memory and one
//! [`look`] settle what changes nothing. The rest is a [`transaction`], whose [`commit`] is told to memory and to
//! everybody who waits; then it [`land`]s. Whom the database refuses is written [`alone`], who is [`held`] goes back.
//! A [`link`] is a lane's connection, [`past`] the history behind it; [`upkeep`] is what one lane does besides.
//!
//! It has lanes, each with a connection of its own: while one transaction is numbered and commits,
//! the rows of the next are written. There is no linger: what comes meanwhile gathers. A batch that
//! the database refuses is halved until the one user at fault stands alone and is set aside; those
//! who shared its batch go as soon as they are committed. What must never be: a reply before its
//! commit; two lanes with observations of one user; a batch lost because a connection broke (it is
//! tried again; an observation that was committed after all is then equal).

mod ahead;
mod alone;
mod by_hand;
mod commit;
pub(super) mod fetch;
pub(super) mod flight;
mod held;
mod idle;
mod land;
mod link;
mod look;
mod page;
pub(super) mod past;
mod print;
pub(super) mod purge;
mod strangers;
pub(super) mod transaction;
mod turn;
mod upkeep;

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval, sleep_until};
use uuid::Uuid;

use super::Shared;
use super::backlog::Batch;
use super::sql::Sql;
use crate::clock::{self, Instant};
use crate::config::Deleted;
use crate::db::{Database, DbError, Refusal};
use crate::tasks::Tasks;
use crate::user::UserId;

use flight::{Flight, Landing};
use land::land;
use link::Link;
use look::ToWrite;
use turn::Writing;

pub(super) use ahead::Ahead;
pub(super) use past::Past;
pub(super) use turn::Turns;

/// Observations in one transaction: beyond this, a bigger batch writes no faster.
const BATCH: usize = 1_000;
/// Bytes of users' JSON in one transaction.
const BATCH_BYTES: usize = 8 << 20;

/// Two that take turns, and a third for when one of them has a row that takes long.
pub(super) const LANES: usize = 3;

/// One lane of the writer.
pub(super) struct Writer {
    shared: Arc<Shared>,
    database: Database,
    sql: Sql,
    deleted: Deleted,
    link: Link,
    /// Of its connection.
    tasks: Tasks,
    number: usize,
    /// The one that also removes rows and states whose time has come, and numbers what was changed by hand.
    is_first: bool,
    aging: strangers::Aging,
    /// Whose rows are to be removed.
    due: VecDeque<UserId>,
    /// When it looks for them next.
    looks_at: Instant,
    /// While it writes the rows of a batch that others are to gather behind.
    turn: Option<Writing>,
    /// It has noted why what it has cannot be written.
    is_in_trouble: bool,
    /// A COMMIT of it has had no answer: it may have been one, of which nobody was told.
    is_unsure: bool,
    /// It was closed while somebody was held: what was seen of them is left to the journal.
    has_left: bool,
}

/// Observations that go into one transaction.
pub(super) enum Group {
    Together(Vec<usize>),
    /// Of one user whom the database refused: after all others, for it may take long.
    Alone(Vec<usize>),
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
    /// The recorder is closed, and another lane has given up.
    Over,
}

/// The lanes of a recorder, each to be run in a task of its own. `left_by`: the processes whose
/// journal this one has.
pub(super) fn lanes(
    shared: &Arc<Shared>,
    database: &Database,
    deleted: Deleted,
    left_by: Vec<Uuid>,
    tasks: &Tasks,
) -> Vec<Writer> {
    let process = shared.keeper.as_ref().and_then(|keeper| keeper.process());
    shared
        .past
        .begin(process.unwrap_or_else(Uuid::new_v4), left_by, LANES);
    let folder = shared.keeper.as_ref().and_then(|keeper| keeper.folder());
    if let Some(note) = folder.and_then(|folder| past::note::read(&folder)) {
        shared.past.recall(note);
    }
    let lane = |number| Writer {
        sql: Sql::new(&database.names),
        link: Link::default(),
        shared: shared.clone(),
        database: database.clone(),
        deleted,
        tasks: tasks.clone(),
        number,
        is_first: number == 0,
        aging: strangers::Aging::default(),
        due: VecDeque::new(),
        looks_at: clock::now(),
        turn: None,
        is_in_trouble: false,
        is_unsure: false,
        has_left: false,
    };
    (0..LANES).map(lane).collect()
}

impl Writer {
    /// Runs until the recorder is closed and what waited is written, or is left to the journal.
    pub async fn run(mut self) {
        let ran = self.write().await;
        if ran.is_err() {
            self.shared.pages.over();
            self.shared.backlog.give_up();
        }
        self.link.drop_connection();
        self.shared.silence.left(self.number);
        if !self.shared.past.lane_ended(ran.is_err()) {
            return;
        }
        self.shared.silence.over();
        self.shared.write_note(true).await;
        let is_left = self.shared.backlog.end();
        if is_left && self.shared.past.gave_up() && self.shared.keeper.is_some() {
            tracing::warn!("stopped before all was written: what is left waits in the journal");
        }
    }

    async fn write(&mut self) -> Result<(), GivenUp> {
        let mut looks = interval(by_hand::LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = self.shared.clone();
        self.reconnect().await?;
        loop {
            let is_first = self.is_first && !shared.close.is_cancelled();
            tokio::select! {
                biased;
                () = shared.idle.until_left(), if self.link.is_connected() => self.leave_alone().await?,
                () = shared.by_hand.notified(), if is_first => self.number_by_hand().await,
                _ = looks.tick(), if is_first => self.number_by_hand().await,
                () = sleep_until(self.looks_at), if is_first => self.look_after().await,
                () = shared.purges.notified(), if is_first => self.find_purges().await,
                () = ready(()), if is_first && !self.due.is_empty() => self.purge_next().await,
                batch = take(&shared) => match batch {
                    Some((batch, turn)) => {
                        self.turn = turn;
                        self.flush(batch).await?;
                        self.turn = None;
                    }
                    None if self.has_left => return Err(GivenUp),
                    None => return Ok(()),
                },
            }
        }
    }

    /// One batch, until all of it has landed or gone back.
    async fn flush(&mut self, batch: Batch) -> Result<(), GivenUp> {
        let Batch {
            taken,
            is_traced,
            is_exclusive,
            page,
            may_be_held,
        } = batch;
        let mut flight = Flight::new(self.fetched(taken).await, is_traced, page);
        flight.is_exclusive = is_exclusive;
        flight.may_be_held = may_be_held;
        self.settle(&mut flight).await?;
        if let Some(page) = page {
            self.shared.pages.done(page);
        }
        self.shared.silence.done(self.number);
        // Also where nothing had to be written after all.
        if std::mem::take(&mut self.is_in_trouble) {
            self.shared.health.written();
        }
        self.purge_now(&mut flight).await;
        land(&self.shared, flight.landing(Landing::All)).await;
        self.put_back(&mut flight);
        Ok(())
    }

    /// Until everybody in it is judged: who hinders the others goes apart from them.
    async fn settle(&mut self, flight: &mut Flight) -> Result<(), GivenUp> {
        let mut groups = VecDeque::from([Group::Together(flight.all())]);
        while let Some(group) = groups.pop_front() {
            match group {
                Group::Together(group) => self.together(flight, group, &mut groups).await?,
                Group::Alone(user) => self.alone(flight, user, &mut groups).await?,
            }
            if !groups.is_empty() {
                land(&self.shared, flight.landing(Landing::Judged)).await;
            }
        }
        Ok(())
    }

    /// What neither memory nor a look settles goes into one transaction.
    async fn together(
        &mut self,
        flight: &mut Flight,
        group: Vec<usize>,
        groups: &mut VecDeque<Group>,
    ) -> Result<(), GivenUp> {
        let todo = match flight.is_traced {
            true => group,
            false => self.shared.settle_in_memory(flight, group),
        };
        let ToWrite { todo, are } = match self.look(flight, todo).await {
            Ok(left) => left,
            Err((failure, todo)) => return self.recover(failure, flight, todo, groups).await,
        };
        let todo = self.leave_out(flight, todo).await;
        let with_checkpoint = groups.is_empty() && flight.checkpoint.is_some();
        if todo.is_empty() && !with_checkpoint {
            return Ok(());
        }
        match self.transact(flight, &todo, are, with_checkpoint).await {
            Ok(put_off) if put_off.is_empty() => Ok(()),
            Ok(put_off) => {
                // Whoever comes behind gives back what it holds: the next transaction may need it.
                self.begins_anew(flight);
                groups.push_front(Group::Together(put_off));
                Ok(())
            }
            Err(failure) => self.recover(failure, flight, todo, groups).await,
        }
    }

    /// What to do about a failure: connect again, leave those for later whom somebody else holds, halve,
    /// or leave the one user for later.
    async fn recover(
        &mut self,
        failure: Failure,
        flight: &mut Flight,
        todo: Vec<usize>,
        groups: &mut VecDeque<Group>,
    ) -> Result<(), GivenUp> {
        match failure {
            Failure::Over => return Err(GivenUp),
            Failure::Overtaken => groups.push_front(Group::Together(todo)),
            Failure::Away => {
                self.reconnect().await?;
                groups.push_front(Group::Together(todo));
            }
            Failure::Refused => {
                let held = self.held(flight, &todo).await;
                match flight.halves(&todo) {
                    _ if !held.is_empty() => held::part(flight, todo, &held, groups),
                    Some((one, other)) => {
                        groups.push_front(Group::Together(other));
                        groups.push_front(Group::Together(one));
                    }
                    None => groups.push_back(Group::Alone(todo)),
                }
            }
        }
        Ok(())
    }
}

/// What waits, once it is this lane's turn. Pages have turns of their own.
async fn take(shared: &Shared) -> Option<(Batch, Option<Writing>)> {
    let turn = shared.turns.take().await;
    let batch = shared.backlog.take(BATCH, BATCH_BYTES).await?;
    let turn = match batch.page {
        Some(_) => None,
        None => turn.writes(),
    };
    Some((batch, turn))
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
