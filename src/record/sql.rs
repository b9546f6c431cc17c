//! The statements of the recorder: the only ones that write `users_sync` and the change rows.
//!
//! A transaction goes: states locked in id order, rows written (users' triggers and cascades run
//! here), then the position lock, positions, change rows and states in one statement, commit.
//! Nothing of the users' own ever runs under the position lock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::batch::{Aside, Columns, DoubtWrite, Loaded, Plan, RowWrite, Write};
use super::change::Change;
use super::memory::stranger;
use super::merge::{Known, Standing};
use super::{Checkpoint, Outcome};
use crate::db::DbError;
use crate::db::names::Names;
use crate::db::statement::{Bind, execute, load, optional, statement};
use crate::user::{ContentHash, Position, Profile, Tick, UserId, View};

/// The recorder's statements, their names filled in once.
#[derive(Debug)]
pub struct Sql {
    names: Names,
    load: String,
    lock: String,
    upsert: String,
    quiet: String,
    delete: String,
    number: String,
    try_row: String,
    checkpoint: String,
    set_aside: String,
    end_set_aside: String,
    purge: String,
    blank: String,
    due_purges: String,
    history: String,
    new_epoch: String,
}

/// A row of the users' table is never waited for longer than this, and a user's trigger never
/// runs longer than that: what takes longer is set aside.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'";

const LOAD: &str = "
    SELECT s.id, s.position, s.standing, s.version, s.content, s.volatile, s.volatile_at, s.doubt,
           s.refused, a.next_try > now() AS waits,
           u.id IS NOT NULL AS has_row, u.name, u.email, u.created_at, u.updated_at, u.deleted_at,
           CASE WHEN $2 THEN u.raw_json::text END AS raw
    FROM {state}.user_state s
    LEFT JOIN {users} u ON u.id = s.id::{id}
    LEFT JOIN {state}.set_aside a ON a.id = s.id
    WHERE s.id = ANY($1)";

const UPSERT: &str = "
    INSERT INTO {users} AS u (id, name, email, created_at, updated_at, raw_json)
    SELECT id::{id}, name, email, created_at, coalesce(updated_at, now()), raw::jsonb
    FROM unnest($1, $2, $3, $4, $5, $6) AS r (id, name, email, created_at, updated_at, raw)
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, email = excluded.email, created_at = excluded.created_at,
        updated_at = excluded.updated_at, deleted_at = NULL, raw_json = excluded.raw_json";

const QUIET: &str = "
    UPDATE {users} AS u SET raw_json = r.raw::jsonb
    FROM unnest($1, $2) AS r (id, raw) WHERE u.id = r.id::{id}";

const DELETE: &str = "
    UPDATE {users} AS u SET deleted_at = $2, updated_at = $2
    WHERE u.id = ANY(SELECT unnest($1)::{id})";

const NUMBER: &str = "
    WITH base AS (
        UPDATE {state}.meta SET position = position + $1 RETURNING position - $1 AS base, epoch
    ), logged AS (
        INSERT INTO {state}.changes (position, nonce, id, type, changed, name, email, created_at, updated_at,
            deleted_at, raw, before, origin, route, request_id)
        SELECT base.base + c.place, c.nonce, c.id, c.type, c.changed::text[], u.name, u.email, u.created_at,
            u.updated_at, u.deleted_at, u.raw_json, c.before::jsonb, c.origin, c.route, c.request_id
        FROM base, unnest($2, $3, $4, $5, $6, $7, $8, $9, $10)
            AS c (place, nonce, id, type, changed, before, origin, route, request_id)
        LEFT JOIN {users} u ON u.id = c.id::{id}
    ), s AS (
        SELECT * FROM unnest($11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) AS s
            (id, is_new, position, place, standing, version, content, volatile, volatile_at, doubt,
             doubt_place, refused)
    ), moved AS (
        UPDATE {state}.user_state t SET
            position = coalesce(base.base + s.place, s.position), standing = s.standing, version = s.version,
            content = s.content, volatile = s.volatile, volatile_at = s.volatile_at,
            doubt = coalesce(base.base + s.doubt_place, s.doubt), refused = s.refused
        FROM base, s WHERE t.id = s.id AND NOT s.is_new RETURNING 1
    ), made AS (
        INSERT INTO {state}.user_state (id, position, standing, version, content, volatile, volatile_at,
            doubt, refused)
        SELECT s.id, coalesce(base.base + s.place, s.position), s.standing, s.version, s.content, s.volatile,
            s.volatile_at, coalesce(base.base + s.doubt_place, s.doubt), s.refused
        FROM base, s WHERE s.is_new ON CONFLICT (id) DO NOTHING RETURNING 1
    )
    SELECT base.base, base.epoch, (SELECT count(*) FROM moved) + (SELECT count(*) FROM made) AS states FROM base";

