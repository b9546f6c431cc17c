//! Others who record on the same database: what is kept here holds only as far as their changes are known.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::{Cache, lock, policy};
use crate::clock::Instant;

/// What is known of the others who record on the same database.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// There are any.
    shared: AtomicBool,
    /// Nobody listens whether there are.
    deaf: AtomicBool,
    bookmark: Mutex<Option<Instant>>,
    /// There is something that no change will tell them.
    untold: Notify,
}

impl Cache {
    /// What the others keep may be old, and no change will tell them so, or none so soon.
    pub fn tell_others(&self) {
        if self.is_shared() || self.is_deaf() {
            self.others.untold.notify_one();
        }
    }

    /// Resolves when the others are to be told that anybody may have changed.
    pub async fn to_be_told(&self) {
        self.others.untold.notified().await;
    }

    /// Another process has begun or ceased to record on the same database.
    pub fn set_shared(&self, shared: bool) {
        if self.others.shared.swap(shared, Ordering::AcqRel) != shared {
            self.forget_all();
        }
    }

    pub fn is_shared(&self) -> bool {
        self.others.shared.load(Ordering::Acquire)
    }

    /// Every change that others had committed by `now` has been handed to [`Cache::forget`].
    pub fn bookmark(&self, now: Instant) {
        *lock(&self.others.bookmark) = Some(now);
    }

    /// Whether others come, and what they do, is not known until [`Cache::hears`]: no hit until then.
    pub fn hears_nothing(&self) {
        self.others.deaf.store(true, Ordering::Release);
    }

    pub fn hears(&self) {
        self.others.deaf.store(false, Ordering::Release);
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.others.deaf.load(Ordering::Acquire)
    }

    pub(super) fn is_followed(&self, now: Instant) -> bool {
        if self.is_deaf() {
            return false;
        }
        if !self.is_shared() {
            return true;
        }
        policy::is_followed(*lock(&self.others.bookmark), now)
    }
}
