//! The transparent half of the proxy: it knows no provider's file and no recorder.

use std::sync::Arc;
use std::time::Duration;

use http::Version;
use http::response::Parts;

use super::asked::Asked;
use super::body::{self, Body};
use super::links::Links;
use super::traffic::{Counted, Traffic};
use crate::clock::{self, Instant};
use crate::tasks::Tasks;
use crate::upstream::{Forwarded, Upstream, UpstreamError};

pub(super) struct Wire {
    pub upstream: Arc<Upstream>,
    pub tasks: Tasks,
    pub traffic: Arc<Traffic>,
    /// The path of the public URL, without a slash at its end.
    pub base: String,
    pub links: Links,
    /// No pause between bytes lasts longer.
    pub idle: Duration,
    pub drain: Duration,
}

/// Why there is no answer of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// `CONNECT`, and targets that no URL of the provider's can hold.
    #[error("the provider has no such address")]
    Unaddressable,
    /// In a transfer coding that ends here and that nobody undoes.
    #[error("the request is sent in a transfer coding other than `chunked`: send it without")]
    Coded,
    /// The request asks for nothing but what is kept.
    #[error("no answer is kept, and the request says `only-if-cached`: send it without")]
    NotKept,
    #[error("usertap is being stopped, and the answer has not come in time")]
    Stopping,
    #[error("{}", .0.brief())]
    Upstream(UpstreamError),
}

impl Failure {
    /// Whether the provider can have carried the request out all the same.
    pub fn leaves_doubt(self) -> bool {
        matches!(self, Failure::Upstream(failure) if failure.leaves_doubt())
    }

    /// Whether the provider has not even heard of it.
    pub fn sent_nothing(self) -> bool {
        match self {
            Failure::Unaddressable | Failure::Coded | Failure::NotKept => true,
            Failure::Stopping => false,
            Failure::Upstream(failure) => failure.sent_nothing(),
        }
    }

    /// As in `x-usertap-error`.
    pub fn word(self) -> &'static str {
        match self {
            Failure::Unaddressable => "unaddressable",
            Failure::Coded => "request-coded",
            Failure::NotKept => "not-kept",
            Failure::Stopping => "stopping",
            Failure::Upstream(UpstreamError::Unreachable(_)) => "upstream-unreachable",
            Failure::Upstream(UpstreamError::Broken) => "upstream-broken",
            Failure::Upstream(UpstreamError::Timeout) => "upstream-timeout",
            Failure::Upstream(UpstreamError::Unfinished) => "request-unfinished",
            Failure::Upstream(UpstreamError::Resting { .. }) => "breaker-open",
            Failure::Upstream(UpstreamError::Limited { .. }) => "rate-limited",
        }
    }
}

impl Wire {
    /// Sends a request on, body and all. Where it asks for an upgrade and the provider agrees, the
    /// tunnel stands.
    pub async fn forward(&self, asked: &Asked, body: Body) -> Result<Forwarded, Failure> {
        let address = asked.address(&self.upstream).ok_or(Failure::Unaddressable)?;
        let request = |body| asked.request(&address, body);
        self.traffic.count(Counted::Forwarded);
        let began = clock::now();
        if asked.is_write || asked.upgrade.is_some() {
            asked.app.under_way();
        }
        let forwarded = match &asked.upgrade {
            None if asked.is_write => {
                let request = request(body);
                self.upstream
                    .forward_once(request, asked.priority, asked.ready)
                    .await
            }
            None => {
                self.upstream
                    .forward(request, body, asked.priority, asked.ready, || {
                        asked.app.under_way()
                    })
                    .await
            }
            Some(_) => {
                let request = request(body);
                self.upstream
                    .forward_upgrade(request, asked.priority, asked.ready)
                    .await
            }
        };
        let mut forwarded = forwarded.map_err(Failure::Upstream)?;
        // The provider's version is that of its connection; an answer to an app is of usertap's own (RFC 9110, 2.5).
        *forwarded.response.version_mut() = Version::HTTP_11;
        self.links
            .turn(forwarded.response.headers_mut(), asked.reached.as_deref());
        let wait = forwarded.sent_at.saturating_duration_since(began);
        let took = forwarded.answered_at.saturating_duration_since(forwarded.sent_at);
        self.traffic.meters.forwarded(wait, took);
        let upgrade = asked.upgrade.as_ref();
        if upgrade.is_some_and(|upgrade| upgrade.tunnels(&mut forwarded.response, &self.tasks, self.drain)) {
            self.traffic.count(Counted::Upgraded);
        }
        Ok(forwarded)
    }

    /// The failure as the app is told of it.
    pub fn told(&self, asked: &Asked, mut failure: Failure) -> Failure {
        if let Failure::Upstream(error) = &mut failure {
            *error = self.upstream.told(*error, asked.priority, &asked.method);
        }
        failure
    }

    /// The answer as it comes, and when it was asked for.
    pub async fn pass(&self, asked: &Asked, body: Body) -> Result<(Parts, Body, Instant), Failure> {
        let Forwarded {
            response, sent_at, ..
        } = self.forward(asked, body).await?;
        let (head, body) = response.into_parts();
        Ok((head, body::flowing(body, self.idle), sent_at))
    }
}

#[cfg(test)]
mod tests;
