//! One transaction, from its beginning to its commit.

use std::collections::BTreeMap;

use super::super::batch::{Loaded, Plan};
use super::super::sql::{Loading, Numbered, Patience, Users};
use super::flight::Flight;
use super::{Failure, Writer};
use crate::db::DbError;
use crate::failpoint;
use crate::user::UserId;

impl Writer {
    /// One transaction. What a user's earlier change in it puts off is given back.
    pub(super) async fn transact(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        are: Users,
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        self.may_write(flight).await?;
        self.begin(Patience::of(flight)).await?;
        failpoint::reached("writer.begun");
        let attempted = self.attempt(flight, todo, are, checkpoint).await;
        if attempted.is_err() {
            self.rollback().await;
            self.begins_anew(flight);
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
            Users::Strangers => (self.shared.strangers(flight, todo), are),
            Users::Any => {
                let loaded = self.load(flight, todo, Loading::ForUpdate).await?;
                let users = flight.whose(&loaded);
                (loaded, users)
            }
        };
        let plan = self.shared.plan(flight, todo, &mut loaded);
        let mut written = self.write_rows(&plan, users).await;
        if checkpoint && written.is_ok() {
            written = self.may_end(flight).await;
        }
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
        let conn = self.link.conn()?;
        let written = self.sql.write_rows(conn, plan, users).await;
        self.turn = None;
        failpoint::reached("writer.rows");
        written.map_err(Failure::of)
    }

    /// Positions, the checkpoint, the commit, and what follows from it.
    pub(super) async fn finish(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &BTreeMap<UserId, Loaded>,
        users: Users,
        checkpoint: bool,
    ) -> Result<Vec<usize>, Failure> {
        let conn = self.link.conn()?;
        let put_off = put_off(todo, plan);
        self.sql.end_set_aside(conn, plan).await.map_err(Failure::of)?;
        let kept = match &flight.checkpoint {
            Some(at) if checkpoint && put_off.is_empty() => {
                let effects = flight.effects_with(todo, plan);
                let kept = self.sql.checkpoint(conn, at, &effects).await;
                Some(kept.map_err(Failure::of)?)
            }
            _ => None,
        };
        let numbered = self.number(flight, plan, users).await.map_err(Failure::of)?;
        failpoint::reached("writer.numbered");
        self.commit().await.map_err(Failure::of)?;
        failpoint::reached("writer.committed");
        self.shared.health.written();
        if let (Some(page), Some(true)) = (flight.page, kept) {
            // The page behind it need not wait for what is told of this one.
            self.shared.pages.done(page);
        }
        self.after_commit(flight, todo, plan, loaded, numbered).await;
        if let Some(kept) = kept {
            flight.checkpoint_done(kept);
        }
        Ok(put_off)
    }

    /// Gives positions, where there is anything that needs one.
    async fn number(
        &mut self,
        flight: &Flight,
        plan: &Plan,
        users: Users,
    ) -> Result<Option<Numbered>, DbError> {
        if plan.writes.is_empty() {
            return Ok(None);
        }
        let conn = self.link.conn_or_away()?;
        self.sql.count_unasked(conn, plan, flight.page.is_some()).await?;
        let numbered = self.sql.number(conn, plan, users).await?;
        self.in_our_epoch(&numbered)?;
        Ok(Some(numbered))
    }

    async fn after_commit(
        &mut self,
        flight: &mut Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &BTreeMap<UserId, Loaded>,
        numbered: Option<Numbered>,
    ) {
        let numbered = numbered.as_ref();
        if let Some(numbered) = numbered {
            self.sql.grown_to(numbered.last);
        }
        self.shared.follow(flight, todo, plan, loaded, numbered);
        self.renew_partitions().await;
    }
}

impl Patience {
    /// Nobody waits for a page of a walk.
    fn of(flight: &Flight) -> Patience {
        match flight.page {
            Some(_) => Patience::Long,
            None => Patience::Short,
        }
    }
}

/// What waits for the next transaction.
pub(in crate::record) fn put_off(todo: &[usize], plan: &Plan) -> Vec<usize> {
    let judged = todo.iter().zip(&plan.judged);
    let left = judged.filter(|(_, judged)| judged.is_none());
    left.map(|(place, _)| *place).collect()
}
