//! Changes made by hand get their positions.
//!
//! The triggers on the users' table note whose rows somebody else touched. Here each gets a change
//! row with the row as it is now, under the user's lock, and a read is owed, so that the
//! provider's truth comes back. What is noted is taken away in the same transaction.

use std::time::Duration;

use super::super::batch::{Loaded, Plan};
use super::super::by_hand::{self, Noted};
use super::super::change::Kind;
use super::super::sql::{Locking, Patience, Users};
use super::Writer;
use crate::db::DbError;
use crate::user::UserId;

/// How often the notes are looked at without being told.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Users in one transaction.
const BATCH: i64 = 500;

impl Writer {
    /// Until no note is left. What fails stays noted and is tried again.
    pub(super) async fn number_by_hand(&mut self) {
        loop {
            match self.number_noted().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, "what was changed by hand waits for its position");
                    return self.mend(error).await;
                }
            }
        }
    }

    async fn number_noted(&mut self) -> Result<bool, DbError> {
        let conn = self.link.conn_or_away()?;
        if !self.sql.has_notes(conn).await? {
            return Ok(false);
        }
        match self.begin(Patience::Long).await {
            Ok(()) => self.number_some().await,
            Err(_) => Err(DbError::Away("the connection broke".into())),
        }
    }

    /// An idle writer learns here that its connection is gone.
    async fn mend(&mut self, error: DbError) {
        self.rollback().await;
        if matches!(error, DbError::Away(_)) {
            // The next job connects, with pauses and for as long as it takes.
            let _ = self.connect().await;
        }
    }

    /// One transaction; says whether there may be more.
    async fn number_some(&mut self) -> Result<bool, DbError> {
        let conn = self.link.conn_or_away()?;
        let noted = self.sql.take_notes(conn, BATCH).await?;
        if noted.is_empty() {
            self.sql.commit(conn).await?;
            return Ok(false);
        }
        let ids: Vec<&UserId> = noted.iter().map(|noted| &noted.id).collect();
        self.sql.meet(conn, &ids).await?;
        // Twice: what is loaded must be what was held.
        self.sql.load(conn, &ids, Locking::ForUpdate, false).await?;
        self.sql.hold_rows(conn, &ids).await?;
        let loaded = self.sql.load(conn, &ids, Locking::None, false).await?;
        let plan = plan(&noted, &loaded);
        for (id, write) in &plan.writes {
            if write
                .change
                .as_ref()
                .is_some_and(|change| change.kind == Kind::Purged)
            {
                self.sql.blank(conn, id).await?;
            }
        }
        let numbered = self.sql.number(conn, &plan, Users::Any).await?;
        self.in_our_epoch(numbered.epoch)?;
        let conn = self.link.conn_or_away()?;
        self.sql.commit(conn).await?;
        self.shared.follow_unasked(&plan, &numbered);
        Ok(true)
    }
}

fn plan(noted: &[Noted], loaded: &std::collections::BTreeMap<UserId, Loaded>) -> Plan {
    let mut plan = Plan::default();
    for noted in noted {
        if let Some(loaded) = loaded.get(&noted.id) {
            plan.writes
                .insert(noted.id.clone(), by_hand::write(noted, loaded));
        }
    }
    plan
}