const CHECKPOINT: &str = "
    UPDATE {state}.backfill SET checkpoint = $2::jsonb, fetched = fetched + $3, inserted = inserted + $4,
        updated = updated + $5, unchanged = unchanged + $6, older = older + $7, set_aside = set_aside + $8,
        moved_at = now(), state = CASE WHEN $9 THEN 'done' ELSE state END,
        ended_at = CASE WHEN $9 THEN now() END
    WHERE run = $1 AND state = 'running' AND owner = $10 AND checkpoint IS DISTINCT FROM $2::jsonb";

const SET_ASIDE: &str = "
    INSERT INTO {state}.set_aside AS a (id, sqlstate, reason, next_try)
    VALUES ($1, $2, $3, now() + make_interval(secs => 10))
    ON CONFLICT (id) DO UPDATE SET sqlstate = excluded.sqlstate, reason = excluded.reason,
        attempts = a.attempts + 1,
        next_try = now() + least(make_interval(secs => 10 * power(2, least(a.attempts, 12))), interval '1 hour')";

const PURGE: &str = "
    WITH gone AS (DELETE FROM {users} WHERE id = $1::{id} AND deleted_at IS NOT NULL RETURNING 1)
    SELECT count(*) AS count FROM gone";

const BLANK: &str = "
    WITH blanked AS (
        UPDATE {state}.changes SET name = NULL, email = NULL, created_at = NULL, updated_at = NULL,
            deleted_at = NULL, raw = NULL, before = NULL, blank = true
        WHERE id = $1 AND NOT blank)
    DELETE FROM {state}.set_aside WHERE id = $1";

const DUE_PURGES: &str = "
    SELECT u.id::text AS id FROM {users} u LEFT JOIN {state}.set_aside a ON a.id = u.id::text
    WHERE u.deleted_at <= now() - make_interval(secs => $1) AND (a.id IS NULL OR a.next_try <= now())
    ORDER BY u.deleted_at LIMIT 100";

const HISTORY: &str = "
    SELECT m.epoch, m.position, m.floor,
           ($1 = 0 OR m.position >= $1) AND ($2 IS NULL OR EXISTS (
               SELECT FROM {state}.changes c WHERE c.position = $1 AND c.nonce = $2)) AS is_ours
    FROM {state}.meta m";

/// The usual reasons why nothing can be written, as the SQLSTATE that a client does not get to see.
const DIAGNOSE: &str = "
    SELECT CASE
        WHEN to_regclass($1) IS NULL OR to_regclass($2) IS NULL OR to_regclass($3) IS NULL THEN '42P01'
        WHEN pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean THEN '25006'
        WHEN NOT has_table_privilege($1, 'SELECT, INSERT, UPDATE') THEN '42501'
        END AS code, NULL AS place";

const NEW_EPOCH: &str = "
    UPDATE {state}.meta SET epoch = epoch + 1, history = gen_random_uuid(), position = greatest(position, $1)
    RETURNING epoch, position, floor, true AS is_ours";

#[derive(QueryableByName)]
struct LoadedRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Text)]
    standing: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    version: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    content: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    volatile: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    volatile_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    doubt: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    refused: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Bool>)]
    waits: Option<bool>,
    #[diesel(sql_type = Bool)]
    has_row: bool,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    updated_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    deleted_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    raw: Option<String>,
}

#[derive(QueryableByName)]
struct NumberedRow {
    #[diesel(sql_type = BigInt)]
    base: i64,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = BigInt)]
    states: i64,
}

