//! The only spawner: what it starts is waited for when the process stops.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A future on the heap, so that it can be made where it stays: `Box::pin` moves all that it may ever hold, four
/// kilobytes for a request that is forwarded.
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

/// The tasks of one process or test; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts a task. It ends by itself or soon after [`Tasks::stopping`] resolves.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Starts a task that is dropped wherever it stands once the process is to end: it must leave nothing half
    /// done. A database that stands still holds up no stop then.
    pub fn spawn_until_stopped<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = tasks.stopping() => {}
                () = task => {}
            }
        });
    }

    /// A task that runs where it is awaited; where whoever awaits it leaves, it goes on in a task of its
    /// own. Either way a stop waits for it, and a panic ends it alone.
    pub fn see_through<F>(&self, task: Pin<Box<F>>) -> SeenThrough<'_, F, impl Fn() -> bool>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.see_through_if(task, || true)
    }

    /// The same where it `goes_on`; else it is dropped where it stands.
    pub fn see_through_if<F, G>(&self, task: Pin<Box<F>>, goes_on: G) -> SeenThrough<'_, F, G>
    where
        F: Future<Output = ()> + Send + 'static,
        G: Fn() -> bool,
    {
        SeenThrough {
            task: Some(task),
            goes_on,
            tasks: self,
            _counted: self.tracker.token(),
        }
    }

    /// Tells every task to end.
    pub fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// Resolves when the process is to end.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until all have ended, at most so long; says whether they have.
    pub async fn ended(&self, at_most: Duration) -> bool {
        tokio::time::timeout(at_most, self.tracker.wait()).await.is_ok()
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

/// See [`Tasks::see_through`].
#[must_use = "it begins when it is awaited"]
pub struct SeenThrough<'t, F, G>
where
    F: Future<Output = ()> + Send + 'static,
    G: Fn() -> bool,
{
    /// Boxed, as it moves when it is left.
    task: Option<Pin<Box<F>>>,
    goes_on: G,
    tasks: &'t Tasks,
    _counted: TaskTrackerToken,
}

impl<F, G> Future for SeenThrough<'_, F, G>
where
    F: Future<Output = ()> + Send + 'static,
    G: Fn() -> bool + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(mut task) = self.task.take() else {
            return Poll::Ready(());
        };
        // Nothing of one that panicked is used again: it is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        if matches!(polled, Ok(Poll::Pending)) {
            self.task = Some(task);
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl<F, G> Drop for SeenThrough<'_, F, G>
where
    F: Future<Output = ()> + Send + 'static,
    G: Fn() -> bool,
{
    fn drop(&mut self) {
        // Without a runtime the process has ended.
        if let Some(task) = self.task.take()
            && Handle::try_current().is_ok()
            && (self.goes_on)()
        {
            self.tasks.spawn(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_that_is_left_goes_on_and_a_stop_waits_for_it() {
        let tasks = Tasks::default();
        let (go, told) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel();
        let mut task = tasks.see_through(Box::pin(async move {
            let _told = told.await;
            let _gone = done.send(());
        }));
        assert!(futures_util::poll!(&mut task).is_pending());
        drop(task);
        tasks.stop();
        assert!(!tasks.ended(Duration::from_millis(1)).await && is_done.try_recv().is_err());
        go.send(()).unwrap();
        assert!(tasks.ended(Duration::from_secs(10)).await && is_done.try_recv().is_ok());
    }

    #[tokio::test]
    async fn a_task_that_is_left_with_nothing_to_go_on_for_is_dropped() {
        let tasks = Tasks::default();
        let (held, mut is_dropped) = oneshot::channel::<()>();
        let stuck = Box::pin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let mut task = tasks.see_through_if(stuck, || false);
        assert!(futures_util::poll!(&mut task).is_pending() && is_dropped.try_recv().is_err());
        drop(task);
        tasks.stop();
        assert!(tasks.ended(Duration::from_secs(10)).await && is_dropped.await.is_err());
    }

    #[tokio::test]
    async fn a_task_that_is_awaited_to_its_end_is_over_even_where_it_panics() {
        let tasks = Tasks::default();
        tasks.see_through(Box::pin(async {})).await;
        tasks.see_through(Box::pin(async { panic!("on purpose") })).await;
        tasks.stop();
        assert!(tasks.ended(Duration::from_secs(10)).await);
    }
}
