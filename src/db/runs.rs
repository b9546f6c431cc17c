//! Walks over all users of the provider: who walks, where the walk stands, its account.
//!
//! One walk of each kind at a time; one whose owner died is taken over where its last page was
//! committed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::instances::DEAD_AFTER;
use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError, walked};
use crate::user::Position;

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everyone has a row.
    Backfill,
    /// And whoever is gone is deleted.
    Reconcile,
}

impl Kind {
    /// The word in the table, the log and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Backfill => "backfill",
            Kind::Reconcile => "reconcile",
        }
    }
}

/// A reconcile that failed goes on where it stopped for so long; after that what it has met says
/// too little.
const STALE: Duration = Duration::from_secs(3_600);

/// A walk and its account.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, serde::Serialize)]
pub struct Run {
    #[diesel(sql_type = SqlUuid)]
    pub run: Uuid,
    /// `requested`, `running`, `done` or `failed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Nullable<Text>)]
    #[serde(skip)]
    pub checkpoint: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub fetched: i64,
    /// The same, each once however often the list was begun anew.
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub met: i64,
    #[diesel(sql_type = BigInt)]
    pub inserted: i64,
    #[diesel(sql_type = BigInt)]
    pub updated: i64,
    #[diesel(sql_type = BigInt)]
    pub unchanged: i64,
    #[diesel(sql_type = BigInt)]
    pub older: i64,
    #[diesel(sql_type = BigInt)]
    pub set_aside: i64,
    #[diesel(sql_type = Integer)]
    pub resumed: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub total: Option<i64>,
    /// Why it failed, or what holds it up.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    #[diesel(sql_type = Text)]
    #[serde(skip)]
    pub kind: String,
    #[diesel(sql_type = Bool)]
    #[serde(skip)]
    pub lifted: bool,
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub since: i64,
    /// Of a reconcile: users who were not met and are gone.
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub deleted: i64,
    /// The same who were met: the list shows them as deleted.
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub deleted_listed: i64,
    /// Not met, and there all the same.
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub spared: i64,
    /// Not met and not read, for too many are gone.
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub held_back: i64,
    /// Of those who were there all the same: whose rows said something else.
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    pub changed_unlisted: i64,
    /// Its owner lives.
    #[diesel(sql_type = Bool)]
    pub is_owned: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub started_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// What had changed without usertap's knowing, by what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    pub created: i64,
    pub changed: i64,
    pub deleted: i64,
}

impl Run {
    /// What a reconcile found.
    pub fn drift(&self) -> Drift {
        Drift {
            created: self.inserted,
            changed: self.updated - self.deleted_listed + self.changed_unlisted,
            deleted: self.deleted + self.deleted_listed,
        }
    }

    /// Every user fetched is accounted for.
    pub fn balanced(&self) -> bool {
        self.fetched == self.inserted + self.updated + self.unchanged + self.older + self.set_aside
    }

    /// It met clearly fewer users than there are.
    pub fn is_short(&self) -> bool {
        let total = self.total.unwrap_or(0).unsigned_abs();
        walked::is_short(self.met.unsigned_abs(), total)
    }

    pub fn kind(&self) -> Kind {
        match self.kind.as_str() {
            "reconcile" => Kind::Reconcile,
            _ => Kind::Backfill,
        }
    }

    /// Who has changed since then is not missing.
    pub fn since(&self) -> Position {
        Position(self.since)
    }

    pub fn is_failed(&self) -> bool {
        self.state == "failed"
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "done" | "failed")
    }
}

const COLUMNS: &str = "b.run, b.state, b.checkpoint::text AS checkpoint, b.fetched, b.inserted, b.updated,
    b.unchanged, b.older, b.set_aside, b.resumed, b.total, b.error, b.kind, b.lifted, b.since, b.deleted,
    b.deleted_listed, b.spared, b.held_back, coalesce((b.checkpoint ->> 'changed')::bigint, 0) AS changed_unlisted,
    coalesce((b.checkpoint ->> 'met')::bigint, b.fetched) AS met, EXISTS (
        SELECT FROM {state}.instances i WHERE i.id = b.owner AND {silence} < $1
    ) AS is_owned, b.started_at, b.ended_at";

