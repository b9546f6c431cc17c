//! One consumer's way through the feed: what the tail keeps where it reaches, the database else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout_at;

use super::event::{Event, Shape};
use super::filter::Filter;
use super::read::{self, Bounds, Query, Read, Since, Stretch};
use super::ring::Found;
use super::{Feed, FeedError, Pulse, Shared};
use crate::clock;
use crate::user::Pos;

/// A page of the feed.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Arc<Event>>,
    pub next: Pos,
    pub bounds: Bounds,
}

/// A position in the feed that moves on.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    at: Pos,
    bounds: Bounds,
    /// The ring's history to which `at` is known to belong.
    history: Option<u64>,
    filter: Filter,
    shape: Shape,
}

/// Tells a reader when to look again.
#[derive(Debug)]
pub struct News {
    pulse: watch::Receiver<Pulse>,
    seen: Pulse,
}

impl Feed {
    /// A reader that starts after `since`, and the first events after it.
    ///
    /// # Errors
    /// [`FeedError::Gone`] where the changes after it are not all there.
    pub async fn reader(
        &self,
        since: Since,
        limit: usize,
        filter: Filter,
        shape: Shape,
    ) -> Result<(Reader, Vec<Arc<Event>>), FeedError> {
        let shared = self.shared.clone();
        let Some((at, bounds)) = shared.held(since) else {
            return self.reader_from_database(since, limit, filter, shape).await;
        };
        let mut reader = Reader::new(shared, at, bounds, filter, shape);
        let events = reader.read(limit).await?;
        Ok((reader, events))
    }

    async fn reader_from_database(
        &self,
        since: Since,
        limit: usize,
        filter: Filter,
        shape: Shape,
    ) -> Result<(Reader, Vec<Arc<Event>>), FeedError> {
        let shared = self.shared.clone();
        let stretch = shared.read(since, limit, shape, &filter).await?;
        let reader = Reader::new(shared, stretch.next, stretch.bounds, filter, shape);
        Ok((reader, stretch.events.into_iter().map(Arc::new).collect()))
    }

    /// One page, at once where there is something, else when there is or `wait` is over.
    ///
    /// # Errors
    /// As [`Feed::reader`].
    pub async fn page(
        &self,
        since: Since,
        limit: usize,
        wait: Duration,
        filter: Filter,
        shape: Shape,
    ) -> Result<Page, FeedError> {
        let deadline = clock::now() + wait;
        let mut news = self.news();
        let (mut reader, mut events) = match wait.is_zero() {
            // The tail may be a moment behind; who does not wait wants what is committed now.
            true => self.reader_from_database(since, limit, filter, shape).await?,
            false => self.reader(since, limit, filter, shape).await?,
        };
        while events.is_empty() && !wait.is_zero() {
            let before = reader.at;
            events = reader.read(limit).await?;
            // What a filter leaves out counts as read: the page says up to where.
            let is_time = clock::now() < deadline && !news.has_ended();
            if !events.is_empty() || reader.at != before && is_time {
                continue;
            }
            match timeout_at(deadline, news.next()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        Ok(reader.page(events))
    }

    /// To be taken before the first read, so that nothing falls between.
    pub fn news(&self) -> News {
        let mut pulse = self.shared.pulse.subscribe();
        let seen = *pulse.borrow_and_update();
        News { pulse, seen }
    }
}

impl News {
    /// Waits until there may be more, or nothing was for a while. False where the process stops.
    pub async fn next(&mut self) -> bool {
        if self.seen.ends || self.pulse.changed().await.is_err() {
            return false;
        }
        self.seen = *self.pulse.borrow_and_update();
        !self.seen.ends
    }

    fn has_ended(&self) -> bool {
        self.pulse.borrow().ends
    }

    /// Moves every few seconds: idle streams say where they stand.
    pub fn beats(&self) -> u64 {
        self.seen.beats
    }
}

impl Reader {
    fn new(shared: Arc<Shared>, at: Pos, bounds: Bounds, filter: Filter, shape: Shape) -> Reader {
        if shape.raw {
            shared.raw_readers.fetch_add(1, Ordering::Relaxed);
        }
        shared.readers.fetch_add(1, Ordering::Relaxed);
        Reader {
            shared,
            at,
            bounds,
            history: None,
            filter,
            shape,
        }
    }

    /// Up to where it has read.
    pub fn at(&self) -> Pos {
        self.at
    }

    /// What there is now, at most `limit`. Nothing and [`Reader::at`] unmoved: it has everything.
    ///
    /// # Errors
    /// [`FeedError::Gone`] where the changes after its position are not all there any more.
    pub async fn read(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, FeedError> {
        if let Some(events) = self.look_in_ring(limit) {
            return Ok(events);
        }
        let read = self
            .shared
            .read(Since::At(self.at), limit, self.shape, &self.filter);
        let stretch = read.await?;
        self.at = stretch.next;
        self.bounds = stretch.bounds;
        self.history = None;
        Ok(stretch.events.into_iter().map(Arc::new).collect())
    }

    /// Only a position that the ring itself holds proves that both are of one history.
    fn look_in_ring(&mut self, limit: usize) -> Option<Vec<Arc<Event>>> {
        let ring = self.shared.ring();
        if self.history != Some(ring.history) {
            self.history = ring.holds(self.at).then_some(ring.history);
            self.history?;
        }
        let Found::Events(mut events) = ring.after(self.at, limit, self.shape) else {
            return None;
        };
        if let Some(last) = events.last() {
            self.at = last.pos;
        }
        events.retain(|event| self.filter.passes(event));
        Some(events)
    }

    /// What the tail knows of the feed's ends counts only for a reader of its history.
    fn page(&self, events: Vec<Arc<Event>>) -> Page {
        let tail = self.history.and(self.shared.head());
        let head = match tail {
            Some(head) if head.position > self.bounds.head.position => head,
            _ => self.bounds.head,
        };
        let bounds = Bounds { head, ..self.bounds };
        Page {
            events,
            next: self.at,
            bounds,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.readers.fetch_sub(1, Ordering::Relaxed);
        if self.shape.raw {
            self.shared.raw_readers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// Where the tail itself can tell that a position is good.
    fn held(&self, since: Since) -> Option<(Pos, Bounds)> {
        let bounds = self.known().bounds?;
        match since {
            Since::At(pos) if self.ring().holds(pos) => Some((pos, bounds)),
            // Nothing has come since: whoever waits for what comes wakes nobody.
            Since::Now if self.database.idle().is_left() => Some((self.head()?, bounds)),
            _ => None,
        }
    }

    async fn read(
        &self,
        since: Since,
        limit: usize,
        shape: Shape,
        filter: &Filter,
    ) -> Result<Stretch, FeedError> {
        let (mut conn, _turn) = self.conn().await?;
        let query = Query {
            since,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            shape,
            filter,
        };
        match read::read(&self.database.names, &self.provider, &mut conn, query).await? {
            Read::Stretch(stretch) => Ok(stretch),
            Read::Gone(bounds) => Err(FeedError::Gone(bounds)),
        }
    }
}
