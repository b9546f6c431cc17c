//! Holding a body until it is known what it says, within a limit of its own and one for all.
//!
//! Answers and requests have memory of their own: a request is held before anybody has judged who sends
//! it, and junk must not take what the answers need.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::body::{Body, BodyError, Cut, Replay, Tail};
use crate::clock::{self, Instant};

/// What all held answers together may take, in bytes (the interface's 256 MiB).
const ANSWERS: usize = 256 << 20;
/// The same of requests, which are small.
const REQUESTS: usize = 32 << 20;
/// So much of each request is held whatever the others take: token requests and most webhooks are smaller,
/// and a connection's own buffer is larger.
const UNCOUNTED: usize = 8 << 10;
/// What of an answer has not come by then need not be waited for: the app is told what there is.
const HELD: Duration = Duration::from_secs(60);
/// Memory is counted in these.
const UNIT: usize = 1 << 10;

/// The memory for held bodies.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    answers: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            answers: Arc::new(Semaphore::new(ANSWERS / UNIT)),
            requests: Arc::new(Semaphore::new(REQUESTS / UNIT)),
        }
    }
}

/// What bounds the holding of one body.
struct Bounds<'m> {
    memory: &'m Arc<Semaphore>,
    /// In bytes.
    limit: usize,
    /// In bytes.
    uncounted: usize,
    /// Memory is lent no longer than this.
    until: Instant,
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
    /// The limit is reached, memory is short or time is up; the rest still flows.
    More(Body),
    Broken,
    /// It came too slowly, and was cut.
    Late,
}

impl Memory {
    /// Holds up to `limit` bytes of an answer. One that drips flows on after a while: it is the provider's, and may be
    /// as slow as that is.
    pub async fn hold(&self, body: Body, limit: usize) -> (Held, Ended) {
        let bounds = Bounds {
            memory: &self.answers,
            limit,
            uncounted: 0,
            until: clock::now() + HELD,
        };
        bounds.hold(body).await
    }

    /// Holds up to `limit` bytes of a request. A large one must be there in time: whoever lets it drip
    /// keeps memory from others.
    pub async fn hold_request(&self, body: Body, limit: usize, until: Instant) -> (Held, Ended) {
        let bounds = Bounds {
            memory: &self.requests,
            limit,
            uncounted: UNCOUNTED,
            until,
        };
        bounds.hold(body).await
    }
}

impl Bounds<'_> {
    /// Never waits for memory: who waits while holding some could wait for ever.
    async fn hold(&self, mut body: Body) -> (Held, Ended) {
        let mut held = Held {
            frames: VecDeque::new(),
            bytes: 0,
            memory: None,
        };
        if body.is_end_stream() {
            return (held, Ended::Whole);
        }
        loop {
            let next = match held.memory.is_some() {
                false => Ok(body.frame().await),
                true => timeout_at(self.until, body.frame()).await,
            };
            match next {
                Err(_late) => return (held, Ended::More(body)),
                Ok(None) => return (held, Ended::Whole),
                Ok(Some(Err(error))) if is_late(&error) => return (held, Ended::Late),
                Ok(Some(Err(_))) => return (held, Ended::Broken),
                Ok(Some(Ok(frame))) => {
                    let fits = self.grow(&mut held, &frame) && held.bytes <= self.limit;
                    held.frames.push_back(frame);
                    if !fits {
                        return (held, Ended::More(body));
                    }
                }
            }
        }
    }

    fn grow(&self, held: &mut Held, frame: &Frame<Bytes>) -> bool {
        let before = self.units(held.bytes);
        held.bytes += frame.data_ref().map_or(0, Bytes::len);
        let units = self.units(held.bytes) - before;
        if units == 0 {
            return true;
        }
        let units = units.try_into().unwrap_or(u32::MAX);
        let Ok(permit) = self.memory.clone().try_acquire_many_owned(units) else {
            return false;
        };
        match &mut held.memory {
            Some(memory) => memory.merge(permit),
            none => *none = Some(permit),
        }
        true
    }

    fn units(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.uncounted).div_ceil(UNIT)
    }
}

fn is_late(error: &BodyError) -> bool {
    matches!(error.downcast_ref(), Some(Cut::Idle | Cut::Dripping))
}

impl Held {
    /// In bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

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
            Ended::Broken | Ended::Late => Tail::Broken,
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

    /// One of which no more comes.
    fn never() -> Body {
        StreamBody::new(futures_util::stream::pending()).boxed()
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
        let memory = Memory {
            answers: Arc::new(Semaphore::new(1)),
            ..Memory::default()
        };
        let (first, whole) = memory.hold(body(&["ab"]), 100).await;
        let (second, ended) = memory.hold(body(&["cd", "ef"]), 100).await;
        assert!(matches!((&whole, &ended), (Ended::Whole, Ended::More(_))));
        assert_eq!(second.replayed(ended).collect().await.unwrap().to_bytes(), "cdef");
        drop(first.replayed(whole));
        assert!(matches!(memory.hold(body(&["gh"]), 100).await.1, Ended::Whole));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_drips_is_held_for_a_while_and_flows_on() {
        let memory = Memory {
            answers: Arc::new(Semaphore::new(1)),
            ..Memory::default()
        };
        let drips = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let began = clock::now();
        let (held, ended) = memory.hold(StreamBody::new(Box::pin(drips)).boxed(), 100).await;
        assert_eq!((clock::now() - began, held.len()), (HELD, 8));
        let mut flows = held.replayed(ended);
        for _ in 0..20 {
            assert!(flows.frame().await.is_some_and(|frame| frame.is_ok()));
        }
        assert_eq!(memory.answers.available_permits(), 1, "what was lent came back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_request_needs_no_memory_and_a_large_one_that_drips_is_held_no_longer_than_its_time() {
        let memory = Memory {
            requests: Arc::new(Semaphore::new(1)),
            ..Memory::default()
        };
        let until = crate::clock::now() + std::time::Duration::from_secs(8);
        let large = [Frame::data(Bytes::from(vec![0; UNCOUNTED + 1]))];
        let dripping = Replay::new(large.into(), Tail::More(never()), None).boxed();
        let held = memory.hold_request(dripping, 1 << 20, until);
        let (held, ended) = held.await;
        assert!(matches!(ended, Ended::More(_)) && crate::clock::now() == until);
        let (_, ended) = memory.hold_request(body(&["ab", "cd"]), 1 << 20, until).await;
        assert!(matches!(ended, Ended::Whole));
        drop(held);
    }
}
