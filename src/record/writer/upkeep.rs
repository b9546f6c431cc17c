//! What one lane does now and then beside its batches.

use std::time::Duration;

use super::Writer;
use crate::clock;
use crate::config::Deleted;
use crate::db::{missing, to_come};
use crate::failpoint;

const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Writer {
    /// What is to be done now and then: rows whose time has come, those that were refused earlier among
    /// them, and what nobody needs any more. Where rows are to stay, no refusal of earlier times is one.
    pub(super) async fn look_after(&mut self) {
        self.looks_at = clock::now() + failpoint::wait("purge-every", LOOK_EVERY);
        self.put_times_right().await;
        self.find_purges().await;
        if self.deleted == Deleted::Keep
            && let Ok(conn) = self.link.conn()
            && let Err(error) = self.sql.may_stay(conn).await
        {
            tracing::warn!(%error, "what is known of deleted rows stays for now");
        }
        self.forget_strangers().await;
        self.forget_unasked().await;
    }

    async fn put_times_right(&mut self) {
        let Ok(conn) = self.link.conn() else { return };
        if let Err(error) = to_come::put_right(&self.database, conn).await {
            tracing::debug!(%error, "what a clock that was ahead has written stays for now");
        }
    }

    async fn forget_unasked(&mut self) {
        let Ok(conn) = self.link.conn() else { return };
        if let Err(error) = missing::forget_unasked(&self.database, conn).await {
            tracing::debug!(%error, "deletions of earlier hours stay counted for now");
        }
    }
}