fn alive() -> i32 {
    seconds(DEAD_AFTER)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// Asks for a backfill.
///
/// # Errors
/// As the database gives them.
pub async fn request(database: &Database) -> Result<Uuid, DbError> {
    request_a(database, Kind::Backfill).await
}

/// Asks for a walk: the unfinished one of this kind, the one that failed last unless what it kept was spoilt,
/// else a new one.
///
/// # Errors
/// As the database gives them.
pub async fn request_a(database: &Database, kind: Kind) -> Result<Uuid, DbError> {
    let mut conn = database.get().await?;
    // A yes was said to the one that failed, not to whoever asks now.
    let revive = database.names.sql(
        "UPDATE {state}.backfill SET state = 'requested', error = NULL, ended_at = NULL, lifted = false
         WHERE state = 'failed' AND (checkpoint IS NOT NULL OR fetched = 0) AND (kind = 'backfill' OR moved_at > now() - make_interval(secs => $2))
           AND run = (SELECT run FROM {state}.backfill WHERE kind = $1 ORDER BY started_at DESC LIMIT 1)
           AND NOT EXISTS (SELECT FROM {state}.backfill WHERE kind = $1 AND state IN ('requested', 'running'))",
    );
    let revive = statement(&revive)
        .bind::<Text, _>(kind.as_str())
        .bind::<Integer, _>(seconds(STALE));
    execute(revive, &mut conn).await?;
    let request = database.names.sql(
        "INSERT INTO {state}.backfill (run, state, kind, since)
         SELECT gen_random_uuid(), 'requested', $1, position FROM {state}.meta ON CONFLICT DO NOTHING",
    );
    execute(statement(&request).bind::<Text, _>(kind.as_str()), &mut conn).await?;
    let unfinished = latest(database, kind).await?;
    unfinished
        .map(|run| run.run)
        .ok_or_else(|| DbError::Unfit("the walk that was asked for is gone: ask again".into()))
}

/// Somebody has said yes: this reconcile holds no deletion back.
///
/// # Errors
/// As the database gives them.
pub async fn lift(database: &Database, run: Uuid) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let lift = database
        .names
        .sql("UPDATE {state}.backfill SET lifted = true WHERE run = $1");
    execute(statement(&lift).bind::<SqlUuid, _>(run), &mut conn).await?;
    Ok(())
}

/// Takes the unfinished walk whose owner does not live that was asked for first.
///
/// # Errors
/// As the database gives them.
pub async fn take(database: &Database, owner: Uuid) -> Result<Option<Run>, DbError> {
    take_one(database, owner, None).await
}

/// Takes this one, or whichever was asked for first.
///
/// # Errors
/// As the database gives them.
pub async fn take_one(database: &Database, owner: Uuid, run: Option<Uuid>) -> Result<Option<Run>, DbError> {
    let mut conn = database.get().await?;
    let free = "NOT EXISTS (
             SELECT FROM {state}.instances i
             WHERE i.id = b.owner AND i.id <> $2 AND {silence} < $1)";
    let take = database.names.sql(&format!(
        "UPDATE {{state}}.backfill b SET owner = $2, state = 'running', moved_at = now(),
             resumed = b.resumed + (b.checkpoint IS NOT NULL)::integer
         WHERE b.state IN ('requested', 'running') AND {free} AND b.run = (
             SELECT b.run FROM {{state}}.backfill b
             WHERE b.state IN ('requested', 'running') AND ($3 IS NULL OR b.run = $3) AND {free}
             ORDER BY b.started_at LIMIT 1)
         RETURNING {COLUMNS}"
    ));
    let take = statement(&take)
        .bind::<Integer, _>(alive())
        .bind::<SqlUuid, _>(owner)
        .bind::<Nullable<SqlUuid>, _>(run);
    Ok(optional(take, &mut conn).await?)
}

