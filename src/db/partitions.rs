//! Partitions of the change rows: made ahead of the positions that need them, dropped whole.
//!
//! A partition is made and filled with nothing before it is attached, so that the attaching takes
//! no lock that a reader of the feed would feel. What goes waits for its lock only for a moment and
//! is tried again, so that the recorder never queues behind it. A change of a time to come (the database's clock was set
//! back since) is at least as old as the next one that is not.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::names::quoted;
use super::statement::{Bind, optional, statement};
use super::{Database, DbError, Unfitness, rights};
use crate::user::Position;

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
/// [`DbError::Away`], or [`DbError::Unfit`] with what forbids it.
pub async fn ahead(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let head = head(database, conn).await?;
    at(database, conn, head).await
}

/// Makes the one that the next position needs, if it is missing: without it nothing can be recorded.
///
/// # Errors
/// As for [`ahead`].
pub async fn next(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let head = head(database, conn).await?;
    make(database, conn, (head.0 + 1) / SIZE).await
}

async fn head(database: &Database, conn: &mut AsyncPgConnection) -> Result<Position, DbError> {
    let head = database.names.sql("SELECT position FROM {state}.meta");
    let head: Option<Head> = optional(statement(&head), conn).await?;
    Ok(Position(head.map_or(0, |head| head.position)))
}

/// The same for a position that is not yet given out.
///
/// # Errors
/// As the database gives them.
pub async fn at(
    database: &Database,
    conn: &mut AsyncPgConnection,
    position: Position,
) -> Result<(), DbError> {
    let now = position.0 / SIZE;
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
    if is_there(conn, &table).await? {
        return Ok(());
    }
    let (from, to) = (number * SIZE, (number + 1) * SIZE);
    let made = conn
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (LIKE {state}.changes INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
             ALTER TABLE {state}.changes ATTACH PARTITION {table} FOR VALUES FROM ({from}) TO ({to});"
        ))
        .await;
    // Whoever makes it at the same moment, after a failover say, is refused: it waits for the first, and is too late.
    if made.is_err() && is_there(conn, &table).await.unwrap_or(false) {
        return Ok(());
    }
    match or_missing(database, conn, made).await {
        Err(refused @ DbError::Refused { .. }) => Err(DbError::Unfit(format!(
            "no new partition of the changes can be made ({refused}): the log of the database says what refuses it, an event \
             trigger that forbids CREATE TABLE or a lock that somebody holds on {state}.changes; until the last one is \
             full all goes on"
        ))),
        made => made,
    }
}

async fn is_there(conn: &mut AsyncPgConnection, table: &str) -> Result<bool, DbError> {
    let found = statement("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1)) AS yes");
    let found: Option<Exists> = optional(found.bind::<Text, _>(table), conn).await?;
    Ok(found.is_some_and(|found| found.yes))
}

/// A refusal says which right is missing, where it is one.
async fn or_missing(
    database: &Database,
    conn: &mut AsyncPgConnection,
    done: QueryResult<()>,
) -> Result<(), DbError> {
    let Err(error) = done.map_err(DbError::from) else {
        return Ok(());
    };
    if !matches!(error, DbError::Refused { .. }) {
        return Err(error);
    }
    match rights::on_partitions(database, conn).await {
        Ok(Some(missing)) => Err(missing.into()),
        Ok(None) | Err(_) => Err(error),
    }
}

/// When a partition is closed, and when it is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// Closed once its first change is as old as this.
    pub after: Duration,
    /// Dropped once its last change is as old as this and no slot needs it,
    pub drop_after: Duration,
    /// or as old as this, whoever needs it.
    pub drop_for_slots_after: Duration,
}

