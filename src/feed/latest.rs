//! The newest changes first: for people, who begin at the end.

use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::Feed;
use super::event::Told;
use super::filter::Filter;
use super::read::{ChangeRow, SCANNED, columns};
use crate::db::DbError;
use crate::db::statement::{Bind, load, statement};
use crate::user::Position;

impl Feed {
    /// Changes before a position, or the last ones. A filter by type or origin looks through the last
    /// ten thousand.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn latest(
        &self,
        filter: &Filter,
        before: Option<Position>,
        limit: i64,
    ) -> Result<Vec<Told>, DbError> {
        let (mut conn, _turn) = self.shared.conn().await?;
        let sql = self.shared.database.names.sql(&text(filter, before.is_some()));
        let [types, ids, origins] = filter.bound();
        let rows = statement(&sql)
            .bind::<Nullable<BigInt>, _>(before.map(|before| before.0))
            .bind::<BigInt, _>(limit)
            .bind::<Array<Text>, _>(types)
            .bind::<Array<Text>, _>(ids)
            .bind::<Array<Text>, _>(origins);
        let rows: Vec<ChangeRow> = load(rows, &mut conn).await?;
        Ok(rows.into_iter().filter_map(ChangeRow::told).collect())
    }
}

fn text(filter: &Filter, before: bool) -> String {
    let before = match before {
        true => "c.position < $1",
        false => "$1::bigint IS NULL",
    };
    let edge = match filter.looks_through() {
        false => "true".to_owned(),
        true => format!(
            "c.position > coalesce((SELECT position FROM {{state}}.changes c WHERE {before}
                 ORDER BY position DESC OFFSET {SCANNED} LIMIT 1), 0)"
        ),
    };
    let (columns, wanted) = (columns("NULL"), filter.condition(3));
    format!(
        "SELECT {columns} FROM {{state}}.changes c
         WHERE {before} AND {edge} AND {wanted}
         ORDER BY c.position DESC LIMIT $2"
    )
}
