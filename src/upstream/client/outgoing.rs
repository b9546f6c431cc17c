//! A connection's bytes, and whether all that was written has left: encryption keeps what the socket
//! does not take yet, and says so to nobody else.
//!
//! Whoever refuses a request before it has all of it may close at once, which cuts the way there; the
//! refusal was sent before. So a write that finds the way cut waits, for ever: what is still there is
//! read, and then the end.

use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::connect::Io;
use crate::gathered::Gathered;

/// Whoever writes flushes before it is asked.
pub(super) struct Outgoing {
    io: Gathered<Io>,
    has_left: HasLeft,
}

/// Asked by whoever moves the connection on; nobody else writes meanwhile.
#[derive(Clone)]
pub(super) struct HasLeft(Arc<AtomicBool>);

impl Outgoing {
    pub fn of(io: Io) -> (Outgoing, HasLeft) {
        let has_left = HasLeft(Arc::new(AtomicBool::new(true)));
        let outgoing = Outgoing {
            io: Gathered(io),
            has_left: has_left.clone(),
        };
        (outgoing, has_left)
    }

    fn io(&mut self) -> Pin<&mut Gathered<Io>> {
        Pin::new(&mut self.io)
    }
}

impl HasLeft {
    pub fn all(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, all: bool) {
        self.0.store(all, Ordering::Relaxed);
    }
}

impl Read for Outgoing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        self.io().poll_read(context, to)
    }
}

impl Write for Outgoing {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<Result<usize>> {
        self.has_left.set(false);
        unless_cut(self.io().poll_write(context, from))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.has_left.set(false);
        unless_cut(self.io().poll_write_vectored(context, from))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = unless_cut(self.io().poll_flush(context));
        if flushed.is_ready() {
            self.has_left.set(true);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.io().poll_shutdown(context)
    }
}

/// The reading side is woken by the same end.
fn unless_cut<T>(went: Poll<Result<T>>) -> Poll<Result<T>> {
    let is_cut = |kind| matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
    match went {
        Poll::Ready(Err(error)) if is_cut(error.kind()) => Poll::Pending,
        went => went,
    }
}
