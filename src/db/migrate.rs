//! Bringing the schema up to date, by one process at a time.
//!
//! What must never be: a wait without an end or without a word. A look has its bound here and one in the
//! database, so that nothing of it stays behind there; a migration may run long, and waits for locks no longer
//! than others who want the same tables can bear.

mod pending;

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::names::quoted;
use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError, LOOK_WAIT, POOL_WAIT, Refusal, fitness, looked, partitions, rights};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The last of them, and the table and column that it made: a role that only serves need not be allowed to
/// read the list of those that were run.
const LAST: (&str, &str, &str) = ("20261130000000", "unasked_deletions", "key");

/// How long another process may take.
const LOCKED_AT_MOST: Duration = Duration::from_secs(60);
/// Where a pooler stands between, a session's bounds are not ours to set but here, on the way past it.
const LOOK_BOUNDS: &str = "SET lock_timeout = '5s'; SET statement_timeout = '10s'";

/// Runs what is missing; waits for another starter that does the same.
///
/// # Errors
/// [`DbError::Unfit`] where a table of that name is not usertap's, or was made for other settings; [`Refusal::Locked`]
/// while somebody else uses what is to be changed.
pub async fn run(database: &Database) -> Result<(), DbError> {
    looked(3 * POOL_WAIT, fitness::same(database)).await?;
    let mut conn = database.connect_directly().await?;
    looked(2 * LOCKED_AT_MOST, lock(database, &mut conn)).await?;
    // Before anything is made, so that a refusal leaves nothing behind.
    if looked(LOOK_WAIT, stage(database, &mut conn)).await? == Stage::Migratable {
        tracing::info!("migrating the database");
        conn.batch_execute(pending::BOUNDS).await?;
        make_schemas(database, &mut conn).await?;
        conn = pending::run(database, conn).await?;
        conn.batch_execute(LOOK_BOUNDS).await?;
        looked(LOOK_WAIT, fits(database, &mut conn)).await?;
        database.forget_connections();
    }
    match looked(LOOK_WAIT, partitions::ahead(database, &mut conn)).await {
        // Whoever records says so once it matters.
        Err(DbError::Unfit(_)) => Ok(()),
        made => made,
    }
}

/// Whether the schema is there and made for these settings, without changing anything.
///
/// # Errors
/// [`DbError::Unfit`] with the remedy where it is not.
pub async fn check(database: &Database) -> Result<(), DbError> {
    looked(3 * POOL_WAIT, fitness::same(database)).await?;
    looked(LOOK_WAIT, is_ready(database)).await
}

async fn is_ready(database: &Database) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    if !has_meta(database, &mut conn).await? {
        return Err(DbError::Unfit(
            "the database is not migrated: run `usertap migrate`, or leave MIGRATE at auto".into(),
        ));
    }
    fits(database, &mut conn).await?;
    match is_current(database, &mut conn).await? {
        true => Ok(()),
        false => Err(DbError::Unfit(
            "the database is of an older usertap: run `usertap migrate`, or leave MIGRATE at auto".into(),
        )),
    }
}

/// The error itself, or what has become of the tables where that is its cause: a database may be made anew while it
/// is in use.
pub async fn explained(database: &Database, error: DbError) -> DbError {
    if !matches!(error, DbError::Refused { .. }) {
        return error;
    }
    match looked(LOOK_WAIT, is_ready(database)).await {
        Err(unfit @ DbError::Unfit(_)) => unfit,
        _ => error,
    }
}

/// What a database is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Migrated,
    /// A migration would succeed as far as can be seen.
    Migratable,
}

/// Looks without changing anything: migrated for these settings, or fit to be.
///
/// # Errors
/// [`DbError::Unfit`] with the remedy where it is neither.
pub async fn inspect(database: &Database) -> Result<Stage, DbError> {
    looked(LOOK_WAIT, async {
        stage(database, &mut *database.get().await?).await
    })
    .await
}

