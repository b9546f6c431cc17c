//! A whole user as the provider shows it to the tenant's server.

use chrono::{DateTime, Utc};

/// 128 bits of SHA-256: equal hashes mean equal content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 16]);

impl std::fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The columns of `users_sync` that the provider's object fills.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    pub name: Option<String>,
    pub email: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    /// Only where the provider says when the user last changed.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A whole user, ready to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct View {
    /// The provider's JSON without the fields that its descriptor drops. Never logged.
    pub raw: Box<str>,
    pub profile: Profile,
    /// Over the profile and the JSON in canonical form, volatile fields left out: stable across
    /// restarts and versions, independent of key order and white space.
    pub content: ContentHash,
    /// Over the volatile fields alone.
    pub volatile: ContentHash,
    /// Only where the descriptor trusts it: moves on every change and never goes back.
    pub version: Option<i64>,
}

/// Never shows what a user's JSON holds.
impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}
