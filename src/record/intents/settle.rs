//! What becomes of writes that nobody has seen the end of.
//!
//! Their users are in doubt at once, and again when the provider can no longer be carrying the write
//! out. Those that made a user whose id nobody learned wait for whoever looks through the newest.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Intent;
use crate::failpoint;
use crate::record::Recorder;
use crate::user::{Observation, Origin, Seen, Source, UserId};

/// A provider can still be carrying out a request whose connection is gone. Its edge and its
/// functions give a user-API call ten to thirty seconds by default; after that it is over.
const CARRIED_OUT: Duration = Duration::from_secs(30);

/// The same, as tests may have it sooner.
pub fn carried_out() -> Duration {
    failpoint::wait("carried-out", CARRIED_OUT)
}

/// Users put into doubt at once.
const CHUNK: usize = 500;
/// Beyond so many, the next start sees to them.
const WAIT_AT_MOST: usize = 1 << 16;

/// Writes that wait to be seen to.
#[derive(Debug, Default)]
pub struct Waiting {
    writes: Mutex<Vec<Write>>,
    stir: Notify,
}

/// One of them, and whom it names.
#[derive(Debug)]
pub struct Write {
    pub intent: Intent,
    users: Vec<UserId>,
}

impl Waiting {
    pub fn add(&self, intent: Intent, users: Vec<UserId>) {
        let mut writes = self.lock();
        if writes.len() >= WAIT_AT_MOST {
            return intent.stays();
        }
        writes.push(Write { intent, users });
        drop(writes);
        self.stir.notify_one();
    }

    /// All that wait, as soon as one does.
    pub async fn taken(&self) -> Vec<Write> {
        loop {
            let waiting = std::mem::take(&mut *self.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.stir.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Write>> {
        self.writes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Has the users read again whom an earlier process left in the middle of a write.
pub async fn read_again(recorder: Recorder) {
    let Some(intents) = recorder.shared.intents.clone() else {
        return;
    };
    let closed = || recorder.shared.close.cancelled();
    loop {
        let writes = tokio::select! {
            () = closed() => return,
            writes = intents.cut_off.taken() => writes,
        };
        doubt(&recorder, &writes, |_| Vec::new());
        tokio::select! {
            () = closed() => return writes.iter().for_each(|write| write.intent.stays()),
            () = sleep(carried_out()) => {}
        }
        doubt(&recorder, &writes, |write| vec![write.intent.clone()]);
    }
}

/// Those users are in doubt. `intents` end with it.
pub fn doubt(recorder: &Recorder, writes: &[Write], intents: impl Fn(&Write) -> Vec<Intent>) {
    let source = Source::own(Origin::ProxyWrite, "a write that was cut off");
    for writes in writes.chunks(CHUNK) {
        let users = writes.iter().flat_map(|write| &write.users);
        let doubts = users.map(|user| Observation::unasked(user.clone(), Seen::Touched, &source));
        let submission = doubts.collect::<Vec<_>>().into();
        recorder.submit_for(submission, writes.iter().flat_map(&intents).collect());
    }
}
