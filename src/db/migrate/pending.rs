//! Running the migrations that are missing, beside whatever else is at work on the tables.
//!
//! What must never be: the app's own statements queued for long. Whoever waits for a lock has everybody else behind
//! it, so each wait is short, and between two of them those go on.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::MigrationHarness;
use tokio::time::sleep;

use super::super::statement::{Bind, optional, statement};
use super::super::{Database, DbError, LOOK_WAIT, Refusal, looked};
use super::MIGRATIONS;

/// An index over a large table takes its time.
pub(super) const BOUNDS: &str = "SET lock_timeout = '1s'; SET statement_timeout = 0";
const TRIES: usize = 5;
/// For those who queued.
const PAUSE: Duration = Duration::from_secs(1);

/// # Errors
/// [`DbError::Away`] and [`Refusal::Locked`] pass by themselves, [`DbError::Unfit`] does not.
pub(super) async fn run(
    database: &Database,
    mut conn: AsyncPgConnection,
) -> Result<AsyncPgConnection, DbError> {
    for _ in 0..TRIES {
        let ran;
        (conn, ran) = attempt(conn).await?;
        let Err(error) = ran else { return Ok(conn) };
        looked(LOOK_WAIT, is_there(&mut conn)).await?;
        if !is_of_a_lock(&error) {
            return Err(failed(&error));
        }
        tracing::debug!("a migration waits for a lock that somebody holds, and is tried again");
        sleep(PAUSE).await;
    }
    Err(locked(looked(LOOK_WAIT, holder(database, &mut conn)).await?))
}

async fn attempt(conn: AsyncPgConnection) -> Result<(AsyncPgConnection, Result<(), String>), DbError> {
    let migrating = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        let ran = harness.run_pending_migrations(MIGRATIONS).map(|_| ());
        let ran = ran.map_err(|error| error.to_string());
        (harness.into_inner(), ran)
    });
    migrating.await.map_err(|error| failed(&error.to_string()))
}

/// A session that was ended in the midst of a migration has failed it; what it said of that is in any language.
async fn is_there(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let there = conn.batch_execute("SELECT 1").await;
    there.map_err(|_| DbError::Away("the connection broke in the midst of a migration".into()))
}

/// The error has no SQLSTATE.
fn is_of_a_lock(error: &str) -> bool {
    ["due to lock timeout", "deadlock detected"]
        .iter()
        .any(|end| error.ends_with(end))
}

fn failed(error: &str) -> DbError {
    DbError::Unfit(format!(
        "a migration failed: {error}. Nothing of it was kept; fix the cause and start again"
    ))
}

fn locked(by: Option<Holder>) -> DbError {
    let by = by.map_or_else(|| "pg_locks shows whose it is".into(), |holder| holder.by);
    DbError::Refused {
        kind: Refusal::Locked,
        place: Some(by),
    }
}

#[derive(QueryableByName)]
struct Holder {
    #[diesel(sql_type = Text)]
    by: String,
}

/// Whose transaction has used one of the tables for longest. Never what is asked there, which may hold anything.
async fn holder(database: &Database, conn: &mut AsyncPgConnection) -> Result<Option<Holder>, DbError> {
    let holder = statement(
        "SELECT format('process %s (application %s%s%s) has used %I.%I: have it end its transaction, or run SELECT pg_terminate_backend(%s)',
                       a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), ', ' || a.state,
                       ', for ' || date_trunc('second', clock_timestamp() - a.xact_start), n.nspname, c.relname, a.pid) AS by
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND n.nspname IN ($1, $2) AND a.pid <> pg_backend_pid()
         ORDER BY a.xact_start, c.relkind DESC LIMIT 1",
    );
    let holder = holder
        .bind::<Text, _>(&database.names.state_schema)
        .bind::<Text, _>(&database.names.users_schema);
    Ok(optional(holder, conn).await?)
}
