//! Walks over all users of the provider: who walks, where the walk stands, its account.
//!
//! One walk at a time; one whose owner died is taken over where its last page was committed.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::instances::DEAD_AFTER;
use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError};

/// A walk and its account.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, serde::Serialize)]
pub struct Run {
    #[diesel(sql_type = SqlUuid)]
    pub run: Uuid,
    /// `requested`, `running`, `done` or `failed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Nullable<Text>)]
    #[serde(skip)]
    pub checkpoint: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub fetched: i64,
    #[diesel(sql_type = BigInt)]
    pub inserted: i64,
    #[diesel(sql_type = BigInt)]
    pub updated: i64,
    #[diesel(sql_type = BigInt)]
    pub unchanged: i64,
    #[diesel(sql_type = BigInt)]
    pub older: i64,
    #[diesel(sql_type = BigInt)]
    pub set_aside: i64,
    #[diesel(sql_type = Integer)]
    pub resumed: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub total: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    /// Its owner lives.
    #[diesel(sql_type = Bool)]
    pub is_owned: bool,
}

impl Run {
    /// Every user fetched is accounted for.
    pub fn balanced(&self) -> bool {
        self.fetched == self.inserted + self.updated + self.unchanged + self.older + self.set_aside
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "done" | "failed")
    }
}

const COLUMNS: &str = "b.run, b.state, b.checkpoint::text AS checkpoint, b.fetched, b.inserted, b.updated,
    b.unchanged, b.older, b.set_aside, b.resumed, b.total, b.error, EXISTS (
        SELECT FROM {state}.instances i WHERE i.id = b.owner AND i.seen_at > now() - make_interval(secs => $1)
    ) AS is_owned";

fn alive() -> i32 {
    i32::try_from(DEAD_AFTER.as_secs()).unwrap_or(i32::MAX)
}

/// Asks for a walk: the unfinished one, the one that failed last, else a new one.
///
/// # Errors
/// As the database gives them.
pub async fn request(database: &Database) -> Result<Uuid, DbError> {
    let mut conn = database.get().await?;
    let revive = database.names.sql(
        "UPDATE {state}.backfill SET state = 'requested', error = NULL, ended_at = NULL WHERE state = 'failed'
         AND run = (SELECT run FROM {state}.backfill ORDER BY started_at DESC LIMIT 1)",
    );
    execute(statement(&revive), &mut conn).await?;
    let request = database.names.sql(
        "INSERT INTO {state}.backfill (run, state) VALUES (gen_random_uuid(), 'requested') ON CONFLICT DO NOTHING",
    );
    execute(statement(&request), &mut conn).await?;
    let unfinished = latest(database).await?;
    unfinished
        .map(|run| run.run)
        .ok_or_else(|| DbError::Unfit("the walk that was asked for is gone: ask again".into()))
}

/// Takes the unfinished walk, if there is one whose owner does not live.
///
/// # Errors
/// As the database gives them.
pub async fn take(database: &Database, owner: Uuid) -> Result<Option<Run>, DbError> {
    let mut conn = database.get().await?;
    let take = database.names.sql(&format!(
        "UPDATE {{state}}.backfill b SET owner = $2, state = 'running', moved_at = now(),
             resumed = b.resumed + (b.checkpoint IS NOT NULL)::integer
         WHERE b.state IN ('requested', 'running') AND NOT EXISTS (
             SELECT FROM {{state}}.instances i
             WHERE i.id = b.owner AND i.id <> $2 AND i.seen_at > now() - make_interval(secs => $1))
         RETURNING {COLUMNS}"
    ));
    let take = statement(&take)
        .bind::<Integer, _>(alive())
        .bind::<SqlUuid, _>(owner);
    Ok(optional(take, &mut conn).await?)
}

/// Lets go of a walk, so that another process takes it at once.
///
/// # Errors
/// As the database gives them.
pub async fn release(database: &Database, run: Uuid, owner: Uuid) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let release = database.names.sql(
        "UPDATE {state}.backfill SET owner = NULL, state = 'requested'
         WHERE run = $1 AND owner = $2 AND state = 'running'",
    );
    let release = statement(&release)
        .bind::<SqlUuid, _>(run)
        .bind::<SqlUuid, _>(owner);
    execute(release, &mut conn).await?;
    Ok(())
}

/// Ends a walk that cannot go on; [`request`] makes it go on where it stopped. Nothing happens to
/// one that another has taken meanwhile.
///
/// # Errors
/// As the database gives them.
pub async fn fail(database: &Database, run: Uuid, owner: Uuid, error: &str) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let fail = database.names.sql(
        "UPDATE {state}.backfill SET owner = NULL, state = 'failed', error = $3, ended_at = now()
         WHERE run = $1 AND owner = $2 AND state = 'running'",
    );
    let fail = statement(&fail)
        .bind::<SqlUuid, _>(run)
        .bind::<SqlUuid, _>(owner)
        .bind::<Text, _>(error);
    execute(fail, &mut conn).await?;
    Ok(())
}

/// Notes how many users there are, where the provider says so.
///
/// # Errors
/// As the database gives them.
pub async fn set_total(database: &Database, run: Uuid, total: i64) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let set = database
        .names
        .sql("UPDATE {state}.backfill SET total = $2 WHERE run = $1");
    execute(
        statement(&set).bind::<SqlUuid, _>(run).bind::<BigInt, _>(total),
        &mut conn,
    )
    .await?;
    Ok(())
}

/// One walk.
///
/// # Errors
/// As the database gives them.
pub async fn one(database: &Database, run: Uuid) -> Result<Option<Run>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&format!(
        "SELECT {COLUMNS} FROM {{state}}.backfill b WHERE b.run = $2"
    ));
    let one = statement(&sql)
        .bind::<Integer, _>(alive())
        .bind::<SqlUuid, _>(run);
    Ok(optional(one, &mut conn).await?)
}

/// The unfinished walk, else the last one.
///
/// # Errors
/// As the database gives them.
pub async fn latest(database: &Database) -> Result<Option<Run>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&format!(
        "SELECT {COLUMNS} FROM {{state}}.backfill b
         ORDER BY b.state IN ('requested', 'running') DESC, b.started_at DESC LIMIT 1"
    ));
    Ok(optional(statement(&sql).bind::<Integer, _>(alive()), &mut conn).await?)
}
