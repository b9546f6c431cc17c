//! A consumer of the feed's lines that costs as little as it can: it counts.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use usertap::clock::{self, Instant};

/// What every event begins with, and no bookmark.
const EVENT: &[u8] = b"{\"pos\"";
const BOOKMARK: &[u8] = b"\"bookmark\"";

pub struct Follower {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The end of the last piece, in which an event may have begun.
    rest: usize,
}

impl Follower {
    /// Connected and, from now on, told where it stands.
    pub async fn open(admin: SocketAddr, since: &str) -> Follower {
        let mut stream = TcpStream::connect(admin).await.expect("a connection");
        let request = format!(
            "GET /v1/changes?since={since} HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("a request");
        Follower {
            stream,
            buffer: vec![0; 64 << 10],
            rest: 0,
        }
    }

    pub async fn placed(mut self) -> Follower {
        let mut seen = Vec::new();
        while !contains(&seen, BOOKMARK) {
            let read = self.stream.read(&mut self.buffer).await.expect("a bookmark");
            seen.extend_from_slice(&self.buffer[..read]);
        }
        self.buffer.truncate(64 << 10);
        self
    }

    /// Gives the memory back that only reading needs.
    pub fn idle(self) -> TcpStream {
        self.stream
    }

    /// Reads until so many events are there; when each came.
    pub async fn events(&mut self, number: usize) -> Vec<Instant> {
        let mut came = Vec::with_capacity(number);
        while came.len() < number {
            let read = self.stream.read(&mut self.buffer[self.rest..]).await;
            let read = read.expect("more of the stream");
            assert!(read > 0, "the stream ended after {} of {number}", came.len());
            let filled = self.rest + read;
            let now = clock::now();
            let found = count(&self.buffer[..filled], EVENT);
            came.extend(std::iter::repeat_n(now, found));
            self.rest = (EVENT.len() - 1).min(filled);
            self.buffer.copy_within(filled - self.rest..filled, 0);
        }
        came
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn count(text: &[u8], part: &[u8]) -> usize {
    let first = part[0];
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.filter(|(at, _)| text[*at..].starts_with(part)).count()
}
