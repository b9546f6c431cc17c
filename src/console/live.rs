//! A word to open pages that something changed; they ask for themselves what.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;

use super::{Console, asked};
use crate::feed::{Filter, News, Reader, Shape, Since};

/// Changes that one word stands for.
const TOGETHER: usize = 500;
/// A page that is told ten times a second shows no more than one that is told four times.
const PAUSE: Duration = Duration::from_millis(250);

struct Pulses {
    reader: Reader,
    news: News,
    beats: u64,
    is_first: bool,
}

/// Server-sent events, of one user's changes or of all.
pub async fn changes(State(console): State<Console>, uri: Uri) -> Response {
    let mut filter = Filter::default();
    let id = console.station.config.user_id(&asked(&uri, "id"));
    filter.ids.extend(id.map(|id| id.to_string()));
    let feed = &console.station.feed;
    let news = feed.news();
    let Ok((reader, _)) = feed.reader(Since::Now, 1, filter, Shape::default()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the feed cannot be read").into_response();
    };
    let pulses = Pulses {
        beats: news.beats(),
        reader,
        news,
        is_first: true,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(unfold(pulses, Pulses::next))).into_response()
}

impl Pulses {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Pulses)> {
        if std::mem::take(&mut self.is_first) {
            // The browser learns that it is connected.
            return Some((Ok(Bytes::from_static(b": here\n\n")), self));
        }
        loop {
            let before = self.reader.at();
            let events = self.reader.read(TOGETHER).await.ok()?;
            if let Some(last) = events.last() {
                let pulse = format!("data: {}\n\n", last.pos);
                drop(events);
                return Some((Ok(pulse.into()), self));
            }
            if self.reader.at() != before {
                continue;
            }
            if self.news.beats() != self.beats {
                self.beats = self.news.beats();
                return Some((Ok(Bytes::from_static(b": still here\n\n")), self));
            }
            if !self.news.next().await {
                return None;
            }
            tokio::time::sleep(PAUSE / 5).await;
        }
    }
}
