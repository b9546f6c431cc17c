//! Bodies on their way through: bounded in time between bytes, and played again after they were
//! held.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Sleep;

use super::headers;
use super::pace::Pace;
use crate::clock::{self, Instant};
use crate::upstream::{RequestBody, empty};

/// Any body; the same type in both directions.
pub(super) type Body = RequestBody;
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why usertap itself ends a body early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    #[error("no byte came for too long")]
    Idle,
    #[error("too little came for too long")]
    Dripping,
    #[error("the provider's answer broke off")]
    Broken,
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// What flows in from the provider, with a bound on each pause.
pub(super) fn flowing<B>(body: B, idle: Duration) -> Body
where
    B: http_body::Body<Data = Bytes, Error = hyper::Error> + Send + Sync + Unpin + 'static,
{
    paced(body, || Pace::of_answer(idle))
}

/// What flows in from whoever reaches a port: it may not drip either.
pub(super) fn arriving<B>(body: B, idle: Duration) -> Body
where
    B: http_body::Body<Data = Bytes, Error = hyper::Error> + Send + Sync + Unpin + 'static,
{
    paced(body, || Pace::of_request(idle))
}

fn paced<B>(body: B, pace: impl FnOnce() -> Pace) -> Body
where
    B: http_body::Body<Data = Bytes, Error = hyper::Error> + Send + Sync + Unpin + 'static,
{
    if body.is_end_stream() {
        return empty();
    }
    Paced {
        body,
        pace: pace(),
        parting: None,
        pause: None,
    }
    .boxed()
}

/// An error ends the app's connection at once, with what was not yet written; it is held back
/// for so long, in which the last bytes get on their way.
pub(super) const PARTING: Duration = Duration::from_millis(100);

/// An error that is to be told soon.
struct Parting {
    error: Option<BodyError>,
    pause: Pin<Box<Sleep>>,
}

impl Parting {
    fn with(error: BodyError) -> Parting {
        let pause = Box::pin(tokio::time::sleep(PARTING));
        Parting {
            error: Some(error),
            pause,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.pause.as_mut().poll(context));
        Poll::Ready(self.error.take().map(Err))
    }
}

struct Paced<B> {
    body: B,
    pace: Pace,
    parting: Option<Parting>,
    /// Runs only while a byte is waited for: since then.
    pause: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Paced<B> {
    fn came(&mut self, frame: &Frame<Bytes>) {
        let waited = self.pause.take().map(|(since, _)| since.elapsed());
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.pace.came(bytes, waited.unwrap_or_default());
    }

    fn waits(&mut self, context: &mut Context<'_>) -> Poll<Cut> {
        let (_, pause) = self.pause.get_or_insert_with(|| {
            let now = clock::now();
            (now, Box::pin(tokio::time::sleep_until(now + self.pace.left())))
        });
        ready!(pause.as_mut().poll(context));
        Poll::Ready(self.pace.cut())
    }
}

impl<B> http_body::Body for Paced<B>
where
    B: http_body::Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(parting) = &mut this.parting {
            return parting.poll(context);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                this.came(frame);
            }
            return match frame {
                Some(Err(error)) => this.parting.insert(Parting::with(error.into())).poll(context),
                frame => Poll::Ready(frame.map(|frame| frame.map(headers::of_others).map_err(Into::into))),
            };
        }
        let cut = ready!(this.waits(context));
        Poll::Ready(Some(Err(cut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether all of a request's body is on its way to the provider.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivery(Arc<AtomicBool>);

impl Delivery {
    pub fn watch(&self, body: Body) -> Body {
        if body.is_end_stream() {
            self.end();
            return body;
        }
        Watched {
            body,
            delivery: self.clone(),
        }
        .boxed()
    }

    fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_whole(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Watched {
    body: Body,
    delivery: Delivery,
}

impl Watched {
    fn note_end(&self) {
        if self.body.is_end_stream() {
            self.delivery.end();
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.delivery.end(),
            Some(Ok(_)) => self.note_end(),
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What comes after the frames that were held.
pub(super) enum Tail {
    End,
    Broken,
    More(Body),
}

/// Held frames and their tail. Says nothing of its length, so that an answer that came in chunks
/// leaves in chunks.
pub(super) struct Replay {
    frames: VecDeque<Frame<Bytes>>,
    tail: Tail,
    parting: Option<Parting>,
    /// Given back when the app has read it all or left.
    memory: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(frame) = this.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        this.memory = None;
        match &mut this.tail {
            Tail::End => Poll::Ready(None),
            Tail::Broken => {
                let parting = || Parting::with(Cut::Broken.into());
                this.parting.get_or_insert_with(parting).poll(context)
            }
            Tail::More(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && matches!(self.tail, Tail::End)
    }
}

impl Replay {
    pub fn new(frames: VecDeque<Frame<Bytes>>, tail: Tail, memory: Option<OwnedSemaphorePermit>) -> Replay {
        Replay {
            frames,
            tail,
            parting: None,
            memory,
        }
    }
}

/// A body fed from a task that may hold its end back.
pub(super) struct Fed(pub mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn replay(tail: Tail) -> Replay {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
        let frames = [Frame::data(Bytes::from_static(b"ab")), Frame::trailers(trailers)];
        Replay::new(frames.into(), tail, None)
    }

    #[tokio::test]
    async fn what_was_held_comes_again_with_trailers_and_without_a_length() {
        let whole = replay(Tail::End);
        assert_eq!(whole.size_hint().exact(), None);
        let collected = whole.collect().await.unwrap();
        assert!(collected.trailers().is_some_and(|trailers| trailers.len() == 1));
        assert_eq!(collected.to_bytes(), "ab");
    }

    #[tokio::test]
    async fn a_broken_body_stays_broken_after_its_bytes() {
        let mut broken = replay(Tail::Broken);
        assert!(broken.frame().await.unwrap().is_ok() && broken.frame().await.unwrap().is_ok());
        assert!(broken.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_body_is_delivered_with_its_last_byte() {
        let delivery = Delivery::default();
        delivery.watch(full(""));
        assert!(delivery.is_whole(), "there was nothing to send");
        for (tail, whole) in [(Tail::End, true), (Tail::Broken, false)] {
            let delivery = Delivery::default();
            let mut body = delivery.watch(replay(tail).boxed());
            assert!(body.frame().await.unwrap().is_ok() && !delivery.is_whole());
            let _ = body.collect().await;
            assert_eq!(delivery.is_whole(), whole);
        }
    }

    #[test]
    fn nothing_held_is_no_body() {
        let empty = Replay::new(VecDeque::new(), Tail::End, None);
        assert!(empty.is_end_stream());
    }
}
