//! Lanes take turns, so that what comes while one of them writes rows gathers into one batch.
//!
//! Every batch has costs of its own under the position lock: three lanes that each take what there
//! is would share one queue among three small batches, and wait for each other. So a lane takes a
//! batch only when the one before it has written its rows and is about to be numbered. What must
//! never be: lanes that stand still behind one whose rows take long; they go without their turn
//! then.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::timeout;

/// As long as the rows of a large batch usually take.
const LONG: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    turn: Arc<Mutex<()>>,
    is_writing: AtomicBool,
    begun: Notify,
}

/// The turn of a lane that waits for a batch, unless it goes without.
pub(super) struct Taking(Option<Writing>);

/// The turn of a lane that writes the rows of its batch; dropped, it passes to the next.
pub(super) struct Writing {
    turns: Turns,
    _turn: OwnedMutexGuard<()>,
}

impl Turns {
    pub(super) async fn take(&self) -> Taking {
        let mut turn = pin!(self.0.turn.clone().lock_owned());
        loop {
            let mut begun = pin!(self.0.begun.notified());
            begun.as_mut().enable();
            if self.0.is_writing.load(Ordering::Acquire) {
                let turn = timeout(LONG, turn).await.ok();
                return Taking(turn.map(|turn| self.hold(turn)));
            }
            tokio::select! {
                turn = &mut turn => return Taking(Some(self.hold(turn))),
                () = begun => {}
            }
        }
    }

    fn hold(&self, turn: OwnedMutexGuard<()>) -> Writing {
        Writing {
            turns: self.clone(),
            _turn: turn,
        }
    }
}

impl Taking {
    /// A batch is taken.
    pub fn writes(self) -> Option<Writing> {
        if let Some(Writing { turns, .. }) = &self.0 {
            turns.0.is_writing.store(true, Ordering::Release);
            turns.0.begun.notify_waiters();
        }
        self.0
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.turns.0.is_writing.store(false, Ordering::Release);
    }
}
