//! Epochs: a failover or a restored backup may have taken away what was committed.

use diesel::QueryableByName;
use diesel::sql_types::BigInt;

use super::statement::{optional, statement};
use super::{Database, DbError};

#[derive(QueryableByName)]
struct Epoch {
    #[diesel(sql_type = BigInt)]
    epoch: i64,
}

/// The last epoch at whose beginning a process did not know all of whom it had written, unless a whole
/// reconcile has begun and ended since.
///
/// # Errors
/// As the database gives them.
pub async fn unknown(database: &Database) -> Result<Option<i64>, DbError> {
    let mut conn = database.get().await?;
    let unknown = database.names.sql(
        "SELECT e.epoch FROM {state}.epochs e
         WHERE e.unknown_at IS NOT NULL AND NOT EXISTS (
             SELECT FROM {state}.backfill b
             WHERE b.kind = 'reconcile' AND b.state = 'done' AND b.started_at > e.unknown_at)
         ORDER BY e.epoch DESC LIMIT 1",
    );
    let epoch: Option<Epoch> = optional(statement(&unknown), &mut conn).await?;
    Ok(epoch.map(|epoch| epoch.epoch))
}
