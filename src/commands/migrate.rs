//! `usertap migrate`: only the migrations.

use crate::config::Config;
use crate::db::{migrate, tenant};
use crate::station::{self, StartError};

pub async fn run(config: Config) -> Result<(), StartError> {
    let (database, _embedded) = station::database(&config).await?;
    migrate::run(&database).await.map_err(station::not_opened)?;
    tenant::is_bound(&database, &config.tenant)
        .await
        .map_err(station::not_opened)?;
    println!(
        "migrated: {}.users_sync with {} ids",
        config.schema,
        config.id_type.sql()
    );
    Ok(())
}
