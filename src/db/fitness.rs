//! What stands between usertap and a database that it can use: a pooler that loses prepared
//! statements, a server that takes no writes. Looked at once, at the first connection, and by `doctor`.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;

use super::statement::{optional, statement};
use super::{Database, DbError};

/// What a transaction pooler answers that does not know prepared statements.
pub const LOSES_STATEMENTS: &str = "DATABASE_URL leads through a pooler that loses prepared statements (PgBouncer before 1.21, or with \
     max_prepared_statements=0, in transaction mode): point DATABASE_URL past it, or upgrade it and set \
     max_prepared_statements above 0";
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
    let mut other = database.connect_plainly().await?;
    other.batch_execute("BEGIN").await?;
    let of_other = self::backend(&mut other, by).await?.pid;
    // Two sessions, one backend: somebody hands it on between transactions.
    let is_pooled = of_other == backend.pid;
    let again = match is_pooled {
        // While the other holds that backend, this statement meets one that it was not prepared on.
        true => self::backend(&mut one, by).await.map(|_| ()),
        false => Ok(()),
    };
    other.batch_execute("ROLLBACK").await?;
    again?;
    match is_pooled && !database.reach.is_pooled() {
        true => Err(DbError::Unfit(NEEDS_DIRECT.into())),
        false => Ok(()),
    }
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
    let free: Option<Free> = optional(statement(&free), &mut one).await?;
    other.batch_execute("ROLLBACK").await?;
    match free.is_some_and(|free| free.yes) {
        true => Err(DbError::Unfit(ANOTHER.into())),
        false => Ok(()),
    }
}

#[derive(QueryableByName)]
struct Free {
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
    let found = tokio::time::timeout(asked, optional(statement(&sql), conn)).await;
    let found: Option<Backend> = found.map_err(|_| DbError::Away("it is silent".into()))??;
    let found = found.ok_or_else(|| DbError::Away("it gives no answer".into()))?;
    match found.by == by.to_string() {
        true => Ok(found),
        false => Err(DbError::Unfit(LOSES_STATEMENTS.into())),
    }
}
