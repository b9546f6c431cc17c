//! Rows that somebody changed past the triggers: a restore of data without them, a subscription.
//!
//! A reconcile looks for them and notes them as the triggers would have; the recorder does the rest. What must
//! never be: a row noted that triggers of the users' own make another than the provider's user. Where there are
//! such, only rows are noted of whom nobody can know.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Binary, Bool, Nullable, Text, Timestamptz};

use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError, Refusal, rights, users_table};
use crate::user::{Observation, Seen, View};

/// Triggers of the users' own that decide what stands in a row: those that run before it is written, and those whose
/// function names the table.
const OWN_TRIGGERS: &str = "EXISTS (
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = to_regclass({users_name}) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
      AND t.tgname NOT IN ({triggers})
      AND t.tgtype & 20 <> 0 AND (t.tgtype & 3 = 3 OR p.prosrc LIKE '%users_sync%'))";

/// The recorder knows the user to be as the provider shows them, and the row says something else. `raw_json` is
/// compared where its volatile fields are the same too: then it was stored once, so Postgres can read it. `created_at` is
/// where it holds all that the provider says. What is noted already is looked through once, for it may be much.
const OF_THESE: &str = "
    WITH noted AS MATERIALIZED (SELECT id FROM {state}.sql_changes WHERE id = ANY($1)),
    own AS MATERIALIZED (
        SELECT {own_triggers} AS triggers, EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = to_regclass({users_name}) AND attname = 'created_at'
              AND atttypid = 'timestamptz'::regtype AND atttypmod = -1) AS has_created)
    INSERT INTO {state}.sql_changes (id, before, raw_differs)
    SELECT r.id, jsonb_build_object('name', r.name, 'email', r.email, 'created_at', r.created_at,
                                    'updated_at', u.updated_at, 'deleted_at', NULL), d.raw_differs
    FROM unnest($1, $2, $3, $4, $5, $6, $7) AS r (id, name, email, created_at, content, volatile, raw)
    JOIN {state}.user_state s ON s.id = r.id AND s.standing = 'present' AND s.content = r.content
    JOIN {users} u ON u.id = r.id::{id}
    CROSS JOIN own
    CROSS JOIN LATERAL (
        SELECT s.volatile IS NOT DISTINCT FROM r.volatile AND u.raw_json::jsonb IS DISTINCT FROM r.raw::jsonb AS raw_differs) d
    WHERE (d.raw_differs OR u.deleted_at IS NOT NULL OR u.name::text IS DISTINCT FROM r.name
           OR u.email::text IS DISTINCT FROM r.email
           OR CASE WHEN own.has_created THEN date_trunc('second', u.created_at::timestamptz)
                   IS DISTINCT FROM date_trunc('second', r.created_at) END)
      AND NOT own.triggers AND NOT EXISTS (SELECT FROM noted n WHERE n.id = r.id)";

/// Nobody was ever told of them, or that they are gone.
const OF_NOBODY: &str = "
    INSERT INTO {state}.sql_changes (id, raw_differs)
    SELECT f.id, true FROM (
        SELECT u.id::text COLLATE \"C\" AS id FROM {users} u LEFT JOIN {state}.user_state s ON s.id = u.id::text
        WHERE s.id IS NULL OR s.standing IN ('none', 'purged')
           OR s.standing = 'deleted' AND u.deleted_at IS NULL AND NOT (SELECT {own_triggers})
        EXCEPT SELECT id FROM {state}.sql_changes) f";

/// What a look for such rows came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// So many were noted.
    Noted(u64),
    /// The table is not there: nothing is written either, and the status says why.
    NoTable,
    /// usertap's user may not; the sentence says what gives the right.
    Refused(String),
}

/// Notes rows of users whom the recorder knows to be gone, or does not know.
///
/// # Errors
/// As the database gives them.
pub async fn note_of_nobody(database: &Database) -> Result<Look, DbError> {
    let mut conn = database.get().await?;
    let noted = execute(statement(&sql(database, OF_NOBODY)), &mut conn).await;
    drop(conn);
    looked(database, noted.map_err(DbError::from)).await
}

fn sql(database: &Database, of: &str) -> String {
    database.names.sql(&of.replace("{own_triggers}", OWN_TRIGGERS))
}

async fn looked(database: &Database, noted: Result<usize, DbError>) -> Result<Look, DbError> {
    let error = match noted {
        Ok(noted) => return Ok(Look::Noted(noted as u64)),
        Err(error @ DbError::Refused { .. }) => error,
        Err(error) => return Err(error),
    };
    if let Some(missing) = rights::of_rows(database, false).await? {
        return Ok(Look::Refused(missing.to_string()));
    }
    if is_privilege(&error) {
        return Ok(Look::Refused(error.to_string()));
    }
    let table = users_table::find(&database.names, &mut *database.get().await?).await?;
    table.unfit.map_or(Err(error), |_| Ok(Look::NoTable))
}

/// A policy, say: of tables and schemas nothing is lacking.
fn is_privilege(error: &DbError) -> bool {
    matches!(
        error,
        DbError::Refused {
            kind: Refusal::Privilege,
            ..
        }
    )
}

/// Notes which rows of these users say something else than what the recorder knows them to say.
///
/// # Errors
/// As the database gives them.
pub async fn note(database: &Database, seen: &[Observation]) -> Result<Look, DbError> {
    let whole = seen.iter().filter_map(|one| match &one.seen {
        Seen::Whole(view) if is_storable(view) => Some((one.id.as_str(), &**view)),
        _ => None,
    });
    let (ids, views): (Vec<&str>, Vec<&View>) = whole.unzip();
    let texts =
        |of: fn(&View) -> Option<&str>| views.iter().map(|view| of(view)).collect::<Vec<Option<&str>>>();
    let created: Vec<Option<DateTime<Utc>>> = views.iter().map(|view| view.profile.created_at).collect();
    let hashes = |of: fn(&View) -> &[u8]| views.iter().map(|view| of(view)).collect::<Vec<&[u8]>>();
    let sql = sql(database, OF_THESE);
    let note = statement(&sql)
        .bind::<Array<Text>, _>(ids)
        .bind::<Array<Nullable<Text>>, _>(texts(|view| view.profile.name.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(texts(|view| view.profile.email.as_deref()))
        .bind::<Array<Nullable<Timestamptz>>, _>(created)
        .bind::<Array<Binary>, _>(hashes(|view| &view.content.0))
        .bind::<Array<Binary>, _>(hashes(|view| &view.volatile.0))
        .bind::<Array<Text>, _>(views.iter().map(|view| &*view.raw).collect::<Vec<&str>>());
    let mut conn = database.get().await?;
    let noted = execute(note, &mut conn).await;
    drop(conn);
    looked(database, noted.map_err(DbError::from)).await
}

/// Whether anything that was noted waits still, or a read that it owes.
///
/// # Errors
/// As the database gives them.
pub async fn is_under_way(database: &Database) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let left = database.names.sql(
        "SELECT EXISTS (SELECT FROM {state}.sql_changes)
             OR EXISTS (SELECT FROM {state}.user_state WHERE doubt IS NOT NULL) AS is_left",
    );
    let left: Option<Left> = optional(statement(&left), &mut conn).await?;
    Ok(left.is_some_and(|left| left.is_left))
}

#[derive(QueryableByName)]
struct Left {
    #[diesel(sql_type = Bool)]
    is_left: bool,
}

/// What no row can hold is in none.
fn is_storable(view: &View) -> bool {
    let texts = [view.profile.name.as_deref(), view.profile.email.as_deref()];
    texts.iter().flatten().all(|text| !text.contains('\0'))
}
