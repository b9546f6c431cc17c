//! Rows of the users' table for people: a page at a time by key, those that match a text, those that
//! changed last.
//!
//! A page by key walks the primary key and costs the same wherever it starts. The table is the users'
//! own, so there is no index for a search: it looks through the table, a bounded time (an index of
//! theirs makes it quick, see [`INDEX`]). What must never be: a search that keeps the database busy
//! for longer than [`PATIENCE`], or more than one of them at a time; a page that no memory holds.

mod matched;

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::SimpleAsyncConnection;
use tokio::sync::Semaphore;

use super::columns::{Columns, WEIGHT};
use super::statement::{Bind, load, optional, statement};
use super::{Database, DbError};
use crate::clock;
use crate::user::{IdType, UserId};

use matched::matched_by;

pub use matched::MatchedBy;

/// What makes every search quick, for those who want it: their table, their index.
pub const INDEX: &str = "CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX CONCURRENTLY users_sync_search ON {users}
    USING gin ((id::text) gin_trgm_ops, name gin_trgm_ops, email gin_trgm_ops);";

/// A search of a million rows without an index takes about one second.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Rows that are counted one by one; beyond that the planner's estimate is near enough.
const COUNTED: i64 = 20_000;
/// Bytes of names and addresses on one page, which may be as long as whoever bears them likes; whatever comes after them
/// is on the next, so at least one row is given.
const BYTES: i64 = 8 << 20;
/// Changes among which the last of each user are looked for.
const LOOKED_THROUGH: i64 = 2_000;
/// Each search reads the whole table.
static SEARCHES: Semaphore = Semaphore::const_new(1);

/// A row without `raw_json`.
#[derive(Debug, Clone, QueryableByName, serde::Serialize)]
pub struct Brief {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(embed)]
    #[serde(flatten)]
    pub columns: Columns,
    /// Nothing but the id is known yet.
    #[diesel(sql_type = Bool)]
    #[serde(skip)]
    pub is_skeleton: bool,
}

#[derive(QueryableByName)]
struct Listed {
    #[diesel(embed)]
    brief: Brief,
    /// With it there is as much as one page has.
    #[diesel(sql_type = Bool)]
    is_full: bool,
}

/// A page, and the key after which the next one starts; nothing at the end.
#[derive(Debug, Clone)]
pub struct Page {
    pub rows: Vec<Brief>,
    pub next: Option<String>,
}

/// Why a search gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum SearchFault {
    #[error(
        "the search was ended after {} s: the table is large and has no index for it. Write the whole id, \
         or make the index that the console's page Setup shows", PATIENCE.as_secs()
    )]
    Late,
    #[error("other searches are under way: try again in a moment")]
    Busy,
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Of a row `u`, as [`Brief`] has it.
const BRIEF: &str = "u.id::text AS id, {columns},
    u.deleted_at IS NULL AND u.name IS NULL AND u.email IS NULL AND u.created_at IS NULL AS is_skeleton";

/// Of the rows that `found` selects, in the order of their `key`, as many as one page holds.
fn bounded(found: &str) -> String {
    format!(
        "SELECT u.*, u.ahead + u.weight >= {BYTES} AS is_full FROM (
             SELECT u.*, sum(u.weight) OVER (ORDER BY u.key) - u.weight AS ahead FROM (
                 SELECT u.*, {WEIGHT} AS weight FROM ({found}) u) u) u
         WHERE u.ahead < {BYTES} ORDER BY u.key"
    )
}

/// Rows whose id follows `after`.
///
/// # Errors
/// As the database gives them.
pub async fn page(database: &Database, after: Option<&UserId>, limit: i64) -> Result<Page, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&page_text(after.is_some()));
    let rows = statement(&sql)
        .bind::<BigInt, _>(limit + 1)
        .bind::<Nullable<Text>, _>(after.map(UserId::as_str));
    Ok(cut(load(rows, &mut conn).await?, limit))
}

fn page_text(after: bool) -> String {
    let from = if after {
        "u.id > $2::{id}"
    } else {
        "$2::text IS NULL"
    };
    bounded(&format!(
        "SELECT {BRIEF}, u.id AS key FROM {{users}} u WHERE {from} ORDER BY u.id LIMIT $1"
    ))
}

