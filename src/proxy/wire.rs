//! The transparent half of the proxy: it knows no provider's file and no recorder.

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;

use super::asked::Asked;
use super::body::{self, Body};
use super::traffic::{Counted, Traffic};
use crate::tasks::Tasks;
use crate::upstream::{Forwarded, Upstream, UpstreamError};

pub(super) struct Wire {
    pub upstream: Arc<Upstream>,
    pub tasks: Tasks,
    pub traffic: Arc<Traffic>,
    /// The path of the public URL, without a slash at its end.
    pub base: String,
    /// No pause between bytes lasts longer.
    pub idle: Duration,
    pub drain: Duration,
}

/// Why there is no answer of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// `CONNECT`, and targets that no URL of the provider's can hold.
    Unaddressable,
    Upstream(UpstreamError),
}

impl Wire {
    /// Sends a request on, body and all. Where it asks for an upgrade and the provider agrees, the
    /// tunnel stands.
    pub async fn forward(&self, asked: &Asked, body: Body) -> Result<Forwarded, Failure> {
        let request = asked
            .request(&self.upstream, body)
            .ok_or(Failure::Unaddressable)?;
        self.traffic.count(Counted::Forwarded);
        let forwarded = match &asked.upgrade {
            None => self.upstream.forward(request, asked.priority).await,
            Some(_) => self.upstream.forward_upgrade(request).await,
        };
        let mut forwarded = forwarded.map_err(Failure::Upstream)?;
        let upgrade = asked.upgrade.as_ref();
        if upgrade.is_some_and(|upgrade| upgrade.tunnels(&mut forwarded.response, &self.tasks, self.drain)) {
            self.traffic.count(Counted::Upgraded);
        }
        Ok(forwarded)
    }

    /// The answer as it comes.
    pub async fn pass(&self, asked: &Asked, body: Body) -> Result<(Parts, Body), Failure> {
        let (head, body) = self.forward(asked, body).await?.response.into_parts();
        Ok((head, body::flowing(body, self.idle)))
    }
}

#[cfg(test)]
mod tests;
