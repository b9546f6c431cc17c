//! One user whom the database refuses: found out why, and set aside so that the others go on. One whose
//! state another transaction holds (a purge whose cascade is slow, somebody at a console) is only late:
//! it is tried again and says nothing of the database.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::super::batch::{Plan, RowWrite};
use super::super::refusal::{self, Fault};
use super::super::sql::{Locking, Patience, RowRefusal, Users};
use super::flight::Flight;
use super::{Failure, GivenUp, Group, Writer};
use crate::db::DbError;
use crate::user::UserId;

/// Between attempts at a user whose state is held.
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// What the journal has is written in its order.
const HOLDS_UP_ALL: &str = "another transaction holds the state of a user whose record is the journal's next: end it (pg_locks \
                    says whose it is)";

/// Why a user alone could not be written either.
enum Alone {
    Failed(Failure),
    /// Not the row's fault: the SQLSTATE.
    Trouble(String),
}

impl Writer {
    /// One user whom the database refuses: written in a way that tells why, or set aside.
    pub(super) async fn alone(
        &mut self,
        flight: &mut Flight,
        todo: Vec<usize>,
        groups: &mut VecDeque<Group>,
    ) -> Result<(), GivenUp> {
        let with_checkpoint = groups.is_empty() && flight.checkpoint.is_some();
        // It may take long: others need not gather behind it.
        self.turn = None;
        let mut tried = self.try_alone(flight, &todo, with_checkpoint).await;
        if matches!(tried, Err(Alone::Failed(Failure::Refused))) {
            if !self.held(flight, &todo).await.is_empty() {
                self.outlast(flight, &todo).await?;
                groups.push_back(Group::Alone(todo));
                return Ok(());
            }
            // Whoever held it may have ended just now.
            tried = self.try_alone(flight, &todo, with_checkpoint).await;
        }
        match tried {
            Ok(put_off) if put_off.is_empty() => {}
            Ok(put_off) => groups.push_back(Group::Together(put_off)),
            Err(fault) => {
                self.endure(fault).await?;
                groups.push_back(Group::Alone(todo));
            }
        }
        Ok(())
    }

    /// Waits a moment for whoever holds the user's state. Others are written by other lanes, unless all
    /// waits behind this one.
    async fn outlast(&mut self, flight: &mut Flight, todo: &[usize]) -> Result<(), GivenUp> {
        if self.shared.close.is_cancelled() {
            return Err(GivenUp);
        }
        if let Some(&place) = todo.first().filter(|_| !flight.is_held) {
            let user = &flight.observation(place).id;
            tracing::warn!(%user, "another transaction holds this user's state: what was seen waits for its end");
            flight.is_held = true;
        }
        if flight.is_exclusive {
            self.note_trouble(HOLDS_UP_ALL.to_owned());
        }
        if self.is_first {
            self.number_by_hand().await;
        }
        sleep(HELD_PAUSE).await;
        Ok(())
    }

    /// Whose state another transaction holds just now.
    pub(super) async fn held(&mut self, flight: &Flight, todo: &[usize]) -> BTreeSet<UserId> {
        let users: Vec<&UserId> = flight.users(todo).into_iter().collect();
        if self.begin(Patience::Short).await.is_err() {
            return BTreeSet::new();
        }
        let held = match self.link.conn() {
            Ok(conn) => self.sql.held(conn, &users).await.unwrap_or_default(),
            Err(_) => BTreeSet::new(),
        };
        self.rollback().await;
        held
    }

    /// Waits until the same can be tried again.
    async fn endure(&mut self, fault: Alone) -> Result<(), GivenUp> {
        match fault {
            Alone::Failed(Failure::Overtaken) => Ok(()),
            Alone::Failed(Failure::Away) => self.reconnect().await,
            Alone::Failed(Failure::Refused) => {
                let why = self.diagnose().await;
                self.pause(why).await
            }
            Alone::Trouble(code) => self.pause(refusal::trouble(&code)).await,
        }
    }

