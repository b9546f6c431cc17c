//! A plain HTTP client for usertap's own servers on this machine.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// usertap answers within its own deadlines; this is beyond all of them at their defaults.
const DEADLINE: Duration = Duration::from_secs(30);
const LATE: &str = "no answer within 30 s";
/// A status or a user is some kilobytes.
const LARGEST: usize = 16 << 20;

/// An answer, whole.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// An answer whose body comes piece by piece.
///
/// # Errors
/// A sentence without the request's content.
pub async fn open(
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<(StatusCode, Incoming), String> {
    let request = request(Method::GET, url, headers, Bytes::new())?;
    let answer = timeout(DEADLINE, answer(request)).await;
    let (parts, body) = answer.unwrap_or_else(|_| Err(LATE.into()))?.into_parts();
    Ok((parts.status, body))
}

/// Sends a request and collects its answer.
///
/// # Errors
/// A sentence without the request's content.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: impl Into<Bytes>,
) -> Result<Reply, String> {
    let request = request(method, url, headers, body.into())?;
    let whole = async {
        let (parts, body) = answer(request).await?.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    };
    timeout(DEADLINE, whole)
        .await
        .unwrap_or_else(|_| Err(LATE.into()))
}

fn request(
    method: Method,
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

async fn answer(request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.request(request).await;
    answer.map_err(|_| "nobody answers there".to_owned())
}
