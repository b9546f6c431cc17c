//! Reading changes: bounds, proof and rows in one statement, so that they belong to one moment.
//!
//! Positions are given out under a lock that is held until the commit, so what a statement sees
//! of the changes is a prefix without a gap: a change that commits later has a higher position.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;

use super::event::{After, Event, Shape, Told};
use super::filter::Filter;
use crate::db::columns::Columns;
use crate::db::statement::{Bind, load, optional, statement};
use crate::db::{DbError, Names};
use crate::user::{Pos, Position};

/// From where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Everything kept.
    Oldest,
    /// What comes from now on.
    Now,
    At(Pos),
}

/// What the feed holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The position just before the first change kept.
    pub oldest: Pos,
    /// Of the last change.
    pub head: Pos,
}

/// A stretch of the feed.
#[derive(Debug)]
pub struct Stretch {
    pub bounds: Bounds,
    pub events: Vec<Event>,
    /// Up to where it goes, what a filter left out included.
    pub next: Pos,
}

/// What one read gives.
#[derive(Debug)]
pub enum Read {
    Stretch(Stretch),
    /// The position is older than what is kept, or of another history.
    Gone(Bounds),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    pub since: Since,
    pub limit: i64,
    pub shape: Shape,
    pub filter: &'a Filter,
}

/// Changes that a filter looks through for one stretch.
pub(super) const SCANNED: i64 = 10_000;
/// Bytes of `raw` in one stretch, as they are sent: stored, they may be a hundredth of that. Whatever is
/// read after them comes in the next; so at least one event is given.
pub(super) const RAW_BYTES: i64 = 4 << 20;
/// The same of everything else, by what Postgres knows of it unread: a name or an address may be as long as whoever
/// bears it likes.
pub(super) const BYTES: i64 = 8 << 20;
/// A text's length is known; JSON that is packed may come to a hundred times as much.
const WEIGHT: &str = "coalesce(octet_length(c.name), 0) + coalesce(octet_length(c.email), 0)
    + coalesce(pg_column_size(c.before)::bigint * CASE WHEN pg_column_size(c.before) < 2000 THEN 1 ELSE 100 END, 0)";

/// Common to everything that reads the feed: `floor` is the position before the first change kept,
/// `newest` the last change.
///
/// The limit tells Postgres what it does not know of tables that it has never analysed: that each
/// has one row. Without it every read seems so dear that it is compiled first, for a second.
pub(super) const BOUNDS: &str = "
    floor AS (
        SELECT f.position, coalesce(f.nonce, ('x' || left(m.history::text, 8))::bit(32)::integer) AS nonce
        FROM {state}.feed_floor f CROSS JOIN {state}.meta m WHERE m.only_row LIMIT 1
    ), newest AS (
        SELECT position, nonce FROM {state}.changes ORDER BY position DESC LIMIT 1
    ), bounds AS (
        SELECT floor.position AS oldest, floor.nonce AS oldest_nonce,
               coalesce(newest.position, floor.position) AS head, coalesce(newest.nonce, floor.nonce) AS head_nonce
        FROM floor LEFT JOIN newest ON true
    )";

/// Whether the position in `$1` and `$2` belongs to this history and is still kept.
pub(super) const IS_VALID: &str = "
    ($1 = bounds.oldest AND $2 = bounds.oldest_nonce) OR ($1 > bounds.oldest AND EXISTS (
        SELECT FROM {state}.changes c WHERE c.position = $1 AND c.nonce = $2))";

#[derive(QueryableByName)]
pub(super) struct BoundsRow {
    #[diesel(sql_type = BigInt)]
    oldest: i64,
    #[diesel(sql_type = Integer)]
    oldest_nonce: i32,
    #[diesel(sql_type = BigInt)]
    head: i64,
    #[diesel(sql_type = Integer)]
    head_nonce: i32,
}

impl BoundsRow {
    pub fn bounds(&self) -> Bounds {
        Bounds {
            oldest: pos(self.oldest, self.oldest_nonce),
            head: pos(self.head, self.head_nonce),
        }
    }
}

