//! Who else is at work on this database. A heartbeat that stopped is a process that died.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError};

/// How often a live process says so.
pub const BEAT: Duration = Duration::from_secs(1);
/// Silent for so long, it is dead: five missed beats, so that a slow commit is no death.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Serve,
    Backfill,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Serve => "serve",
            Kind::Backfill => "backfill",
        }
    }
}

/// The other live processes, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Others {
    pub serving: i64,
    pub backfilling: i64,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    serving: i64,
    #[diesel(sql_type = BigInt)]
    backfilling: i64,
}

/// Says that `id` lives, and learns who else does. The dead of more than a day ago are removed.
///
/// # Errors
/// As the database gives them.
pub async fn beat(database: &Database, id: Uuid, kind: Kind) -> Result<Others, DbError> {
    let mut conn = database.get().await?;
    let beat = database.names.sql(
        "INSERT INTO {state}.instances (id, kind) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET seen_at = now()",
    );
    let beat = statement(&beat)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(kind.as_str());
    execute(beat, &mut conn).await?;
    let others = database.names.sql(
        "WITH gone AS (DELETE FROM {state}.instances WHERE seen_at < now() - interval '1 day')
         SELECT count(*) FILTER (WHERE kind = 'serve') AS serving,
                count(*) FILTER (WHERE kind = 'backfill') AS backfilling
         FROM {state}.instances WHERE id <> $1 AND seen_at > now() - make_interval(secs => $2)",
    );
    let dead_after = i32::try_from(DEAD_AFTER.as_secs()).unwrap_or(i32::MAX);
    let others = statement(&others)
        .bind::<SqlUuid, _>(id)
        .bind::<Integer, _>(dead_after);
    let others: Option<Counted> = optional(others, &mut conn).await?;
    Ok(others.map_or_else(Others::default, |counted| Others {
        serving: counted.serving,
        backfilling: counted.backfilling,
    }))
}

/// Whether a `serve` is at work on this database.
///
/// # Errors
/// As the database gives them.
pub async fn serving(database: &Database) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(
        "SELECT count(*) FILTER (WHERE kind = 'serve') AS serving, 0::bigint AS backfilling
         FROM {state}.instances WHERE seen_at > now() - make_interval(secs => $1)",
    );
    let dead_after = i32::try_from(DEAD_AFTER.as_secs()).unwrap_or(i32::MAX);
    let counted: Option<Counted> =
        optional(statement(&sql).bind::<Integer, _>(dead_after), &mut conn).await?;
    Ok(counted.is_some_and(|counted| counted.serving > 0))
}

/// Says goodbye, so that nobody waits for a heartbeat that will not come.
///
/// # Errors
/// As the database gives them.
pub async fn leave(database: &Database, id: Uuid) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let leave = database.names.sql("DELETE FROM {state}.instances WHERE id = $1");
    execute(statement(&leave).bind::<SqlUuid, _>(id), &mut conn).await?;
    Ok(())
}
