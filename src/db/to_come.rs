//! Times that the database's own clock wrote down while it was ahead of itself: it has been set back since.
//!
//! What must never be: something that waits, or counts, until the days have passed that the clock was ahead. What has
//! a time of its own in a statement judges by itself (a lease, a heartbeat, a partition); the rest is put right here.

use diesel::sql_types::Integer;
use diesel_async::AsyncPgConnection;

use super::statement::{Bind, execute, statement};
use super::{Database, DbError};

/// Clocks of two statements differ by less, and nobody is set aside for longer: seconds.
const OF_NOW: i32 = 60;
const LONGEST_WAIT: i32 = 7_200;

/// What is of a time to come counts as of now. Walks keep their order, and how long they took: the last one of them has
/// just ended.
const PUT_RIGHT: &str = "
    WITH soon AS (SELECT now() + make_interval(secs => $1) AS at), tried AS (
        UPDATE {state}.set_aside SET next_try = now() WHERE next_try > now() + make_interval(secs => $2)
    ), uncounted AS (
        DELETE FROM {state}.unasked_deletions d USING soon WHERE d.at > soon.at RETURNING 1
    ), counted AS (
        INSERT INTO {state}.unasked_deletions (at) SELECT now() FROM uncounted
    ), known AS (
        UPDATE {state}.epochs e SET unknown_at = now() FROM soon WHERE e.unknown_at > soon.at
    ), polled AS (
        UPDATE {state}.poll p SET done_at = least(p.done_at, now()), missed_noticed_at = least(p.missed_noticed_at, now())
        FROM soon WHERE greatest(p.done_at, p.missed_noticed_at) > soon.at
    ), walks AS (
        SELECT b.run, max(greatest(b.started_at, b.moved_at, b.ended_at)) OVER () - now() AS ahead
        FROM {state}.backfill b, soon WHERE b.started_at > soon.at
    )
    UPDATE {state}.backfill b SET started_at = b.started_at - walks.ahead, moved_at = b.moved_at - walks.ahead,
        ended_at = b.ended_at - walks.ahead
    FROM walks WHERE b.run = walks.run";

/// # Errors
/// As the database gives them.
pub async fn put_right(database: &Database, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let sql = database.names.sql(PUT_RIGHT);
    let put_right = statement(&sql)
        .bind::<Integer, _>(OF_NOW)
        .bind::<Integer, _>(LONGEST_WAIT);
    execute(put_right, conn).await?;
    Ok(())
}