/// Where the history of this database stands.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct History {
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    #[diesel(sql_type = BigInt)]
    pub floor: i64,
    /// What this process knew to be committed is still there.
    #[diesel(sql_type = Bool)]
    pub is_ours: bool,
}

#[derive(QueryableByName)]
struct Tried {
    #[diesel(sql_type = Nullable<Text>)]
    code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    place: Option<String>,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Positions given out by one transaction.
#[derive(Debug, Clone)]
pub struct Numbered {
    pub epoch: i64,
    pub last: Position,
    /// Position and nonce of each change, by user.
    pub changes: BTreeMap<UserId, (Position, i32)>,
    /// Position of each doubt raised, by user.
    pub doubts: BTreeMap<UserId, Position>,
    /// Position of each state that moved.
    pub states: BTreeMap<UserId, Position>,
}

/// How the database refused a row; the message is left out, it may quote the user's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefusal {
    pub code: String,
    pub place: Option<String>,
}

type Conn = AsyncPgConnection;

impl Sql {
    pub fn new(names: &Names) -> Sql {
        Sql {
            load: names.sql(LOAD),
            lock: names.sql(&format!("{LOAD} ORDER BY s.id FOR UPDATE OF s")),
            upsert: names.sql(UPSERT),
            quiet: names.sql(QUIET),
            delete: names.sql(DELETE),
            number: names.sql(NUMBER),
            try_row: names.sql("SELECT code, place FROM {state}.try_row($1, $2, $3, $4, $5, $6)"),
            checkpoint: names.sql(CHECKPOINT),
            set_aside: names.sql(SET_ASIDE),
            end_set_aside: names.sql("DELETE FROM {state}.set_aside WHERE id = ANY($1)"),
            purge: names.sql(PURGE),
            blank: names.sql(BLANK),
            due_purges: names.sql(DUE_PURGES),
            history: names.sql(HISTORY),
            new_epoch: names.sql(NEW_EPOCH),
            names: names.clone(),
        }
    }

