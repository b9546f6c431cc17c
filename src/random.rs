//! What nobody can guess, from the system's source of randomness.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// A key for hashes of this process's own; 244 random bits.
pub fn key() -> [u8; 32] {
    let mut key = [0; 32];
    for half in key.chunks_exact_mut(16) {
        half.copy_from_slice(Uuid::new_v4().as_bytes());
    }
    key
}

/// So many names are told apart.
const NAMES: u64 = (1 << 48) - 1;

/// A name unlike any other, here or elsewhere: random once, then counted. It is no secret.
pub fn name() -> Uuid {
    static FIRST: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) & NAMES;
    Uuid::from_u128(FIRST.as_u128() ^ u128::from(count))
}

/// 64 hexadecimal digits; 244 random bits.
pub fn text() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
