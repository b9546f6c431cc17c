//! A user's id in its one canonical spelling.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The type of `users_sync.id`, decided at the first migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdType {
    Uuid,
    Text,
}

impl IdType {
    /// The column type's name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            IdType::Uuid => "uuid",
            IdType::Text => "text",
        }
    }
}

/// A provider's user id: a uuid in lower case with hyphens, or the provider's text unchanged.
///
/// In the order of its bytes, which is that of the database's columns and of its locks: as its fields stand.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId {
    /// How it begins: mostly that tells two apart without a look at either text, and a batch compares
    /// thousands of them.
    begins: u128,
    text: Arc<str>,
}

/// No provider's ids come near this; it keeps junk out of memory and of the table's key.
const LONGEST: usize = 512;

impl UserId {
    /// The canonical form of `text`, or nothing if no user can have that id.
    pub fn parse(text: &str, kind: IdType) -> Option<UserId> {
        match kind {
            IdType::Uuid => uuid::Uuid::try_parse(text)
                .ok()
                .filter(|_| text.len() == 36)
                .map(|id| UserId::of(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))),
            IdType::Text => Self::fits(text).then(|| UserId::of(text)),
        }
    }

    fn of(text: &str) -> UserId {
        let mut begins = [0; 16];
        let length = text.len().min(begins.len());
        begins[..length].copy_from_slice(&text.as_bytes()[..length]);
        UserId {
            begins: u128::from_be_bytes(begins),
            text: text.into(),
        }
    }

    fn fits(text: &str) -> bool {
        !text.is_empty() && text.len() <= LONGEST && !text.contains('\0')
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// As a line of the log may show it: apps ask for whatever ids they are given.
impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&on_one_line(&self.text))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text with what would end a line or colour it spelled out.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    let spelled = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    match text.contains(char::is_control) {
        true => text.chars().map(spelled).collect::<String>().into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_makes_a_line_of_its_own() {
        let shown = |id: &str| format!("{:?}", UserId::parse(id, IdType::Text).unwrap());
        assert_eq!(shown("auth0|Á'1\""), "auth0|Á'1\"");
        assert_eq!(shown("a\nb\r\u{1b}[31m\u{9b}"), "a\\nb\\r\\u{1b}[31m\\u{9b}");
    }

    #[test]
    fn uuids_have_one_spelling() {
        let upper = UserId::parse("3520C449-3F36-4657-A50F-8FD63FCD2DE6", IdType::Uuid).unwrap();
        assert_eq!(upper.as_str(), "3520c449-3f36-4657-a50f-8fd63fcd2de6");
        for junk in [
            "me",
            "",
            "3520c4493f364657a50f8fd63fcd2de6",
            "{3520c449-3f36-4657-a50f-8fd63fcd2de6}",
        ] {
            assert_eq!(UserId::parse(junk, IdType::Uuid), None, "{junk}");
        }
    }

    #[test]
    fn ids_are_in_the_order_of_their_bytes() {
        let long = "user_2bcdefghij";
        let texts = ["", "1", "2", "22", "\u{1}", "Z", "z", "ä", "\u{10ffff}"];
        let ends = texts.iter().map(|end| format!("{long}{end}"));
        let all: Vec<String> = texts.iter().map(|text| text.to_string()).chain(ends).collect();
        let all: Vec<&String> = all.iter().filter(|text| !text.is_empty()).collect();
        for one in &all {
            for other in &all {
                let [a, b] = [one, other].map(|text| UserId::parse(text, IdType::Text).unwrap());
                assert_eq!(
                    a.cmp(&b),
                    one.as_bytes().cmp(other.as_bytes()),
                    "{one:?} {other:?}"
                );
                assert_eq!(a == b, one == other, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn text_ids_are_kept_as_they_are() {
        assert_eq!(
            UserId::parse("auth0|A1", IdType::Text).unwrap().as_str(),
            "auth0|A1"
        );
        assert_eq!(UserId::parse("a\0b", IdType::Text), None);
        assert_eq!(UserId::parse(&"x".repeat(513), IdType::Text), None);
    }
}
