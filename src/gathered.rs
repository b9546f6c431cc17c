//! A connection's bytes, of which what is small leaves in one piece: the kernel takes one for less than
//! several, by a thirtieth of what a small write costs.
//!
//! What must never be: a large body that is copied for this.

use std::io::{IoSlice, Result};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::ReadBuf;

/// Bytes, of all pieces of a write together: the head and the body of most answers of one user.
const SMALL: usize = 4 << 10;

pub struct Gathered<T>(pub T);

impl<T: Unpin> Gathered<T> {
    fn io(self: Pin<&mut Self>) -> Pin<&mut T> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl<T: Read + Unpin> Read for Gathered<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<Result<()>> {
        self.io().poll_read(context, to)
    }
}

impl<T: Write + Unpin> Write for Gathered<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<Result<usize>> {
        self.io().poll_write(context, from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let io = self.io();
        if let [whole] = pieces {
            return io.poll_write(context, whole);
        }
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SMALL {
            return io.poll_write_vectored(context, pieces);
        }
        let mut room = [MaybeUninit::uninit(); SMALL];
        let mut whole = ReadBuf::uninit(&mut room);
        pieces.iter().for_each(|piece| whole.put_slice(piece));
        io.poll_write(context, whole.filled())
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.io().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.io().poll_shutdown(context)
    }
}
