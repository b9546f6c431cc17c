//! What goes on in the database beside usertap's own statements, and concerns them.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text};

use super::statement::{optional, statement};
use super::{Database, DbError};

#[derive(Debug, Default, QueryableByName)]
pub struct Surroundings {
    /// Commits of usertap's wait for a synchronous standby, for longer than one that is there takes.
    #[diesel(sql_type = Bool)]
    pub is_unconfirmed: bool,
    /// Subscriptions that write the users' table: what they write, no trigger of a statement sees.
    #[diesel(sql_type = Nullable<Text>)]
    pub subscriptions: Option<String>,
}

/// # Errors
/// As the database gives them.
pub async fn look(database: &Database) -> Result<Surroundings, DbError> {
    let mut conn = database.get().await?;
    // Of another statement it is not known since when it waits. The view, for not everybody may read the table of subscriptions.
    let look = database.names.sql(
        "SELECT EXISTS (
             SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'
               AND usename = current_user AND query ILIKE 'commit%'
               AND query_start < clock_timestamp() - interval '3 s') AS is_unconfirmed,
         (SELECT string_agg(DISTINCT s.subname::text, ', ')
          FROM pg_subscription_rel r JOIN pg_stat_subscription s ON s.subid = r.srsubid
          WHERE r.srrelid = to_regclass({users_name})) AS subscriptions",
    );
    let found: Option<Surroundings> = optional(statement(&look), &mut conn).await?;
    Ok(found.unwrap_or_default())
}
