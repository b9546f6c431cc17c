//! What refers to the users' table, and is not found by an index.
//!
//! Postgres makes none for a foreign key: each row that goes is looked for through the whole table that refers to it.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};

use super::statement::{Bind, load, statement};
use super::{Database, DbError};

#[derive(QueryableByName)]
pub struct Reference {
    /// The table with the columns, quoted as Postgres has them.
    #[diesel(sql_type = Text)]
    pub at: String,
    #[diesel(sql_type = Bool)]
    is_partitioned: bool,
}

impl Reference {
    /// What makes the index. Postgres takes `CONCURRENTLY` for no partitioned table.
    pub fn remedy(&self) -> String {
        let concurrently = if self.is_partitioned { "" } else { " CONCURRENTLY" };
        format!("CREATE INDEX{concurrently} ON {}", self.at)
    }
}

/// One that says only that there is a value serves too.
const WITHOUT: &str = "
    SELECT format('%s (%s)', c.conrelid::regclass, string_agg(quote_ident(a.attname), ', ' ORDER BY k.nth)) AS at,
        t.relkind = 'p' AS is_partitioned
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
    CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (column_number, nth)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.column_number
    WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = to_regclass($1) AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
          AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
          AND coalesce(pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname), true))
    GROUP BY c.oid, c.conrelid, t.relkind ORDER BY 1 LIMIT 20";

/// # Errors
/// As the database gives them.
pub async fn without_an_index(database: &Database) -> Result<Vec<Reference>, DbError> {
    let users = database.names.sql("{users}");
    let without = statement(WITHOUT).bind::<Text, _>(users);
    Ok(load(without, &mut *database.get().await?).await?)
}
