//! Changes made by hand that wait for their positions, and for how long. In memory alone: each pass over
//! the notes finds anew who waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::db::DbError;
use crate::failpoint;
use crate::user::UserId;

/// Whoever waits for longer is named.
pub(super) const LONG: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct ByHand {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Users whom another transaction has locked, and since when.
    held: BTreeMap<UserId, Instant>,
    /// Since when no pass came to its end, and why.
    failing: Option<(Instant, String)>,
    /// Since when changes are not noted at all.
    deaf: Option<Instant>,
}

/// Changes made by hand that have waited for their positions for long.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ByHandFigures {
    /// Users whose row or state another transaction has locked.
    pub held: Vec<String>,
    /// Why none of them gets its position.
    pub trouble: Option<String>,
    /// They are not even noted: a trigger that does is disabled or gone.
    pub is_deaf: bool,
}

impl ByHand {
    /// A pass came to its end; `held` were left out.
    pub fn passed(&self, held: BTreeSet<UserId>) {
        let now = clock::now();
        let mut waiting = self.waiting();
        let before = std::mem::take(&mut waiting.held);
        waiting.failing = None;
        waiting.held = held
            .into_iter()
            .map(|user| {
                let since = before.get(&user).copied().unwrap_or(now);
                (user, since)
            })
            .collect();
    }

    /// Whether changes are noted.
    pub fn hears(&self, hears: bool) {
        let mut waiting = self.waiting();
        waiting.deaf = match hears {
            true => None,
            false => waiting.deaf.or(Some(clock::now())),
        };
    }

    /// A database that is away is told of elsewhere.
    pub fn failed(&self, error: &DbError) {
        if matches!(error, DbError::Away(_)) {
            return;
        }
        let mut waiting = self.waiting();
        let since = waiting.failing.take().map_or_else(clock::now, |(since, _)| since);
        waiting.failing = Some((since, error.to_string()));
    }

    pub fn figures(&self) -> ByHandFigures {
        let long = failpoint::wait("held-long", LONG);
        let now = clock::now();
        let is_long = |since: Instant| now.saturating_duration_since(since) >= long;
        let waiting = self.waiting();
        let held = waiting.held.iter().filter(|(_, since)| is_long(**since));
        let failing = waiting.failing.iter().find(|(since, _)| is_long(*since));
        ByHandFigures {
            held: held.map(|(user, _)| user.to_string()).collect(),
            trouble: failing.map(|(_, why)| why.clone()),
            is_deaf: waiting.deaf.is_some_and(is_long),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
