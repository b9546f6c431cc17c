//! Changes as they come, for as long as the consumer listens.
//!
//! The body is asked for its next piece only when the last one has gone to the consumer: one that
//! reads slowly keeps a position and one piece, nothing else. Where nothing comes, a bookmark says
//! from time to time up to where it has everything, what a filter left out included.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;

use super::super::asked::{Asked, Form};
use crate::feed::{Event, Feed, FeedError, News, Reader, Shape};
use crate::user::Pos;

/// Events in one piece.
const PIECE: usize = 200;

struct Stream {
    reader: Reader,
    news: News,
    /// What the first read gave.
    first: Vec<Arc<Event>>,
    form: Form,
    shape: Shape,
    /// The beat at which it was last looked whether the consumer knows where it stands.
    beats: u64,
    /// Nothing was sent since.
    is_quiet: bool,
    /// It was told where it stands once.
    is_placed: bool,
}

/// The answer, once the position has proved good.
pub async fn begin(feed: &Feed, asked: Asked) -> Result<Response, FeedError> {
    let news = feed.news();
    let (reader, first) = feed.reader(asked.since, PIECE, asked.filter, asked.shape).await?;
    let stream = Stream {
        beats: news.beats(),
        reader,
        news,
        first,
        form: asked.form,
        shape: asked.shape,
        is_quiet: true,
        is_placed: false,
    };
    let kind = match asked.form {
        Form::Events => "text/event-stream",
        _ => "application/x-ndjson",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy between must not collect it.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(unfold(stream, Stream::piece))).into_response())
}

impl Stream {
    /// The next piece; nothing ends the stream, and the consumer comes again from where it stands.
    async fn piece(mut self) -> Option<(Result<Bytes, Infallible>, Stream)> {
        loop {
            let before = self.reader.at();
            let events = self.events().await?;
            if !events.is_empty() {
                self.is_quiet = false;
                let piece = self.written(&events);
                return Some((Ok(piece), self));
            }
            if self.reader.at() != before {
                continue;
            }
            if self.owes_bookmark() {
                let piece = self.bookmark();
                return Some((Ok(piece), self));
            }
            if !self.news.next().await {
                return None;
            }
        }
    }

    async fn events(&mut self) -> Option<Vec<Arc<Event>>> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        let read = self.reader.read(PIECE).await;
        read.inspect_err(|error| tracing::debug!(%error, "a stream of changes ends"))
            .ok()
    }

    /// Caught up for the first time with nothing sent, or nothing sent since the last beat.
    fn owes_bookmark(&mut self) -> bool {
        let beats = self.news.beats();
        let is_due = self.is_quiet && (!self.is_placed || beats != self.beats);
        if beats != self.beats {
            self.is_quiet = true;
        }
        self.beats = beats;
        self.is_placed = true;
        is_due
    }

    fn written(&self, events: &[Arc<Event>]) -> Bytes {
        let mut piece = BytesMut::new();
        for event in events {
            self.framed(event.pos, &mut piece, |piece| event.write(self.shape, piece));
        }
        piece.freeze()
    }

    fn bookmark(&self) -> Bytes {
        let mut piece = BytesMut::new();
        let pos = self.reader.at();
        let text = format!("{{\"type\":\"bookmark\",\"pos\":\"{pos}\"}}");
        self.framed(pos, &mut piece, |piece| piece.extend_from_slice(text.as_bytes()));
        piece.freeze()
    }

    fn framed(&self, pos: Pos, piece: &mut BytesMut, object: impl FnOnce(&mut BytesMut)) {
        if self.form == Form::Events {
            piece.extend_from_slice(format!("id: {pos}\ndata: ").as_bytes());
        }
        object(piece);
        let end: &[u8] = if self.form == Form::Events { b"\n\n" } else { b"\n" };
        piece.extend_from_slice(end);
    }
}
