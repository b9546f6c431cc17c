//! A plain client: one connection for each request, no retries, no redirects, a deadline.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What became of it in the tables.
    pub fn recorded(&self) -> &str {
        self.header("x-usertap-recorded").unwrap_or_default()
    }

    /// The provider's: what it says the status really is.
    pub fn effective_status(&self) -> u16 {
        let told = self.header("x-stack-actual-status");
        told.or(self.header("x-hexclave-actual-status"))
            .map_or(self.status.as_u16(), |status| status.parse().unwrap())
    }
}

/// # Errors
/// If the connection broke before the whole answer was there.
pub async fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    request_from(None, method, url, headers, body).await
}

/// From another of this machine's own addresses, of which 127.0.0.0/8 has many.
///
/// # Errors
/// If the connection broke before the whole answer was there.
pub async fn request_from(
    peer: Option<Ipv4Addr>,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into()))?;
    tokio::time::timeout(DEADLINE, async {
        let mut connector = HttpConnector::new();
        connector.set_local_address(peer.map(IpAddr::V4));
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let (parts, body) = client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    })
    .await?
}

pub async fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    request(Method::GET, url, headers, "").await.unwrap()
}

/// With JSON.
pub async fn post(url: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    send(Method::POST, url, headers, body).await
}

/// With JSON.
pub async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let headers: Vec<_> = headers
        .iter()
        .copied()
        .chain([("content-type", "application/json")])
        .collect();
    request(method, url, &headers, body.to_string()).await.unwrap()
}
