//! A stream of lines over HTTP, read as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

/// An open stream; dropping it hangs up.
pub struct Lines {
    body: Incoming,
    read: BytesMut,
    pub status: StatusCode,
}

impl Lines {
    pub async fn open(url: &str, headers: &[(&str, &str)]) -> Lines {
        Lines::try_open(url, headers).await.expect("an answer")
    }

    /// # Errors
    /// If nobody answers.
    pub async fn try_open(
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Lines, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder().uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = tokio::time::timeout(DEADLINE, client.request(request.body(Empty::new())?)).await??;
        Ok(Lines {
            status: answer.status(),
            body: answer.into_body(),
            read: BytesMut::new(),
        })
    }

    /// One JSON object a line.
    pub async fn ndjson(url: &str) -> Lines {
        let lines = Lines::open(url, &[("accept", "application/x-ndjson")]).await;
        assert_eq!(lines.status, 200);
        lines
    }

    /// The next line without its end; nothing at the end of the stream.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await;
            let frame = frame.expect("something within 30 s")?;
            let data = frame.ok()?.into_data().unwrap_or_default();
            self.read.extend_from_slice(&data);
        }
    }

    pub async fn object(&mut self) -> Option<Value> {
        let line = self.next().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The next that is no bookmark.
    pub async fn event(&mut self) -> Value {
        loop {
            let object = self.object().await.expect("the stream goes on");
            if object["type"] != "bookmark" {
                return object;
            }
        }
    }
}
