//! Whether anything goes on on a connection, and who is waited for: this process, or whoever asked.
//!
//! What must never be: a connection that is kept for somebody who takes nothing of what was asked for; one that ends
//! while an answer, or more of one, is still to come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::admitted::Place;

/// Of one connection.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    asks: AtomicBool,
    /// Since it was felt last.
    beats: AtomicBool,
    /// So many answers, or more of so many, are still to come.
    to_come: AtomicUsize,
}

/// Something that is still to come.
#[derive(Debug)]
pub(super) struct ToCome(Arc<Pulse>);

impl Pulse {
    /// Something is asked for.
    pub fn asked(&self) {
        self.asks.store(true, Ordering::Relaxed);
        self.beat();
    }

    /// Ever.
    pub fn has_asked(&self) -> bool {
        self.asks.load(Ordering::Relaxed)
    }

    /// Resolves once for so long nothing was asked for or handed on, and nothing is to come.
    pub async fn silence(&self, long: Duration) {
        loop {
            tokio::time::sleep(long).await;
            let beats = self.beats.swap(false, Ordering::Relaxed);
            if !beats && self.to_come.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    /// Something is to come for as long as this is kept.
    pub fn to_come(self: &Arc<Self>) -> ToCome {
        self.to_come.fetch_add(1, Ordering::Relaxed);
        self.beat();
        ToCome(self.clone())
    }

    fn beat(&self) {
        self.beats.store(true, Ordering::Relaxed);
    }
}

impl Drop for ToCome {
    fn drop(&mut self) {
        self.0.beat();
        self.0.to_come.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body. It is taken piece by piece, as there is room for the next: between two pieces it is the peer that is
/// waited for.
pub(super) struct Taken<B> {
    body: B,
    pulse: Arc<Pulse>,
    to_come: Option<ToCome>,
    _place: Place,
}

impl<B> Taken<B> {
    /// It keeps its place to its end.
    pub fn of(body: B, pulse: Arc<Pulse>, place: Place) -> Taken<B> {
        Taken {
            body,
            pulse,
            to_come: None,
            _place: place,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Taken<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_pending() {
            this.to_come.get_or_insert_with(|| this.pulse.to_come());
        } else {
            this.to_come = None;
            this.pulse.beat();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
