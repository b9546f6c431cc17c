//! Removing the rows of deleted users, where the operator wants that.
//!
//! Each in a transaction of its own, after the deletion is committed: the removal fires the users'
//! own `ON DELETE`, which may be slow or refuse. What must never be: an answer, another user or a stop that
//! waits for a slow one. So a lane gives them but a moment; one lane alone takes the slow ones, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::batch::{DoubtWrite, Loaded, Plan, RowWrite, State, Write, state_of};
use super::super::change::{Change, Kind};
use super::super::merge::Standing;
use super::super::refusal;
use super::super::sql::{Loading, Patience, RowRefusal, Users};
use super::flight::Flight;
use super::{Failure, Writer};
use crate::clock;
use crate::config::Deleted;
use crate::db::columns::Columns;
use crate::db::{DbError, Refusal};
use crate::failpoint;
use crate::user::{Origin, Source, UserId};

/// However many were refused: each look reads all whose rows are to go.
const LOOK_APART: Duration = Duration::from_secs(1);
/// What refers to a user may be a large table without an index. Longer, and whoever must wait for old versions of rows
/// to be cleared away would feel it.
const REMOVAL: Duration = Duration::from_secs(60);
/// So long a batch that tells of deletions may wait for the rows to go.
const GRACE: Duration = Duration::from_millis(250);
const PURGE_AT_ONCE: Deleted = Deleted::Purge {
    after: Duration::ZERO,
};

impl Writer {
    /// Rows deleted in the batch just committed, where they are to go at once: the answers leave with the
    /// rows gone. What takes long (a cascade without an index) is left to [`Writer::purge_next`].
    pub(super) async fn purge_now(&mut self, flight: &mut Flight) {
        let users = flight.take_deleted();
        if users.is_empty() || self.deleted != PURGE_AT_ONCE {
            return;
        }
        let until = clock::now() + GRACE;
        for user in users {
            if clock::now() >= until {
                return self.shared.purges.notify_one();
            }
            match self.try_purge(&user, Patience::Least).await {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => {
                    self.keep_row(&user, error).await;
                    // Somebody must know when it is to be tried again.
                    self.shared.purges.notify_one();
                }
                Err(_) => return self.shared.purges.notify_one(),
            }
        }
    }

    pub(super) async fn find_purges(&mut self) {
        let (Deleted::Purge { after }, Ok(conn)) = (self.deleted, self.link.conn()) else {
            return;
        };
        match self.sql.due_purges(conn, after).await {
            Ok(users) => self.take_due(users),
            Err(error) => tracing::warn!(%error, "deleted rows stay for now"),
        }
    }

    /// Who was refused is looked for again when the status says so.
    fn take_due(&mut self, users: Vec<(UserId, Duration)>) {
        let refused = users.iter().find(|(_, wait)| !wait.is_zero());
        if let Some((_, wait)) = refused {
            self.looks_at = self.looks_at.min(clock::now() + LOOK_APART.max(*wait));
        }
        let due = users.into_iter().filter(|(_, wait)| wait.is_zero());
        self.due = due.map(|(user, _)| user).collect();
    }

    /// One row, which may take long. A stop does not wait for it: what the database has begun it takes back.
    pub(super) async fn purge_next(&mut self) {
        let Some(user) = self.due.pop_front() else { return };
        let shared = self.shared.clone();
        let purged = tokio::select! {
            biased;
            () = shared.close.cancelled() => return self.link.drop_connection(),
            purged = self.try_purge(&user, Patience::Long) => purged,
        };
        let is_settled = match purged {
            Ok(()) => true,
            Err(error) => self.keep_row(&user, error).await,
        };
        match is_settled {
            // As many as were looked for may be all, or not.
            true if self.due.is_empty() => self.find_purges().await,
            true => {}
            // It would be found again at once.
            false => self.due.clear(),
        }
    }

    async fn try_purge(&mut self, user: &UserId, patience: Patience) -> Result<(), DbError> {
        let began = clock::now();
        let purged = match self.begin(patience).await {
            Ok(()) => self.purge(user, patience).await,
            Err(_) => Err(DbError::Away("the connection broke".into())),
        };
        if purged.is_err() {
            self.rollback().await;
        }
        purged.map_err(|error| after(error, clock::now() - began))
    }

