//! A connection that was let in, and its place: whoever is let in can be answered, because no more are than there
//! is room for.
//!
//! An exchange has a place of its connection's: the connection's own, or where that is taken, as by HTTP/2, one like
//! another connection's; it keeps it also where the connection ends before it. What must never be: a place given away
//! while the connection lasts, also as a tunnel that nobody looks into, or while what was asked by it goes on.

use std::io::{IoSlice, Result};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// For so many at once.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// Of one connection; without a bound by default.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Option<Arc<Own>>);

#[derive(Debug)]
struct Own {
    _place: OwnedSemaphorePermit,
    /// Clones of the place of whoever has it.
    held: AtomicUsize,
    is_free: Notify,
    room: Room,
}

/// Of one exchange; given back with the last clone.
#[derive(Debug, Default)]
pub struct Place(Held);

#[derive(Debug, Default)]
enum Held {
    #[default]
    Unbound,
    Own(Arc<Own>),
    Other(Arc<OwnedSemaphorePermit>),
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
            held: AtomicUsize::new(0),
            is_free: Notify::new(),
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
    /// For what is asked next, where its connection asks nothing else meanwhile.
    pub fn at_once(&self) -> Option<Place> {
        match &self.0 {
            None => Some(Place::default()),
            Some(own) => own.taken(),
        }
    }

    /// Once there is one: at the latest when all that was asked before is over.
    pub async fn next(self) -> Place {
        let Some(own) = self.0 else {
            return Place::default();
        };
        let mut other = pin!(own.room.0.clone().acquire_owned());
        loop {
            // Whoever gives it back keeps that for who comes to wait.
            if let Some(place) = own.taken() {
                return place;
            }
            tokio::select! {
                () = own.is_free.notified() => {}
                Ok(other) = &mut other => return Place(Held::Other(Arc::new(other))),
            }
        }
    }
}

impl Own {
    fn taken(self: &Arc<Self>) -> Option<Place> {
        let taken = self
            .held
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then(|| Place(Held::Own(self.clone())))
    }
}

impl Clone for Place {
    fn clone(&self) -> Place {
        Place(match &self.0 {
            Held::Unbound => Held::Unbound,
            Held::Own(own) => {
                own.held.fetch_add(1, Ordering::Relaxed);
                Held::Own(own.clone())
            }
            Held::Other(other) => Held::Other(other.clone()),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Held::Own(own) = &self.0
            && own.held.fetch_sub(1, Ordering::Release) == 1
        {
            own.is_free.notify_one();
        }
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