    pub async fn begin(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute(BEGIN).await?)
    }

    pub async fn commit(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute("COMMIT").await?)
    }

    pub async fn rollback(&self, conn: &mut Conn) -> Result<(), DbError> {
        Ok(conn.batch_execute("ROLLBACK").await?)
    }

    /// What is known of these users; those without a state are strangers.
    pub async fn load(
        &self,
        conn: &mut Conn,
        ids: &[&UserId],
        floor: Position,
        locking: Locking,
        with_raw: bool,
    ) -> Result<BTreeMap<UserId, Loaded>, DbError> {
        let sql = match locking {
            Locking::None => &self.load,
            Locking::ForUpdate => &self.lock,
        };
        let texts: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let query = statement(sql)
            .bind::<Array<Text>, _>(texts)
            .bind::<Bool, _>(with_raw);
        let rows: Vec<LoadedRow> = load(query, conn).await?;
        let mut found: BTreeMap<UserId, Loaded> =
            ids.iter().map(|id| ((*id).clone(), unknown(floor))).collect();
        for row in rows {
            if let Some(id) = UserId::parse(&row.id, self.names.id_type) {
                found.insert(id, row.loaded());
            }
        }
        Ok(found)
    }

    /// Writes the rows of a plan; the states stay for [`Sql::number`].
    pub async fn write_rows(&self, conn: &mut Conn, plan: &Plan, now: DateTime<Utc>) -> Result<(), DbError> {
        self.upsert(conn, plan).await?;
        self.write_quietly(conn, plan).await?;
        self.mark_deleted(conn, plan, now).await
    }

    async fn upsert(&self, conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
        let mut rows = Rows::default();
        for (id, write) in &plan.writes {
            match &write.row {
                RowWrite::Whole(view) => rows.push_view(id, view),
                RowWrite::Skeleton => rows.push_skeleton(id),
                _ => {}
            }
        }
        if rows.ids.is_empty() {
            return Ok(());
        }
        let upsert = statement(&self.upsert)
            .bind::<Array<Text>, _>(rows.ids)
            .bind::<Array<Nullable<Text>>, _>(rows.names)
            .bind::<Array<Nullable<Text>>, _>(rows.emails)
            .bind::<Array<Nullable<Timestamptz>>, _>(rows.created)
            .bind::<Array<Nullable<Timestamptz>>, _>(rows.updated)
            .bind::<Array<Text>, _>(rows.raws);
        execute(upsert, conn).await?;
        Ok(())
    }

    async fn write_quietly(&self, conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
        let quiet = plan.writes.iter().filter_map(|(id, write)| match &write.row {
            RowWrite::Quiet(raw) => Some((id.as_str(), &**raw)),
            _ => None,
        });
        let (ids, raws): (Vec<&str>, Vec<&str>) = quiet.unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let quiet = statement(&self.quiet)
            .bind::<Array<Text>, _>(ids)
            .bind::<Array<Text>, _>(raws);
        execute(quiet, conn).await?;
        Ok(())
    }

    async fn mark_deleted(&self, conn: &mut Conn, plan: &Plan, now: DateTime<Utc>) -> Result<(), DbError> {
        let deleted = plan
            .writes
            .iter()
            .filter(|(_, write)| write.row == RowWrite::Deletion);
        let ids: Vec<&str> = deleted.map(|(id, _)| id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let delete = statement(&self.delete)
            .bind::<Array<Text>, _>(ids)
            .bind::<Timestamptz, _>(now);
        execute(delete, conn).await?;
        Ok(())
    }

    /// Writes one row and says how the database refused it; the transaction stays usable.
    pub async fn try_row(
        &self,
        conn: &mut Conn,
        id: &UserId,
        row: &RowWrite,
    ) -> Result<Option<RowRefusal>, DbError> {
        let mut rows = Rows::default();
        match row {
            RowWrite::Whole(view) => rows.push_view(id, view),
            RowWrite::Skeleton => rows.push_skeleton(id),
            _ => return Ok(None),
        }
        let tried = statement(&self.try_row)
            .bind::<Text, _>(id.as_str())
            .bind::<Nullable<Text>, _>(rows.names.pop().flatten())
            .bind::<Nullable<Text>, _>(rows.emails.pop().flatten())
            .bind::<Nullable<Timestamptz>, _>(rows.created.pop().flatten())
            .bind::<Nullable<Timestamptz>, _>(rows.updated.pop().flatten())
            .bind::<Nullable<Text>, _>(rows.raws.pop());
        let tried: Option<Tried> = optional(tried, conn).await?;
        Ok(tried.and_then(|tried| {
            let place = tried.place.filter(|place| !place.is_empty());
            Some(RowRefusal {
                code: tried.code?,
                place,
            })
        }))
    }

    /// Gives out positions and writes change rows and states. `Err(Refused{Serialization})` where
    /// another process made one of the users meanwhile: the transaction must begin anew.
    pub async fn number(&self, conn: &mut Conn, plan: &Plan) -> Result<Numbered, DbError> {
        let numbering = Numbering::of(plan);
        if numbering.taken > 0 {
            let lock = statement("SELECT pg_advisory_xact_lock($1)");
            execute(lock.bind::<BigInt, _>(self.names.position_lock()), conn).await?;
        }
        let (changes, states) = (ChangeRows::of(plan, &numbering), StateRows::of(plan, &numbering));
        let expected = states.ids.len();
        let number = statement(&self.number)
            .bind::<BigInt, _>(numbering.taken)
            .bind::<Array<BigInt>, _>(changes.places)
            .bind::<Array<Integer>, _>(changes.nonces)
            .bind::<Array<Text>, _>(changes.ids)
            .bind::<Array<Text>, _>(changes.types)
            .bind::<Array<Text>, _>(changes.changed)
            .bind::<Array<Nullable<Text>>, _>(changes.before)
            .bind::<Array<Text>, _>(changes.origins)
            .bind::<Array<Text>, _>(changes.routes)
            .bind::<Array<Text>, _>(changes.requests)
            .bind::<Array<Text>, _>(states.ids)
            .bind::<Array<Bool>, _>(states.is_new)
            .bind::<Array<BigInt>, _>(states.positions)
            .bind::<Array<Nullable<BigInt>>, _>(states.places)
            .bind::<Array<Text>, _>(states.standings)
            .bind::<Array<Nullable<BigInt>>, _>(states.versions)
            .bind::<Array<Nullable<Binary>>, _>(states.contents)
            .bind::<Array<Nullable<Binary>>, _>(states.volatiles)
            .bind::<Array<Nullable<Timestamptz>>, _>(states.volatile_ats)
            .bind::<Array<Nullable<BigInt>>, _>(states.doubts)
            .bind::<Array<Nullable<BigInt>>, _>(states.doubt_places)
            .bind::<Array<Nullable<Binary>>, _>(states.refused);
        let numbered: Option<NumberedRow> = optional(number, conn).await?;
        let numbered =
            numbered.ok_or_else(|| DbError::Unfit("the table meta is empty: restore it".into()))?;
        if usize::try_from(numbered.states) != Ok(expected) {
            return Err(DbError::Refused {
                kind: crate::db::Refusal::Serialization,
                place: None,
            });
        }
        Ok(numbering.numbered(plan, numbered.base, numbered.epoch))
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

    /// Moves a walk on. False where the run is no longer its owner's to move, or has moved there
    /// already (a commit whose answer was lost): no page counts twice.
    pub async fn checkpoint(
        &self,
        conn: &mut Conn,
        at: &Checkpoint,
        outcomes: &[Outcome],
    ) -> Result<bool, DbError> {
        let count = |outcome: Outcome| outcomes.iter().filter(|o| **o == outcome).count() as i64;
        let moved = statement(&self.checkpoint)
            .bind::<SqlUuid, _>(at.run)
            .bind::<Text, _>(&at.state)
            .bind::<BigInt, _>(at.fetched as i64)
            .bind::<BigInt, _>(count(Outcome::Inserted))
            .bind::<BigInt, _>(count(Outcome::Updated))
            .bind::<BigInt, _>(count(Outcome::Unchanged))
            .bind::<BigInt, _>(count(Outcome::Older))
            .bind::<BigInt, _>(count(Outcome::SetAside) + at.malformed as i64)
            .bind::<Bool, _>(at.done)
            .bind::<SqlUuid, _>(at.owner);
        Ok(execute(moved, conn).await? == 1)
    }

    /// Removes a deleted user's row, firing the users' own `ON DELETE`. False if there was none.
    pub async fn purge(&self, conn: &mut Conn, id: &UserId) -> Result<bool, DbError> {
        let gone: Option<Count> = optional(statement(&self.purge).bind::<Text, _>(id.as_str()), conn).await?;
        Ok(gone.is_some_and(|gone| gone.count > 0))
    }

    /// Takes away what older changes held of a user.
    pub async fn blank(&self, conn: &mut Conn, id: &UserId) -> Result<(), DbError> {
        execute(statement(&self.blank).bind::<Text, _>(id.as_str()), conn).await?;
        Ok(())
    }

    /// Deleted users whose rows are due to go, the longest deleted first.
    pub async fn due_purges(
        &self,
        conn: &mut Conn,
        after: std::time::Duration,
    ) -> Result<Vec<UserId>, DbError> {
        let due = statement(&self.due_purges).bind::<diesel::sql_types::Double, _>(after.as_secs_f64());
        let due: Vec<Id> = load(due, conn).await?;
        let kind = self.names.id_type;
        Ok(due
            .into_iter()
            .filter_map(|row| UserId::parse(&row.id, kind))
            .collect())
    }

    /// Whether the database still holds what this process knew to be committed last.
    pub async fn history(
        &self,
        conn: &mut Conn,
        last: Position,
        nonce: Option<i32>,
    ) -> Result<Option<History>, DbError> {
        let history = statement(&self.history);
        let history = history
            .bind::<BigInt, _>(last.0)
            .bind::<Nullable<Integer>, _>(nonce);
        Ok(optional(history, conn).await?)
    }

    /// Why nothing can be written, where that can be told.
    pub async fn diagnose(&self, conn: &mut Conn) -> Result<Option<String>, DbError> {
        let tables = ["{users}", "{state}.user_state", "{state}.changes"].map(|table| self.names.sql(table));
        let [users, states, changes] = &tables;
        let asked = statement(DIAGNOSE)
            .bind::<Text, _>(users)
            .bind::<Text, _>(states)
            .bind::<Text, _>(changes);
        let tried: Option<Tried> = optional(asked, conn).await?;
        Ok(tried.and_then(|tried| tried.code))
    }

    /// Commits were lost: what was sent before proves nothing any more.
    pub async fn new_epoch(&self, conn: &mut Conn, known: Position) -> Result<Option<History>, DbError> {
        Ok(optional(statement(&self.new_epoch).bind::<BigInt, _>(known.0), conn).await?)
    }
}

/// Whether the states are locked until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    None,
    ForUpdate,
}

