//! Pages on their way into the tables: as many as the recorder's lanes have use for, and no more, for
//! they are in memory.

use std::collections::VecDeque;

use crate::record::Receipt;

/// A transaction's worth for each of the two lanes that write pages.
const USERS: usize = 2_000;
const BYTES: usize = 16 << 20;
/// A page counts for so many at the least: one that shows nobody new has a place and a receipt too.
const LEAST: usize = 50;

#[derive(Default)]
pub(super) struct UnderWay {
    /// The oldest first.
    pages: VecDeque<Submitted>,
}

/// A page that the recorder has.
pub(super) struct Submitted {
    pub receipt: Receipt,
    pub users: usize,
    /// Of users' JSON.
    pub bytes: usize,
}

impl UnderWay {
    pub fn add(&mut self, page: Submitted) {
        self.pages.push_back(page);
    }

    /// The oldest, while there are more than need be. One may always be under way.
    pub fn beyond(&mut self) -> Option<Receipt> {
        let users: usize = self.pages.iter().map(|page| page.users.max(LEAST)).sum();
        let bytes: usize = self.pages.iter().map(|page| page.bytes).sum();
        match self.pages.len() > 1 && (users > USERS || bytes > BYTES) {
            true => self.oldest(),
            false => None,
        }
    }

    pub fn oldest(&mut self) -> Option<Receipt> {
        self.pages.pop_front().map(|page| page.receipt)
    }
}
