//! The connections that nobody uses just now.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;

use super::super::RequestBody;
use super::Way;
use super::line::Line;
use crate::clock::{self, Instant};

/// Providers' edges keep idle connections a minute or more; well below that, a pooled one is
/// rarely closed under a request.
pub(super) const IDLE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(super) struct Pool {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Used last, taken first.
    lines: Vec<(Box<Line>, Instant)>,
    shared: Option<(http2::SendRequest<RequestBody>, Instant)>,
    is_swept: bool,
}

impl Pool {
    /// One that was open when it was used last: whether a line still is, is seen when it moves on, before
    /// anything is sent.
    pub fn take(&self) -> Option<Way> {
        let mut kept = self.lock();
        if let Some(shared) = kept.shared() {
            return Some(Way::Shared(shared));
        }
        let (line, _) = kept.lines.pop()?;
        Some(Way::Own(line))
    }

    /// A line that is free again.
    pub fn give_back(self: &Arc<Self>, line: Box<Line>) {
        let mut kept = self.lock();
        kept.lines.push((line, clock::now()));
        self.swept(kept);
    }

    /// A connection for all requests from now on.
    pub fn share(self: &Arc<Self>, sender: http2::SendRequest<RequestBody>) {
        let mut kept = self.lock();
        kept.shared = Some((sender, clock::now()));
        self.swept(kept);
    }

    /// What nobody uses is closed, while there is anything.
    fn swept(self: &Arc<Self>, mut kept: MutexGuard<'_, Kept>) {
        if !std::mem::replace(&mut kept.is_swept, true) {
            TokioExecutor::new().execute(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Kept {
    fn shared(&mut self) -> Option<http2::SendRequest<RequestBody>> {
        let (sender, used) = self.shared.as_mut()?;
        if sender.is_closed() {
            self.shared = None;
            return None;
        }
        *used = clock::now();
        Some(sender.clone())
    }

    /// Those that nobody has used for too long.
    fn idle(&mut self, now: Instant) -> impl Sized + use<> {
        let is_idle = |used: &Instant| now.saturating_duration_since(*used) >= IDLE;
        let shared = self.shared.take_if(|(_, used)| is_idle(used));
        let used = self.lines.partition_point(|(_, used)| is_idle(used));
        let lines: Vec<_> = self.lines.drain(..used).collect();
        self.is_swept = self.shared.is_some() || !self.lines.is_empty();
        (shared, lines)
    }
}

async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        let (closed, is_over) = {
            let mut kept = pool.lock();
            (kept.idle(clock::now()), !kept.is_swept)
        };
        drop(closed);
        if is_over {
            return;
        }
    }
}
