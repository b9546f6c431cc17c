//! The newest changes first: for people, who begin at the end.

use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::Feed;
use super::event::Told;
use super::filter::Filter;
use super::read::{ChangeRow, SCANNED};
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
        let texts = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<String>>();
        let rows = statement(&sql)
            .bind::<Nullable<BigInt>, _>(before.map(|before| before.0))
            .bind::<BigInt, _>(limit)
            .bind::<Array<Text>, _>(texts(&filter.types))
            .bind::<Array<Text>, _>(texts(&filter.ids))
            .bind::<Array<Text>, _>(texts(&filter.origins));
        let rows: Vec<ChangeRow> = load(rows, &mut conn).await?;
        Ok(rows.into_iter().filter_map(ChangeRow::told).collect())
    }
}

fn text(filter: &Filter, before: bool) -> String {
    let only = |set: &std::collections::BTreeSet<String>, place: &str, column: &str| match set.is_empty() {
        true => format!("{place}::text[] IS NOT NULL"),
        false => format!("c.{column} = ANY({place})"),
    };
    let (types, ids, origins) = (
        only(&filter.types, "$3", "type"),
        only(&filter.ids, "$4", "id"),
        only(&filter.origins, "$5", "origin"),
    );
    let before = match before {
        true => "c.position < $1",
        false => "$1::bigint IS NULL",
    };
    let edge = match filter.is_empty() || !filter.ids.is_empty() {
        true => "true".to_owned(),
        false => format!(
            "c.position > coalesce((SELECT position FROM {{state}}.changes c WHERE {before}
                 ORDER BY position DESC OFFSET {SCANNED} LIMIT 1), 0)"
        ),
    };
    format!(
        "SELECT c.position, c.nonce, c.id, c.type, c.changed, c.name, c.email, c.created_at, c.updated_at,
                c.deleted_at, NULL::text AS raw, c.before::text AS before, c.blank, c.origin, c.route, c.request_id,
                c.committed_at
         FROM {{state}}.changes c
         WHERE {before} AND {edge} AND {types} AND {ids} AND {origins}
         ORDER BY c.position DESC LIMIT $2"
    )
}
