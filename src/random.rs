//! What nobody can guess, from the system's source of randomness.

use uuid::Uuid;

/// A key for hashes of this process's own; 244 random bits.
pub fn key() -> [u8; 32] {
    let mut key = [0; 32];
    for half in key.chunks_exact_mut(16) {
        half.copy_from_slice(Uuid::new_v4().as_bytes());
    }
    key
}

/// 64 hexadecimal digits; 244 random bits.
pub fn text() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
