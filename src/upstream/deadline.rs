//! The wait for an answer's head: counted from the last byte that the request gave, so that a
//! long upload is not cut off while it flows. An upload that breaks off or stands still is its sender's
//! failure, not the provider's.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::{RequestBody, UpstreamError};
use crate::clock::{self, Instant};

/// How far the request has come.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy)]
struct State {
    /// When it last moved.
    last: Instant,
    body: Upload,
}

/// What was found when the body was last asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    NotYet,
    /// There was some.
    On,
    /// There is no more.
    Over,
    /// It is still to come.
    Awaited,
    /// It broke off.
    Broken,
}

impl Progress {
    pub fn since(began: Instant) -> Progress {
        let state = State {
            last: began,
            body: Upload::NotYet,
        };
        Progress(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn last(&self) -> Instant {
        self.state().last
    }

    /// The body was asked for more. One that is there at once as a whole gives the answer no more time.
    fn found(&self, found: Upload) {
        let mut state = self.state();
        let flows = found == Upload::On && state.body == Upload::On;
        if flows || state.body == Upload::Awaited && found != Upload::Awaited {
            state.last = clock::now();
        }
        state.body = found;
    }

    /// Whose failure it is that no answer came.
    pub fn blamed(&self, error: UpstreamError) -> UpstreamError {
        match (error, self.state().body) {
            (UpstreamError::Timeout, Upload::Awaited | Upload::Broken)
            | (UpstreamError::Broken, Upload::Broken) => UpstreamError::Unfinished,
            (error, _) => error,
        }
    }

    /// The body, its frames noted as they go.
    pub fn watch(&self, body: RequestBody) -> RequestBody {
        match body.is_end_stream() {
            true => body,
            false => Watched {
                body,
                progress: self.clone(),
            }
            .boxed(),
        }
    }

    /// The answer, unless nothing moves for `idle`.
    pub async fn answer<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        idle: Duration,
    ) -> Option<T> {
        loop {
            let due = self.last() + idle;
            match timeout_at(due, answer.as_mut()).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.last() + idle <= clock::now() => return None,
                Err(_) => continue,
            }
        }
    }
}

struct Watched {
    body: RequestBody,
    progress: Progress,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = <RequestBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let found = match &polled {
            Poll::Pending => Upload::Awaited,
            Poll::Ready(Some(Err(_))) => Upload::Broken,
            Poll::Ready(Some(Ok(_))) => Upload::On,
            Poll::Ready(None) => Upload::Over,
        };
        self.progress.found(found);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_lasts_as_long_as_the_request_moves() {
        let idle = Duration::from_secs(8);
        let began = clock::now();
        let progress = Progress::since(began);
        let upload = async {
            for _ in 0..5 {
                progress.found(Upload::Awaited);
                tokio::time::sleep(Duration::from_secs(6)).await;
                progress.found(Upload::On);
            }
            std::future::pending::<()>().await
        };
        assert_eq!(progress.answer(std::pin::pin!(upload), idle).await, None);
        assert_eq!(clock::now() - began, Duration::from_secs(38));
    }
}
