//! Rows of users whom a complete walk over the provider's list did not meet, and how many of them
//! may be deleted.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::statement::{Bind, execute, load, optional, statement};
use super::{Database, DbError};
use crate::user::{Position, UserId};

/// So much of the table may go within the [`WINDOW`], or so many where that is more.
const SHARE: i64 = 100;
const AT_LEAST: i64 = 10;
const WINDOW: Duration = Duration::from_secs(3_600);

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A new walk has met nobody.
///
/// # Errors
/// As the database gives them.
pub async fn forget_met(database: &Database) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let forget = database.names.sql("DELETE FROM {state}.met");
    execute(statement(&forget), &mut conn).await?;
    Ok(())
}

/// Users whom a reconcile did not meet, as their reads have shown them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub deleted: i64,
    /// There all the same.
    pub spared: i64,
    /// And their rows said something else.
    pub changed: i64,
}

/// Adds them to a reconcile's account; false where another process has it.
///
/// # Errors
/// As the database gives them.
pub async fn add(database: &Database, run: Uuid, owner: Uuid, counts: Counts) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let add = database.names.sql(
        "UPDATE {state}.backfill SET deleted = deleted + $3, spared = spared + $4, moved_at = now(),
             checkpoint = jsonb_set(
                 checkpoint, '{changed}', to_jsonb(coalesce((checkpoint ->> 'changed')::bigint, 0) + $5))
         WHERE run = $1 AND owner = $2 AND state = 'running'",
    );
    let add = statement(&add)
        .bind::<SqlUuid, _>(run)
        .bind::<SqlUuid, _>(owner)
        .bind::<BigInt, _>(counts.deleted)
        .bind::<BigInt, _>(counts.spared)
        .bind::<BigInt, _>(counts.changed);
    Ok(execute(add, &mut conn).await? > 0)
}

/// These stand in the provider's list.
///
/// # Errors
/// As the database gives them.
pub async fn met(database: &Database, users: &[&str]) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let note = database
        .names
        .sql("INSERT INTO {state}.met (id) SELECT unnest($1) ON CONFLICT DO NOTHING");
    execute(statement(&note).bind::<Array<Text>, _>(users), &mut conn).await?;
    Ok(())
}

/// Who has a row, was not met, and has not changed since; in the order of ids, after `after`.
const NOT_MET: &str = "FROM {state}.user_state s
    WHERE s.standing IN ('present', 'skeleton') AND s.position <= $1 AND s.id > $2
      AND NOT EXISTS (SELECT FROM {state}.met m WHERE m.id = s.id)";

/// The next of them.
///
/// # Errors
/// As the database gives them.
pub async fn not_met(
    database: &Database,
    since: Position,
    after: &str,
    limit: i64,
) -> Result<Vec<UserId>, DbError> {
    let mut conn = database.get().await?;
    let sql = format!("SELECT s.id {NOT_MET} ORDER BY s.id LIMIT $3");
    let sql = database.names.sql(&sql);
    let next = statement(&sql)
        .bind::<BigInt, _>(since.0)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit);
    let next: Vec<Id> = load(next, &mut conn).await?;
    let kind = database.names.id_type;
    Ok(next
        .iter()
        .filter_map(|next| UserId::parse(&next.id, kind))
        .collect())
}

/// How many there are after `after`.
///
/// # Errors
/// As the database gives them.
pub async fn how_many(database: &Database, since: Position, after: &str) -> Result<i64, DbError> {
    let sql = database.names.sql(&format!("SELECT count(*) AS count {NOT_MET}"));
    let mut conn = database.get().await?;
    let count = statement(&sql).bind::<BigInt, _>(since.0).bind::<Text, _>(after);
    let count: Option<Count> = optional(count, &mut conn).await?;
    Ok(count.map_or(0, |count| count.count))
}

/// Whether any user has a row and is not deleted.
///
/// # Errors
/// As the database gives them.
pub async fn is_anyone_known(database: &Database) -> Result<bool, DbError> {
    let sql = database.names.sql(
        "SELECT count(*) AS count FROM (
             SELECT FROM {state}.user_state WHERE standing = 'present' LIMIT 1) AS someone",
    );
    let mut conn = database.get().await?;
    let count: Option<Count> = optional(statement(&sql), &mut conn).await?;
    Ok(count.is_some_and(|count| count.count > 0))
}

/// Forgets the deletions of earlier hours.
///
/// # Errors
/// As the database gives them.
pub async fn forget_unasked(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let forget = database
        .names
        .sql("DELETE FROM {state}.unasked_deletions WHERE at <= now() - make_interval(secs => $1)");
    execute(statement(&forget).bind::<Integer, _>(window()), conn).await?;
    Ok(())
}

/// How many deletions may go unasked within an hour.
///
/// # Errors
/// As the database gives them.
pub async fn bound(database: &Database) -> Result<i64, DbError> {
    let mut conn = database.get().await?;
    let count = database
        .names
        .sql("SELECT count(*) AS count FROM {state}.user_state WHERE standing = 'present'");
    let rows: Option<Count> = optional(statement(&count), &mut conn).await?;
    let rows = rows.map_or(0, |rows| rows.count);
    Ok((rows / SHARE).max(AT_LEAST))
}

/// Takes one of the deletions that may go unasked; false where there is none left. Taken before it is
/// done: a crash in between makes the bound smaller, never larger.
///
/// # Errors
/// As the database gives them.
pub async fn may_delete(database: &Database, bound: i64) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let take = database.names.sql(
        "INSERT INTO {state}.unasked_deletions (at) SELECT now() WHERE $1 > (
             SELECT count(*) FROM {state}.unasked_deletions WHERE at > now() - make_interval(secs => $2))",
    );
    let take = statement(&take)
        .bind::<BigInt, _>(bound)
        .bind::<Integer, _>(window());
    Ok(execute(take, &mut conn).await? > 0)
}

fn window() -> i32 {
    i32::try_from(WINDOW.as_secs()).unwrap_or(i32::MAX)
}
