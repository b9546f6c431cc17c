//! Holding a body until it is known what it says, within a limit of its own and one for all.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{Body, Replay, Tail};

/// What all held answers together may take, in bytes (the interface's 256 MiB).
const ALL: usize = 256 << 20;
/// Memory is counted in these.
const UNIT: usize = 1 << 10;

/// The memory for held bodies.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Memory {
        Memory(Arc::new(Semaphore::new(ALL / UNIT)))
    }
}

/// The frames of a body so far.
pub(super) struct Held {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    memory: Option<OwnedSemaphorePermit>,
}

/// How far holding came.
pub(super) enum Ended {
    Whole,
    /// The limit is reached; the rest still flows.
    More(Body),
    Broken,
}

impl Memory {
    /// Holds up to `limit` bytes. Never waits for memory: who waits while holding some could wait
    /// for ever.
    pub async fn hold(&self, mut body: Body, limit: usize) -> (Held, Ended) {
        let mut held = Held {
            frames: VecDeque::new(),
            bytes: 0,
            memory: None,
        };
        if body.is_end_stream() {
            return (held, Ended::Whole);
        }
        loop {
            match body.frame().await {
                None => return (held, Ended::Whole),
                Some(Err(_)) => return (held, Ended::Broken),
                Some(Ok(frame)) => {
                    let fits = self.grow(&mut held, &frame) && held.bytes <= limit;
                    held.frames.push_back(frame);
                    if !fits {
                        return (held, Ended::More(body));
                    }
                }
            }
        }
    }

    fn grow(&self, held: &mut Held, frame: &Frame<Bytes>) -> bool {
        let more = frame.data_ref().map_or(0, Bytes::len);
        let units = (held.bytes + more).div_ceil(UNIT) - held.bytes.div_ceil(UNIT);
        held.bytes += more;
        let Ok(permit) = self
            .0
            .clone()
            .try_acquire_many_owned(units.try_into().unwrap_or(u32::MAX))
        else {
            return false;
        };
        match &mut held.memory {
            Some(memory) => memory.merge(permit),
            none => *none = Some(permit),
        }
        true
    }
}

impl Held {
    pub fn has_trailers(&self) -> bool {
        self.frames.iter().any(|frame| frame.is_trailers())
    }

    /// All data in one piece (trailers stay what they are).
    pub fn joined(&mut self) -> Bytes {
        if self.frames.iter().filter(|frame| frame.is_data()).count() > 1 {
            self.join();
        }
        let mut data = self.frames.iter().filter_map(|frame| frame.data_ref());
        data.next().cloned().unwrap_or_default()
    }

    fn join(&mut self) {
        let mut whole = BytesMut::with_capacity(self.bytes);
        for data in self.frames.iter().filter_map(|frame| frame.data_ref()) {
            whole.extend_from_slice(data);
        }
        self.frames.retain(|frame| !frame.is_data());
        self.frames.push_front(Frame::data(whole.freeze()));
    }

    /// The same bytes again, then the tail.
    pub fn replayed(self, ended: Ended) -> Body {
        let tail = match ended {
            Ended::Whole => Tail::End,
            Ended::Broken => Tail::Broken,
            Ended::More(body) => Tail::More(body),
        };
        Replay::new(self.frames, tail, self.memory).boxed()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    fn body(pieces: &'static [&'static str]) -> Body {
        let frames = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        StreamBody::new(futures_util::stream::iter(frames)).boxed()
    }

    #[tokio::test]
    async fn a_small_body_is_held_whole() {
        let (mut held, ended) = Memory::default().hold(body(&["ab", "cd"]), 4).await;
        assert!(matches!(ended, Ended::Whole));
        assert_eq!(held.joined(), "abcd");
        assert_eq!(held.replayed(ended).collect().await.unwrap().to_bytes(), "abcd");
    }

    #[tokio::test]
    async fn a_larger_one_loses_nothing() {
        let (held, ended) = Memory::default().hold(body(&["ab", "cd", "ef"]), 3).await;
        assert!(matches!(ended, Ended::More(_)));
        assert_eq!(held.replayed(ended).collect().await.unwrap().to_bytes(), "abcdef");
    }

    #[tokio::test]
    async fn where_memory_is_short_nothing_waits_and_what_was_lent_comes_back() {
        let memory = Memory(Arc::new(Semaphore::new(1)));
        let (first, whole) = memory.hold(body(&["ab"]), 100).await;
        let (second, ended) = memory.hold(body(&["cd", "ef"]), 100).await;
        assert!(matches!((&whole, &ended), (Ended::Whole, Ended::More(_))));
        assert_eq!(second.replayed(ended).collect().await.unwrap().to_bytes(), "cdef");
        drop(first.replayed(whole));
        assert!(matches!(memory.hold(body(&["gh"]), 100).await.1, Ended::Whole));
    }
}
