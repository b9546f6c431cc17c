//! Removing the rows of deleted users, where the operator wants that.
//!
//! Each in a transaction of its own, after the deletion is committed: the removal fires the users'
//! own `ON DELETE`, which may be slow or refuse, and must hold up nobody else.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::super::batch::{Columns, DoubtWrite, Loaded, Plan, RowWrite, State, Write, state_of};
use super::super::change::{Change, Kind};
use super::super::merge::Standing;
use super::super::refusal;
use super::super::sql::{Locking, Patience, RowRefusal, Users};
use super::flight::{Flight, Landing};
use super::{Failure, GivenUp, Writer, land, link};
use crate::clock;
use crate::config::Deleted;
use crate::db::{DbError, Refusal};
use crate::failpoint;
use crate::user::{Origin, Source, UserId};

/// So long an answer that tells of a deletion may wait for the row to go.
const GRACE: Duration = Duration::from_millis(250);
const PURGE_AT_ONCE: Deleted = Deleted::Purge {
    after: Duration::ZERO,
};

impl Writer {
    /// Rows deleted in the batch just committed, where they are to go at once. The answers leave with
    /// the rows gone, unless that takes long (a cascade without an index).
    pub(super) async fn purge_now(&mut self, flight: &mut Flight) {
        let users = flight.take_deleted();
        if users.is_empty() || self.deleted != PURGE_AT_ONCE {
            return;
        }
        let shared = self.shared.clone();
        let mut purging = pin!(self.purge_all(users));
        tokio::select! {
            biased;
            () = &mut purging => return,
            () = sleep(GRACE) => land(&shared, flight.landing(Landing::All)).await,
        }
        purging.await;
    }

    /// Rows whose time has come, those that were refused earlier among them. Where they are to stay, no
    /// refusal of earlier times is one.
    pub(super) async fn purge_due(&mut self) -> Result<(), GivenUp> {
        let Ok(conn) = self.link.conn() else { return Ok(()) };
        let due = match self.deleted {
            Deleted::Purge { after } => self.sql.due_purges(conn, after).await,
            Deleted::Keep => self.sql.may_stay(conn).await.map(|()| Vec::new()),
        };
        match due {
            Ok(users) => self.purge_all(users).await,
            Err(error) => tracing::warn!(%error, "deleted rows, and what is known of them, stay for now"),
        }
        Ok(())
    }

    async fn purge_all(&mut self, users: Vec<UserId>) {
        for user in users {
            let purged = match self.begin(Patience::Long).await {
                Ok(()) => self.purge(&user).await,
                Err(_) => Err(DbError::Away("the connection broke".into())),
            };
            if let Err(error) = purged {
                self.rollback().await;
                self.keep_row(&user, error).await;
            }
        }
    }

    async fn purge(&mut self, user: &UserId) -> Result<(), DbError> {
        let conn = self.link.conn_or_away()?;
        let loaded = self.sql.load(conn, &[user], Locking::ForUpdate, false).await?;
        let plan = loaded
            .get(user)
            .filter(|loaded| loaded.known.standing == Standing::Deleted);
        let Some(plan) = plan.map(|loaded| purge_plan(user, loaded)) else {
            return self.sql.commit(conn).await;
        };
        self.sql.purge(conn, user).await?;
        self.sql.blank(conn, user).await?;
        let numbered = self.sql.number(conn, &plan, Users::Any).await?;
        self.in_our_epoch(numbered.epoch)?;
        let conn = self.link.conn_or_away()?;
        failpoint::reached("purge.numbered");
        self.sql.commit(conn).await?;
        self.shared
            .head
            .committed(numbered.epoch, numbered.last, clock::now());
        link::tell(&self.shared, &numbered, &plan);
        Ok(())
    }

    /// The row stays, deleted; the reason stands in the status and it is tried again.
    async fn keep_row(&mut self, user: &UserId, error: DbError) {
        let DbError::Refused { kind, place } = error else {
            return;
        };
        let code = match kind {
            Refusal::Constraint => "23503",
            _ => return self.note_kept(user, RowRefusal::untold()).await,
        };
        self.note_kept(
            user,
            RowRefusal {
                code: code.into(),
                place,
            },
        )
        .await;
    }

    async fn note_kept(&mut self, user: &UserId, refused: RowRefusal) {
        let reason = format!(
            "the deleted user's row could not be removed: {}",
            refusal::reason(&refused)
        );
        tracing::warn!(%user, reason, "set aside");
        let Ok(conn) = self.link.conn() else { return };
        if let Err(error) = self.sql.set_aside(conn, user, &refused.code, &reason).await {
            tracing::warn!(%error, "the refusal could not be noted");
            if matches!(Failure::of(error), Failure::Away) {
                self.link.drop_connection();
            }
        }
    }
}

/// The row goes, the tombstone stays.
pub fn purge_plan(user: &UserId, loaded: &Loaded) -> Plan {
    let source = Source {
        origin: Origin::Refetch,
        route: "purge".into(),
        request_id: "".into(),
    };
    let before = loaded.row.as_ref();
    let change = Change {
        before: None,
        ..Change::new(Kind::Purged, before, &Columns::default(), Arc::new(source))
    };
    let state = state_of(loaded);
    let write = Write {
        row: RowWrite::Nothing,
        change: Some(change),
        state: State {
            standing: Standing::Purged,
            ..state.clone()
        },
        before: state,
        is_new: false,
        bumps: true,
        doubt: DoubtWrite::Keep(loaded.known.doubt),
        doubt_is_awaited: false,
        ends_set_aside: true,
        is_aside: false,
    };
    Plan::of(BTreeMap::from([(user.clone(), write)]))
}