    async fn purge(&mut self, user: &UserId, patience: Patience) -> Result<(), DbError> {
        let conn = self.link.conn_or_away()?;
        let loaded = self.sql.load(conn, &[user], Loading::ForUpdate, false).await?;
        let plan = loaded
            .get(user)
            .filter(|loaded| loaded.known.standing == Standing::Deleted && loaded.known.doubt.is_none());
        let Some(plan) = plan.map(|loaded| purge_plan(user, loaded)) else {
            return self.commit().await;
        };
        if patience == Patience::Long {
            self.sql.allow(conn, removal()).await?;
        }
        self.shared.silence.may_last(self.number);
        self.sql.purge(conn, user).await?;
        self.sql.blank(conn, user).await?;
        // What is deferred until now.
        self.shared.silence.may_last(self.number);
        let numbered = self.sql.number(conn, &plan, Users::Any).await?;
        self.in_our_epoch(&numbered)?;
        failpoint::reached("purge.numbered");
        self.commit().await?;
        self.shared.announce(&plan, &numbered);
        Ok(())
    }

    /// The row stays, deleted; the reason stands in the status and it is tried again. False where that could
    /// not be noted.
    async fn keep_row(&mut self, user: &UserId, error: DbError) -> bool {
        let refused = match error {
            DbError::Refused { kind, place } => refused(kind, place),
            DbError::Away(_) | DbError::Unfit(_) => {
                self.link.drop_connection();
                return false;
            }
        };
        self.note_kept(user, refused).await
    }

    async fn note_kept(&mut self, user: &UserId, refused: RowRefusal) -> bool {
        let reason = reason(&refused);
        tracing::warn!(?user, reason, "set aside");
        let Ok(conn) = self.link.conn() else {
            return false;
        };
        let Err(error) = self.sql.set_aside(conn, user, &refused.code, &reason).await else {
            return true;
        };
        tracing::warn!(%error, "the refusal could not be noted");
        if matches!(Failure::of(error), Failure::Away) {
            self.link.drop_connection();
        }
        false
    }
}

fn removal() -> Duration {
    failpoint::wait("removal", REMOVAL)
}

/// Whoever takes as long as it may was given up: the server says no more of it than of other refusals.
fn after(error: DbError, lasted: Duration) -> DbError {
    match error {
        DbError::Refused {
            kind: Refusal::Other,
            place,
        } if lasted >= removal() => DbError::Refused {
            kind: Refusal::TooLong,
            place,
        },
        error => error,
    }
}

fn reason(refused: &RowRefusal) -> String {
    match refused.code.as_str() {
        refusal::TOO_LONG => format!(
            "to remove the deleted user's row took longer than {} s: a trigger takes so long, or what refers to users_sync is \
             a large table without an index over that column",
            removal().as_secs()
        ),
        _ => format!(
            "the deleted user's row could not be removed: {}",
            refusal::reason(refused)
        ),
    }
}

/// More patience would not help.
fn is_refusal(error: &DbError) -> bool {
    matches!(
        error,
        DbError::Refused {
            kind: Refusal::Constraint | Refusal::Suppressed,
            ..
        }
    )
}

fn refused(kind: Refusal, place: Option<String>) -> RowRefusal {
    match kind {
        Refusal::Constraint => RowRefusal {
            code: "23503".into(),
            place,
        },
        Refusal::Suppressed => RowRefusal::suppressed(),
        Refusal::TooLong => RowRefusal::too_long(),
        _ => RowRefusal::untold(),
    }
}

/// The row goes, the tombstone stays, and nothing in it tells of the user.
pub fn purge_plan(user: &UserId, loaded: &Loaded) -> Plan {
    let source = Source {
        origin: Origin::Refetch,
        route: "purge".into(),
        request_id: "".into(),
    };
    let before = loaded.row.as_ref();
    let change = Change {
        before: None,
        ..Change::new(Kind::Purged, before, &Columns::default(), true, Arc::new(source))
    };
    let state = state_of(loaded);
    let write = Write {
        row: RowWrite::Nothing,
        change: Some(change),
        state: State {
            position: state.position,
            standing: Standing::Purged,
            version: None,
            volatile: None,
            volatile_at: None,
            refused: None,
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