#[derive(QueryableByName)]
struct FeedRow {
    #[diesel(embed)]
    bounds: BoundsRow,
    #[diesel(sql_type = Bool)]
    valid: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    edge: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    edge_nonce: Option<i32>,
    /// With it there is as much as one stretch has.
    #[diesel(sql_type = Nullable<Bool>)]
    is_full: Option<bool>,
    #[diesel(embed)]
    change: ChangeRow,
}

/// All null where there is no change.
#[derive(QueryableByName)]
pub(super) struct ChangeRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    position: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    nonce: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    #[diesel(column_name = "type")]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    changed: Option<Vec<String>>,
    #[diesel(embed)]
    columns: Columns,
    #[diesel(sql_type = Nullable<Text>)]
    raw: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    before: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    blank: Option<bool>,
    #[diesel(sql_type = Nullable<Text>)]
    origin: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    route: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    request_id: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    committed_at: Option<DateTime<Utc>>,
}

impl ChangeRow {
    pub(super) fn told(self) -> Option<Told> {
        Some(Told {
            pos: pos(self.position?, self.nonce?),
            kind: self.kind?.into(),
            changed: self.changed.unwrap_or_default(),
            after: After {
                id: self.id?.into(),
                columns: self.columns,
            },
            is_blank: self.blank.unwrap_or_default(),
            before: self.before,
            raw: self.raw,
            origin: self.origin?.into(),
            route: self.route,
            request_id: self.request_id,
            committed_at: self.committed_at?,
        })
    }
}

pub(super) fn pos(position: i64, nonce: i32) -> Pos {
    Pos {
        position: Position(position),
        nonce,
    }
}

/// What the feed holds at this moment.
pub(super) async fn bounds(names: &Names, conn: &mut AsyncPgConnection) -> Result<Bounds, DbError> {
    let sql = names.sql(&format!("WITH {BOUNDS} SELECT * FROM bounds"));
    let row: Option<BoundsRow> = optional(statement(&sql), conn).await?;
    row.map(|row| row.bounds()).ok_or_else(DbError::without_meta)
}

/// The changes after a position.
pub(super) async fn read(
    names: &Names,
    provider: &str,
    conn: &mut AsyncPgConnection,
    query: Query<'_>,
) -> Result<Read, DbError> {
    let since = match query.since {
        Since::At(pos) => Some(pos),
        Since::Oldest => None,
        Since::Now => {
            let bounds = bounds(names, conn).await?;
            return Ok(Read::Stretch(Stretch {
                next: bounds.head,
                events: Vec::new(),
                bounds,
            }));
        }
    };
    let [types, ids, origins] = query.filter.bound();
    let sql = names.sql(&text(query));
    let rows = statement(&sql)
        .bind::<Nullable<BigInt>, _>(since.map(|pos| pos.position.0))
        .bind::<Nullable<Integer>, _>(since.map(|pos| pos.nonce))
        .bind::<BigInt, _>(query.limit)
        .bind::<Array<Text>, _>(types)
        .bind::<Array<Text>, _>(ids)
        .bind::<Array<Text>, _>(origins);
    let rows: Vec<FeedRow> = load(rows, conn).await?;
    understood(rows, provider, query)
}

fn understood(rows: Vec<FeedRow>, provider: &str, query: Query<'_>) -> Result<Read, DbError> {
    let first = rows.first().ok_or_else(DbError::without_meta)?;
    let bounds = first.bounds.bounds();
    if !first.valid {
        return Ok(Read::Gone(bounds));
    }
    let is_full = rows.last().and_then(|row| row.is_full).unwrap_or_default();
    let edge = first.edge.zip(first.edge_nonce).map(|(at, nonce)| pos(at, nonce));
    let told = rows.into_iter().filter_map(|row| row.change.told());
    let events: Vec<Event> = told
        .map(|told| Event::change(provider, told, query.shape.raw))
        .collect();
    let is_cut = is_full || i64::try_from(events.len()).is_ok_and(|given| given >= query.limit);
    let last = events.last().filter(|_| is_cut).map(|event| event.pos);
    Ok(Read::Stretch(Stretch {
        bounds,
        next: last.or(edge).unwrap_or(bounds.head),
        events,
    }))
}