/// Ends a reconcile; so many users were not read, for too many are gone.
///
/// # Errors
/// As the database gives them.
pub async fn end(database: &Database, run: Uuid, owner: Uuid, held_back: i64) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let end = database.names.sql(
        "UPDATE {state}.backfill SET state = 'done', owner = NULL, held_back = $3, error = NULL, ended_at = now()
         WHERE run = $1 AND owner = $2 AND state = 'running'",
    );
    let end = statement(&end)
        .bind::<SqlUuid, _>(run)
        .bind::<SqlUuid, _>(owner)
        .bind::<BigInt, _>(held_back);
    execute(end, &mut conn).await?;
    Ok(())
}

/// Lets go of a walk, so that another process takes it at once.
///
/// # Errors
/// As the database gives them.
pub async fn release(database: &Database, run: Uuid, owner: Uuid) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let release = database.names.sql(
        "UPDATE {state}.backfill SET owner = NULL, state = 'requested'
         WHERE run = $1 AND owner = $2 AND state = 'running'",
    );
    let release = statement(&release)
        .bind::<SqlUuid, _>(run)
        .bind::<SqlUuid, _>(owner);
    execute(release, &mut conn).await?;
    Ok(())
}

/// Ends a walk that cannot go on; [`request`] makes it go on where it stopped, or another begin where what it has
/// kept is spoilt. Nothing happens to one that another has taken meanwhile.
///
/// # Errors
/// As the database gives them.
pub async fn fail(
    database: &Database,
    run: Uuid,
    owner: Uuid,
    error: &str,
    is_spoilt: bool,
) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let fail = database.names.sql(
        "UPDATE {state}.backfill SET owner = NULL, state = 'failed', error = $3, ended_at = now(),
             checkpoint = CASE WHEN NOT $4 THEN checkpoint END
         WHERE run = $1 AND owner = $2 AND state = 'running'",
    );
    let fail = statement(&fail)
        .bind::<SqlUuid, _>(run)
        .bind::<SqlUuid, _>(owner)
        .bind::<Text, _>(error)
        .bind::<Bool, _>(is_spoilt);
    execute(fail, &mut conn).await?;
    Ok(())
}

/// Notes what keeps a walk from going on, for whoever follows it; its next page takes it away.
///
/// # Errors
/// As the database gives them.
pub async fn held_up(database: &Database, owner: Uuid, by: &str) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let note = database
        .names
        .sql("UPDATE {state}.backfill SET error = $2 WHERE owner = $1 AND state = 'running'");
    let note = statement(&note).bind::<SqlUuid, _>(owner).bind::<Text, _>(by);
    execute(note, &mut conn).await?;
    Ok(())
}

/// Notes how many users there are, where the provider says so; the fewest that it has said.
///
/// # Errors
/// As the database gives them.
pub async fn set_total(database: &Database, run: Uuid, total: i64) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let set = database
        .names
        .sql("UPDATE {state}.backfill SET total = least(total, $2) WHERE run = $1");
    execute(
        statement(&set).bind::<SqlUuid, _>(run).bind::<BigInt, _>(total),
        &mut conn,
    )
    .await?;
    Ok(())
}

/// One walk.
///
/// # Errors
/// As the database gives them.
pub async fn one(database: &Database, run: Uuid) -> Result<Option<Run>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&format!(
        "SELECT {COLUMNS} FROM {{state}}.backfill b WHERE b.run = $2"
    ));
    let one = statement(&sql)
        .bind::<Integer, _>(alive())
        .bind::<SqlUuid, _>(run);
    Ok(optional(one, &mut conn).await?)
}

/// The unfinished walk of a kind, else the last one.
///
/// # Errors
/// As the database gives them.
pub async fn latest(database: &Database, kind: Kind) -> Result<Option<Run>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&format!(
        "SELECT {COLUMNS} FROM {{state}}.backfill b WHERE b.kind = $2
         ORDER BY b.state IN ('requested', 'running') DESC, b.started_at DESC LIMIT 1"
    ));
    let latest = statement(&sql)
        .bind::<Integer, _>(alive())
        .bind::<Text, _>(kind.as_str());
    Ok(optional(latest, &mut conn).await?)
}
