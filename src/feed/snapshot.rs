//! The table as events, a page at a time, for a consumer's start.
//!
//! `as_of` is the feed's head at the very moment of the page's rows (one statement). A consumer
//! keeps the first page's and then reads the changes after it: whatever changed while it walked
//! comes again and is the last word. No transaction outlives a page.

use std::sync::Arc;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::event::{After, Event};
use super::read::{BOUNDS, BYTES, BoundsRow, RAW_BYTES};
use super::{Feed, FeedError};
use crate::db::DbError;
use crate::db::columns::{Columns, WEIGHT};
use crate::db::statement::{Bind, load, statement};
use crate::user::{Pos, UserId};

/// A page of the table.
#[derive(Debug)]
pub struct SnapshotPage {
    pub events: Vec<Arc<Event>>,
    pub as_of: Pos,
    /// The last id; nothing at the end.
    pub next: Option<Arc<str>>,
}

#[derive(QueryableByName)]
struct SnapshotRow {
    #[diesel(embed)]
    bounds: BoundsRow,
    #[diesel(sql_type = Nullable<Text>)]
    id: Option<String>,
    #[diesel(embed)]
    columns: Columns,
    #[diesel(sql_type = Nullable<Text>)]
    raw: Option<String>,
}

impl SnapshotRow {
    fn row(self) -> Option<(After, Option<String>)> {
        let after = After {
            id: self.id?.into(),
            columns: self.columns,
        };
        Some((after, self.raw))
    }
}

impl Feed {
    /// Rows whose id follows `after`, the whole row with `raw`.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn snapshot(
        &self,
        after: Option<&UserId>,
        limit: i64,
        raw: bool,
    ) -> Result<SnapshotPage, FeedError> {
        let (mut conn, _turn) = self.shared.conn().await?;
        let sql = self.shared.database.names.sql(&text(after.is_some(), raw));
        let rows = statement(&sql)
            .bind::<BigInt, _>(limit)
            .bind::<Nullable<Text>, _>(after.map(UserId::as_str));
        let rows: Vec<SnapshotRow> = load(rows, &mut conn).await.map_err(DbError::from)?;
        let bounds = rows.first().map(|row| row.bounds.bounds());
        let as_of = bounds.ok_or_else(DbError::without_meta)?.head;
        let rows = rows.into_iter().filter_map(SnapshotRow::row);
        let events: Vec<Arc<Event>> = rows
            .map(|(row, raw)| Arc::new(Event::snapshot(&self.shared.provider, as_of, &row, raw)))
            .collect();
        Ok(SnapshotPage {
            next: events.last().map(|event| event.id.clone()),
            events,
            as_of,
        })
    }
}

/// With `raw`, rows are unpacked one by one, no more of them than are sent.
fn text(after: bool, raw: bool) -> String {
    let first = if after { "u.id > $2::{id}" } else { "$2 IS NULL" };
    let from = |from: &str, limit: &str| {
        let raw = if raw { "u.raw_json::text" } else { "NULL::text" };
        format!(
            "SELECT u.id, {{columns}}, {raw} AS raw FROM {{users}} u WHERE {from} ORDER BY u.id LIMIT {limit}"
        )
    };
    let found = match raw {
        false => format!(
            "SELECT u.* FROM (
                 SELECT u.*, sum(u.weight) OVER (ORDER BY u.id) - u.weight AS ahead FROM (
                     SELECT u.*, {WEIGHT} AS weight
                     FROM ({}) u) u) u
             WHERE u.ahead < {BYTES}",
            from(first, "$1")
        ),
        true => format!(
            "SELECT u.*, 1::bigint AS nth, octet_length(u.raw)::bigint + {WEIGHT} AS bytes FROM ({}) u
             UNION ALL
             SELECT u.*, found.nth + 1, found.bytes + octet_length(u.raw) + {WEIGHT}
             FROM found CROSS JOIN LATERAL ({}) u WHERE found.nth < $1 AND found.bytes < {RAW_BYTES}",
            from(first, "1"),
            from("u.id > found.id", "1")
        ),
    };
    format!(
        "WITH RECURSIVE {BOUNDS}, found AS ({found})
         SELECT bounds.*, u.id::text AS id, u.name, u.email, u.created_at, u.updated_at, u.deleted_at, u.raw
         FROM bounds LEFT JOIN found u ON true
         ORDER BY u.id"
    )
}
