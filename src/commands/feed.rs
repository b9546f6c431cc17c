//! `usertap feed`: the change feed of a running `serve`, one JSON object a line.

use std::io::{self, Write};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{client, serving};
use crate::cli::FeedOptions;

/// Between attempts to go on where the connection broke.
const PAUSE: Duration = Duration::from_secs(1);
/// A stream that says nothing for so long, not even where it stands, is dead.
const SILENT: Duration = Duration::from_secs(60);
/// One event with everything that a provider says of a user is far smaller.
const LONGEST_LINE: usize = 64 << 20;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
    next: String,
    caught_up: bool,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    pos: String,
}

/// Why it ends.
enum End {
    /// Whoever read the lines is gone.
    Unread,
    /// To be told.
    Failed(String),
    /// The connection broke: it can go on.
    Broke,
}

pub async fn run(options: FeedOptions) -> Result<(), String> {
    let ended = match options.follow {
        true => follow(&options).await,
        false => pages(&options).await,
    };
    match ended {
        Ok(()) | Err(End::Unread) => Ok(()),
        Err(End::Failed(error)) => Err(error),
        Err(End::Broke) => Err("the connection to `serve` broke".into()),
    }
}

/// Everything there is, then the end.
async fn pages(options: &FeedOptions) -> Result<(), End> {
    let mut since = options.since.clone();
    loop {
        let url = format!("{}&limit=1000", url(options, &since));
        let reply = client::send(Method::GET, &url, &serving::token(&options.asks), "").await;
        let reply = reply.map_err(|error| End::Failed(serving::nobody(&options.asks, &error)))?;
        if reply.status != StatusCode::OK {
            return Err(refused(options, reply.status, &reply.body));
        }
        let page: Page<'_> = serde_json::from_slice(&reply.body)
            .map_err(|_| End::Failed(serving::refused(&options.asks, reply.status)))?;
        for change in &page.changes {
            print(change.get().as_bytes())?;
        }
        if page.caught_up {
            return Ok(());
        }
        since = page.next;
    }
}

/// What comes, for ever.
async fn follow(options: &FeedOptions) -> Result<(), End> {
    let mut since = options.since.clone();
    let mut is_first = true;
    loop {
        match listen(options, &mut since, is_first).await {
            Err(End::Broke) => {}
            ended => return ended,
        }
        if is_first {
            eprintln!("usertap: the connection broke; going on as soon as `serve` is back");
        }
        is_first = false;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(options: &FeedOptions, since: &mut String, is_first: bool) -> Result<(), End> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = serving::token(&options.asks);
    headers.push((header::ACCEPT, HeaderValue::from_static("application/x-ndjson")));
    let (status, body) = match client::open(&url(options, since), &headers).await {
        Ok(opened) => opened,
        Err(error) if is_first => return Err(End::Failed(serving::nobody(&options.asks, &error))),
        Err(_) => return Err(End::Broke),
    };
    match status {
        StatusCode::OK => lines(body, since).await,
        StatusCode::SERVICE_UNAVAILABLE => Err(End::Broke),
        status => {
            let body = http_body_util::Limited::new(body, LONGEST_LINE).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Err(refused(options, status, &body))
        }
    }
}

/// Prints events as they come and remembers where they end.
async fn lines(mut body: Incoming, since: &mut String) -> Result<(), End> {
    let mut read = BytesMut::new();
    loop {
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line = read.split_to(end + 1);
            let known: Line = serde_json::from_slice(&line).map_err(|_| End::Broke)?;
            if known.kind != "bookmark" {
                print(line.trim_ascii_end())?;
            }
            *since = known.pos;
        }
        let frame = tokio::time::timeout(SILENT, body.frame()).await;
        let Ok(Some(Ok(frame))) = frame else {
            return Err(End::Broke);
        };
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
        if read.len() > LONGEST_LINE {
            return Err(End::Broke);
        }
    }
}

fn url(options: &FeedOptions, since: &str) -> String {
    let since: String = url::form_urlencoded::byte_serialize(since.as_bytes()).collect();
    format!("http://{}/v1/changes?since={since}", options.asks.admin)
}

/// The problem that the feed named, with what a consumer needs to begin anew.
fn refused(options: &FeedOptions, status: StatusCode, body: &[u8]) -> End {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(detail) = problem["detail"]
        .as_str()
        .filter(|_| status != StatusCode::UNAUTHORIZED)
    else {
        return End::Failed(serving::refused(&options.asks, status));
    };
    let oldest = problem["oldest"].as_str();
    let oldest = oldest.map_or(String::new(), |oldest| {
        format!(" (the oldest position is {oldest})")
    });
    End::Failed(format!("{detail}{oldest}"))
}

fn print(line: &[u8]) -> Result<(), End> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(line)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => End::Unread,
        _ => End::Failed(format!(
            "the changes cannot be written to standard output: {error}"
        )),
    })
}
