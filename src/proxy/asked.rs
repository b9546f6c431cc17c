//! A request as the rest of the proxy sees it: already cleaned of what must not leave.

use std::time::Duration;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use uuid::Uuid;

use super::answering::Answering;
use super::headers;
use super::outcome::Outcome;
use super::upgrade::Wish;
use crate::cache::Cached;
use crate::clock::Instant;
use crate::provider::RequestHead;
use crate::random;
use crate::upstream::{Priority, RequestBody, Upstream};

#[derive(Debug)]
pub(super) struct Asked {
    /// usertap's own name of the exchange.
    pub id: Uuid,
    pub began: Instant,
    /// When all of it was there that is read before it is sent: the wait for its answer counts from here.
    pub ready: Instant,
    pub method: Method,
    /// Its place in the queue for the provider's limit.
    pub priority: Priority,
    /// As they leave: what is judged is what the provider sees.
    pub headers: HeaderMap,
    /// Path and query below the base path, byte for byte.
    target: PathAndQuery,
    pub upgrade: Option<Wish>,
    /// It changes something, whatever its method says: it is not sent twice.
    pub is_write: bool,
    /// By which URL the app came, where its answer may have to tell it.
    pub reached: Option<String>,
    /// It may hang up.
    pub app: Answering,
}

impl Asked {
    pub fn new(parts: Parts, base: &str, app: Answering, began: Instant) -> Asked {
        if !parts.method.is_safe() {
            app.under_way();
        }
        Asked {
            target: headers::target_below(base, &parts.uri),
            id: random::name(),
            began,
            ready: began,
            priority: Priority::Stranger,
            upgrade: None,
            is_write: false,
            reached: None,
            app,
            method: parts.method,
            headers: headers::to_provider(parts.headers),
        }
    }

    /// usertap's own name of the exchange, as it stands in change rows.
    pub fn name(&self) -> String {
        self.id
            .hyphenated()
            .encode_lower(&mut Uuid::encode_buffer())
            .to_owned()
    }

    pub fn path(&self) -> &str {
        self.target.path()
    }

    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: self.path(),
            query: self.query(),
            headers: &self.headers,
        }
    }

    /// Where it goes; nothing if no URL can hold its target.
    pub fn address(&self, upstream: &Upstream) -> Option<Uri> {
        upstream.below(&self.target)
    }

    /// The request to the provider.
    pub fn request(&self, address: &Uri, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = address.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(upgrade) = &self.upgrade {
            upgrade.ask(request.headers_mut());
        }
        request
    }

    /// One line for each exchange: the route's name, never its path.
    pub fn log(&self, route: &str, status: StatusCode, outcome: &Outcome, cached: Cached, took: Duration) {
        tracing::debug!(
            exchange = %self.id,
            method = %self.method,
            route,
            status = status.as_u16(),
            recorded = %outcome.words(),
            cache = cached.words(),
            ms = took.as_millis() as u64,
            "answered"
        );
    }
}