/// Rows whose name or address holds `text` or whose id begins with it, in the order of their ids. Where
/// a whole group of a uuid is written and ids begin so, they alone: that is quick however large the table.
///
/// # Errors
/// [`SearchFault`].
pub async fn search(
    database: &Database,
    text: &str,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Page, SearchFault> {
    // No text in a database has one.
    if text.contains('\0') {
        return Ok(cut(Vec::new(), limit));
    }
    if let Some(ids) = beginning(text, database.names.id_type) {
        let page = begun(database, &ids, after, limit).await?;
        if !page.rows.is_empty() {
            return Ok(page);
        }
    }
    let began = clock::now();
    let turn = tokio::time::timeout(PATIENCE, SEARCHES.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        return Err(SearchFault::Busy);
    };
    let found = looked_through(database, text, after, limit).await;
    found.map(|rows| cut(rows, limit)).map_err(|error| match error {
        // Of a statement that was ended the database says no more than of others that fail.
        DbError::Refused { .. } if began.elapsed() >= PATIENCE => SearchFault::Late,
        error => error.into(),
    })
}

/// The first and the last uuid that begin with a text of at least eight digits.
fn beginning(text: &str, kind: IdType) -> Option<(String, String)> {
    const FORM: &str = "00000000-0000-0000-0000-000000000000";
    const SHORTEST: usize = 8;
    let text = text.to_ascii_lowercase();
    let fits = |(byte, form): (u8, u8)| match form {
        b'-' => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let is_beginning = text.len() <= FORM.len() && text.bytes().zip(FORM.bytes()).all(fits);
    if kind != IdType::Uuid || text.len() < SHORTEST || !is_beginning {
        return None;
    }
    let rest = &FORM[text.len()..];
    Some((
        format!("{text}{rest}"),
        format!("{text}{}", rest.replace('0', "f")),
    ))
}

/// Along the primary key.
async fn begun(
    database: &Database,
    (first, last): &(String, String),
    after: Option<&UserId>,
    limit: i64,
) -> Result<Page, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&bounded(&format!(
        "SELECT {BRIEF}, u.id AS key FROM {{users}} u
         WHERE u.id >= $2::{{id}} AND u.id <= $3::{{id}} AND ($4 IS NULL OR u.id > $4::{{id}})
         ORDER BY u.id LIMIT $1"
    )));
    let rows = statement(&sql)
        .bind::<BigInt, _>(limit + 1)
        .bind::<Text, _>(first)
        .bind::<Text, _>(last)
        .bind::<Nullable<Text>, _>(after.map(UserId::as_str));
    Ok(cut(load(rows, &mut conn).await?, limit))
}

/// On a connection of its own, which ends with it.
async fn looked_through(
    database: &Database,
    text: &str,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Vec<Listed>, DbError> {
    let mut conn = database.connect().await?;
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = {}",
        PATIENCE.as_millis()
    );
    conn.batch_execute(&begin).await?;
    let matched = matched_by(database, &mut conn).await?;
    let sql = database.names.sql(&search_text(after.is_some(), matched));
    let rows = statement(&sql)
        .bind::<BigInt, _>(limit + 1)
        .bind::<Nullable<Text>, _>(after.map(UserId::as_str))
        .bind::<Text, _>(format!("%{}%", literally(text)))
        .bind::<Text, _>(format!("{}%", literally(text)));
    Ok(load(rows, &mut conn).await?)
}

/// Ordered by the text of the id, so that the planner does not walk the primary key, row by row all
/// over the disk, in the hope of an early match.
pub fn search_text(after: bool, matched: MatchedBy) -> String {
    let from = match after {
        true => "u.id::text COLLATE \"C\" > $2",
        false => "$2::text IS NULL",
    };
    let by = match matched {
        MatchedBy::TheColumns => "",
        MatchedBy::TheDatabases => " COLLATE \"default\"",
    };
    bounded(&format!(
        "SELECT {BRIEF}, u.id::text COLLATE \"C\" AS key
         FROM {{users}} u WHERE (u.name{by} ILIKE $3 OR u.email{by} ILIKE $3 OR u.id::text ILIKE $4) AND {from}
         ORDER BY u.id::text COLLATE \"C\" LIMIT $1"
    ))
}

