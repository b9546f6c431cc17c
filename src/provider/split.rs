//! Cuts out of an answer too large to be held what tells of its users: those in its list, or the id
//! of the one that it is.

mod too_large;

use serde::de::IgnoredAny;

use super::pointer::Step;
use super::source::Source;
use super::tell::Kind;
use super::view::Place;
use super::{Credential, Matched, Provider};
use crate::user::json::ORDER_MARK;
use too_large::TooLarge;

/// Fed the decoded bytes as they pass; gives back each user's JSON as it is complete, or a user's id.
/// Holds one item at most.
#[derive(Debug)]
pub struct ItemSplitter {
    items: Items,
    /// The keys that lead to the list, or to the id.
    path: Vec<Box<str>>,
    largest_item: usize,
    state: State,
    open: Vec<Container>,
    /// The key or bare word that is being read.
    token: Vec<u8>,
    item: Vec<u8>,
    in_item: bool,
    /// Where an item has its id.
    id: Vec<Step>,
    /// In one that is too large.
    too_large: Option<Box<TooLarge>>,
    /// The next value stands on the way to the list, or is it.
    on_path: bool,
    /// The list, or the id.
    seen: bool,
    fault: Option<SplitFault>,
}

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    Whole(&'a [u8]),
    /// Of one that is larger than the limit; empty where it has none.
    Id(&'a [u8]),
}

/// What is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Items {
    /// What the list at the end of the path holds.
    Listed,
    /// What stands at the end of the path.
    Itself,
}

/// The bytes are not the JSON that the route promises, or the id is larger than any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitFault {
    NotJson,
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So much of a byte order mark has come.
    Beginning(u8),
    Value,
    /// Just after `[`.
    ValueOrEnd,
    Key,
    /// Just after `{`.
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Text {
        key: bool,
        escaped: bool,
    },
    Word,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Container {
    object: bool,
    on_path: bool,
    list: bool,
}

/// Deeper than any database of users takes; it bounds the memory that brackets alone can take.
const DEEPEST: usize = 1 << 17;
/// Longer keys and bare words than any that matter.
const LONGEST_TOKEN: usize = 4096;

impl Provider {
    /// A splitter for this route's lists; nothing for routes whose answers are not lists. Whether
    /// the list is for this caller to tell of, [`Provider::tells`] says.
    pub fn splitter(&self, matched: &Matched<'_>, largest_item: usize) -> Option<ItemSplitter> {
        match &matched.route.list()?.kind {
            Kind::List { at, item, .. } => {
                let mut splitter = ItemSplitter::new(Items::Listed, &at.0, largest_item);
                if let Place::Plain(id) = &self.user.id {
                    splitter.id = [&item.0[..], &id.0[..]].concat();
                }
                Some(splitter)
            }
            _ => None,
        }
    }

    /// The same for the id in an answer that tells this caller of one user; nothing where only a
    /// parsed answer can tell it.
    pub fn id_splitter(&self, matched: &Matched<'_>, credential: Credential) -> Option<ItemSplitter> {
        let mut tells = matched.route.tells.iter().filter(|tell| tell.is_for(credential));
        let path = tells.find_map(|tell| match (&tell.kind, &self.user.id) {
            (Kind::Whole(at) | Kind::Partial { at, .. }, Place::Plain(id)) => {
                Some([&at.0[..], &id.0[..]].concat())
            }
            (Kind::Touched(from) | Kind::Mentioned(from), _) => from.iter().find_map(|source| match source {
                Source::Answer(at) if at.is_single() => Some(at.0.clone()),
                _ => None,
            }),
            _ => None,
        })?;
        Some(ItemSplitter::new(Items::Itself, &path, LONGEST_TOKEN))
    }
}