    async fn try_alone(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        checkpoint: bool,
    ) -> Result<Vec<usize>, Alone> {
        self.may_write(flight).await.map_err(Alone::Failed)?;
        self.begin(Patience::Long).await.map_err(Alone::Failed)?;
        let attempted = self.attempt_alone(flight, todo, checkpoint).await;
        if attempted.is_err() {
            self.rollback().await;
            self.begins_anew(flight);
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
        let mut plan = self.shared.plan(flight, todo, &mut loaded);
        let ids: Vec<UserId> = plan.writes.keys().cloned().collect();
        for id in ids {
            self.write_alone(&id, &mut plan).await?;
        }
        if checkpoint {
            self.may_end(flight).await.map_err(Alone::Failed)?;
        }
        let finished = self
            .finish(flight, todo, &plan, &loaded, Users::Any, checkpoint)
            .await;
        finished.map_err(Alone::Failed)
    }

    /// Writes the user's row or turns the plan into setting it aside.
    async fn write_alone(&mut self, id: &UserId, plan: &mut Plan) -> Result<(), Alone> {
        let Some(write) = plan.writes.get_mut(id) else {
            return Ok(());
        };
        let refused = match &write.row {
            row @ (RowWrite::Whole(_) | RowWrite::Skeleton) => self.try_row(id, &row.clone()).await?,
            RowWrite::Nothing => None,
            // Refused before it stood alone; only a row that is written whole can tell the code.
            RowWrite::Deletion | RowWrite::Quiet(_) => Some(RowRefusal::untold()),
        };
        let Some(refusal) = refused else {
            return Ok(());
        };
        if let Some(code) = self.trouble(&refusal.code).await? {
            return Err(Alone::Trouble(code));
        }
        self.set_aside(id, plan, &refusal)
            .await
            .map_err(|error| Alone::Failed(Failure::of(error)))
    }

    /// What stops every row and not this one alone.
    async fn trouble(&mut self, code: &str) -> Result<Option<String>, Alone> {
        match refusal::fault(code) {
            Fault::Row => Ok(None),
            Fault::Database => Ok(Some(code.to_owned())),
            Fault::Unclear => {
                let conn = self.link.conn().map_err(Alone::Failed)?;
                let found = self.sql.diagnose(conn).await;
                found.map_err(|error| Alone::Failed(Failure::of(error)))
            }
        }
    }

    /// A value that the server does not take at all fails the statement itself: where the database
    /// is otherwise well, that is the row's fault too.
    async fn try_row(&mut self, id: &UserId, row: &RowWrite) -> Result<Option<RowRefusal>, Alone> {
        let failed = |error| Alone::Failed(Failure::of(error));
        let conn = self.link.conn().map_err(Alone::Failed)?;
        self.sql.savepoint(conn).await.map_err(failed)?;
        match self.sql.try_row(conn, id, row).await {
            Err(DbError::Refused { .. }) => {}
            tried => return tried.map_err(failed),
        }
        self.sql.rollback_to_savepoint(conn).await.map_err(failed)?;
        match self.sql.diagnose(conn).await.map_err(failed)? {
            Some(code) => Err(Alone::Trouble(code)),
            None => Ok(Some(RowRefusal::untold())),
        }
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
        let stands =
            write.needs_skeleton() && self.sql.try_row(conn, id, &RowWrite::Skeleton).await?.is_none();
        plan.set_aside(id, stands);
        Ok(())
    }
}

/// Those of `held` go alone, after all others; the rest together, at once.
pub(super) fn leave(
    flight: &Flight,
    todo: Vec<usize>,
    held: &BTreeSet<UserId>,
    groups: &mut VecDeque<Group>,
) {
    let user = |place: &usize| &flight.observation(*place).id;
    let (late, rest): (Vec<usize>, Vec<usize>) =
        todo.into_iter().partition(|place| held.contains(user(place)));
    let mut of_each: BTreeMap<&UserId, Vec<usize>> = BTreeMap::new();
    for place in late {
        of_each.entry(user(&place)).or_default().push(place);
    }
    groups.extend(of_each.into_values().map(Group::Alone));
    if !rest.is_empty() {
        groups.push_front(Group::Together(rest));
    }
}
