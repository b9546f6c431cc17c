//! Binding a database to one tenant at its first start, and refusing every other.

use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};

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

/// Nobody but the operator can tell a renewed key from another tenant's.
const RENEWED: &str = ". Where it is the same tenant with a new key or at a new address, have no usertap run on it, carry \
    out UPDATE {state}.meta SET provider = NULL, tenant = NULL; and start again";

/// Whether the database has a tenant already.
///
/// # Errors
/// [`DbError::Unfit`], naming both tenants, where it has another.
pub async fn is_bound(database: &Database, tenant: &Tenant) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let there = database
        .names
        .sql("SELECT provider, tenant::text AS tenant FROM {state}.meta");
    let there: Option<Bound> = optional(statement(&there), &mut conn).await?;
    let there = there.ok_or_else(DbError::without_meta)?;
    let Some((provider, identity)) = there.provider.zip(there.tenant) else {
        return Ok(false);
    };
    let ours = spelled(tenant);
    let renewed = provider == tenant.provider && may_be_renewed(&identity, tenant);
    let way_out = match renewed {
        true => database.names.sql(RENEWED),
        false => String::new(),
    };
    match provider == tenant.provider && same(&identity, &ours) {
        true => Ok(true),
        false => Err(DbError::Unfit(format!(
            "this database holds the users of {provider} {}, the settings name {} {}: correct the settings, \
             or use another database (or SCHEMA and STATE_SCHEMA){way_out}",
            readable(&identity),
            tenant.provider,
            readable(&ours),
        ))),
    }
}

/// Writes the tenant down if the database has none yet.
///
/// # Errors
/// [`DbError::Unfit`] where another process has bound it to another meanwhile.
pub async fn bind(database: &Database, tenant: &Tenant) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let first = database
        .names
        .sql("UPDATE {state}.meta SET provider = $1, tenant = $2::jsonb WHERE provider IS NULL");
    let first = statement(&first)
        .bind::<Text, _>(&tenant.provider)
        .bind::<Text, _>(spelled(tenant));
    execute(first, &mut conn).await?;
    drop(conn);
    is_bound(database, tenant).await.map(|_| ())
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

/// Whether nothing else is another than what can become another.
fn may_be_renewed(identity: &str, tenant: &Tenant) -> bool {
    let there = pairs(identity);
    let is_same = |(there, ours): (&(String, String), &(String, String))| {
        there.0 == ours.0 && (there.1 == ours.1 || tenant.may_change.contains(&ours.0))
    };
    there.len() == tenant.identity.len() && there.iter().zip(&tenant.identity).all(is_same)
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