fn unknown(floor: Position) -> Loaded {
    Loaded {
        known: stranger(floor),
        has_state: false,
        volatile: None,
        volatile_at: None,
        refused: None,
        aside: Aside::No,
        row: None,
        raw: None,
    }
}

impl LoadedRow {
    fn loaded(self) -> Loaded {
        let content = hash(self.content.as_deref());
        Loaded {
            known: Known {
                position: Position(self.position),
                mark: Tick::default(),
                standing: standing(&self.standing, content, self.has_row),
                version: self.version,
                doubt: self.doubt.map(Position),
            },
            has_state: true,
            volatile: hash(self.volatile.as_deref()),
            volatile_at: self.volatile_at,
            refused: hash(self.refused.as_deref()),
            aside: match self.waits {
                None => Aside::No,
                Some(false) => Aside::Due,
                Some(true) => Aside::Waits,
            },
            row: self.has_row.then_some(Columns {
                profile: Profile {
                    name: self.name,
                    email: self.email,
                    created_at: self.created_at,
                    updated_at: self.updated_at,
                },
                deleted_at: self.deleted_at,
            }),
            raw: self.raw.and_then(|raw| serde_json::from_str(&raw).ok()),
        }
    }
}

fn hash(bytes: Option<&[u8]>) -> Option<ContentHash> {
    bytes.and_then(|bytes| bytes.try_into().ok()).map(ContentHash)
}

