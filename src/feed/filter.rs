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

    /// Whether no index serves it: changes are looked through, so many at a time.
    pub(super) fn looks_through(&self) -> bool {
        !self.is_empty() && self.ids.is_empty()
    }

    /// As a condition on the changes `c`; what it asks for is bound at `first` and behind. What it does not ask
    /// for stands in none of its conditions, so that the index on the id can be used where only that is asked for.
    pub(super) fn condition(&self, first: usize) -> String {
        let of = |column: &str, wanted: &BTreeSet<String>, place: usize| match wanted.is_empty() {
            true => format!("${place}::text[] IS NOT NULL"),
            false => format!("c.{column} = ANY(${place})"),
        };
        let types = of("type", &self.types, first);
        let ids = of("id", &self.ids, first + 1);
        let origins = of("origin", &self.origins, first + 2);
        format!("{types} AND {ids} AND {origins}")
    }

    /// What it asks for, in the order of [`Filter::condition`].
    pub(super) fn bound(&self) -> [Vec<String>; 3] {
        [&self.types, &self.ids, &self.origins].map(|wanted| wanted.iter().cloned().collect())
    }
}