/// Skips what is left of the partition in use where its first change is old enough.
///
/// # Errors
/// As the database gives them.
pub async fn close(
    database: &Database,
    conn: &mut AsyncPgConnection,
    closing: &Closing,
) -> Result<(), DbError> {
    let names = &database.names;
    let first = format!(
        "SELECT c.committed_at FROM {{state}}.changes c WHERE c.position > m.position / {SIZE} * {SIZE}
         AND c.position <= m.position AND c.committed_at <= now() ORDER BY c.position LIMIT 1"
    );
    let due = names.sql(&format!(
        "SELECT true AS yes FROM {{state}}.meta m WHERE ({first}) <= now() - make_interval(secs => $1)"
    ));
    let due = statement(&due).bind::<Double, _>(closing.after.as_secs_f64());
    let due: Option<Exists> = optional(due, conn).await?;
    if due.is_none() {
        return Ok(());
    }
    // Under the lock of all positions; where another process has closed it meanwhile nothing happens.
    let skip = names.sql(&format!(
        "SELECT pg_advisory_xact_lock({});
         UPDATE {{state}}.meta m SET position = (m.position / {SIZE} + 1) * {SIZE} WHERE EXISTS ({first})",
        names.position_lock()
    ));
    ahead(database, conn).await?;
    in_a_moment(database, conn, &skip).await?;
    ahead(database, conn).await
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Oldest {
    #[diesel(sql_type = Bool)]
    is_closed: bool,
    /// Of its last change; none in one that holds none.
    #[diesel(sql_type = Nullable<BigInt>)]
    position: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    nonce: Option<i32>,
    #[diesel(sql_type = Nullable<Double>)]
    age: Option<f64>,
    #[diesel(sql_type = Bool)]
    is_needed: bool,
}

impl Oldest {
    fn may_go(&self, closing: &Closing) -> bool {
        let keep = match self.is_needed {
            true => closing.drop_for_slots_after,
            false => closing.drop_after,
        };
        self.is_closed && self.age.is_none_or(|age| age > keep.as_secs_f64())
    }
}

/// Drops the oldest partition where it is due; says whether it did. What was last in it becomes
/// the floor of the feed in the same transaction.
///
/// # Errors
/// As the database gives them.
pub async fn drop_oldest(
    database: &Database,
    conn: &mut AsyncPgConnection,
    closing: &Closing,
) -> Result<bool, DbError> {
    let names = &database.names;
    let Some(number) = oldest(database, conn).await? else {
        return Ok(false);
    };
    let judged = names.sql(
        "SELECT m.position + 1 >= $2 AS is_closed, c.position, c.nonce,
                extract(epoch FROM now() - coalesce(n.committed_at, c.committed_at))::double precision AS age,
                EXISTS (SELECT FROM {state}.slots s, {state}.feed_floor f
                        WHERE s.position < c.position AND s.position >= f.position) AS is_needed
         FROM {state}.meta m LEFT JOIN LATERAL (
             SELECT position, nonce, committed_at FROM {state}.changes
             WHERE position >= $1 AND position < $2 ORDER BY position DESC LIMIT 1) c ON true
         LEFT JOIN LATERAL (
             SELECT n.committed_at FROM {state}.changes n
             WHERE n.position >= c.position AND n.committed_at <= now() ORDER BY n.position LIMIT 1) n ON true",
    );
    let judged = statement(&judged)
        .bind::<BigInt, _>(number * SIZE)
        .bind::<BigInt, _>((number + 1) * SIZE);
    let judged: Option<Oldest> = optional(judged, conn).await?;
    let Some(judged) = judged.filter(|judged| judged.may_go(closing)) else {
        return Ok(false);
    };
    let floor = judged.position.zip(judged.nonce).map(|(position, nonce)| {
        format!("UPDATE {{state}}.feed_floor SET position = {position}, nonce = {nonce} WHERE position < {position};")
    });
    let gone = format!(
        "{} DROP TABLE IF EXISTS {{state}}.\"changes_{number}\"",
        floor.unwrap_or_default()
    );
    in_a_moment(database, conn, &names.sql(&gone)).await?;
    Ok(true)
}

/// Why the database may refuse it again and again: it does not tell what refuses.
pub fn undropped(database: &Database) -> Unfitness {
    let state = quoted(&database.names.state_schema);
    Unfitness {
        what: format!(
            "old partitions of {state}.changes cannot be dropped: changes older than FEED_RETENTION stay"
        ),
        remedy: format!(
            "the log of the database says what refuses it: let an event trigger that forbids DROP TABLE pass those of \
             schema {state}, or end whoever holds a lock on {state}.changes for long"
        ),
    }
}

async fn oldest(database: &Database, conn: &mut AsyncPgConnection) -> Result<Option<i64>, DbError> {
    let oldest = statement(
        "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = to_regclass($1) ORDER BY length(c.relname), c.relname LIMIT 1",
    );
    let changes = database.names.sql("{state}.changes");
    let oldest: Option<Named> = optional(oldest.bind::<Text, _>(changes), conn).await?;
    Ok(oldest.and_then(|oldest| oldest.name.strip_prefix("changes_")?.parse().ok()))
}

/// Runs statements in one transaction that gives up rather than hold up the recorder.
async fn in_a_moment(
    database: &Database,
    conn: &mut AsyncPgConnection,
    statements: &str,
) -> Result<(), DbError> {
    let all = format!("BEGIN; SET LOCAL lock_timeout = '100ms'; {statements}; COMMIT");
    let done = conn.batch_execute(&all).await;
    if done.is_err() {
        conn.batch_execute("ROLLBACK").await?;
    }
    or_missing(database, conn, done).await
}
