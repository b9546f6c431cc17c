//! Whoever was written by commits that a failover may have taken away is read again.

use std::collections::BTreeMap;

use super::super::Writer;
use crate::db::DbError;
use crate::record::batch::{Loaded, Plan, Write, state_of};
use crate::record::sql::{Loading, Numbered, Patience, Users};
use crate::record::{Recorder, Shared};
use crate::user::{Position, UserId};

/// Users in one transaction.
const BATCH: usize = 500;

impl Writer {
    /// Until all of them are in doubt, and the status tells of those who are not known any more. What
    /// fails is tried again with the next connection, before anything else.
    pub(in crate::record::writer) async fn doubt_lost(&mut self) -> Result<(), DbError> {
        let shared = self.shared.clone();
        if shared.past.is_unknown() {
            let conn = self.link.conn_or_away()?;
            self.sql.note_unknown(conn).await?;
            shared.past.unknown_is_told();
        }
        loop {
            let users = shared.past.lost(BATCH);
            if users.is_empty() {
                return Ok(());
            }
            self.doubt_some(&users).await?;
            shared.past.doubted(&users);
        }
    }

    async fn doubt_some(&mut self, users: &[UserId]) -> Result<(), DbError> {
        let ids: Vec<&UserId> = users.iter().collect();
        let conn = self.link.conn_or_away()?;
        self.sql.begin(conn, Patience::Long).await?;
        self.sql.meet(conn, &ids).await?;
        let loaded = self.sql.load(conn, &ids, Loading::ForUpdate, false).await?;
        let plan = plan(&loaded);
        let numbered = self.sql.number(conn, &plan, Users::Any).await?;
        self.in_our_epoch(&numbered)?;
        self.commit().await?;
        self.shared.follow_unasked(&plan, &numbered);
        Ok(())
    }
}

/// A doubt for each, and a position of its own: nothing that was sent before can apply any more.
pub fn plan(loaded: &BTreeMap<UserId, Loaded>) -> Plan {
    let doubt = |(id, loaded): (&UserId, &Loaded)| (id.clone(), Write::doubted(loaded, state_of(loaded)));
    Plan::of(loaded.iter().map(doubt).collect())
}

impl Recorder {
    /// Another process, which may die with its memory, has written this user: where that is lost, this one
    /// has the user read again too.
    pub fn heard(&self, user: &UserId, at: Position) {
        self.shared.past.touched(std::iter::once(user), at);
    }
}

impl Shared {
    /// What a commit of users makes known of whom no answer told.
    pub(in crate::record) fn follow_unasked(&self, plan: &Plan, numbered: &Numbered) {
        self.announce(plan, numbered);
        plan.writes.keys().for_each(|id| self.memory.forget(id));
        for (id, after) in &numbered.doubts {
            self.tell(id, "");
            self.waiters.owe(id, *after, false);
        }
    }
}
