//! The connections that nobody uses just now.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Way;
use super::line::Line;
use super::shared::Shared;
use crate::clock::{self, Instant};
use crate::tasks::Tasks;

/// Providers' edges keep idle connections a minute or more; well below that, a pooled one is
/// rarely closed under a request.
pub(super) const IDLE: Duration = Duration::from_secs(20);

pub(super) struct Pool {
    kept: Mutex<Kept>,
    tasks: Tasks,
}

/// With the time of its last use.
type Used<T> = (T, Instant);
/// What is dropped once the lock is free.
type Dropped = (Vec<Used<Box<Line>>>, Option<Used<Shared>>);

#[derive(Default)]
struct Kept {
    /// Used last, taken first.
    lines: Vec<Used<Box<Line>>>,
    /// Who waits for a line, longest first; those who have one by now among them.
    waiting: VecDeque<oneshot::Sender<Box<Line>>>,
    shared: Option<Used<Shared>>,
    is_swept: bool,
    /// The process stops: nothing is kept any more.
    is_closed: bool,
}

impl Pool {
    pub fn new(tasks: &Tasks) -> Arc<Pool> {
        Arc::new(Pool {
            kept: Mutex::default(),
            tasks: tasks.clone(),
        })
    }

    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

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

    /// The next line that becomes free, for this one in turn.
    pub fn next(self: &Arc<Self>) -> Next {
        let (give, given) = oneshot::channel();
        self.lock().awaited_by(give);
        Next {
            given,
            pool: self.clone(),
        }
    }

    /// A line that is free again.
    pub fn give_back(self: &Arc<Self>, line: Box<Line>) {
        line.rest();
        let mut kept = self.lock();
        let Some(line) = kept.unclaimed(line) else { return };
        if !kept.is_closed {
            kept.lines.push((line, clock::now()));
            self.swept(kept);
        }
    }

    /// A connection for all requests from now on.
    pub fn share(self: &Arc<Self>, shared: Shared) {
        let mut kept = self.lock();
        if !kept.is_closed {
            kept.shared = Some((shared, clock::now()));
            self.swept(kept);
        }
    }

    /// What nobody uses is closed, while there is anything.
    fn swept(self: &Arc<Self>, mut kept: MutexGuard<'_, Kept>) {
        // Without a runtime the process has ended.
        if !kept.is_swept && Handle::try_current().is_ok() {
            kept.is_swept = true;
            self.tasks.spawn(sweep(Arc::downgrade(self), self.tasks.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Kept {
    fn awaited_by(&mut self, who: oneshot::Sender<Box<Line>>) {
        self.waiting.retain(|who| !who.is_closed());
        match self.lines.pop() {
            // Its receiver is there.
            Some((line, _)) => drop(who.send(line)),
            None => self.waiting.push_back(who),
        }
    }

    /// The line, where nobody waits for one.
    fn unclaimed(&mut self, mut line: Box<Line>) -> Option<Box<Line>> {
        while let Some(who) = self.waiting.pop_front() {
            line = who.send(line).err()?;
        }
        Some(line)
    }

    fn shared(&mut self) -> Option<Shared> {
        let (shared, used) = self.shared.as_mut()?;
        if !shared.is_good() {
            self.shared = None;
            return None;
        }
        *used = clock::now();
        Some(shared.clone())
    }

    /// Those that nobody has used for too long.
    fn idle(&mut self, now: Instant) -> Dropped {
        let is_idle = |used: &Instant| now.saturating_duration_since(*used) >= IDLE;
        let shared = self.shared.take_if(|(_, used)| is_idle(used));
        let used = self.lines.partition_point(|(_, used)| is_idle(used));
        let lines = self.lines.drain(..used).collect();
        self.is_swept = self.shared.is_some() || !self.lines.is_empty();
        (lines, shared)
    }

    /// All, and from now on.
    fn closed(&mut self) -> Dropped {
        self.is_closed = true;
        (std::mem::take(&mut self.lines), self.shared.take())
    }
}

/// Who waits for a line. A line for somebody who has left goes to the next.
pub(super) struct Next {
    given: oneshot::Receiver<Box<Line>>,
    pool: Arc<Pool>,
}

impl Future for Next {
    type Output = Box<Line>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Box<Line>> {
        match Pin::new(&mut self.given).poll(context) {
            Poll::Ready(Ok(line)) => Poll::Ready(line),
            // The pool, which is held here, forgets only those who have left.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        self.given.close();
        if let Ok(line) = self.given.try_recv() {
            self.pool.give_back(line);
        }
    }
}

/// Closes what is idle, until nothing is kept; all of it where the process stops.
async fn sweep(pool: Weak<Pool>, tasks: Tasks) {
    loop {
        let stops = timeout(IDLE / 4, tasks.stopping()).await.is_ok();
        let Some(pool) = pool.upgrade() else { return };
        let (closed, is_over) = {
            let mut kept = pool.lock();
            match stops {
                false => (kept.idle(clock::now()), !kept.is_swept),
                true => (kept.closed(), true),
            }
        };
        drop(closed);
        if is_over {
            return;
        }
    }
}
