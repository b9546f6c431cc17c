//! What the system's source of randomness is needed for: what nobody can guess, and names that
//! nothing else has. What must never be: a name taken for a secret.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// A key for hashes of this process's own; of each 16 bytes 122 bits are random.
pub fn key<const BYTES: usize>() -> [u8; BYTES] {
    let mut key = [0; BYTES];
    for part in key.chunks_mut(16) {
        let random = Uuid::new_v4().into_bytes();
        part.iter_mut()
            .zip(random)
            .for_each(|(byte, random)| *byte = random);
    }
    key
}

/// So many names are told apart; the bits of an id that say its kind lie above.
const NAMES: u64 = (1 << 48) - 1;

/// A name unlike any other, here or elsewhere: random once for each process, then counted, so that
/// the next one is easily guessed.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_random_ids_of_which_none_comes_twice() {
        let names: std::collections::HashSet<Uuid> = (0..1000).map(|_| name()).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.get_version_num() == 4));
    }
}
