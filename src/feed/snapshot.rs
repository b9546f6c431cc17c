//! The table as events, a page at a time, for a consumer's start.
//!
//! `as_of` is the feed's head at the very moment of the page's rows (one statement). A consumer
//! keeps the first page's and then reads the changes after it: whatever changed while it walked
//! comes again and is the last word. No transaction outlives a page.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};

use super::event::{After, Event};
use super::read::{BOUNDS, BoundsRow};
use super::{Feed, FeedError};
use crate::db::DbError;
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
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    updated_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    deleted_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    raw: Option<String>,
}

impl SnapshotRow {
    fn row(self) -> Option<(After, Option<String>)> {
        let after = After {
            id: self.id?.into(),
            name: self.name,
            email: self.email,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted_at: self.deleted_at,
        };
        Some((after, self.raw))
    }
}

/// Bytes of `raw` on a page, compressed; at least one row is given.
const RAW_BYTES: i64 = 4 << 20;

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
        let as_of = bounds
            .ok_or_else(|| DbError::Unfit("the table meta is empty: restore it from a backup".into()))?
            .head;
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

fn text(after: bool, raw: bool) -> String {
    let from = if after { "id > $2::{id}" } else { "$2 IS NULL" };
    let (raw, size) = match raw {
        true => ("u.raw_json::text", "pg_column_size(raw_json)"),
        false => ("NULL::text", "0"),
    };
    format!(
        "WITH {BOUNDS}
         SELECT bounds.*, u.id::text AS id, u.name, u.email, u.created_at, u.updated_at, u.deleted_at, {raw} AS raw
         FROM bounds LEFT JOIN LATERAL (
             SELECT p.*, sum({size}) OVER (ORDER BY p.id) - {size} AS before_it
             FROM (SELECT * FROM {{users}} WHERE {from} ORDER BY id LIMIT $1) p
         ) u ON u.before_it < {RAW_BYTES}
         ORDER BY u.id"
    )
}
