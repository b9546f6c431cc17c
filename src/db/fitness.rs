//! What stands between usertap and a database that it can use: a pooler that loses prepared
//! statements, a server that takes no writes. Looked at once, at the first connection, and by `doctor`.

use std::pin::pin;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::statement::{optional, statement};
use super::{Database, DbError};

/// What a transaction pooler answers that does not know prepared statements.
pub const LOSES_STATEMENTS: &str = "DATABASE_URL leads through a pooler that loses prepared statements (PgBouncer before 1.21, or with \
     max_prepared_statements=0, in transaction mode): point DATABASE_URL past it, or upgrade it and set \
     max_prepared_statements above 0";
const SINGLE_STATEMENTS: &str = "DATABASE_URL leads through a pooler in statement mode (pool_mode=statement), which refuses every \
     transaction: set its pool_mode to transaction or session, or point DATABASE_URL past it";
/// So long a statement may wait for the connection of another before that gives it back: a pooler may have but one.
const ALONE: Duration = Duration::from_millis(500);
const NEEDS_DIRECT: &str = "DATABASE_URL leads through a transaction pooler: set DATABASE_DIRECT_URL to the database's own address \
     (on Neon the same without `-pooler`), for migrations and LISTEN";
const ANOTHER: &str = "DATABASE_DIRECT_URL leads to another database than DATABASE_URL: set it to the same one's own address, or take \
     it out (DATABASE_URL_UNPOOLED counts as one)";
pub const READ_ONLY: &str = "it is read-only: where it is a standby, point DATABASE_URL at the primary; where default_transaction_read_only \
     is set, take that back";

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
    /// By whom this very statement was prepared.
    #[diesel(sql_type = Text)]
    by: String,
}

/// Nothing is changed by it.
///
/// # Errors
/// [`DbError::Unfit`] with the remedy; [`DbError::Away`] for a server that takes no writes, for after
/// a failover it will.
pub async fn check(database: &Database) -> Result<(), DbError> {
    let by = Uuid::new_v4();
    let mut one = database.connect_plainly().await?;
    let backend = backend(&mut one, by).await?;
    if backend.is_read_only {
        return Err(DbError::Away(READ_ONLY.into()));
    }
    let other = match in_transaction(database).await? {
        // A connection may break at any time.
        None => in_transaction(database).await?,
        begun => begun,
    };
    let mut other = other.ok_or_else(|| DbError::Unfit(SINGLE_STATEMENTS.into()))?;
    let of_other = self::backend(&mut other, by).await?.pid;
    // Two sessions, one backend: somebody hands it on between transactions.
    let is_pooled = of_other == backend.pid;
    match is_pooled {
        true => elsewhere(&mut one, &mut other, by).await?,
        false => other.batch_execute("ROLLBACK").await?,
    }
    match is_pooled && !database.reach.is_pooled() {
        true => Err(DbError::Unfit(NEEDS_DIRECT.into())),
        false => Ok(()),
    }
}

/// While the other holds that backend, this statement meets one that it was not prepared on, where there
/// is a second.
async fn elsewhere(
    one: &mut AsyncPgConnection,
    other: &mut AsyncPgConnection,
    by: Uuid,
) -> Result<(), DbError> {
    {
        let mut again = pin!(backend(one, by));
        let met = timeout(ALONE, &mut again).await;
        other.batch_execute("ROLLBACK").await?;
        if let Ok(met) = met {
            return met.map(|_| ());
        }
        again.await?;
    }
    keeps_apart(one).await
}

/// Where there is no second backend, statements are lost only once another process uses the first. A pooler that
/// keeps those of its clients apart gives them names of its own, the client's are `s0`, `s1`.
async fn keeps_apart(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let found =
        statement("SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name ~ '^s[0-9]+$') AS yes");
    let found: Option<Yes> = optional(found, conn).await?;
    match found.is_some_and(|found| found.yes) {
        true => Err(DbError::Unfit(LOSES_STATEMENTS.into())),
        false => Ok(()),
    }
}

/// Nothing where it is refused. A pooler of single statements also hangs up, and what it said may be lost with that.
async fn in_transaction(database: &Database) -> Result<Option<AsyncPgConnection>, DbError> {
    let mut conn = database.connect_plainly().await?;
    let begun = conn.batch_execute("BEGIN").await;
    Ok(begun.ok().map(|()| conn))
}

/// That both ways lead to one database: migrations and the feed's notifications go by the direct one.
/// Where one of them is away, nobody can tell.
///
/// # Errors
/// [`DbError::Unfit`] with the remedy.
pub async fn same(database: &Database) -> Result<(), DbError> {
    if !database.reach.is_pooled() {
        return Ok(());
    }
    let (one, other) = (
        database.connect_plainly().await,
        database.connect_directly().await,
    );
    let (Ok(mut one), Ok(mut other)) = (one, other) else {
        return Ok(());
    };
    let lock = i64::from(Uuid::new_v4().as_u128() as u32);
    // Advisory locks are of one database, whatever its address.
    other
        .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({lock})"))
        .await?;
    let free = format!("SELECT pg_try_advisory_xact_lock({lock}) AS yes");
    let free: Option<Yes> = optional(statement(&free), &mut one).await?;
    other.batch_execute("ROLLBACK").await?;
    match free.is_some_and(|free| free.yes) {
        true => Err(DbError::Unfit(ANOTHER.into())),
        false => Ok(()),
    }
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Statements are known to a backend by their number. Where a process before this one has left one of the
/// same number there, that is carried out, and answers with another name.
async fn backend(conn: &mut AsyncPgConnection, by: Uuid) -> Result<Backend, DbError> {
    let sql = format!(
        "SELECT pg_backend_pid() AS pid,
            pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS is_read_only,
            '{by}'::text AS by"
    );
    let asked = super::POOL_WAIT;
    let found = timeout(asked, optional(statement(&sql), conn)).await;
    let found: Option<Backend> = found.map_err(|_| DbError::Away("it is silent".into()))??;
    let found = found.ok_or_else(|| DbError::Away("it gives no answer".into()))?;
    match found.by == by.to_string() {
        true => Ok(found),
        false => Err(DbError::Unfit(LOSES_STATEMENTS.into())),
    }
}
