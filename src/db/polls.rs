//! How far the provider's changes were read, and which process reads them: one at a time, taken over
//! where it died.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::instances::DEAD_AFTER;
use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError};

/// Where the reading stands.
#[derive(QueryableByName)]
pub struct Kept {
    /// None before it began.
    #[diesel(sql_type = Nullable<Text>)]
    pub place: Option<String>,
    /// When there was last nothing more to read.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub done_at: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct At {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct Age {
    #[diesel(sql_type = Nullable<BigInt>)]
    seconds: Option<i64>,
}

/// Takes the reading over unless another live process has it.
///
/// # Errors
/// As the database gives them.
pub async fn take(database: &Database, owner: Uuid) -> Result<Option<Kept>, DbError> {
    let mut conn = database.get().await?;
    let take = database.names.sql(
        "UPDATE {state}.poll p SET owner = $2
         WHERE p.owner IS NULL OR p.owner = $2 OR NOT EXISTS (
             SELECT FROM {state}.instances i
             WHERE i.id = p.owner AND {silence} < $1)
         RETURNING p.place::text AS place, p.done_at",
    );
    let alive = i32::try_from(DEAD_AFTER.as_secs()).unwrap_or(i32::MAX);
    let take = statement(&take)
        .bind::<Integer, _>(alive)
        .bind::<SqlUuid, _>(owner);
    Ok(optional(take, &mut conn).await?)
}

/// Notes how far it was read; false where another process has taken over. `missed`: what changed from
/// then on may not have been told, which stands until a reconcile that begins later has ended.
///
/// # Errors
/// As the database gives them.
pub async fn keep(
    database: &Database,
    owner: Uuid,
    place: &str,
    missed: Option<DateTime<Utc>>,
    is_done: bool,
) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let keep = database.names.sql(&format!(
        "UPDATE {{state}}.poll p SET place = $2::jsonb, done_at = CASE WHEN $3 THEN now() ELSE done_at END,
             missed_from = CASE WHEN $4 IS NULL THEN missed_from WHEN {IS_MISSED} THEN least(missed_from, $4) ELSE $4 END,
             missed_noticed_at = CASE WHEN $4 IS NULL THEN missed_noticed_at ELSE now() END
         WHERE owner = $1"
    ));
    let keep = statement(&keep)
        .bind::<SqlUuid, _>(owner)
        .bind::<Text, _>(place)
        .bind::<Bool, _>(is_done)
        .bind::<Nullable<Timestamptz>, _>(missed);
    Ok(execute(keep, &mut conn).await? > 0)
}

/// No reconcile has made good what was missed.
const IS_MISSED: &str = "(p.missed_from IS NOT NULL AND NOT EXISTS (
    SELECT FROM {state}.backfill b
    WHERE b.kind = 'reconcile' AND b.state = 'done' AND b.started_at > p.missed_noticed_at))";

/// From when on changes may not have been told.
///
/// # Errors
/// As the database gives them.
pub async fn missed(database: &Database) -> Result<Option<DateTime<Utc>>, DbError> {
    let mut conn = database.get().await?;
    let sql = format!("SELECT p.missed_from AS at FROM {{state}}.poll p WHERE {IS_MISSED}");
    let at: Option<At> = optional(statement(&database.names.sql(&sql)), &mut conn).await?;
    Ok(at.and_then(|missed| missed.at))
}

/// Lets another process go on at once.
///
/// # Errors
/// As the database gives them.
pub async fn release(database: &Database, owner: Uuid) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let release = database
        .names
        .sql("UPDATE {state}.poll SET owner = NULL WHERE owner = $1");
    execute(statement(&release).bind::<SqlUuid, _>(owner), &mut conn).await?;
    Ok(())
}

/// Seconds since there was last nothing more to read, whoever read it.
///
/// # Errors
/// As the database gives them.
pub async fn age(database: &Database) -> Result<Option<i64>, DbError> {
    seconds(
        database,
        "SELECT extract(epoch FROM now() - done_at)::bigint AS seconds FROM {state}.poll",
    )
    .await
}

pub(super) async fn seconds(database: &Database, sql: &str) -> Result<Option<i64>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(sql);
    let age: Option<Age> = optional(statement(&sql), &mut conn).await?;
    Ok(age.and_then(|age| age.seconds).map(|seconds| seconds.max(0)))
}
