//! The part of the provider's limit that is this process's, and what it was used for.

use super::share::Wants;
use super::{Given, Upstream};
use crate::clock::Instant;

impl Upstream {
    /// This part of the provider's limit, of 1, is this process's from now on. Whoever has had any of the rest since
    /// `since` is there still.
    pub fn hold(&self, share: f64, since: Instant) {
        self.budget.hold(share, since);
    }

    /// Nothing of the provider's limit is this process's yet.
    pub fn hold_nothing(&self) {
        self.budget.hold_nothing();
    }

    /// The part of the provider's limit that this process holds.
    pub fn share(&self) -> f64 {
        self.budget.share()
    }

    /// What of the provider's limit could be used here, by what was asked for of late.
    pub fn wants(&self) -> Wants {
        self.budget.wants()
    }

    /// The part of the published limit that the provider has shown to be there; nothing where none
    /// is published.
    pub fn learned(&self) -> Option<f64> {
        self.budget.learned()
    }

    /// What the budget was used for.
    pub fn given(&self) -> Given {
        self.budget.given()
    }

    /// Requests a second that usertap allows itself; nothing where a published limit rules.
    pub fn pace(&self) -> Option<f64> {
        self.budget.pace()
    }
}
