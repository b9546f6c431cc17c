//! The way of an answer from the task that makes it to the app that waits for it, or does not any more.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use http::Response;

use super::body::Body;

/// Where the app waits; it may be gone.
pub(super) struct Answering(Weak<Mutex<Option<Response<Body>>>>);

/// The other end. Nobody is woken: it is looked at in the task that runs the exchange, after each of its
/// steps.
pub(super) struct Answered(Arc<Mutex<Option<Response<Body>>>>);

pub(super) fn answering() -> (Answering, Answered) {
    let answered = Arc::default();
    (Answering(Arc::downgrade(&answered)), Answered(answered))
}

impl Answering {
    /// Where nobody waits any more.
    pub fn over() -> Answering {
        Answering(Weak::new())
    }

    pub fn send(self, response: Response<Body>) {
        // Where nobody waits any more, what had to be done is done: its body ends here.
        if let Some(app) = self.0.upgrade() {
            *lock(&app) = Some(response);
        }
    }
}

impl Answered {
    pub fn take(&self) -> Option<Response<Body>> {
        lock(&self.0).take()
    }
}

fn lock<T>(app: &Mutex<T>) -> MutexGuard<'_, T> {
    app.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
