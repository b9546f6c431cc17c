//! Cuts the users out of an answer too large to be held.

use serde::de::IgnoredAny;

use super::pointer::{Pointer, Step};
use super::tell::Kind;
use super::{Matched, Provider};

/// Fed the decoded bytes as they pass; gives back each user's JSON as it is complete. Holds one
/// item at most.
#[derive(Debug)]
pub struct ItemSplitter {
    /// The keys that lead to the list.
    path: Vec<Box<str>>,
    largest_item: usize,
    state: State,
    open: Vec<Container>,
    /// The key or bare word that is being read.
    token: Vec<u8>,
    item: Vec<u8>,
    in_item: bool,
    /// The next value stands on the way to the list, or is it.
    on_path: bool,
    list_seen: bool,
    fault: Option<SplitFault>,
}

/// The bytes are not the JSON that the route promises, or one item is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitFault {
    NotJson,
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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

/// Far beyond what any user has; it bounds the memory that brackets alone can take.
const DEEPEST: usize = 1024;
/// Longer keys and bare words than any that matter.
const LONGEST_TOKEN: usize = 4096;

impl Provider {
    /// A splitter for this route's lists; nothing for routes whose answers are not lists. Whether
    /// the list is for this caller to tell of, [`Provider::tells`] says.
    pub fn splitter(&self, matched: &Matched<'_>, largest_item: usize) -> Option<ItemSplitter> {
        match &matched.route.list()?.kind {
            Kind::List { at, .. } => Some(ItemSplitter::new(at, largest_item)),
            _ => None,
        }
    }
}

impl ItemSplitter {
    pub(super) fn new(at: &Pointer, largest_item: usize) -> Self {
        let keys = at.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Each => None,
        });
        ItemSplitter {
            path: keys.collect(),
            largest_item,
            state: State::Value,
            open: Vec::new(),
            token: Vec::new(),
            item: Vec::new(),
            in_item: false,
            on_path: true,
            list_seen: false,
            fault: None,
        }
    }

    /// Takes the next bytes and calls `item` with each user completed by them. After a fault it
    /// takes nothing more.
    pub fn feed(&mut self, bytes: &[u8], item: &mut dyn FnMut(&[u8])) -> Result<(), SplitFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let fed = self.feed_all(bytes, item);
        self.fault = fed.err();
        fed
    }

    /// Whether the answer ended where its JSON does, with the list in it.
    pub fn finished(&self) -> bool {
        self.state == State::Done && self.list_seen && self.fault.is_none()
    }

    fn feed_all(&mut self, mut bytes: &[u8], item: &mut dyn FnMut(&[u8])) -> Result<(), SplitFault> {
        while let Some(first) = bytes.first() {
            let taken = match self.state {
                State::Text { key, escaped } => self.text(bytes, key, escaped, item)?,
                State::Word => self.word(bytes, item)?,
                _ => self.structure(*first, item)?,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// One byte outside of strings and bare words.
    fn structure(&mut self, byte: u8, item: &mut dyn FnMut(&[u8])) -> Result<usize, SplitFault> {
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
        self.list_seen |= list;
        self.open.push(Container {
            object,
            on_path: self.on_path,
            list,
        });
        self.on_path = false;
        self.separate(
            byte,
            if object {
                State::KeyOrEnd
            } else {
                State::ValueOrEnd
            },
        )
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

    fn close(&mut self, object: bool, item: &mut dyn FnMut(&[u8])) -> Result<(), SplitFault> {
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
        item: &mut dyn FnMut(&[u8]),
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
    fn word(&mut self, bytes: &[u8], item: &mut dyn FnMut(&[u8])) -> Result<usize, SplitFault> {
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

    /// A value begins; it is an item if it stands in the list itself.
    fn begin_item(&mut self) {
        self.in_item |= self.open.last().is_some_and(|container| container.list);
    }

    fn value_done(&mut self, item: &mut dyn FnMut(&[u8])) {
        self.on_path = false;
        self.state = if self.open.is_empty() {
            State::Done
        } else {
            State::CommaOrEnd
        };
        if self.in_item && self.open.last().is_some_and(|container| container.list) {
            item(&self.item);
            self.item.clear();
            self.in_item = false;
        }
    }

    fn separate(&mut self, byte: u8, state: State) -> Result<(), SplitFault> {
        self.state = state;
        self.keep(&[byte])
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SplitFault> {
        if !self.in_item {
            return Ok(());
        }
        if self.item.len() + bytes.len() > self.largest_item {
            return Err(SplitFault::TooLarge);
        }
        self.item.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(at: &str, json: &str, chunk: usize) -> (Vec<String>, Result<(), SplitFault>, bool) {
        let mut splitter = ItemSplitter::new(&Pointer::parse(at).unwrap(), 64);
        let mut items = Vec::new();
        let mut take = |item: &[u8]| items.push(String::from_utf8(item.to_vec()).unwrap());
        let fed = json
            .as_bytes()
            .chunks(chunk)
            .try_for_each(|chunk| splitter.feed(chunk, &mut take));
        (items, fed, splitter.finished())
    }

    #[test]
    fn items_come_out_as_they_stand() {
        let json = r#"{"x":[{"items":[9]}],"items" : [ {"a":"]}\"\\"} , 1,[2, 3],"s"],"n":null} "#;
        for chunk in [1, 2, 3, 7, 1000] {
            let (items, fed, finished) = split("/items", json, chunk);
            assert_eq!(items, [r#"{"a":"]}\"\\"}"#, "1", "[2, 3]", r#""s""#], "{chunk}");
            assert_eq!((fed, finished), (Ok(()), true));
        }
        assert_eq!(split("", "[]", 1), (vec![], Ok(()), true));
        assert_eq!(split("/data/users", r#"{"data":{"users":[{}]}}"#, 1).0, ["{}"]);
        assert_eq!(split("/items", r#"{"it\u0065ms":[1]}"#, 1).0, ["1"]);
    }

    #[test]
    fn an_answer_that_breaks_off_is_not_finished() {
        for json in ["", "[", "[1", "[1,", r#"[{"a":1}"#, "{}", r#"{"items":null}"#] {
            let (_, fed, finished) = split("", json, 1);
            assert_eq!((fed, finished), (Ok(()), false), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_a_fault() {
        for json in [
            "<html>",
            "[1}",
            "[tru]",
            "[1]x",
            "{\"a\" 1}",
            "[1,]",
            "[,1]",
            "{1:2}",
            "[\"\n\"]",
            "[01]",
        ] {
            assert_eq!(split("", json, 1).1, Err(SplitFault::NotJson), "{json}");
        }
        let deep = "[".repeat(DEEPEST + 1);
        assert_eq!(split("", &deep, 100).1, Err(SplitFault::TooLarge));
        assert_eq!(split("/x", &deep, 100).1, Err(SplitFault::NotJson));
        let large = format!("[{{\"a\":\"{}\"}}]", "x".repeat(64));
        assert_eq!(split("", &large, 5).1, Err(SplitFault::TooLarge));
    }
}
