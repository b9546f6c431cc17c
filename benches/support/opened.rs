//! The database of a bench's settings.

use usertap::config::Config;
use usertap::db::Database;
use usertap::station;
use usertap::tasks::Tasks;

/// Migrated and bound.
pub async fn database(config: &Config) -> Database {
    let upstream = station::upstream(config, &Tasks::default()).expect("a way to the provider");
    let (database, _) = station::opened(config, &upstream).await.expect("a database");
    database
}
