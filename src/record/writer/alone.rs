//! One user whom the database refuses: found out why, and set aside so that the others go on. One who is
//! [held](super::held) is only late.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::super::batch::{Plan, RowWrite};
use super::super::refusal::{self, Fault};
use super::super::sql::{Loading, Patience, RowRefusal, Users};
use super::flight::Flight;
use super::{Failure, GivenUp, Group, Writer};
use crate::db::DbError;
use crate::user::UserId;

/// Between attempts while the database refuses everything.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

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
            let held = self.held(flight, &todo).await;
            if !held.is_empty() {
                return self.outlast(flight, todo, &held, groups).await;
            }
            // Whoever held it may have ended just now.
            tried = self.try_alone(flight, &todo, with_checkpoint).await;
        }
        match tried {
            Ok(put_off) if put_off.is_empty() => {}
            Ok(put_off) => {
                self.begins_anew(flight);
                groups.push_back(Group::Together(put_off));
            }
            Err(fault) => {
                self.endure(fault).await?;
                groups.push_back(Group::Alone(todo));
            }
        }
        Ok(())
    }

    /// Waits until the same can be tried again.
    async fn endure(&mut self, fault: Alone) -> Result<(), GivenUp> {
        match fault {
            Alone::Failed(Failure::Over) => Err(GivenUp),
            Alone::Failed(Failure::Overtaken) => Ok(()),
            Alone::Failed(Failure::Away) => self.reconnect().await,
            Alone::Failed(Failure::Refused) => {
                let why = self.diagnose().await;
                self.pause(why).await
            }
            Alone::Trouble(code) => self.pause(refusal::trouble(&code)).await,
        }
    }

    /// Waits a moment while the database refuses everything.
    pub(super) async fn pause(&mut self, reason: String) -> Result<(), GivenUp> {
        self.note_trouble(&reason);
        if self.shared.close.is_cancelled() {
            return Err(GivenUp);
        }
        sleep(REFUSED_PAUSE).await;
        self.reconnect().await
    }

    /// Why even one user alone cannot be written.
    pub(super) async fn diagnose(&mut self) -> String {
        let found = match self.link.conn_or_away() {
            Ok(conn) => self.sql.diagnose_all(conn).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(Some((_, Some(who)))) => refusal::kept_from_positions(&who),
            Ok(Some((code, None))) => refusal::trouble(&code),
            Err(DbError::Unfit(why)) => why,
            Ok(None) | Err(_) => refusal::UNKNOWN_TROUBLE.to_owned(),
        }
    }

    pub(super) fn note_trouble(&mut self, reason: &str) {
        self.shared.health.note_writing(reason);
        self.is_in_trouble = true;
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
            .load(flight, todo, Loading::ForUpdate)
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
        let Some(write) = plan.writes.get(id) else {
            return Ok(());
        };
        let row = write.row.clone();
        let Some(refusal) = self.try_row(id, &row).await? else {
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
        let needs = write.needs_skeleton();
        let stands = needs && {
            let skeleton = self.sql.try_row(conn, id, &RowWrite::Skeleton);
            skeleton.await?.is_none()
        };
        let reason = match needs && !stands {
            true => refusal::reason_without_a_row(refused),
            false => refusal::reason(refused),
        };
        self.sql.set_aside(conn, id, &refused.code, &reason).await?;
        tracing::warn!(user = ?id, reason, "set aside");
        self.shared.health.set_aside.fetch_add(1, Ordering::Relaxed);
        plan.set_aside(id, stands);
        Ok(())
    }
}
