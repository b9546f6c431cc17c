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
const READ_ONLY: &str =
    "it is read-only (a standby, or default_transaction_read_only): point DATABASE_URL at the primary";

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
