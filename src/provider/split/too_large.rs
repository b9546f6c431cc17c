//! An item that is too large to be held: no more of it than the id, wherever in it that stands.

use super::super::pointer::Step;
use super::{Item, ItemSplitter, Items, LONGEST_TOKEN};

#[derive(Debug)]
pub(super) struct TooLarge {
    splitter: ItemSplitter,
    /// As JSON; empty as long as there is none.
    pub id: Vec<u8>,
}

impl TooLarge {
    pub fn new(id: &[Step]) -> TooLarge {
        TooLarge {
            splitter: ItemSplitter::new(Items::Itself, id, LONGEST_TOKEN),
            id: Vec::new(),
        }
    }

    /// Takes what the splitter of the whole answer has found to be JSON.
    pub fn feed(&mut self, bytes: &[u8]) {
        let _is_none_with_an_id = self.splitter.feed(bytes, &mut |id| {
            if let Item::Whole(id) = id {
                self.id = id.to_vec();
            }
        });
    }
}
