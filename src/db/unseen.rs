//! Rows that somebody changed past the triggers: a restore of data without them, a subscription.
//!
//! A reconcile looks for them and notes them as the triggers would have; the recorder does the rest. What must
//! never be: a row noted that triggers of the users' own make another than the provider's user. Where there are
//! any, only rows are noted of whom nobody can know.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Binary, Nullable, Text, Timestamptz};

use super::statement::{Bind, execute, statement};
use super::{Database, DbError};
use crate::user::{Observation, Seen, View};

/// The recorder knows the user to be as the provider shows them, and the row says something else. `raw_json` is
/// compared where its volatile fields are the same too: then it was stored once, so Postgres can read it.
const OF_THESE: &str = "
    INSERT INTO {state}.sql_changes (id, before, raw_differs)
    SELECT r.id, jsonb_build_object('name', r.name, 'email', r.email, 'created_at', r.created_at,
                                    'updated_at', u.updated_at::timestamptz, 'deleted_at', NULL), d.raw_differs
    FROM unnest($1, $2, $3, $4, $5, $6, $7) AS r (id, name, email, created_at, content, volatile, raw)
    JOIN {state}.user_state s ON s.id = r.id AND s.standing = 'present' AND s.content = r.content
    JOIN {users} u ON u.id = r.id::{id}
    CROSS JOIN LATERAL (
        SELECT s.volatile IS NOT DISTINCT FROM r.volatile AND u.raw_json::jsonb IS DISTINCT FROM r.raw::jsonb AS raw_differs) d
    WHERE (d.raw_differs OR u.deleted_at IS NOT NULL OR u.name::text IS DISTINCT FROM r.name
           OR u.email::text IS DISTINCT FROM r.email
           OR date_trunc('second', u.created_at::timestamptz) IS DISTINCT FROM date_trunc('second', r.created_at))
      AND NOT EXISTS (SELECT FROM {state}.sql_changes n WHERE n.id = r.id)
      AND NOT EXISTS (
          SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass({users_name}) AND NOT t.tgisinternal
            AND t.tgname NOT IN ('usertap_insert', 'usertap_update', 'usertap_delete', 'usertap_truncate'))";

/// Nobody was ever told of them, or that they are gone.
const OF_NOBODY: &str = "
    INSERT INTO {state}.sql_changes (id, raw_differs)
    SELECT u.id::text, true FROM {users} u LEFT JOIN {state}.user_state s ON s.id = u.id::text
    WHERE (s.id IS NULL OR s.standing IN ('none', 'purged') OR s.standing = 'deleted' AND u.deleted_at IS NULL)
      AND NOT EXISTS (SELECT FROM {state}.sql_changes n WHERE n.id = u.id::text)";

/// Notes rows of users whom the recorder knows to be gone, or does not know.
///
/// # Errors
/// As the database gives them.
pub async fn note_of_nobody(database: &Database) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let noted = execute(statement(&database.names.sql(OF_NOBODY)), &mut conn).await;
    unless_refused(noted.map_err(DbError::from))
}

/// A table that is not there, or that may not be read, stops whoever writes it, who says so.
fn unless_refused(noted: Result<usize, DbError>) -> Result<(), DbError> {
    match noted {
        Err(error @ DbError::Refused { .. }) => {
            tracing::warn!(%error, "rows that were changed past the triggers cannot be looked for");
            Ok(())
        }
        noted => noted.map(drop),
    }
}

/// Notes which rows of these users say something else than what the recorder knows them to say.
///
/// # Errors
/// As the database gives them.
pub async fn note(database: &Database, seen: &[Observation]) -> Result<(), DbError> {
    let whole = seen.iter().filter_map(|one| match &one.seen {
        Seen::Whole(view) if is_storable(view) => Some((one.id.as_str(), &**view)),
        _ => None,
    });
    let (ids, views): (Vec<&str>, Vec<&View>) = whole.unzip();
    let texts =
        |of: fn(&View) -> Option<&str>| views.iter().map(|view| of(view)).collect::<Vec<Option<&str>>>();
    let created: Vec<Option<DateTime<Utc>>> = views.iter().map(|view| view.profile.created_at).collect();
    let hashes = |of: fn(&View) -> &[u8]| views.iter().map(|view| of(view)).collect::<Vec<&[u8]>>();
    let sql = database.names.sql(OF_THESE);
    let note = statement(&sql)
        .bind::<Array<Text>, _>(ids)
        .bind::<Array<Nullable<Text>>, _>(texts(|view| view.profile.name.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(texts(|view| view.profile.email.as_deref()))
        .bind::<Array<Nullable<Timestamptz>>, _>(created)
        .bind::<Array<Binary>, _>(hashes(|view| &view.content.0))
        .bind::<Array<Binary>, _>(hashes(|view| &view.volatile.0))
        .bind::<Array<Text>, _>(views.iter().map(|view| &*view.raw).collect::<Vec<&str>>());
    let mut conn = database.get().await?;
    unless_refused(execute(note, &mut conn).await.map_err(DbError::from))
}

/// What no row can hold is in none.
fn is_storable(view: &View) -> bool {
    let texts = [view.profile.name.as_deref(), view.profile.email.as_deref()];
    texts.iter().flatten().all(|text| !text.contains('\0'))
}
