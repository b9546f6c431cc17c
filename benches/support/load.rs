//! Connections that ask as fast as they are answered, and cost as little as possible themselves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use usertap::clock;

/// As many as the measurements that the ratios come from had.
pub const CONNECTIONS: usize = 64;

/// How many answers came in how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub answers: u64,
    pub seconds: f64,
}

/// Asks for so long. `request` makes the bytes of the nth request; every answer must have `marks`
/// in its head.
pub async fn ask(to: SocketAddr, lasting: Duration, marks: &str, request: impl Fn(u64) -> Vec<u8>) -> Load {
    let (next, answers) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = clock::now();
    let end = begun + lasting;
    let connection = |_| async {
        let mut stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let mut buffer = Vec::with_capacity(256 << 10);
        while clock::now() < end {
            let bytes = request(next.fetch_add(1, Ordering::Relaxed));
            stream.write_all(&bytes).await.expect("it takes requests");
            answer(&mut stream, &mut buffer, marks).await;
            answers.fetch_add(1, Ordering::Relaxed);
        }
    };
    join_all((0..CONNECTIONS).map(connection)).await;
    Load {
        answers: answers.into_inner(),
        seconds: (clock::now() - begun).as_secs_f64(),
    }
}

async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>, marks: &str) {
    buffer.clear();
    let ends = loop {
        assert!(stream.read_buf(buffer).await.expect("an answer") > 0, "it closed");
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..at]).expect("a head");
            assert!(head.starts_with("HTTP/1.1 200") && head.contains(marks), "{head}");
            break content_length(head).map(|length| at + 4 + length);
        }
    };
    while !is_whole(buffer, ends) {
        assert!(stream.read_buf(buffer).await.expect("a body") > 0, "it closed");
    }
}

/// Without a length it is in chunks.
fn is_whole(buffer: &[u8], ends: Option<usize>) -> bool {
    match ends {
        Some(ends) => buffer.len() >= ends,
        None => buffer.ends_with(b"\r\n0\r\n\r\n"),
    }
}

fn content_length(head: &str) -> Option<usize> {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    line.and_then(|value| value.parse().ok())
}
