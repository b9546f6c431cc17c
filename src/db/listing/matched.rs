//! By which collation a search matches.

use diesel::QueryableByName;
use diesel::sql_types::Bool;
use diesel_async::AsyncPgConnection;

use crate::db::statement::{optional, statement};
use crate::db::{Database, DbError};

/// By which collation names and addresses match a pattern. By that of their columns, as an index over them does, unless
/// it holds different texts for the same: Postgres matches by none such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    TheColumns,
    TheDatabases,
}

#[derive(QueryableByName)]
struct Vague {
    #[diesel(sql_type = Bool)]
    is_vague: bool,
}

pub(super) async fn matched_by(
    database: &Database,
    conn: &mut AsyncPgConnection,
) -> Result<MatchedBy, DbError> {
    let vague = database.names.sql(
        "SELECT EXISTS (
             SELECT FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
             WHERE a.attrelid = to_regclass({users_name}) AND a.attname IN ('name', 'email') AND NOT c.collisdeterministic
         ) AS is_vague",
    );
    let vague: Option<Vague> = optional(statement(&vague), conn).await?;
    Ok(match vague.is_some_and(|vague| vague.is_vague) {
        true => MatchedBy::TheDatabases,
        false => MatchedBy::TheColumns,
    })
}
