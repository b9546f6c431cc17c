//! Changes made by hand get their positions.
//!
//! The triggers on the users' table note whose rows somebody else touched. Here each gets a change
//! row with the row as it is now, under the user's lock, and a read is owed, so that the
//! provider's truth comes back. What is noted is taken away in the same transaction. A user whom another
//! transaction has locked is passed over: nobody else's changes wait with theirs, and the status names them
//! when that lasts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Shared;
use super::super::batch::{Loaded, Plan};
use super::super::by_hand::{self, Noted};
use super::super::change::Kind;
use super::super::sql::{Loading, Numbered, Patience, Users};
use super::Writer;
use crate::db::DbError;
use crate::user::UserId;

/// How often the notes are looked at without being told.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Users in one transaction.
const BATCH: i64 = 500;

/// One way through the notes.
#[derive(Debug, Default)]
struct Pass {
    /// The last note that was looked at.
    after: i64,
    /// Users whom another transaction has locked: their notes wait for the next pass, all of them, so that
    /// their order stays.
    held: BTreeSet<UserId>,
}

/// How far a pass has come.
enum Passed {
    Some,
    All,
    /// Another process is at it.
    Elsewhere,
}

impl Writer {
    /// Until no note is left but those of users who are held. What fails stays noted and is tried again.
    pub(super) async fn number_by_hand(&mut self) {
        let mut pass = Pass::default();
        // What is left at a stop stays noted.
        while !self.shared.close.is_cancelled() {
            match self.number_noted(&mut pass).await {
                Ok(Passed::Some) => {}
                Ok(Passed::All) => {
                    self.shared.silence.done(self.number);
                    return self.shared.health.by_hand.passed(pass.held);
                }
                Ok(Passed::Elsewhere) => return,
                Err(error) => {
                    tracing::debug!(%error, "what was changed by hand waits for its position");
                    self.shared.health.by_hand.failed(&error);
                    return self.mend(error).await;
                }
            }
        }
    }

    async fn number_noted(&mut self, pass: &mut Pass) -> Result<Passed, DbError> {
        let known = self.shared.head.sent();
        let conn = self.link.conn_or_away()?;
        let heard = self.sql.heard(conn, known).await?;
        self.shared.health.by_hand.hears(!heard.is_deaf);
        if !heard.has_notes {
            return Ok(Passed::All);
        }
        match self.begin(Patience::Long).await {
            Ok(()) => self.number_some(pass).await,
            Err(_) => Err(DbError::Away("the connection broke".into())),
        }
    }

    /// An idle writer learns here that its connection is gone.
    async fn mend(&mut self, error: DbError) {
        self.rollback().await;
        if matches!(error, DbError::Away(_)) {
            // The next job connects, with pauses and for as long as it takes.
            if let Err(error @ DbError::Unfit(_)) = self.connect().await {
                self.shared.health.note_connecting(&error.to_string());
            }
        }
    }

    /// One transaction.
    async fn number_some(&mut self, pass: &mut Pass) -> Result<Passed, DbError> {
        let conn = self.link.conn_or_away()?;
        let next = match self.sql.next_notes(conn, pass.after, BATCH).await? {
            Some(next) if !next.is_empty() => next,
            none => {
                self.commit().await?;
                return Ok(none.map_or(Passed::Elsewhere, |_| Passed::All));
            }
        };
        if next.is_full {
            // It may take a while until all of them are told: what is remembered of their rows is not so any more.
            self.shared.anybody_changed();
        }
        let users: Vec<&UserId> = next.users.difference(&pass.held).collect();
        self.sql.meet(conn, &users).await?;
        let free = self.sql.hold(conn, &users).await?;
        let noted = self.sql.take_notes(conn, &next, &free).await?;
        let numbered = self.number_free(&noted).await?;
        self.commit().await?;
        if let Some((plan, numbered)) = numbered {
            self.shared.follow_unasked(&plan, &numbered);
        }
        pass.after = next.last;
        pass.held
            .extend(next.users.into_iter().filter(|user| !free.contains(user)));
        Ok(Passed::Some)
    }

    /// Those who are held until the transaction ends: what is loaded is what the change rows will say.
    async fn number_free(&mut self, noted: &[Noted]) -> Result<Option<(Plan, Numbered)>, DbError> {
        if noted.is_empty() {
            return Ok(None);
        }
        let ids: Vec<&UserId> = noted.iter().map(|noted| &noted.id).collect();
        let conn = self.link.conn_or_away()?;
        let loaded = self.sql.load(conn, &ids, Loading::Held, false).await?;
        let plan = plan(noted, &loaded);
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
        self.in_our_epoch(&numbered)?;
        Ok(Some((plan, numbered)))
    }
}

impl Shared {
    /// It is not known who: by hand, and many at once, or by another process while this one did not look.
    pub(super) fn anybody_changed(&self) {
        self.memory.forget_all();
        if let Some(told) = self.told.get() {
            told(None, "");
        }
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
