//! What is hashed: each part with what it is and its length, so that no two sequences of parts are the
//! same text.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Headers are short and many: they are put together before they are hashed.
const PIECE: usize = 512;
/// Of a longer part the length stands in the four bytes after this.
const LONG: u8 = u8::MAX;

pub(super) struct Text {
    hasher: SipHasher13,
    piece: [u8; PIECE],
    filled: usize,
}

impl Text {
    pub fn new(hasher: SipHasher13) -> Text {
        Text {
            hasher,
            piece: [0; PIECE],
            filled: 0,
        }
    }

    pub fn push(&mut self, what: u8, part: &[u8]) {
        let length = u8::try_from(part.len()).ok().filter(|length| *length < LONG);
        let Some(length) = length else {
            self.put(&[what, LONG]);
            self.put(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            return self.put(part);
        };
        let end = self.filled + 2 + part.len();
        let Some([at, after, room @ ..]) = self.piece.get_mut(self.filled..end) else {
            self.put(&[what, length]);
            return self.put(part);
        };
        (*at, *after) = (what, length);
        room.copy_from_slice(part);
        self.filled = end;
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.piece.get_mut(self.filled..self.filled + bytes.len()) {
            room.copy_from_slice(bytes);
            self.filled += bytes.len();
            return;
        }
        self.hash_piece();
        self.hasher.write(bytes);
    }

    fn hash_piece(&mut self) {
        self.hasher
            .write(self.piece.get(..self.filled).unwrap_or_default());
        self.filled = 0;
    }

    pub fn hash(mut self) -> u128 {
        self.hash_piece();
        self.hasher.finish128().as_u128()
    }
}