async fn stage(database: &Database, conn: &mut AsyncPgConnection) -> Result<Stage, DbError> {
    if has_meta(database, conn).await? {
        fits(database, conn).await?;
        if is_current(database, conn).await? {
            return Ok(Stage::Migrated);
        }
        owns_tables(database, conn).await?;
        return Ok(Stage::Migratable);
    }
    refuse_foreign_table(database, conn).await?;
    let missing = missing_schemas(database, conn).await?;
    let may = statement(
        "SELECT ($3 OR has_database_privilege(current_database(), 'CREATE')) AND NOT EXISTS (
             SELECT FROM pg_namespace WHERE nspname IN ($1, $2) AND NOT has_schema_privilege(oid, 'CREATE')) AS yes",
    );
    let may = may
        .bind::<Text, _>(&database.names.state_schema)
        .bind::<Text, _>(&database.names.users_schema)
        .bind::<Bool, _>(missing.is_empty());
    let may: Option<Exists> = optional(may, conn).await?;
    match may.is_some_and(|may| may.yes) {
        true => Ok(Stage::Migratable),
        false => Err(schemas_refused(database)),
    }
}

#[derive(QueryableByName)]
struct Foreign {
    #[diesel(sql_type = Text)]
    user: String,
    #[diesel(sql_type = Text)]
    owner: String,
}

/// Only the owner of a table may change it: whoever merely serves is told so before anything is tried.
async fn owns_tables(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let foreign = statement(
        "SELECT quote_ident(current_user) AS user, quote_ident(pg_get_userbyid(c.relowner)) AS owner
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE (n.nspname = $1 AND c.relname IN ('meta', 'changes') OR n.nspname = $2 AND c.relname = 'users_sync')
         AND NOT (pg_has_role(c.relowner, 'USAGE') AND (n.nspname <> $1 OR has_schema_privilege(n.oid, 'CREATE')))
         LIMIT 1",
    );
    let foreign = foreign
        .bind::<Text, _>(&database.names.state_schema)
        .bind::<Text, _>(&database.names.users_schema);
    let foreign: Option<Foreign> = optional(foreign, conn).await?;
    match foreign {
        None => Ok(()),
        Some(Foreign { user, owner }) => Err(DbError::Unfit(format!(
            "the database is of an older usertap, and its user {user} may not migrate it: run `usertap migrate` as \
             {owner}, who owns the tables, and with MIGRATE=off as {user}"
        ))),
    }
}

/// A session lock: it goes with the connection.
pub(super) async fn lock(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let key = database.names.migration_lock();
    let free = statement("SELECT pg_try_advisory_lock($1) AS yes").bind::<BigInt, _>(key);
    let free: Option<Exists> = optional(free, conn).await?;
    if !free.is_some_and(|free| free.yes) {
        tracing::info!("another process is migrating this database: waiting until it is done");
        wait_for_lock(key, conn).await?;
    }
    conn.batch_execute(LOOK_BOUNDS).await?;
    Ok(())
}

async fn wait_for_lock(key: i64, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let bounds = format!(
        "SET lock_timeout = '{}s'; SET statement_timeout = 0",
        LOCKED_AT_MOST.as_secs()
    );
    conn.batch_execute(&bounds).await?;
    let lock = statement("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(key);
    let locked = execute(lock, conn).await.map(|_| ());
    locked.map_err(|error| match DbError::from(error) {
        DbError::Refused { .. } => DbError::Refused {
            kind: Refusal::Locked,
            place: Some("another process has been migrating this database for 60 s".into()),
        },
        other => other,
    })
}

/// The schemas, and the settings that the migrations read.
pub(super) async fn make_schemas(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let names = &database.names;
    // Postgres asks for the right to make a schema even where it exists.
    let missing = missing_schemas(database, conn).await?.into_iter();
    let mut make: String = missing
        .map(|schema| format!("CREATE SCHEMA {}; ", quoted(schema)))
        .collect();
    make.push_str(&format!("SET search_path = {}", quoted(&names.state_schema)));
    conn.batch_execute(&make)
        .await
        .map_err(|error| match DbError::from(error) {
            DbError::Refused { .. } => schemas_refused(database),
            other => other,
        })?;
    let settings = statement(
        "SELECT set_config('usertap.users_schema', $1, false), set_config('usertap.state_schema', $2, false),
                set_config('usertap.id_type', $3, false), set_config('usertap.channel', $4, false)",
    );
    let settings = settings
        .bind::<Text, _>(&names.users_schema)
        .bind::<Text, _>(&names.state_schema)
        .bind::<Text, _>(names.id_type.sql())
        .bind::<Text, _>(names.channel());
    execute(settings, conn).await?;
    Ok(())
}

fn schemas_refused(database: &Database) -> DbError {
    let names = &database.names;
    let (users, state) = (quoted(&names.users_schema), quoted(&names.state_schema));
    DbError::Unfit(format!(
        "the schemas {users} and {state} cannot be made: grant CREATE on the database to this user, \
         or make them and give them to it"
    ))
}

async fn missing_schemas<'d>(
    database: &'d Database,
    conn: &mut AsyncPgConnection,
) -> Result<Vec<&'d str>, DbError> {
    let names = &database.names;
    let mut missing = Vec::new();
    for schema in [names.users_schema.as_str(), names.state_schema.as_str()] {
        let found =
            statement("SELECT to_regnamespace($1) IS NOT NULL AS yes").bind::<Text, _>(quoted(schema));
        let found: Option<Exists> = optional(found, conn).await?;
        if !found.is_some_and(|found| found.yes) && !missing.contains(&schema) {
            missing.push(schema);
        }
    }
    Ok(missing)
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

