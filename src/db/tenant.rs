//! Binding a database to one tenant at its first start, and refusing every other.

use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use diesel_async::AsyncPgConnection;

use super::statement::{Bind, execute, optional, statement};
use super::{Database, DbError};
use crate::provider::Tenant;

#[derive(QueryableByName)]
struct Bound {
    #[diesel(sql_type = Nullable<Text>)]
    provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    tenant: Option<String>,
}

/// Writes the tenant down if the database has none yet.
///
/// # Errors
/// [`DbError::Unfit`], naming both tenants, where it has another.
pub async fn bind(database: &Database, tenant: &Tenant) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let ours = spelled(tenant);
    let first = database
        .names
        .sql("UPDATE {state}.meta SET provider = $1, tenant = $2::jsonb WHERE provider IS NULL");
    let first = statement(&first)
        .bind::<Text, _>(&tenant.provider)
        .bind::<Text, _>(&ours);
    execute(first, &mut conn).await?;
    refuse_other(&mut conn, database, tenant).await?.map_or_else(
        || {
            Err(DbError::Unfit(
                "the table meta is empty: restore it from a backup".into(),
            ))
        },
        Ok,
    )
}

/// Whether the database is this tenant's or has none yet; writes nothing.
///
/// # Errors
/// [`DbError::Unfit`], naming both tenants, where it has another.
pub async fn check(database: &Database, tenant: &Tenant) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    refuse_other(&mut conn, database, tenant).await.map(drop)
}

/// Nothing where no tenant is bound.
async fn refuse_other(
    conn: &mut AsyncPgConnection,
    database: &Database,
    tenant: &Tenant,
) -> Result<Option<()>, DbError> {
    let ours = spelled(tenant);
    let there = database
        .names
        .sql("SELECT provider, tenant::text AS tenant FROM {state}.meta");
    let there: Option<Bound> = optional(statement(&there), conn).await?;
    let there = there.and_then(|bound| Some((bound.provider?, bound.tenant?)));
    match there {
        Some((provider, identity)) if provider == tenant.provider && same(&identity, &ours) => Ok(Some(())),
        Some((provider, identity)) => Err(DbError::Unfit(format!(
            "this database holds the users of {provider} {}, the settings name {} {}: correct the settings, \
             or use another database (or SCHEMA and STATE_SCHEMA)",
            readable(&identity),
            tenant.provider,
            readable(&ours),
        ))),
        None => Ok(None),
    }
}

/// The identity as a JSON array of pairs, in the descriptor's order.
fn spelled(tenant: &Tenant) -> String {
    serde_json::Value::from_iter(
        tenant
            .identity
            .iter()
            .map(|(name, value)| vec![name.clone(), value.clone()]),
    )
    .to_string()
}

fn pairs(identity: &str) -> Vec<(String, String)> {
    serde_json::from_str(identity).unwrap_or_default()
}

fn same(one: &str, other: &str) -> bool {
    pairs(one) == pairs(other)
}

fn readable(identity: &str) -> String {
    let parts = pairs(identity)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    parts.collect::<Vec<_>>().join(" ")
}
