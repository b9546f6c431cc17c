//! When the next reconcile is due, where they are on (`RECONCILE_EVERY`): of all processes together.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::Double;

use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError};

/// When the last one began, or the database.
const LAST_RECONCILE: &str = "coalesce(
    (SELECT max(started_at) FROM {state}.backfill WHERE kind = 'reconcile' AND started_at <= now()), m.made_at)";

#[derive(QueryableByName)]
struct Left {
    #[diesel(sql_type = Double)]
    left: f64,
}

/// Asks for a reconcile where the last one, or the database's beginning, is so long ago.
///
/// # Errors
/// As the database gives them.
pub async fn reconcile(database: &Database, every: Duration) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let due = database.names.sql(&format!(
        "INSERT INTO {{state}}.backfill (run, state, kind, since)
         SELECT gen_random_uuid(), 'requested', 'reconcile', m.position FROM {{state}}.meta m
         WHERE now() - make_interval(secs => $1) > {LAST_RECONCILE}
         ON CONFLICT DO NOTHING"
    ));
    execute(statement(&due).bind::<Double, _>(every.as_secs_f64()), &mut conn).await?;
    Ok(())
}

/// How long it is until the next reconcile is due, see [`reconcile`].
///
/// # Errors
/// As the database gives them.
pub async fn reconcile_in(database: &Database, every: Duration) -> Result<Duration, DbError> {
    let mut conn = database.get().await?;
    let left = database.names.sql(&format!(
        "SELECT greatest(extract(epoch FROM {LAST_RECONCILE} + make_interval(secs => $1) - now()), 0)::double precision AS left
         FROM {{state}}.meta m"
    ));
    let left: Option<Left> =
        optional(statement(&left).bind::<Double, _>(every.as_secs_f64()), &mut conn).await?;
    let left = left.and_then(|row| Duration::try_from_secs_f64(row.left).ok());
    Ok(left.unwrap_or(every))
}
