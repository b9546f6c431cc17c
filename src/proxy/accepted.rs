//! Whose secrets the provider has taken lately.
//!
//! A write that gets no answer may have been carried out, and is looked up with the server key: on
//! behalf of those alone whom the provider knows, for anybody can ask and leave. What must never be:
//! a secret itself in here, or anything of it on disk.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use moka::sync::Cache;

use crate::clock::{self, Instant};
use crate::provider::Secret;

/// Callers remembered. Who is forgotten loses a look-up, no more.
const CALLERS: u64 = 100_000;
/// An access token lives for minutes, a key for years; it is taken anew with each answer.
const LATELY: Duration = Duration::from_secs(3_600);
/// It is noted anew no more often than this: a note costs more than a look.
const GRAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Accepted {
    /// With a key of this process's own.
    hasher: RandomState,
    hashes: Cache<u64, Instant>,
}

impl Default for Accepted {
    fn default() -> Accepted {
        Accepted {
            hasher: RandomState::new(),
            hashes: Cache::builder()
                .max_capacity(CALLERS)
                .time_to_live(LATELY)
                .build(),
        }
    }
}

impl Accepted {
    pub fn takes(&self, secret: Secret<'_>) {
        let (hash, now) = (self.hasher.hash_one(secret), clock::now());
        let noted = |at| now.saturating_duration_since(at) < GRAIN;
        if !self.hashes.get(&hash).is_some_and(noted) {
            self.hashes.insert(hash, now);
        }
    }

    pub fn refuses(&self, secret: Secret<'_>) {
        self.hashes.invalidate(&self.hasher.hash_one(secret));
    }

    pub fn knows(&self, secret: Secret<'_>) -> bool {
        self.hashes.contains_key(&self.hasher.hash_one(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_taken_is_known_until_it_is_refused() {
        let accepted = Accepted::default();
        let (ada, bea) = (Secret::Token(b"ada"), Secret::Token(b"bea"));
        accepted.takes(ada);
        assert!(accepted.knows(ada) && !accepted.knows(bea));
        assert!(!accepted.knows(Secret::Key(b"ada")), "a token is no key");
        accepted.refuses(ada);
        assert!(!accepted.knows(ada));
    }
}
