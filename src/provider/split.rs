//! Cuts the users out of an answer too large to be held.

use super::{Matched, Provider};

/// Fed the decoded bytes as they pass; gives back each user's JSON as it is complete. Holds one
/// item at most.
#[derive(Debug)]
pub struct ItemSplitter {}

/// The bytes are not the JSON that the route promises, or one item is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitFault {
    NotJson,
    TooLarge,
}

impl Provider {
    /// A splitter for this route's lists; nothing for routes whose answers are not lists.
    pub fn splitter(&self, _matched: &Matched<'_>, _largest_item: usize) -> Option<ItemSplitter> {
        todo!()
    }
}

impl ItemSplitter {
    /// Takes the next bytes and calls `item` with each user completed by them.
    pub fn feed(&mut self, _bytes: &[u8], _item: &mut dyn FnMut(&[u8])) -> Result<(), SplitFault> {
        todo!()
    }

    /// Whether the answer ended where its JSON does.
    pub fn finished(&self) -> bool {
        todo!()
    }
}