/// A row that somebody removed by hand is no row, whatever the state says.
fn standing(word: &str, content: Option<ContentHash>, has_row: bool) -> Standing {
    match (word, content) {
        ("deleted", _) if has_row => Standing::Deleted,
        ("deleted" | "purged", _) => Standing::Purged,
        ("present", Some(content)) if has_row => Standing::Present(content),
        ("skeleton" | "present", _) if has_row => Standing::Skeleton,
        _ => Standing::None,
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::None => "none",
        Standing::Skeleton => "skeleton",
        Standing::Present(_) => "present",
        Standing::Deleted => "deleted",
        Standing::Purged => "purged",
    }
}

#[derive(Default)]
struct Rows<'a> {
    ids: Vec<&'a str>,
    names: Vec<Option<&'a str>>,
    emails: Vec<Option<&'a str>>,
    created: Vec<Option<DateTime<Utc>>>,
    updated: Vec<Option<DateTime<Utc>>>,
    raws: Vec<std::borrow::Cow<'a, str>>,
}

impl<'a> Rows<'a> {
    fn push_view(&mut self, id: &'a UserId, view: &'a View) {
        self.ids.push(id.as_str());
        self.names.push(view.profile.name.as_deref());
        self.emails.push(view.profile.email.as_deref());
        self.created.push(view.profile.created_at);
        self.updated.push(view.profile.updated_at);
        self.raws.push((&*view.raw).into());
    }

    fn push_skeleton(&mut self, id: &'a UserId) {
        self.ids.push(id.as_str());
        self.names.push(None);
        self.emails.push(None);
        self.created.push(None);
        self.updated.push(None);
        self.raws
            .push(serde_json::json!({ "id": id.as_str() }).to_string().into());
    }
}

/// Which write takes which place in the order, counted from 1.
#[derive(Debug, Default)]
struct Numbering {
    taken: i64,
    /// Of a change, or of a state that moves without one.
    state: BTreeMap<UserId, i64>,
    doubt: BTreeMap<UserId, i64>,
}

