//! What is asked for at a place, so that nobody is passed over while others are deleted.
//!
//! A place that counts users (an offset, the number of a page) is another one as soon as somebody before
//! it is gone. So a page by offset begins some users earlier, and with a numbered page the one before is
//! read once more, after it: where somebody met before stands on what came, nobody was passed over. Where
//! nobody does, it is asked for further back. What must never be: a counted place that is taken at its word.

use super::{Cursor, Paging};
use crate::provider::Provider;

/// Users that a page by offset has in common with the one before; half of a page where that is fewer, for
/// a page of none but them says nothing of what is behind.
const OVERLAP: u64 = 10;
/// So many times more of them each time that nobody of them is met.
const FURTHER: u64 = 2;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub cursor: Option<Cursor>,
    /// Read after it: the page before.
    pub again: Option<Cursor>,
    pub footing: Footing,
}

/// What shows that nobody was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footing {
    /// The place stands by itself: a user, or the beginning.
    Firm,
    /// It is an instant: those who were met of it come again.
    Instant,
    /// Users are counted: somebody who was met must stand on the page.
    Counted {
        /// So many users are asked for again.
        overlap: u64,
        /// Nothing is before it.
        is_first: bool,
    },
}

impl Footing {
    /// The page before was read once more, and shows so many users.
    pub fn with_again(self, users: u64) -> Footing {
        match self {
            Footing::Counted { is_first, .. } => Footing::Counted {
                overlap: users,
                is_first,
            },
            other => other,
        }
    }
}

impl Look {
    pub(super) fn at(cursor: Option<&Cursor>, footing: Footing) -> Look {
        Look {
            cursor: cursor.cloned(),
            again: None,
            footing,
        }
    }

    /// Nothing where a page holds one user: none of two can be in common.
    fn offset(cursor: &Cursor, back: u32, page: Option<u64>) -> Option<Look> {
        let users: u64 = cursor.at.parse().ok()?;
        let overlap = page.map_or(OVERLAP, |page| (page / 2).min(OVERLAP));
        let further = overlap.saturating_mul(FURTHER.saturating_pow(back)).min(users);
        let cursor = Cursor {
            at: (users - further).to_string(),
        };
        let footing = Footing::Counted {
            overlap: further,
            is_first: users == further,
        };
        (overlap > 0).then(|| Look::at(Some(&cursor), footing))
    }

    /// `written` makes a cursor of the number of a page.
    pub(super) fn numbered(page: u64, first: u64, back: u32, written: impl Fn(u64) -> String) -> Look {
        let back = 2u64.saturating_pow(back) - 1;
        let page = page.saturating_sub(back).max(first);
        let cursor = |page| Cursor { at: written(page) };
        let is_first = page <= first;
        Look {
            cursor: Some(cursor(page)),
            again: (!is_first).then(|| cursor(page - 1)),
            footing: Footing::Counted { overlap: 0, is_first },
        }
    }
}

impl Provider {
    /// What to ask for at a place of a walk. `back`: how often it was looked for in vain; `page`: users on the
    /// longest page.
    pub fn look(&self, cursor: Option<&Cursor>, back: u32, page: Option<u64>) -> Look {
        let counted = cursor.and_then(|cursor| match &self.list.paging {
            Paging::Offset { .. } => Look::offset(cursor, back, page),
            Paging::Page { first, .. } => {
                let page = cursor.at.parse().ok()?;
                Some(Look::numbered(page, *first, back, |page| page.to_string()))
            }
            Paging::Window(window) => window.look(cursor, back),
            Paging::Cursor { .. } | Paging::Link { .. } => None,
        });
        counted.unwrap_or_else(|| Look::at(cursor, Footing::Firm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Cursor {
        Cursor { at: text.into() }
    }

    #[test]
    fn an_offset_begins_earlier_and_earlier() {
        let look = |back, page| Look::offset(&at("250"), back, page).unwrap();
        let begins = |back| look(back, Some(100)).cursor.unwrap().at;
        assert_eq!([0, 1, 4, 5].map(begins), ["240", "230", "90", "0"]);
        let first = Footing::Counted {
            overlap: 250,
            is_first: true,
        };
        assert_eq!(look(4_000_000_000, None).footing, first);
        assert_eq!(look(0, Some(7)).cursor, Some(at("247")), "never a whole page");
        assert_eq!(Look::offset(&at("250"), 0, Some(1)), None);
        assert_eq!(Look::offset(&at("nonsense"), 0, None), None);
    }

    #[test]
    fn the_page_before_is_read_once_more_except_before_the_first() {
        let look = |page, back| {
            let look = Look::numbered(page, 1, back, |page| page.to_string());
            (look.cursor.unwrap().at, look.again.map(|again| again.at))
        };
        let page = |page: u64| (page.to_string(), (page > 1).then(|| (page - 1).to_string()));
        assert_eq!([look(9, 0), look(9, 1), look(9, 2)], [9, 8, 6].map(page));
        assert_eq!([look(9, 4), look(2, 40_000), look(1, 0)], [1, 1, 1].map(page));
    }
}
