//! What refers to the users' table, and is not found by an index.
//!
//! Postgres makes none for a foreign key: each row that goes is looked for through the whole table that refers to it.

use diesel::QueryableByName;
use diesel::sql_types::Text;

use super::statement::{Bind, load, statement};
use super::{Database, DbError};

#[derive(QueryableByName)]
struct Reference {
    #[diesel(sql_type = Text)]
    at: String,
}

/// One that says only that there is a value serves too.
const WITHOUT: &str = "
    SELECT format('%s (%s)', c.conrelid::regclass, string_agg(quote_ident(a.attname), ', ' ORDER BY k.nth)) AS at
    FROM pg_constraint c CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (column_number, nth)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.column_number
    WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = to_regclass($1) AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
          AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
          AND coalesce(pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname), true))
    GROUP BY c.oid, c.conrelid ORDER BY 1 LIMIT 20";

/// Tables with their columns, quoted as Postgres has them.
///
/// # Errors
/// As the database gives them.
pub async fn without_an_index(database: &Database) -> Result<Vec<String>, DbError> {
    let users = database.names.sql("{users}");
    let without = statement(WITHOUT).bind::<Text, _>(users);
    let found: Vec<Reference> = load(without, &mut *database.get().await?).await?;
    Ok(found.into_iter().map(|reference| reference.at).collect())
}
