//! The database: that it is there, migrated and this tenant's, what its user may, and what else slows usertap there.
//!
//! A look changes nothing.

use super::{Check, failed, passed};
use crate::config::{self, Config};
use crate::db::embedded::Embedded;
use crate::db::migrate::{self, Stage};
use crate::db::{Database, DbError, fitness, references, rights, rows, surroundings, tenant, users_table};
use crate::station;

pub(super) async fn checks(config: &Config) -> Vec<Check> {
    const WHAT: &str = "database";
    if matches!(config.database, config::Database::Embedded) && !Embedded::is_there(&config.data_dir) {
        let folder = config.data_dir.display();
        let none = format!("no embedded Postgres yet: `usertap serve` makes it in {folder} at its start");
        return vec![passed(WHAT, none)];
    }
    let (database, embedded) = match station::database(config).await {
        Ok(found) => found,
        Err(error) => {
            return vec![failed(
                WHAT,
                error.to_string(),
                "correct DATABASE_URL or install Postgres",
            )];
        }
    };
    match inspected(&database, config).await {
        Err(error) => vec![refused(&rights::explained(&database, error).await)],
        Ok(None) => vec![unmigrated(config)],
        Ok(Some(bound)) => {
            let mut checks = vec![passed(WHAT, reached(bound, embedded.as_deref()))];
            checks.extend(rights(&database, config).await);
            checks.push(table(&database).await);
            checks.extend(versions(&database).await);
            checks.extend(references(&database, config).await);
            checks
        }
    }
}

/// A `serve` that is not to migrate does not start there.
fn unmigrated(config: &Config) -> Check {
    const WHAT: &str = "database";
    const FOUND: &str = "reachable, and not migrated yet";
    match config.migrate {
        true => passed(WHAT, format!("{FOUND}: `usertap serve` does that at its start")),
        false => failed(
            WHAT,
            FOUND.into(),
            &format!(
                "run `{}`, or leave MIGRATE at auto",
                config.command("usertap migrate")
            ),
        ),
    }
}

/// What its user may not, though it must.
async fn rights(database: &Database, config: &Config) -> Vec<Check> {
    const WHAT: &str = "rights";
    let found = async {
        let of_rows = rights::of_rows(database, config.deleted.removes()).await?;
        Ok::<_, DbError>([of_rows, rights::of_partitions(database).await?])
    };
    let missing = match found.await {
        Ok(missing) => missing,
        Err(error) => return vec![refused(&error)],
    };
    let missing: Vec<_> = missing
        .into_iter()
        .flatten()
        .map(|missing| failed(WHAT, missing.what, &missing.remedy))
        .collect();
    match missing.is_empty() {
        true => vec![passed(
            WHAT,
            "rows can be written, partitions made and dropped".into(),
        )],
        false => missing,
    }
}

/// Whose a migrated database is.
#[derive(Debug, Clone, Copy)]
enum Bound {
    ToThis,
    ToNobody,
}

/// An embedded one's address is known to nobody else.
fn reached(bound: Bound, embedded: Option<&Embedded>) -> String {
    let reached = match bound {
        Bound::ToThis => "reachable, migrated, and this tenant's",
        Bound::ToNobody => {
            "reachable, migrated, and bound to nobody yet: the first `usertap serve` binds it to this tenant"
        }
    };
    match embedded {
        None => reached.into(),
        Some(embedded) => format!(
            "{reached}; psql {}, password in {}",
            embedded.address(),
            embedded.password_file().display()
        ),
    }
}

/// A look changes nothing: neither migrates nor binds the tenant. Nothing where it is not migrated yet.
async fn inspected(database: &Database, config: &Config) -> Result<Option<Bound>, DbError> {
    fitness::check(database).await?;
    fitness::same(database).await?;
    match migrate::inspect(database).await? {
        Stage::Migratable => Ok(None),
        Stage::Migrated => match tenant::is_bound(database, &config.tenant).await? {
            true => Ok(Some(Bound::ToThis)),
            false => Ok(Some(Bound::ToNobody)),
        },
    }
}

fn refused(error: &DbError) -> Check {
    let remedy = match error {
        DbError::Away(_) => "check DATABASE_URL and that the server runs",
        DbError::Refused { .. } => "mend what the database's log says",
        // Its sentence names the remedy.
        DbError::Unfit(_) => "",
    };
    failed("database", error.to_string(), remedy)
}

async fn table(database: &Database) -> Check {
    const WHAT: &str = "table";
    let found = async {
        let table = users_table::find(&database.names, &mut *database.get().await?).await?;
        Ok::<_, DbError>((table.unfit, rows::counts(database).await?))
    };
    match found.await {
        Ok((Some(unfit), _)) => failed(WHAT, unfit.what, &unfit.remedy),
        Ok((None, Some(counts))) if counts.set_aside > 0 => failed(
            WHAT,
            format!("users that are set aside: {}", counts.set_aside),
            "`usertap status` names them and the constraints that refuse them",
        ),
        Ok(_) => passed(
            WHAT,
            format!("{}.users_sync takes rows", database.names.users_schema),
        ),
        Err(error) => failed(
            WHAT,
            error.to_string(),
            "give users_sync back its name and usertap its rights",
        ),
    }
}

/// Said where there is something to be said.
async fn versions(database: &Database) -> Option<Check> {
    let found = surroundings::look(database).await.ok()?;
    let held = found.held.unfit()?;
    Some(failed("old versions", held.what, &held.remedy))
}

/// Where rows of deleted users go, what refers to them is looked for.
async fn references(database: &Database, config: &Config) -> Vec<Check> {
    if !config.deleted.removes() {
        return Vec::new();
    }
    let found = references::without_an_index(database).await;
    let hints = found.unwrap_or_default().into_iter().map(|reference| Check {
        remedy: format!("run {}", reference.remedy()),
        ..passed(
            "references",
            format!(
                "{} has no index: each removal of a user's row reads that whole table",
                reference.at
            ),
        )
    });
    hints.collect()
}