/// For LIKE.
fn literally(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '%' | '_') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The users of whom the feed told last, the newest first.
///
/// # Errors
/// As the database gives them.
pub async fn latest(database: &Database, limit: i64) -> Result<Vec<Brief>, DbError> {
    let mut conn = database.get().await?;
    let found =
        format!("SELECT {BRIEF}, -n.position AS key FROM newest n JOIN {{users}} u ON u.id = n.id::{{id}}");
    let sql = database.names.sql(&format!(
        "WITH newest AS (
             SELECT c.id, max(c.position) AS position
             FROM (SELECT id, position FROM {{state}}.changes ORDER BY position DESC LIMIT {LOOKED_THROUGH}) c
             GROUP BY c.id ORDER BY 2 DESC LIMIT $1)
         {}",
        bounded(&found)
    ));
    Ok(cut(
        load(statement(&sql).bind::<BigInt, _>(limit), &mut conn).await?,
        limit,
    )
    .rows)
}

/// The rows of these users; ids that no user of this table can have are left out.
///
/// # Errors
/// As the database gives them.
pub async fn these(database: &Database, ids: &[UserId]) -> Result<Vec<Brief>, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&format!(
        "SELECT {BRIEF} FROM {{users}} u WHERE u.id = ANY($1::text[]::{{id}}[])"
    ));
    let ids: Vec<&str> = ids.iter().map(UserId::as_str).collect();
    let rows = statement(&sql).bind::<diesel::sql_types::Array<Text>, _>(ids);
    Ok(load(rows, &mut conn).await?)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = BigInt)]
    estimate: i64,
}

/// How many rows there are, and whether they were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HowMany {
    pub rows: i64,
    pub exact: bool,
}

/// Counts, up to a number that costs nothing; beyond that it is the planner's estimate.
///
/// # Errors
/// As the database gives them.
pub async fn how_many(database: &Database) -> Result<HowMany, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(&format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {{users}} LIMIT {COUNTED} + 1) counted) AS count,
                greatest((SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass({{users_name}})), 0) AS estimate"
    ));
    let count: Option<Count> = optional(statement(&sql), &mut conn).await?;
    let count = count.ok_or_else(|| DbError::Unfit("the count gave no row".into()))?;
    Ok(HowMany {
        rows: match count.count {
            few if few <= COUNTED => few,
            many => many.max(count.estimate),
        },
        exact: count.count <= COUNTED,
    })
}

/// One row more than asked for says that there is a next page, and so may one that fills it.
fn cut(mut listed: Vec<Listed>, limit: i64) -> Page {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = listed.len() > limit || listed.last().is_some_and(|last| last.is_full);
    listed.truncate(limit);
    let rows: Vec<Brief> = listed.into_iter().map(|listed| listed.brief).collect();
    let next = rows.last().filter(|_| more).map(|last| last.id.clone());
    Page { rows, next }
}

/// [`INDEX`] for this database.
pub fn index(database: &Database) -> String {
    let text = match database.names.id_type {
        IdType::Uuid => INDEX.to_owned(),
        IdType::Text => INDEX.replace("(id::text)", "id"),
    };
    database.names.sql(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_a_uuid_is_a_stretch_of_the_key() {
        let stretch = |text| beginning(text, IdType::Uuid);
        let expected = (
            "3520c449-3f00-0000-0000-000000000000",
            "3520c449-3fff-ffff-ffff-ffffffffffff",
        );
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert_eq!(stretch("3520C449-3f"), Some(expected));
        for text in [
            "3520c44",
            "3520c4493",
            "lovelace",
            "3520c449-3f36-4657-a50f-8fd63fcd2de6-",
        ] {
            assert_eq!(stretch(text), None, "{text}");
        }
        assert_eq!(beginning("3520c449", IdType::Text), None);
    }

    #[test]
    fn a_pattern_is_taken_literally() {
        assert_eq!(literally(r"50%_\"), r"50\%\_\\");
    }
}