async fn has_meta(database: &Database, conn: &mut AsyncPgConnection) -> Result<bool, DbError> {
    let meta = format!("{}.meta", quoted(&database.names.state_schema));
    exists(conn, &meta).await
}

/// What the last migration made is there.
async fn is_current(database: &Database, conn: &mut AsyncPgConnection) -> Result<bool, DbError> {
    let (_, table, column) = LAST;
    let table = format!("{}.{table}", quoted(&database.names.state_schema));
    let found = statement(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2) AS yes",
    );
    let found = found.bind::<Text, _>(table).bind::<Text, _>(column);
    let found: Option<Exists> = optional(found, conn).await?;
    Ok(found.is_some_and(|found| found.yes))
}

/// A table or an index.
async fn exists(conn: &mut AsyncPgConnection, relation: &str) -> Result<bool, DbError> {
    let found = statement("SELECT to_regclass($1) IS NOT NULL AS yes").bind::<Text, _>(relation);
    let found: Option<Exists> = optional(found, conn).await?;
    Ok(found.is_some_and(|found| found.yes))
}

/// A `users_sync` that usertap did not make, or that is another usertap's, is never altered.
async fn refuse_foreign_table(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let table = format!("{}.users_sync", quoted(&database.names.users_schema));
    if !exists(conn, &table).await? {
        return Ok(());
    }
    let keeper = statement(
        "SELECT n.nspname::text AS name FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
         JOIN pg_namespace n ON n.oid = p.pronamespace WHERE t.tgrelid = to_regclass($1) AND t.tgname = 'usertap_update'",
    );
    let keeper: Option<Schema> = optional(keeper.bind::<Text, _>(&table), conn).await?;
    Err(DbError::Unfit(match keeper {
        Some(Schema { name: there }) => format!(
            "the table {table} is kept by a usertap whose own tables are in schema {there}: set STATE_SCHEMA={there}, or, where that \
             schema was given another name, run ALTER SCHEMA {} RENAME TO {}",
            quoted(&there),
            quoted(&database.names.state_schema)
        ),
        None => format!(
            "the table {table} exists and was not made by usertap: set SCHEMA to another name, or rename that table"
        ),
    }))
}

#[derive(QueryableByName)]
struct Schema {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Made {
    #[diesel(sql_type = Text)]
    id_type: String,
    #[diesel(sql_type = Text)]
    users_schema: String,
}

/// The tables were made for one id type and one schema; settings that say otherwise are refused.
async fn fits(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    if let Some(hidden) = rights::hidden(database, conn).await? {
        return Err(hidden.into());
    }
    let names = &database.names;
    let sql = names.sql("SELECT id_type, users_schema FROM {state}.meta");
    let made: Option<Made> = optional(statement(&sql), conn).await?;
    let made = made.ok_or_else(DbError::without_meta)?;
    if made.id_type != names.id_type.sql() {
        let (there, asked) = (made.id_type, names.id_type.sql());
        return Err(DbError::Unfit(format!(
            "users_sync.id is {there} in this database, the settings ask for {asked}: set ID_TYPE={there}, \
             or another SCHEMA and STATE_SCHEMA for new tables"
        )));
    }
    if made.users_schema != names.users_schema {
        let (there, asked) = (made.users_schema, &names.users_schema);
        return Err(DbError::Unfit(format!(
            "this usertap keeps its users in schema {there}, the settings ask for {asked}: set SCHEMA={there}, \
             or another STATE_SCHEMA for new tables"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use diesel::migration::{Migration, MigrationSource};
    use diesel::pg::Pg;

    use super::*;

    #[test]
    fn what_says_that_a_database_is_current_is_of_the_last_migration() {
        let all: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().unwrap();
        let last = all.iter().map(|one| one.name().version().to_string()).max();
        assert_eq!(last.as_deref(), Some(LAST.0));
    }
}
