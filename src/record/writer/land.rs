//! What is committed lands: whoever waited for it goes, and the journal may forget it.

use super::super::Shared;
use super::super::journal::Place;
use super::flight::Landed;
use crate::failpoint;

/// Lets those go who waited for what is committed.
pub(super) async fn land(shared: &Shared, landed: Vec<Landed>) {
    if landed.is_empty() {
        return;
    }
    let done = shared.landed(landed);
    if let (Some(keeper), false) = (shared.keeper.clone(), done.is_empty()) {
        let _ = tokio::task::spawn_blocking(move || keeper.consumed(&done)).await;
        failpoint::reached("writer.landed");
    }
}

impl Shared {
    /// Lets go who waited; the records in the journal that may go.
    pub(in crate::record) fn landed(&self, landed: Vec<Landed>) -> Vec<Place> {
        let mut numbers = Vec::with_capacity(landed.len());
        for landed in landed {
            self.memory.judged(landed.users.iter().map(|seen| &seen.id));
            numbers.push(landed.number);
            landed.reply();
        }
        self.backlog.done(&numbers)
    }
}
