//! Reading the users' table and what is known beside it; nothing here writes.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Text, Timestamptz};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::columns::Columns;
use super::statement::{Bind, load, optional, statement};
use super::{Database, DbError};
use crate::user::{Position, UserId};

/// One row of `users_sync`. As JSON it is the feed's `after` and `raw_json`, its numbers as they stand there.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Row {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(embed)]
    #[serde(flatten)]
    pub columns: Columns,
    #[diesel(sql_type = Text)]
    #[serde(serialize_with = "unparsed")]
    pub raw_json: String,
}

impl Row {
    /// Nothing but the id is known yet.
    pub fn is_skeleton(&self) -> bool {
        let raw: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&self.raw_json);
        raw.is_ok_and(|raw| raw.len() <= 1) && self.columns.deleted_at.is_none()
    }

    pub fn json(&self) -> Box<RawValue> {
        to_raw_value(self).unwrap_or_default()
    }
}

fn unparsed<S: Serializer>(json: &str, to: S) -> Result<S::Ok, S::Error> {
    let raw: Option<&RawValue> = serde_json::from_str(json).ok();
    raw.serialize(to)
}

/// The row of one user.
///
/// # Errors
/// As the database gives them.
pub async fn one(database: &Database, id: &UserId) -> Result<Option<Row>, DbError> {
    read(database, id, "").await
}

/// The same where nothing of it is in doubt or set aside.
///
/// # Errors
/// As the database gives them.
pub async fn settled(database: &Database, id: &UserId) -> Result<Option<Row>, DbError> {
    let only = "AND NOT EXISTS (SELECT FROM {state}.user_state WHERE id = $1 AND doubt IS NOT NULL)
         AND NOT EXISTS (SELECT FROM {state}.set_aside WHERE id = $1)";
    read(database, id, only).await
}

async fn read(database: &Database, id: &UserId, only: &str) -> Result<Option<Row>, DbError> {
    let mut conn = database.get().await?;
    let sql = format!(
        "SELECT u.id::text, {{columns}}, u.raw_json::text FROM {{users}} u WHERE u.id = $1::{{id}} {only}"
    );
    let sql = database.names.sql(&sql);
    Ok(optional(statement(&sql).bind::<Text, _>(id.as_str()), &mut conn).await?)
}

#[derive(QueryableByName)]
struct Deleted {
    #[diesel(sql_type = Bool)]
    deleted: bool,
}

/// Whether a user is known to have been deleted, which outlives the row.
///
/// # Errors
/// As the database gives them.
pub async fn is_deleted(database: &Database, id: &UserId) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let sql = database
        .names
        .sql("SELECT standing IN ('deleted', 'purged') AS deleted FROM {state}.user_state WHERE id = $1");
    let state: Option<Deleted> = optional(statement(&sql).bind::<Text, _>(id.as_str()), &mut conn).await?;
    Ok(state.is_some_and(|state| state.deleted))
}

#[derive(QueryableByName)]
struct Doubted {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    doubt: i64,
}

/// Of whom a read is owed: those who have no row, or one that holds the id alone, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Unknown,
    Known,
}

/// Users of whom a read is owed since after `behind`, the oldest doubt first; those set aside wait
/// for their time.
///
/// # Errors
/// As the database gives them.
pub async fn doubted(
    database: &Database,
    whose: Whose,
    behind: Position,
    limit: i64,
) -> Result<Vec<(UserId, Position)>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(
        "SELECT s.id, s.doubt FROM {state}.user_state s LEFT JOIN {state}.set_aside a ON a.id = s.id
         WHERE s.doubt > $2 AND (s.standing IN ('none', 'skeleton')) = $3
           AND (a.id IS NULL OR a.next_try <= now()) ORDER BY s.doubt LIMIT $1",
    );
    let owed = statement(&sql)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(behind.0)
        .bind::<Bool, _>(whose == Whose::Unknown);
    let owed: Vec<Doubted> = load(owed, &mut conn).await?;
    let kind = database.names.id_type;
    let known = owed
        .into_iter()
        .filter_map(|owed| Some((UserId::parse(&owed.id, kind)?, Position(owed.doubt))));
    Ok(known.collect())
}

/// What the status and the doctor count.
#[derive(Debug, Clone, QueryableByName, serde::Serialize)]
pub struct Counts {
    #[diesel(sql_type = BigInt)]
    pub users: i64,
    #[diesel(sql_type = BigInt)]
    pub doubts: i64,
    #[diesel(sql_type = BigInt)]
    pub set_aside: i64,
    #[diesel(sql_type = BigInt)]
    pub position: i64,
}

/// Counts for the status; `users` is the planner's estimate, exact right after an ANALYZE.
///
/// # Errors
/// As the database gives them.
pub async fn counts(database: &Database) -> Result<Option<Counts>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(
        "SELECT greatest((SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)), 0) AS users,
                (SELECT count(*) FROM {state}.user_state WHERE doubt IS NOT NULL) AS doubts,
                (SELECT count(*) FROM {state}.set_aside) AS set_aside, position
         FROM {state}.meta WHERE only_row",
    );
    let table = database.names.sql("{users}");
    Ok(optional(statement(&sql).bind::<Text, _>(table), &mut conn).await?)
}

/// Users whose rows the database refused, for the status: id, reason.
#[derive(Debug, Clone, QueryableByName, serde::Serialize)]
pub struct SetAside {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    pub reason: String,
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Timestamptz)]
    pub next_try: DateTime<Utc>,
}

/// The oldest of the rows set aside.
///
/// # Errors
/// As the database gives them.
pub async fn set_aside(database: &Database, limit: i64) -> Result<Vec<SetAside>, DbError> {
    let mut conn = database.get().await?;
    let sql = database
        .names
        .sql("SELECT id, reason, attempts, next_try FROM {state}.set_aside ORDER BY since LIMIT $1");
    Ok(load(statement(&sql).bind::<BigInt, _>(limit), &mut conn).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_parser_reads_is_told_as_it_stands() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        for odd in ["1e400", "\"\\ud800\"", &deep] {
            let row = Row {
                id: "u".into(),
                columns: Columns {
                    name: Some("Ada".into()),
                    updated_at: "+10000-01-01T00:00:00Z".parse().ok(),
                    deleted_at: "2026-01-01T00:00:00Z".parse().ok(),
                    ..Columns::default()
                },
                raw_json: format!("{{\"id\": \"u\", \"odd\": {odd}}}"),
            };
            let told = format!(
                "{{\"id\":\"u\",\"name\":\"Ada\",\"email\":null,\"created_at\":null,\"updated_at\":null,\
                 \"deleted_at\":\"2026-01-01T00:00:00Z\",\"raw_json\":{}}}",
                row.raw_json
            );
            assert_eq!(row.json().get(), told);
        }
    }
}
