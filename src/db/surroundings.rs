//! What goes on in the database beside usertap's own statements, and concerns them.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text};

use super::statement::{Bind, optional, statement};
use super::{Database, DbError, Unfitness};

#[derive(Debug, Default, QueryableByName)]
pub struct Surroundings {
    /// Commits of usertap's wait for a synchronous standby, for longer than one that is there takes.
    #[diesel(sql_type = Bool)]
    pub is_unconfirmed: bool,
    /// Subscriptions that write the users' table: what they write, no trigger of a statement sees.
    #[diesel(sql_type = Nullable<Text>)]
    pub subscriptions: Option<String>,
    #[diesel(embed)]
    pub held: Held,
}

/// Who keeps Postgres from clearing away old versions of usertap's rows, once there are many of the one that has the
/// last position: every commit passes over them. Never what is asked there, which may hold anything.
#[derive(Debug, Default, QueryableByName)]
pub struct Held {
    #[diesel(sql_type = Nullable<Text>)]
    by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    remedy: Option<String>,
}

impl Held {
    pub fn unfit(&self) -> Option<Unfitness> {
        let (by, remedy) = self.by.as_ref().zip(self.remedy.as_ref())?;
        Some(Unfitness {
            what: format!(
                "{by} keeps Postgres from clearing away old versions of rows, and usertap's commits get slower the longer it does"
            ),
            remedy: format!("{remedy}; autovacuum does the rest"),
        })
    }
}

/// Bytes of the table of that one row: some thirty thousand versions.
const LARGE: i64 = 8 << 20;
/// Transactions since: as many as such versions. The table stays as large once they are cleared away, so its size alone says nothing.
const OLD: i32 = 30_000;

/// Everybody sees how old a snapshot is; since when, what it is at and of what kind it is, only some roles do: whoever
/// has a role is a client then. A snapshot that was taken while an older transaction is at work that has written, in
/// whichever database of the server, is as old as that one: then it is no culprit. Nor are usertap's own any younger, so
/// such a writer keeps versions from being cleared away here too (tried with Postgres 15).
const HOLDERS: &str = "
    SELECT greatest(age(backend_xmin), age(backend_xid)) AS age,
           coalesce(age(backend_xid) >= age(backend_xmin), backend_xid IS NOT NULL) AS is_writer, xact_start AS since,
           format('process %s (application %s%s%s%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                  ' in the database ' || nullif(datname, current_database()), ', ' || state,
                  ', for ' || date_trunc('second', clock_timestamp() - xact_start)) AS by,
           format('run SELECT pg_terminate_backend(%s), or have it end its transaction', pid) AS remedy
    FROM pg_stat_activity WHERE (datname = current_database() OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
      AND coalesce(backend_type = 'client backend', usesysid IS NOT NULL)
    UNION ALL
    SELECT age(transaction), true, prepared, format('the prepared transaction %s (for %s)', gid,
                                    date_trunc('second', clock_timestamp() - prepared)),
           format('run ROLLBACK PREPARED %L, or COMMIT PREPARED', gid)
               || coalesce(', in the database ' || nullif(database, current_database()), '')
    FROM pg_prepared_xacts
    UNION ALL
    SELECT age(xmin), true, NULL, format('the replication slot %s (%s)', slot_name,
                             CASE WHEN active THEN 'in use' ELSE 'not in use' END),
           format('let its standby catch up, or run SELECT pg_drop_replication_slot(%L) where there is none any more', slot_name)
    FROM pg_replication_slots
    UNION ALL
    SELECT age(backend_xmin), false, NULL, format('a query on the standby %s', application_name),
           'end it there, or set hot_standby_feedback = off on that standby'
    FROM pg_stat_replication";

/// # Errors
/// As the database gives them.
pub async fn look(database: &Database) -> Result<Surroundings, DbError> {
    let mut conn = database.get().await?;
    // Of another statement it is not known since when it waits. The view, for not everybody may read the table of subscriptions.
    let look = database.names.sql(&format!(
        "SELECT EXISTS (
             SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'
               AND usename = current_user AND query ILIKE 'commit%'
               AND query_start < clock_timestamp() - interval '3 s') AS is_unconfirmed,
         (SELECT string_agg(DISTINCT s.subname::text, ', ')
          FROM pg_subscription_rel r JOIN pg_stat_subscription s ON s.subid = r.srsubid
          WHERE r.srrelid = to_regclass({{users_name}})) AS subscriptions, held.by, held.remedy
         FROM (SELECT) AS once LEFT JOIN (
             SELECT by, remedy FROM ({HOLDERS}) AS holders
             WHERE age >= {OLD} AND pg_relation_size(to_regclass($1)) >= {LARGE} ORDER BY age DESC, is_writer DESC, since LIMIT 1
         ) AS held ON true",
    ));
    let meta = database.names.sql("{state}.meta");
    let look = statement(&look).bind::<Text, _>(meta);
    let found: Option<Surroundings> = optional(look, &mut conn).await?;
    Ok(found.unwrap_or_default())
}
