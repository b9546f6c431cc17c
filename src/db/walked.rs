//! Whether everyone has been walked by since a moment, by the database's own clock.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Timestamptz};

use super::statement::{optional, statement};
use super::{Database, DbError};

#[derive(QueryableByName)]
struct At {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<DateTime<Utc>>,
}

/// Now.
///
/// # Errors
/// As the database gives them.
pub async fn now(database: &Database) -> Result<DateTime<Utc>, DbError> {
    let now = at(database, "SELECT now() AS at").await?;
    now.ok_or_else(|| DbError::Unfit("the database has no clock".into()))
}

/// When the walk began, of those that are done, that began last.
///
/// # Errors
/// As the database gives them.
pub async fn last_began(database: &Database) -> Result<Option<DateTime<Utc>>, DbError> {
    let sql = "SELECT max(started_at) AS at FROM {state}.backfill WHERE state = 'done'";
    at(database, sql).await
}

async fn at(database: &Database, sql: &str) -> Result<Option<DateTime<Utc>>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(sql);
    let at: Option<At> = optional(statement(&sql), &mut conn).await?;
    Ok(at.and_then(|at| at.at))
}
