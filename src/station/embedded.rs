//! A Postgres of usertap's own, for as long as the station has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::StartError;
use crate::config::Config;
use crate::db::embedded::{Embedded, Search};

/// Between looks whether it is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Starts an embedded server again that has ended: one whose process was killed, say for want of memory.
pub(super) async fn keep_up(embedded: Arc<Embedded>, config: Arc<Config>) {
    loop {
        sleep(LOOK_EVERY).await;
        if !embedded.has_ended() {
            continue;
        }
        tracing::warn!("embedded Postgres has ended though it is in use; it is started again");
        match start(&config).await {
            Ok(again) if again.port() == embedded.port() => {}
            Ok(again) => tracing::error!(
                port = again.port(),
                "embedded Postgres listens on another port now, for its own is taken: restart usertap"
            ),
            Err(error) => tracing::error!(%error, "embedded Postgres does not come up; it is tried again"),
        }
    }
}

pub(super) async fn start(config: &Config) -> Result<Embedded, StartError> {
    let mut search = Search::from_os();
    search.pg_bin = config.pg_bin.clone().or(search.pg_bin);
    let folder = config.data_dir.clone();
    let started = tokio::task::spawn_blocking(move || Embedded::durable(&search, &folder)).await;
    let embedded = started
        .map_err(|error| StartError(error.to_string()))?
        .map_err(|error| StartError(error.to_string()))?;
    if embedded.is_relocated() {
        tracing::info!(folder = %embedded.folder().display(), "embedded Postgres cannot use DATA_DIR; it lives here");
    }
    let (url, password_file) = (embedded.address(), embedded.password_file());
    tracing::info!(url, password_file = %password_file.display(), "embedded Postgres is up");
    Ok(embedded)
}
