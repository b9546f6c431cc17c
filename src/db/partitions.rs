//! Partitions of the change rows, made ahead of the positions that need them.
//!
//! A partition is made and filled with nothing before it is attached, so that the attaching takes
//! no lock that a reader of the feed would feel.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::names::quoted;
use super::statement::{Bind, optional, statement};
use super::{Database, DbError};

/// Positions in a partition. Retention drops whole partitions, so one should hold hours, not
/// months, of a busy tenant; 1,000 partitions of this size hold half a billion changes.
const SIZE: i64 = 500_000;

/// When the recorder should call [`ahead`] again.
pub const RENEW_EVERY: i64 = SIZE / 4;

#[derive(QueryableByName)]
struct Head {
    #[diesel(sql_type = BigInt)]
    position: i64,
}

/// Makes the partition that holds the current position and the one after it.
///
/// # Errors
/// As the database gives them.
pub async fn ahead(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let head = database.names.sql("SELECT position FROM {state}.meta");
    let head: Option<Head> = optional(statement(&head), conn).await?;
    let now = head.map_or(0, |head| head.position) / SIZE;
    for number in [now, now + 1] {
        make(database, conn, number).await?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

async fn make(database: &Database, conn: &mut AsyncPgConnection, number: i64) -> Result<(), DbError> {
    let state = quoted(&database.names.state_schema);
    let table = format!("{state}.\"changes_{number}\"");
    let found = statement("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1)) AS yes");
    let found: Option<Exists> = optional(found.bind::<Text, _>(&table), conn).await?;
    if found.is_some_and(|found| found.yes) {
        return Ok(());
    }
    let (from, to) = (number * SIZE, (number + 1) * SIZE);
    conn.batch_execute(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (LIKE {state}.changes INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
         ALTER TABLE {state}.changes ATTACH PARTITION {table} FOR VALUES FROM ({from}) TO ({to});"
    ))
    .await?;
    Ok(())
}
