//! A position as consumers see it.

use std::fmt;

use super::Position;

/// The place of one change: sorts as text in feed order, and carries the nonce of its row, so that
/// a history that was lost cannot be taken for the one that took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pos {
    pub position: Position,
    pub nonce: i32,
}

impl Pos {
    /// Reads exactly what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Pos> {
        let (position, nonce) = text.split_once('-')?;
        if (position.len(), nonce.len()) != (16, 8) || text.bytes().any(|byte| !is_digit(byte)) {
            return None;
        }
        Some(Pos {
            position: Position(i64::from_str_radix(position, 16).ok()?),
            nonce: u32::from_str_radix(nonce, 16).ok()?.cast_signed(),
        })
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", self.position.0, self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pos(position: i64, nonce: i32) -> Pos {
        Pos {
            position: Position(position),
            nonce,
        }
    }

    #[test]
    fn it_sorts_as_text() {
        let mut texts = [pos(10, -1), pos(9, 7), pos(1 << 40, 0)].map(|pos| pos.to_string());
        texts.sort();
        assert!(texts[0].starts_with("0000000000000009-") && texts[1].starts_with("000000000000000a-"));
    }

    #[test]
    fn only_what_was_written_is_read() {
        for written in [pos(0, 0), pos(i64::MAX, -1), pos(77, i32::MIN)] {
            assert_eq!(Pos::parse(&written.to_string()), Some(written));
        }
        for wrong in [
            "",
            "now",
            "000000000000000a",
            "000000000000000A-00000000",
            "+00000000000000a-00000000",
            "ffffffffffffffff-00000000",
            "000000000000000a-0000000-",
            " 000000000000000a-00000000",
        ] {
            assert_eq!(Pos::parse(wrong), None, "{wrong}");
        }
    }
}
