//! Lists that give no more than so many users however they are paged: walked in windows of the time of
//! creation.
//!
//! A window is open to its end and ordered by that time. Where its last page is reached, the next one
//! begins at the time of the last user seen, who comes again: never one that is left out.

use serde_json::Value;

use super::{Cursor, Footing, Look, PageFault, Params};
use crate::provider::pointer::Pointer;
use crate::provider::template::Template;

#[derive(Debug)]
pub(in crate::provider) struct Window {
    pub param: String,
    pub within: Template,
    pub page: String,
    pub first: u64,
    /// Users whom a window gives.
    pub most: u64,
    /// Pages of a window that can be asked for.
    pub pages: u64,
    pub created_at: Pointer,
    /// A window for each page, as far as users differ in their time: where whoever is left behind would
    /// move up meanwhile, and somebody be passed over.
    pub steps: bool,
}

/// Where in a window that begins at somebody's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Begins,
    GoesOn,
}

/// A page of a window.
#[derive(Debug, PartialEq, Eq)]
struct Place<'c> {
    page: u64,
    from: Option<&'c str>,
}

impl Window {
    /// The parameters that say which page of which window.
    pub(super) fn query(&self, cursor: Option<&Cursor>) -> Params {
        let place = self.place(cursor).unwrap_or(Place {
            page: self.first,
            from: None,
        });
        let within = place
            .from
            .and_then(|from| self.within.fill(&|_| Some(from.to_owned())));
        let within = within.map(|within| (self.param.clone(), Value::from(within)));
        let page = (self.page.clone(), Value::from(place.page));
        within.into_iter().chain([page]).collect()
    }

    /// After a page with somebody on it.
    pub(super) fn next(
        &self,
        cursor: Option<&Cursor>,
        fetched: usize,
        last: Option<&Value>,
    ) -> Result<String, PageFault> {
        let place = self.place(cursor)?;
        let next = place.page.saturating_add(1);
        let from = last.and_then(|last| self.created_at.find(last)?.as_str());
        let stays = !self.steps || from.is_none() || from == place.from;
        if stays && next < self.first + self.pages && fetched > 0 {
            return Ok(written(next, place.from));
        }
        let from = from.ok_or(PageFault::Shape {
            what: "the last user has no time of creation to go on from",
        })?;
        if place.from == Some(from) {
            return Err(PageFault::Shape {
                what: "more users were created at one instant than the list can show",
            });
        }
        Ok(written(self.first, Some(from)))
    }

    /// The first page of a window begins at an instant; the others are counted from there.
    pub(super) fn look(&self, cursor: &Cursor, back: u32) -> Option<Look> {
        let Place { page, from } = self.place(Some(cursor)).ok()?;
        let look = Look::numbered(page, self.first, back, |page| written(page, from));
        match (look.footing, from) {
            (Footing::Counted { is_first: true, .. }, Some(_)) => {
                Some(Look::at(look.cursor.as_ref(), Footing::Instant))
            }
            _ => Some(look),
        }
    }

    pub(super) fn within(&self, cursor: &Cursor) -> Option<Within> {
        let place = self.place(Some(cursor)).ok()?;
        place.from?;
        Some(match place.page == self.first {
            true => Within::Begins,
            false => Within::GoesOn,
        })
    }

    fn place<'c>(&self, cursor: Option<&'c Cursor>) -> Result<Place<'c>, PageFault> {
        let Some(cursor) = cursor else {
            return Ok(Place {
                page: self.first,
                from: None,
            });
        };
        let (page, from) = match cursor.at.split_once(' ') {
            Some((page, from)) => (page, Some(from)),
            None => (cursor.at.as_str(), None),
        };
        let page = page.parse().map_err(|_| PageFault::Shape {
            what: "the stored place in the listing is not a number",
        })?;
        Ok(Place { page, from })
    }
}

fn written(page: u64, from: Option<&str>) -> String {
    from.map_or_else(|| page.to_string(), |from| format!("{page} {from}"))
}
