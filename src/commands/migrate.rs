//! `usertap migrate`: only the migrations, and publications where they are asked for.

use crate::config::Config;
use crate::db::{migrate, publication, tenant, users_table};
use crate::station::{self, StartError};

pub async fn run(config: Config, publication: Option<String>) -> Result<(), StartError> {
    let (database, _embedded) = station::database(&config).await?;
    migrate::run(&database).await.map_err(station::not_opened)?;
    tenant::is_bound(&database, &config.tenant)
        .await
        .map_err(station::not_opened)?;
    if users_table::make_anew(&database)
        .await
        .map_err(station::not_opened)?
    {
        say!(
            "{}.users_sync was gone and is made anew: `usertap backfill` fills it; foreign keys to it, grants on it and its \
             place in publications are to be made again",
            config.schema
        );
    }
    say!(
        "migrated: {}.users_sync with {} ids",
        config.schema,
        config.id_type.sql()
    );
    if let Some(name) = publication {
        let made = publication::make(&database, &name).await;
        for table in made.map_err(station::not_opened)? {
            say!("published: {table}");
        }
    }
    Ok(())
}
