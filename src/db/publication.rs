//! Publications, for those who have logical replication already: a second Postgres, Debezium,
//! Sequin, Electric.
//!
//! One over the users' table and one over the change rows, as a subscriber wants all tables of a
//! publication to be there. The change rows are published as one table, whatever their partitions.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::SimpleAsyncConnection;

use super::names::quoted;
use super::statement::{Bind, load, optional, statement};
use super::{Database, DbError, Refusal};

#[derive(QueryableByName)]
struct Published {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Logical {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Makes `name` over the users' table and `name_changes` over the change rows where they are
/// missing; says what is published as what.
///
/// # Errors
/// [`DbError::Unfit`] with the remedy: the server's `wal_level`, a missing right, a publication of
/// that name over other tables.
pub async fn make(database: &Database, name: &str) -> Result<Vec<String>, DbError> {
    let mut conn = database.connect_directly().await?;
    let logical = statement("SELECT current_setting('wal_level') = 'logical' AS yes");
    let logical: Option<Logical> = optional(logical, &mut conn).await?;
    if !logical.is_some_and(|logical| logical.yes) {
        return Err(DbError::Unfit(
            "the server cannot publish: set wal_level to `logical` (your host's setting for logical replication) \
             and restart it"
                .into(),
        ));
    }
    let tables = [
        (name.to_owned(), database.names.sql("{users}")),
        (format!("{name}_changes"), database.names.sql("{state}.changes")),
    ];
    let mut said = Vec::new();
    for (name, table) in tables {
        let there = statement(
            "SELECT coalesce(t.schemaname || '.' || t.tablename, '') AS name FROM pg_publication p
             LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname WHERE p.pubname = $1",
        );
        let there: Vec<Published> = load(there.bind::<Text, _>(&name), &mut conn).await?;
        match there.as_slice() {
            [] => conn.batch_execute(&text(&name, &table)).await.map_err(refused)?,
            [one] if one.name == table.replace('"', "") => {}
            // It went with a table that somebody dropped.
            [none] if none.name.is_empty() => {
                conn.batch_execute(&again(&name, &table)).await.map_err(refused)?
            }
            _ => {
                return Err(DbError::Unfit(format!(
                    "there is a publication {name} over other tables: choose another name"
                )));
            }
        }
        said.push(format!("{table} as {name}"));
    }
    Ok(said)
}

fn text(name: &str, table: &str) -> String {
    format!(
        "CREATE PUBLICATION {} FOR TABLE {table} WITH (publish_via_partition_root = true)",
        quoted(name)
    )
}

fn again(name: &str, table: &str) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {table}", quoted(name))
}

fn refused(error: diesel::result::Error) -> DbError {
    match DbError::from(error) {
        DbError::Refused {
            kind: Refusal::Other | Refusal::Privilege | Refusal::Constraint,
            ..
        } => DbError::Unfit(
            "the publication cannot be made: the database user must own both tables and have CREATE on the database"
                .into(),
        ),
        other => other,
    }
}
