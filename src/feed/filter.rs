//! Which events a consumer wants. What it leaves out moves its position on all the same.

use std::collections::BTreeSet;

use super::event::Event;

/// Empty sets leave nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub types: BTreeSet<String>,
    pub ids: BTreeSet<String>,
    pub origins: BTreeSet<String>,
}

impl Filter {
    pub fn passes(&self, event: &Event) -> bool {
        let passes = |wanted: &BTreeSet<String>, has: &str| wanted.is_empty() || wanted.contains(has);
        passes(&self.types, &event.kind)
            && passes(&self.ids, &event.id)
            && passes(&self.origins, &event.origin)
    }

    pub fn is_empty(&self) -> bool {
        self.types.is_empty() && self.ids.is_empty() && self.origins.is_empty()
    }
}
