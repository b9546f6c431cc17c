//! The statements of the recorder: the only ones that write `users_sync` and the change rows.
//!
//! A transaction goes: states locked in id order, rows written (users' triggers and cascades run
//! here), then the position lock, positions, change rows and states in one statement, commit.
//! Nothing of the users' own ever runs under the position lock.

mod alike;
mod by_hand;
mod history;
pub(super) mod load;
pub(super) mod number;
mod planned;
mod rows;
mod text;

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::batch::Plan;
use super::{Checkpoint, Effect};
use crate::db::DbError;
use crate::db::names::Names;
use crate::db::statement::{Bind, execute, load, optional, statement};
use crate::user::UserId;

pub use by_hand::HAS_GONE_BACK;
pub use history::{Following, History};
pub use load::Loading;
pub use number::Numbered;
pub use rows::RowRefusal;

use planned::MadeFor;
use rows::Tried;
use text::*;

/// The recorder's statements, their names filled in.
#[derive(Debug)]
pub struct Sql {
    names: Names,
    made_for: MadeFor,
    look: String,
    tell: String,
    lock: String,
    upsert: String,
    insert: String,
    quiet: String,
    delete: String,
    position_lock: String,
    number: String,
    number_new: String,
    number_alike: String,
    forget: String,
    forget_old: String,
    try_row: String,
    try_deletion: String,
    try_quiet: String,
    version: String,
    taken: String,
    checkpoint: String,
    set_aside: String,
    end_set_aside: String,
    purge: String,
    stays_deleted: String,
    blank: String,
    has_notes: String,
    next_notes: String,
    take_notes: String,
    meet: String,
    hold: String,
    held: String,
    due_purges: String,
    may_stay: String,
    history: String,
    new_epoch: String,
    take_place: String,
    note_unknown: String,
    unasked: String,
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Double)]
    seconds: f64,
}

type Conn = AsyncPgConnection;

/// How long a transaction may wait for locks on the users' table, and for the users' own triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It can be done later.
    Least,
    /// Others' answers wait with it.
    Short,
    /// It is one user's alone, or nobody waits.
    Long,
}

/// Whose rows a transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    Any,
    /// None of them had a state a moment ago, or nobody had so far of an initial copy: there is nothing to
    /// lock, and rows that are simply inserted cost a quarter less. Where there is one after all, the database
    /// refuses, and they are written as [`Users::Any`].
    Strangers,
}

impl Sql {
    pub fn new(names: &Names) -> Sql {
        Sql::made_for(names, MadeFor::default())
    }

    fn made_for(names: &Names, made_for: MadeFor) -> Sql {
        let planned = |statement: &str| made_for.magnitude.marks(&names.sql(statement));
        let has_moved = match made_for.tells_timeline {
            true => HAS_MOVED,
            false => "NULL::boolean",
        };
        Sql {
            made_for,
            look: planned(&look()),
            tell: planned(&tell()),
            lock: planned(&lock()),
            upsert: planned(&format!("{INSERT} {OR_UPDATE}")),
            insert: planned(INSERT),
            quiet: planned(QUIET),
            delete: planned(DELETE),
            position_lock: POSITION_LOCK.replace("{lock}", &names.position_lock().to_string()),
            number: planned(&number(has_moved)),
            number_new: planned(&number_new(has_moved)),
            number_alike: planned(&number_alike(has_moved)),
            forget: names.sql(FORGET),
            forget_old: planned(FORGET_OLD),
            try_row: names.sql("SELECT code, place FROM {state}.try_row($1, $2, $3, $4, $5, $6)"),
            version: names.sql(VERSION),
            try_deletion: names.sql(&TRY_UPDATE.replace("{set}", TRY_DELETION)),
            try_quiet: names.sql(&TRY_UPDATE.replace("{set}", TRY_QUIET)),
            taken: names.sql(TAKEN),
            checkpoint: names.sql(CHECKPOINT),
            set_aside: names.sql(SET_ASIDE),
            end_set_aside: names.sql("DELETE FROM {state}.set_aside WHERE id = ANY($1)"),
            purge: names.sql(PURGE),
            stays_deleted: names.sql(STAYS_DELETED),
            blank: planned(BLANK),
            has_notes: names.sql(&HAS_NOTES.replace("{has_moved}", has_moved)),
            next_notes: names.sql(&NEXT_NOTES.replace("{lock}", &names.by_hand_lock().to_string())),
            take_notes: names.sql(TAKE_NOTES),
            meet: names.sql(MEET),
            hold: planned(HOLD),
            held: planned(HELD),
            due_purges: planned(DUE_PURGES),
            may_stay: names.sql(MAY_STAY),
            history: names.sql(HISTORY),
            new_epoch: names.sql(NEW_EPOCH),
            take_place: names.sql(TAKE_PLACE),
            note_unknown: names.sql(NOTE_UNKNOWN),
            unasked: names
                .sql("INSERT INTO {state}.unasked_deletions (at) SELECT now() FROM generate_series(1, $1)"),
            names: names.clone(),
        }
    }