impl ItemSplitter {
    fn new(items: Items, path: &[Step], largest_item: usize) -> Self {
        let keys = path.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Each => None,
        });
        ItemSplitter {
            items,
            path: keys.collect(),
            largest_item,
            state: State::Beginning(0),
            open: Vec::new(),
            token: Vec::new(),
            item: Vec::new(),
            in_item: false,
            id: Vec::new(),
            too_large: None,
            on_path: true,
            seen: false,
            fault: None,
        }
    }

    /// Takes the next bytes and calls `item` with each user completed by them. After a fault it
    /// takes nothing more.
    pub fn feed(&mut self, bytes: &[u8], item: &mut dyn FnMut(Item<'_>)) -> Result<(), SplitFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let fed = self.feed_all(bytes, item);
        self.fault = fed.err();
        fed
    }

    /// Whether the answer ended where its JSON does, with the list or the id in it.
    pub fn finished(&self) -> bool {
        self.state == State::Done && self.seen && self.fault.is_none()
    }

    fn feed_all(&mut self, mut bytes: &[u8], item: &mut dyn FnMut(Item<'_>)) -> Result<(), SplitFault> {
        while let Some(first) = bytes.first() {
            let taken = match self.state {
                State::Text { key, escaped } => self.text(bytes, key, escaped, item)?,
                State::Word => self.word(bytes, item)?,
                State::Beginning(marked) => self.beginning(*first, marked)?,
                _ => self.structure(*first, item)?,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn beginning(&mut self, byte: u8, marked: u8) -> Result<usize, SplitFault> {
        let (state, taken) = match ORDER_MARK.get(usize::from(marked)) {
            Some(mark) if *mark == byte => (State::Beginning(marked + 1), 1),
            Some(_) if marked > 0 => return Err(SplitFault::NotJson),
            _ => (State::Value, 0),
        };
        self.state = state;
        Ok(taken)
    }

    /// One byte outside of strings and bare words.
    fn structure(&mut self, byte: u8, item: &mut dyn FnMut(Item<'_>)) -> Result<usize, SplitFault> {
        if byte.is_ascii_whitespace() && byte != b'\x0c' {
            self.keep(&[byte])?;
            return Ok(1);
        }
        match (self.state, byte) {
            (State::Value | State::ValueOrEnd, b'{' | b'[' | b'"') => self.open_value(byte)?,
            (State::ValueOrEnd | State::CommaOrEnd, b']') => self.close(false, item)?,
            (State::Value | State::ValueOrEnd, b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                self.begin_item();
                self.token.clear();
                self.state = State::Word;
                return Ok(0);
            }
            (State::KeyOrEnd | State::CommaOrEnd, b'}') => self.close(true, item)?,
            (State::Key | State::KeyOrEnd, b'"') => self.open_key()?,
            (State::Colon, b':') => self.separate(byte, State::Value)?,
            (State::CommaOrEnd, b',') => self.next_member()?,
            _ => return Err(SplitFault::NotJson),
        }
        Ok(1)
    }

    fn open_value(&mut self, byte: u8) -> Result<(), SplitFault> {
        self.begin_item();
        if byte == b'"' {
            return self.separate(
                byte,
                State::Text {
                    key: false,
                    escaped: false,
                },
            );
        }
        if self.open.len() == DEEPEST {
            return Err(SplitFault::NotJson);
        }
        let object = byte == b'{';
        let list = !object && self.on_path && self.open.len() == self.path.len();
        self.seen |= list && self.items == Items::Listed;
        self.open.push(Container {
            object,
            on_path: self.on_path,
            list,
        });
        self.on_path = false;
        match object {
            true => self.separate(byte, State::KeyOrEnd),
            false => self.separate(byte, State::ValueOrEnd),
        }
    }

    fn open_key(&mut self) -> Result<(), SplitFault> {
        self.token.clear();
        self.token.push(b'"');
        self.separate(
            b'"',
            State::Text {
                key: true,
                escaped: false,
            },
        )
    }

    fn close(&mut self, object: bool, item: &mut dyn FnMut(Item<'_>)) -> Result<(), SplitFault> {
        let closed = self.open.pop().filter(|container| container.object == object);
        closed.ok_or(SplitFault::NotJson)?;
        let byte = if object { b'}' } else { b']' };
        self.separate(byte, State::CommaOrEnd)?;
        self.value_done(item);
        Ok(())
    }

    fn next_member(&mut self) -> Result<(), SplitFault> {
        let object = self.open.last().is_some_and(|container| container.object);
        self.separate(b',', if object { State::Key } else { State::Value })
    }

    /// Up to the end of the string, or of the bytes.
    fn text(
        &mut self,
        bytes: &[u8],
        key: bool,
        mut escaped: bool,
        item: &mut dyn FnMut(Item<'_>),
    ) -> Result<usize, SplitFault> {
        let mut ended = false;
        let mut taken = 0;
        for byte in bytes {
            taken += 1;
            match byte {
                0..0x20 => return Err(SplitFault::NotJson),
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    ended = true;
                    break;
                }
                _ => {}
            }
        }
        let part = bytes.get(..taken).unwrap_or_default();
        self.keep(part)?;
        self.state = State::Text { key, escaped };
        if key && self.token.len() < LONGEST_TOKEN {
            self.token.extend_from_slice(part);
        }
        match (ended, key) {
            (true, true) => self.key_done(),
            (true, false) => self.value_done(item),
            (false, _) => {}
        }
        Ok(taken)
    }

    fn key_done(&mut self) {
        self.state = State::Colon;
        let wanted = self.path.get(self.open.len().saturating_sub(1));
        let parent = self.open.last().is_some_and(|container| container.on_path);
        self.on_path = parent && {
            let key: Option<String> = serde_json::from_slice(&self.token).ok();
            wanted.is_some_and(|wanted| key.as_deref() == Some(wanted))
        };
    }

    /// Up to the end of a number, `true`, `false` or `null`, or of the bytes.
    fn word(&mut self, bytes: &[u8], item: &mut dyn FnMut(Item<'_>)) -> Result<usize, SplitFault> {
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let taken = bytes.iter().position(ends).unwrap_or(bytes.len());
        let part = bytes.get(..taken).unwrap_or_default();
        if self.token.len() + taken > LONGEST_TOKEN {
            return Err(SplitFault::NotJson);
        }
        self.keep(part)?;
        self.token.extend_from_slice(part);
        if taken < bytes.len() {
            let valid = serde_json::from_slice::<IgnoredAny>(&self.token);
            valid.map_err(|_| SplitFault::NotJson)?;
            self.value_done(item);
        }
        Ok(taken)
    }

    /// A value begins; it is an item if it stands in the list itself, or at the end of the path.
    fn begin_item(&mut self) {
        self.in_item |= match self.items {
            Items::Listed => self.is_in_list(),
            Items::Itself => self.on_path && self.open.len() == self.path.len(),
        };
    }

    fn is_in_list(&self) -> bool {
        self.open.last().is_some_and(|container| container.list)
    }

    /// The value that just ended is the item, not something within it.
    fn item_ends(&self) -> bool {
        match self.items {
            Items::Listed => self.is_in_list(),
            Items::Itself => self.open.len() == self.path.len(),
        }
    }

    fn value_done(&mut self, item: &mut dyn FnMut(Item<'_>)) {
        self.on_path = false;
        self.state = if self.open.is_empty() {
            State::Done
        } else {
            State::CommaOrEnd
        };
        if self.in_item && self.item_ends() {
            self.seen = true;
            match self.too_large.take() {
                None => item(Item::Whole(&self.item)),
                Some(too_large) => item(Item::Id(&too_large.id)),
            }
            self.item.clear();
            self.in_item = false;
        }
    }

    fn separate(&mut self, byte: u8, state: State) -> Result<(), SplitFault> {
        self.state = state;
        self.keep(&[byte])
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SplitFault> {
        if let Some(too_large) = &mut self.too_large {
            too_large.feed(bytes);
        } else if !self.in_item {
        } else if self.item.len() + bytes.len() <= self.largest_item {
            self.item.extend_from_slice(bytes);
        } else if self.items == Items::Itself {
            return Err(SplitFault::TooLarge);
        } else {
            let mut too_large = TooLarge::new(&self.id);
            too_large.feed(&std::mem::take(&mut self.item));
            too_large.feed(bytes);
            self.too_large = Some(Box::new(too_large));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
