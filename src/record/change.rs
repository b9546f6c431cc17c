//! A change row: what the feed will tell of one change.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use crate::db::columns::Columns;
use crate::user::{Pos, Position, Source};

/// What happened to the user; the feed's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Created,
    Updated,
    Deleted,
    Restored,
    Purged,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Created => "user.created",
            Kind::Updated => "user.updated",
            Kind::Deleted => "user.deleted",
            Kind::Restored => "user.restored",
            Kind::Purged => "user.purged",
        }
    }
}

/// A change before it has a position. Its columns after the change are copied from the row by
/// the statement that numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: Kind,
    /// Names of the columns that differ.
    pub changed: Vec<&'static str>,
    /// The columns before, as JSON; none for a user who had no row.
    pub before: Option<String>,
    pub source: Arc<Source>,
    pub nonce: i32,
}

impl Change {
    pub fn new(
        kind: Kind,
        before: Option<&Columns>,
        after: &Columns,
        raw_differs: bool,
        source: Arc<Source>,
    ) -> Change {
        Change {
            kind,
            changed: before.map_or_else(Vec::new, |before| differing(before, after, raw_differs)),
            before: before.map(spelled),
            source,
            nonce: nonce(),
        }
    }

    /// The same user's first change with nothing but the id in its row.
    pub fn of_skeleton(self) -> Change {
        Change {
            kind: Kind::Created,
            changed: Vec::new(),
            before: None,
            ..self
        }
    }

    /// As a Postgres array literal; the names need no quoting.
    pub fn changed_literal(&self) -> String {
        format!("{{{}}}", self.changed.join(","))
    }
}

/// Random, so that a history that was lost cannot be taken for the one that took its place.
pub fn nonce() -> i32 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let [a, b, c, d, ..] = KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

/// A position as consumers see it.
pub fn public(position: Position, nonce: i32) -> String {
    Pos { position, nonce }.to_string()
}

/// That `updated_at` moves goes without saying, unless nothing else does: as when what SQL changed is the same again.
fn differing(before: &Columns, after: &Columns, raw_differs: bool) -> Vec<&'static str> {
    let others = [
        ("name", before.name != after.name),
        ("email", before.email != after.email),
        ("created_at", before.created_at != after.created_at),
        ("deleted_at", before.deleted_at != after.deleted_at),
        ("raw_json", raw_differs),
    ];
    let is_alone = others.iter().all(|(_, differs)| !differs);
    let all = others.into_iter().chain([("updated_at", is_alone)]);
    all.filter_map(|(name, differs)| differs.then_some(name))
        .collect()
}

/// As the feed's `before` has them.
pub fn spelled(columns: &Columns) -> String {
    // Texts and times: nothing that JSON cannot hold.
    serde_json::to_string(columns).unwrap_or_default()
}
