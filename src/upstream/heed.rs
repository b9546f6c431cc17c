//! What the provider says of its limits, and who makes room for it.
//!
//! What must never be: an app held back by what concerns somebody else.

use http::{HeaderMap, StatusCode};

use super::{Left, Priority, UNSAID, Upstream, Yields, own, pause};
use crate::clock::{self, Instant};

impl Upstream {
    /// Told of an answer's head: a refusal makes those concerned wait, a provider that asks for a rest is
    /// left alone by usertap itself. A refusal can come in an HTTP 200, which is why it is told what the
    /// answer means.
    pub fn heed(&self, meant: StatusCode, headers: &HeaderMap, whom: Yields) {
        let whom = whom.min(self.widest);
        match meant {
            StatusCode::TOO_MANY_REQUESTS => {
                let said = pause::refusal(headers, clock::wall());
                self.budget.refused(said, whom, own::jitter());
                self.refused.notify_one();
            }
            StatusCode::SERVICE_UNAVAILABLE => self
                .budget
                .served(pause::rest(headers, clock::wall()), Yields::Own),
            _ => self.budget.served(pause::spent(headers, clock::wall), whom),
        }
    }

    /// A request that the provider counts for this user by itself was refused: nobody else's has to wait.
    pub fn refused_for(&self, user: &str, headers: &HeaderMap) {
        let said = pause::refusal(headers, clock::wall());
        self.by_user.refused(user, said.unwrap_or(UNSAID));
    }

    /// Until when the provider wants nothing from this priority.
    pub fn paused(&self, priority: Priority) -> Option<Instant> {
        self.budget.paused(priority)
    }

    /// For how long the provider wants nothing more, as it said to this process.
    pub fn yields(&self) -> Left {
        self.budget.yields()
    }

    /// The same as it said to another.
    pub fn yield_with_others(&self, left: &Left) {
        self.budget.yield_with_others(left);
    }

    /// Resolves when the provider has refused this process: the others are to hear of it.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }
}

#[cfg(test)]
mod tests;