    pub async fn begin(&self, conn: &mut Conn, patience: Patience) -> Result<(), DbError> {
        let begin = match patience {
            Patience::Least => BEGIN_LEAST,
            Patience::Short => BEGIN_SHORT,
            Patience::Long => BEGIN_LONG,
        };
        Ok(conn.batch_execute(begin).await?)
    }

    /// From here on a statement of this transaction may take so long.
    pub async fn allow(&self, conn: &mut Conn, duration: Duration) -> Result<(), DbError> {
        let allow = format!("SET LOCAL statement_timeout = '{}ms'", duration.as_millis());
        Ok(conn.batch_execute(&allow).await?)
    }

    pub async fn commit(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute("COMMIT").await?)
    }

    /// From here on a statement that fails can be taken back alone.
    pub async fn savepoint(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute("SAVEPOINT alone").await?)
    }

    pub async fn rollback_to_savepoint(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute("ROLLBACK TO SAVEPOINT alone").await?)
    }

    pub async fn rollback(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute("ROLLBACK").await?)
    }

    /// Rows that stood aside and were written now.
    pub async fn end_set_aside(&self, conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
        let ended = plan.writes.iter().filter(|(_, write)| write.ends_set_aside);
        let ids: Vec<&str> = ended.map(|(id, _)| id.as_str()).collect();
        if !ids.is_empty() {
            execute(statement(&self.end_set_aside).bind::<Array<Text>, _>(ids), conn).await?;
        }
        Ok(())
    }

    pub async fn set_aside(
        &self,
        conn: &mut Conn,
        id: &UserId,
        code: &str,
        reason: &str,
    ) -> Result<(), DbError> {
        let set = statement(&self.set_aside);
        let set = set
            .bind::<Text, _>(id.as_str())
            .bind::<Text, _>(code)
            .bind::<Text, _>(reason);
        execute(set, conn).await?;
        Ok(())
    }

    /// Moves a walk on. False where the run is no longer ours to move, or is not where this page begins:
    /// it has moved there already (a commit whose answer was lost), and no page counts twice; or the page
    /// before was not taken, and none is skipped.
    pub async fn checkpoint(
        &self,
        conn: &mut Conn,
        at: &Checkpoint,
        effects: &[Effect],
    ) -> Result<bool, DbError> {
        let count = |effect: Effect| effects.iter().filter(|o| **o == effect).count() as i64;
        let moved = statement(&self.checkpoint)
            .bind::<SqlUuid, _>(at.run)
            .bind::<Text, _>(&at.state)
            .bind::<BigInt, _>(at.fetched as i64)
            .bind::<BigInt, _>(count(Effect::Inserted))
            .bind::<BigInt, _>(count(Effect::Updated) + count(Effect::Deleted))
            // Whoever has no row and is shown as deleted has none after it, either.
            .bind::<BigInt, _>(count(Effect::Unchanged) + count(Effect::Absent))
            .bind::<BigInt, _>(count(Effect::Older))
            .bind::<BigInt, _>(count(Effect::SetAside) + at.malformed as i64)
            .bind::<Bool, _>(at.done)
            .bind::<SqlUuid, _>(at.owner)
            .bind::<Nullable<Text>, _>(&at.follows)
            .bind::<BigInt, _>(count(Effect::Deleted));
        Ok(execute(moved, conn).await? == 1)
    }

    /// Takes away what older changes held of a user.
    pub async fn blank(&self, conn: &mut Conn, id: &UserId) -> Result<(), DbError> {
        execute(statement(&self.blank).bind::<Text, _>(id.as_str()), conn).await?;
        Ok(())
    }

    /// Of rows of deleted users that may stay nobody is told any more that they could not be removed.
    pub async fn may_stay(&self, conn: &mut Conn) -> Result<(), DbError> {
        execute(statement(&self.may_stay), conn).await?;
        Ok(())
    }

    /// Deleted users whose rows are to go, and in how long: the longest deleted of those who are due first.
    pub async fn due_purges(
        &self,
        conn: &mut Conn,
        after: Duration,
    ) -> Result<Vec<(UserId, Duration)>, DbError> {
        let due = statement(&self.due_purges).bind::<Double, _>(after.as_secs_f64());
        let due: Vec<Due> = load(due, conn).await?;
        let kind = self.names.id_type;
        let wait = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let known = due
            .into_iter()
            .filter_map(|row| Some((UserId::parse(&row.id, kind)?, wait(row.seconds))));
        Ok(known.collect())
    }

    /// Why nothing can be written, where that can be told.
    pub async fn diagnose(&self, conn: &mut Conn) -> Result<Option<String>, DbError> {
        let named = [
            "{users}",
            "{state}.user_state",
            "{state}.changes",
            "{state}.try_row",
            "{state}.meta",
        ];
        let [users, states, changes, try_row, meta] = &named.map(|name| self.names.sql(name));
        let asked = statement(DIAGNOSE)
            .bind::<Text, _>(users)
            .bind::<Text, _>(states)
            .bind::<Text, _>(changes)
            .bind::<Text, _>(try_row)
            .bind::<Text, _>(meta);
        let tried: Option<Tried> = optional(asked, conn).await?;
        Ok(tried.and_then(|tried| tried.code))
    }

    /// The same where it is not one row that cannot be, and who it is, where that is known: whoever commits holds the
    /// lock of positions for a moment, and is named only where it has it still after a wait in line.
    pub async fn diagnose_all(&self, conn: &mut Conn) -> Result<Option<(String, Option<String>)>, DbError> {
        let first = self.look_at_all(conn).await?;
        let Some((_, Some(_))) = first else {
            return Ok(first);
        };
        if self.gets_positions(conn).await? {
            return Ok(None);
        }
        let again = self.look_at_all(conn).await?;
        let is_passing = again != first && matches!(again, Some((_, Some(_))));
        Ok(again.filter(|_| !is_passing))
    }

    /// After a wait of seconds at most. Who lets go of the lock meanwhile, and wants it again, stands behind us.
    async fn gets_positions(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let wait = format!("BEGIN; {}; ROLLBACK", self.position_lock);
        let got = conn.batch_execute(&wait).await.is_ok();
        if !got {
            conn.batch_execute("ROLLBACK").await?;
        }
        Ok(got)
    }

    async fn look_at_all(&self, conn: &mut Conn) -> Result<Option<(String, Option<String>)>, DbError> {
        if let Some(code) = self.diagnose(conn).await? {
            return Ok(Some((code, None)));
        }
        let lock = self.names.position_lock().to_string();
        let asked = self.names.sql(&DIAGNOSE_ALL.replace("{lock}", &lock));
        let tried: Option<Tried> = optional(statement(&asked), conn).await?;
        Ok(tried.and_then(|tried| Some((tried.code?, tried.place))))
    }
}
