//! The way to the provider: one pooled client, one budget.
//!
//! Never follows a redirect. With the tenant's own key nothing leaves for another host. The
//! stamp of an attempt is taken just before its first byte, after queue and budget.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;

use crate::clock::Instant;
use crate::provider::OwnRequest;
use crate::user::Sent;

/// A body on its way to the provider.
pub type RequestBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug)]
pub struct Upstream {}

/// Who goes first when the budget is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// An app waits for it.
    App,
    Refetch,
    Backfill,
}

/// The answer to a request of usertap's own.
#[derive(Debug)]
pub struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Decoded.
    pub body: Bytes,
    pub sent: Sent,
    pub sent_at: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("the provider cannot be reached")]
    Unreachable,
    #[error("the provider did not answer in time")]
    Timeout,
    #[error("the provider's limit is used up")]
    Limited { retry_after: Duration },
    #[error("the provider's answer broke off or cannot be read")]
    Broken,
}

impl Upstream {
    /// Forwards an app's request as it is (the target already complete, hop-by-hop headers gone).
    pub async fn forward(
        &self,
        _request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Sent), UpstreamError> {
        todo!()
    }

    /// Sends a request of usertap's own, within the budget, repeating what is safe to repeat.
    pub async fn own(&self, _request: OwnRequest, _priority: Priority) -> Result<Fetched, UpstreamError> {
        todo!()
    }
}