impl Numbering {
    fn of(plan: &Plan) -> Numbering {
        let mut numbering = Numbering::default();
        for (id, write) in &plan.writes {
            if write.change.is_some() || write.bumps {
                numbering.taken += 1;
                numbering.state.insert(id.clone(), numbering.taken);
            }
            if write.doubt == DoubtWrite::Raise {
                numbering.taken += 1;
                numbering.doubt.insert(id.clone(), numbering.taken);
            }
        }
        numbering
    }

    fn numbered(&self, plan: &Plan, base: i64, epoch: i64) -> Numbered {
        let at = |place: i64| Position(base + place);
        let changes = plan.writes.iter().filter_map(|(id, write)| {
            let nonce = write.change.as_ref()?.nonce;
            Some((id.clone(), (at(*self.state.get(id)?), nonce)))
        });
        Numbered {
            epoch,
            last: at(self.taken),
            changes: changes.collect(),
            doubts: self
                .doubt
                .iter()
                .map(|(id, place)| (id.clone(), at(*place)))
                .collect(),
            states: self
                .state
                .iter()
                .map(|(id, place)| (id.clone(), at(*place)))
                .collect(),
        }
    }
}

#[derive(Default)]
struct ChangeRows<'a> {
    places: Vec<i64>,
    nonces: Vec<i32>,
    ids: Vec<&'a str>,
    types: Vec<&'static str>,
    changed: Vec<String>,
    before: Vec<Option<&'a str>>,
    origins: Vec<&'static str>,
    routes: Vec<&'a str>,
    requests: Vec<&'a str>,
}

impl<'a> ChangeRows<'a> {
    fn of(plan: &'a Plan, numbering: &Numbering) -> ChangeRows<'a> {
        let mut rows = ChangeRows::default();
        for (id, write) in &plan.writes {
            if let (Some(change), Some(place)) = (&write.change, numbering.state.get(id)) {
                rows.push(id, change, *place);
            }
        }
        rows
    }

    fn push(&mut self, id: &'a UserId, change: &'a Change, place: i64) {
        self.places.push(place);
        self.nonces.push(change.nonce);
        self.ids.push(id.as_str());
        self.types.push(change.kind.as_str());
        self.changed.push(change.changed_literal());
        self.before.push(change.before.as_deref());
        self.origins.push(change.source.origin.as_str());
        self.routes.push(&change.source.route);
        self.requests.push(&change.source.request_id);
    }
}

#[derive(Default)]
struct StateRows<'a> {
    ids: Vec<&'a str>,
    is_new: Vec<bool>,
    positions: Vec<i64>,
    places: Vec<Option<i64>>,
    standings: Vec<&'static str>,
    versions: Vec<Option<i64>>,
    contents: Vec<Option<Vec<u8>>>,
    volatiles: Vec<Option<Vec<u8>>>,
    volatile_ats: Vec<Option<DateTime<Utc>>>,
    doubts: Vec<Option<i64>>,
    doubt_places: Vec<Option<i64>>,
    refused: Vec<Option<Vec<u8>>>,
}

impl<'a> StateRows<'a> {
    fn of(plan: &'a Plan, numbering: &Numbering) -> StateRows<'a> {
        let mut rows = StateRows::default();
        for (id, write) in &plan.writes {
            rows.push(id, write, numbering);
        }
        rows
    }

    fn push(&mut self, id: &'a UserId, write: &Write, numbering: &Numbering) {
        let bytes = |hash: Option<ContentHash>| hash.map(|hash| hash.0.to_vec());
        let state = &write.state;
        let content = match state.standing {
            Standing::Present(content) => Some(content),
            _ => None,
        };
        self.ids.push(id.as_str());
        self.is_new.push(write.is_new);
        self.positions.push(state.position.0);
        self.places.push(numbering.state.get(id).copied());
        self.standings.push(word(state.standing));
        self.versions.push(state.version);
        self.contents.push(bytes(content));
        self.volatiles.push(bytes(state.volatile));
        self.volatile_ats.push(state.volatile_at);
        self.doubts.push(match write.doubt {
            DoubtWrite::Keep(doubt) => doubt.map(|doubt| doubt.0),
            DoubtWrite::Clear | DoubtWrite::Raise => None,
        });
        self.doubt_places.push(numbering.doubt.get(id).copied());
        self.refused.push(bytes(state.refused));
    }
}
