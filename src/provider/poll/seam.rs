//! Where a page of a list by offset joins the one before. Who is deleted while pages are read moves up
//! everyone behind; so each page begins a few users before the end of the last one, and what it shows
//! counts only where it is seen to join: never is somebody passed over between two pages.

use serde::{Deserialize, Serialize};

use crate::provider::Sighting;
use crate::provider::paging::{Cursor, List, Page, Paging};

/// Users asked for again: so many may be deleted between two pages.
const AGAIN: usize = 20;

/// The end of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seam {
    /// Of the users who are asked for again.
    ids: Vec<String>,
    /// When the last of them changed, where a list has those who changed last first.
    last: Option<i64>,
}

impl Seam {
    /// Nothing where the list does not go by offset, or where there are too few users to show some of
    /// them again and still go on.
    pub(super) fn behind(list: &List, page: &Page, last: Option<i64>) -> Option<Seam> {
        let goes_by_offset = matches!(list.paging, Paging::Offset { .. }) && page.malformed == 0;
        let again = AGAIN.min(page.fetched / 2);
        let ids = page.sightings.iter().rev().take(again).map(id).collect();
        (goes_by_offset && again > 0).then_some(Seam { ids, last })
    }

    /// Where the next page begins.
    pub(super) fn back(&self, cursor: Cursor) -> Cursor {
        let offset: Option<u64> = cursor.at.parse().ok();
        let back = offset.map(|offset| offset.saturating_sub(self.ids.len() as u64).to_string());
        back.map_or(cursor, |at| Cursor { at })
    }

    /// Nobody stands between this page and the one before: somebody of that is met again, or `first`, in a
    /// list that has those who changed last first, changed after its last one.
    pub(super) fn joins(&self, page: &Page, first: Option<i64>) -> bool {
        let is_before = self.last.zip(first).is_some_and(|(last, first)| first > last);
        is_before || page.sightings.iter().any(|user| self.ids.contains(&id(user)))
    }

    /// There is nobody on this page who was not on the one before.
    pub(super) fn is_all(&self, page: &Page) -> bool {
        page.malformed == 0 && page.sightings.iter().all(|user| self.ids.contains(&id(user)))
    }
}

fn id(user: &Sighting) -> String {
    user.id.to_string()
}
