//! A lane while the database is left alone: nothing is to be written, and it has no connection.

use super::{GivenUp, Writer};

impl Writer {
    /// Whoever hands something over needs the database, and finds the lane connecting.
    pub(super) async fn leave_alone(&mut self) -> Result<(), GivenUp> {
        self.link.drop_connection();
        let shared = self.shared.clone();
        tokio::select! {
            () = shared.idle.until_in_use() => self.reconnect().await,
            () = shared.close.cancelled() => Ok(()),
        }
    }
}
