//! Whether the users' table is there under its name, and the way back where it is not.
//!
//! Foreign keys follow a table that is renamed: so it is given its name back, and nothing else is taken for
//! it. One that was dropped is made anew by `usertap migrate` alone, whom somebody must run: what it held is told to
//! be gone, and read again. A table is known by its number, and by the triggers that are usertap's: in a restored
//! dump its number may be another table's.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::names::{Names, quoted};
use super::statement::{Bind, optional, statement};
use super::{Database, DbError, Unfitness, migrate};

const ANEW: &str = include_str!("users_table.sql");
/// Nobody uses a table yet that is made, so nobody queues behind this.
const ANEW_BOUNDS: &str = "SET lock_timeout = '60s'; SET statement_timeout = 0";

/// Whether the table that `m`, the row of `meta`, notes is the one that usertap made.
pub(super) const IS_MADE: &str = "EXISTS (
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = m.users_table
      AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = m.tableoid))";

/// usertap's own on it, by which it hears of what is changed with SQL.
pub(super) const TRIGGERS: &str = "'usertap_insert', 'usertap_update', 'usertap_delete', 'usertap_truncate'";

/// The table that goes by the name, and why it is not usertap's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersTable {
    /// Another one for another table.
    pub oid: Option<i64>,
    pub unfit: Option<Unfitness>,
    is_dropped: bool,
}

/// What goes by the name, and where the one is that usertap made.
#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<BigInt>)]
    oid: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    made: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    /// Whether the schema is there in which it was.
    #[diesel(sql_type = Bool)]
    has_schema: bool,
}

/// Looks for it, in a database that is migrated.
///
/// # Errors
/// As the database gives them.
pub async fn find(names: &Names, conn: &mut AsyncPgConnection) -> Result<UsersTable, DbError> {
    let sql = names.sql(
        "SELECT to_regclass({users_name})::oid::bigint AS oid, made.oid::bigint AS made, n.nspname AS schema,
                made.relname AS name, to_regnamespace($1) IS NOT NULL AS has_schema
         FROM {state}.meta m LEFT JOIN (
             pg_class made JOIN pg_namespace n ON n.oid = made.relnamespace
         ) ON made.oid = m.users_table AND {is_made} WHERE m.only_row",
    );
    let look = statement(&sql).bind::<Text, _>(quoted(&names.users_schema));
    let found: Option<Found> = optional(look, conn).await?;
    let found = found.ok_or_else(DbError::without_meta)?;
    Ok(UsersTable {
        oid: found.oid,
        is_dropped: found.oid.is_none() && found.moved().is_none(),
        unfit: unfit(names, &found),
    })
}

impl Found {
    /// Where the one that usertap made is, and what it is called, where that is another name.
    fn moved(&self) -> Option<(&str, &str)> {
        let there = self.schema.as_deref().zip(self.name.as_deref());
        there.filter(|_| self.made != self.oid)
    }
}

/// What has become of it, and the way back.
fn unfit(names: &Names, found: &Found) -> Option<Unfitness> {
    let schema = &names.users_schema;
    let ours = format!("{schema}.users_sync");
    let Some((there, name)) = found.moved() else {
        return found.oid.is_none().then(|| Unfitness {
            what: format!("the table {ours} is gone"),
            remedy: "run `usertap migrate`, which makes it anew, then `usertap backfill`; foreign keys to it, grants \
                     on it and its place in publications went with it and are to be made again"
                .into(),
        });
    };
    let called = format!("{}.{}", if_needed(there), if_needed(name));
    let way_back = way_back(schema, found.has_schema, there, name);
    Some(match found.oid {
        None => Unfitness {
            what: format!("the table {ours} is gone: it is called {called} now"),
            remedy: format!("give it its name back: run {way_back}"),
        },
        Some(_) => Unfitness {
            what: format!(
                "{ours} is not the table that usertap made: that one was renamed, it is called {called} now, and foreign \
                 keys still point to it"
            ),
            remedy: format!("give it its name back: rename the other one or drop it, then run {way_back}"),
        },
    })
}

fn way_back(schema: &str, has_schema: bool, there: &str, name: &str) -> String {
    let mut steps = Vec::new();
    // It may have been given another name, with all in it, or have been dropped once it was empty.
    if !has_schema {
        steps.push(format!("CREATE SCHEMA {}", if_needed(schema)));
    }
    if name != "users_sync" {
        steps.push(format!(
            "ALTER TABLE {}.{} RENAME TO users_sync",
            if_needed(there),
            if_needed(name)
        ));
    }
    if there != schema {
        steps.push(format!(
            "ALTER TABLE {}.users_sync SET SCHEMA {}",
            if_needed(there),
            if_needed(schema)
        ));
    }
    steps.join("; ")
}

/// Quoted where it is no plain name.
fn if_needed(name: &str) -> String {
    let is_plain = |at: usize, c: char| c == '_' || c.is_ascii_lowercase() || at > 0 && c.is_ascii_digit();
    match name.char_indices().all(|(at, c)| is_plain(at, c)) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// Makes it anew where it was dropped; says whether it was.
///
/// # Errors
/// [`DbError::Unfit`] with the way back where it goes by another name.
pub async fn make_anew(database: &Database) -> Result<bool, DbError> {
    let mut conn = database.connect_directly().await?;
    migrate::lock(database, &mut conn).await?;
    let table = find(&database.names, &mut conn).await?;
    match table.unfit {
        None => return Ok(false),
        Some(unfit) if !table.is_dropped => return Err(unfit.into()),
        Some(_) => {}
    }
    migrate::make_schemas(database, &mut conn).await?;
    conn.batch_execute(ANEW_BOUNDS).await?;
    // Sent as one, it is one transaction.
    conn.batch_execute(ANEW).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_takes_each_step_that_it_needs() {
        let way = |there, name| way_back("neon_identity", true, there, name);
        assert_eq!(
            way("neon_identity", "two"),
            "ALTER TABLE neon_identity.two RENAME TO users_sync"
        );
        assert_eq!(
            way("public", "users_sync"),
            "ALTER TABLE public.users_sync SET SCHEMA neon_identity"
        );
        assert_eq!(
            way("My", "2nd"),
            "ALTER TABLE \"My\".\"2nd\" RENAME TO users_sync; ALTER TABLE \"My\".users_sync SET SCHEMA neon_identity"
        );
        assert_eq!(
            way_back("neon_identity", false, "auth", "users_sync"),
            "CREATE SCHEMA neon_identity; ALTER TABLE auth.users_sync SET SCHEMA neon_identity"
        );
    }
}