/// The statement, its names to be filled in.
pub fn text(query: Query<'_>) -> String {
    let filter = query.filter;
    let edge = match filter.looks_through() {
        false => "SELECT NULL::bigint AS position, NULL::integer AS nonce WHERE false".to_owned(),
        true => format!(
            "SELECT e.position, e.nonce FROM start CROSS JOIN LATERAL (
                 SELECT position, nonce FROM {{state}}.changes c WHERE c.position > start.position
                 ORDER BY c.position OFFSET {SCANNED} - 1 LIMIT 1) e"
        ),
    };
    let wanted = filter.condition(4);
    let matching = format!(
        "FROM {{state}}.changes c
         WHERE c.position > start.position AND c.position <= coalesce(edge.position, 9223372036854775807)
           AND {wanted}
         ORDER BY c.position LIMIT $3"
    );
    let (found, is_full) = match query.shape.raw {
        false => (found_without_raw(&matching), String::new()),
        true => (
            found_with_raw(&matching),
            format!(", c.bytes >= {RAW_BYTES} AS is_full"),
        ),
    };
    format!(
        "WITH RECURSIVE {BOUNDS}, start AS (
             SELECT coalesce($1, bounds.oldest) AS position, $1 IS NULL OR {IS_VALID} AS valid FROM bounds
         ), edge AS ({edge}), {found}
         SELECT bounds.*, start.valid, edge.position AS edge, edge.nonce AS edge_nonce, c.*{is_full}
         FROM bounds CROSS JOIN start LEFT JOIN edge ON true LEFT JOIN found c ON true
         ORDER BY c.position"
    )
}

fn found_without_raw(matching: &str) -> String {
    let columns = columns("NULL");
    format!(
        "found AS (
             SELECT {columns}, c.ahead + c.weight >= {BYTES} AS is_full FROM (
                 SELECT c.*, sum(c.weight) OVER (ORDER BY c.position) - c.weight AS ahead
                 FROM start LEFT JOIN edge ON true CROSS JOIN LATERAL (SELECT c.*, {WEIGHT} AS weight {matching}) c
                 WHERE start.valid) c
             WHERE c.ahead < {BYTES})"
    )
}

/// How long `raw` is shows only once it is unpacked: one by one, no more of them than are sent, each once.
fn found_with_raw(matching: &str) -> String {
    let columns = columns("c.raw");
    let at = |nth: &str| {
        format!(
            "SELECT {columns} FROM {{state}}.changes c WHERE c.position = picked.positions[{nth}] OFFSET 0"
        )
    };
    let (first, next) = (at("1"), at("found.nth + 1"));
    let bytes = ["raw", "name", "email", "before"]
        .map(|part| format!("octet_length(coalesce(c.{part}, ''))::bigint"))
        .join(" + ");
    format!(
        "picked AS MATERIALIZED (
             SELECT array_agg(c.position ORDER BY c.position) AS positions
             FROM start LEFT JOIN edge ON true CROSS JOIN LATERAL (SELECT c.position {matching}) c
             WHERE start.valid
         ), found AS (
             SELECT c.*, 1 AS nth, {bytes} AS bytes
             FROM picked CROSS JOIN LATERAL ({first}) c
             UNION ALL
             SELECT c.*, found.nth + 1, found.bytes + {bytes}
             FROM found CROSS JOIN picked CROSS JOIN LATERAL ({next}) c
             WHERE found.bytes < {RAW_BYTES})"
    )
}

/// Of a change `c`, as [`ChangeRow`] has them; `raw` is where that comes from.
pub(super) fn columns(raw: &str) -> String {
    format!(
        "c.position, c.nonce, c.id, c.type, c.changed, c.name, c.email, c.created_at, c.updated_at, c.deleted_at,
         {raw}::text AS raw, c.before::text AS before, c.blank, c.origin, c.route, c.request_id, c.committed_at"
    )
}
