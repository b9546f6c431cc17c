//! The way of an answer from the task that makes it to the app that waits for it, or does not any more.
//!
//! An app that hangs up undoes nothing. A read that still waits for a place of the provider's limit then has
//! done nothing yet, and takes no place from those that are waited for.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use http::Response;

use super::body::Body;

/// Where the app waits; it may be gone.
#[derive(Debug, Clone)]
pub(super) struct Answering(Weak<Exchanged>);

/// The other end. Nobody is woken: it is looked at in the task that runs the exchange, after each of its
/// steps.
pub(super) struct Answered(Arc<Exchanged>);

#[derive(Debug, Default)]
struct Exchanged {
    answer: Mutex<Option<Response<Body>>>,
    stage: AtomicU8,
}

/// Nothing has been done for it yet; others may wait for what it brings.
const LEADS: u8 = 1;
/// What has begun goes on to its end, whoever waits for it.
const UNDER_WAY: u8 = 2;

pub(super) fn answering() -> (Answering, Answered) {
    let exchanged = Arc::default();
    (Answering(Arc::downgrade(&exchanged)), Answered(exchanged))
}

impl Answering {
    /// Where nobody waits any more.
    pub fn over() -> Answering {
        Answering(Weak::new())
    }

    pub fn send(self, response: Response<Body>) {
        // Where nobody waits any more, what had to be done is done: its body ends here.
        if let Some(app) = self.0.upgrade() {
            app.stage.store(UNDER_WAY, Ordering::Relaxed);
            *lock(&app.answer) = Some(response);
        }
    }

    /// It asks for others too.
    pub fn leads(&self) {
        self.comes_to(LEADS);
    }

    /// From now on it goes on, whoever waits for it.
    pub fn under_way(&self) {
        self.comes_to(UNDER_WAY);
    }

    fn comes_to(&self, stage: u8) {
        if let Some(app) = self.0.upgrade() {
            app.stage.fetch_max(stage, Ordering::Relaxed);
        }
    }
}

impl Answered {
    pub fn take(&self) -> Option<Response<Body>> {
        lock(&self.0.answer).take()
    }

    /// Whether it goes on where the app hangs up now. `is_followed`: others wait for what it brings.
    pub fn goes_on(&self, is_followed: impl FnOnce() -> bool) -> bool {
        match self.0.stage.load(Ordering::Relaxed) {
            UNDER_WAY => true,
            LEADS => is_followed(),
            _ => false,
        }
    }
}

fn lock<T>(app: &Mutex<T>) -> MutexGuard<'_, T> {
    app.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
