//! A connection that was let in, and its place: whoever is let in can be answered, because no more are than there
//! is room for.
//!
//! An exchange has a place of its connection's: the connection's own, or where that is taken, as by HTTP/2, one like
//! another connection's; it keeps it also where the connection ends before it. What must never be: a place given away
//! while the connection lasts, also as a tunnel that nobody looks into, or while what was asked by it goes on.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For so many at once.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// Of one connection; without a bound by default.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Option<Arc<Own>>);

#[derive(Debug)]
struct Own {
    _place: OwnedSemaphorePermit,
    /// Of what it asks, to have that place.
    turn: Arc<Semaphore>,
    room: Room,
}

/// Of one exchange; given back with the last clone.
#[derive(Debug, Clone, Default)]
pub struct Place(#[allow(dead_code, reason = "it is kept")] Option<Arc<Which>>);

#[derive(Debug)]
#[allow(dead_code, reason = "they are kept")]
enum Which {
    Own(OwnedSemaphorePermit, Arc<Own>),
    Other(OwnedSemaphorePermit),
}

impl Room {
    pub fn of(many: usize) -> Room {
        Room(Arc::new(Semaphore::new(many)))
    }

    /// For another connection, once there is one.
    pub async fn connection(&self) -> Places {
        // Never closed, so there is always a place in the end.
        let place = self.0.clone().acquire_owned().await.ok();
        let own = |place| Own {
            _place: place,
            turn: Arc::new(Semaphore::new(1)),
            room: self.clone(),
        };
        Places(place.map(own).map(Arc::new))
    }

    #[cfg(test)]
    pub fn left(&self) -> usize {
        self.0.available_permits()
    }
}

impl Places {
    /// For what is asked next, once there is one: at the latest when all that was asked before is over.
    pub async fn next(self) -> Place {
        let Some(own) = self.0 else {
            return Place::default();
        };
        let turn = own.turn.clone().acquire_owned();
        let other = own.room.0.clone().acquire_owned();
        let taken = tokio::select! {
            biased;
            Ok(turn) = turn => Which::Own(turn, own),
            Ok(other) = other => Which::Other(other),
            else => return Place::default(),
        };
        Place(Some(Arc::new(taken)))
    }
}

pub(super) struct Admitted {
    pub stream: TcpStream,
    pub places: Places,
}

impl Admitted {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Admitted {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.stream().poll_read(context, to)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<Result<usize>> {
        self.stream().poll_write(context, from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.stream().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
