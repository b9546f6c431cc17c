//! Whether everyone has been walked by: since a moment, by the database's own clock; of so many.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Timestamptz};

use super::polls::seconds;
use super::statement::{optional, statement};
use super::{Database, DbError};

/// So many users less than there are, or a hundredth where that is more, may have come and gone meanwhile.
const FEW: u64 = 10;
const SHARE: u64 = 100;

/// Whether a walk that met so many of a list of so many has clearly left somebody out.
pub fn is_short(met: u64, total: u64) -> bool {
    total.saturating_sub(met) > FEW.max(total / SHARE)
}

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

/// Seconds since then.
///
/// # Errors
/// As the database gives them.
pub async fn age(database: &Database) -> Result<Option<i64>, DbError> {
    let sql = "SELECT extract(epoch FROM now() - max(started_at))::bigint AS seconds FROM {state}.backfill
               WHERE state = 'done'";
    seconds(database, sql).await
}

async fn at(database: &Database, sql: &str) -> Result<Option<DateTime<Utc>>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(sql);
    let at: Option<At> = optional(statement(&sql), &mut conn).await?;
    Ok(at.and_then(|at| at.at))
}
