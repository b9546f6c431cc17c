//! What is given while the provider is away: what was kept, or what the table says.
//!
//! What must never be: anything stale for whom the provider has refused since, for a write, or for who asks
//! for a fresh answer; a user as it was before a change that anybody here knows of.

use http::{Method, Response, StatusCode};
use tokio::time::timeout;

use super::answering::Answering;
use super::body::Body;
use super::exchange::Exchange;
use super::outcome::Outcome;
use super::reply;
use super::wire::Failure;
use crate::cache::{Bypass, Cached, Outage, Standing};
use crate::clock;
use crate::provider::Caller;
use crate::upstream::UpstreamError;

/// This part of the whole wait may go into looking for something to give.
const LOOKING: u32 = 4;

impl Exchange<'_> {
    /// While the provider is asked gently, a read that something can be given for need not wait to learn
    /// whether it answers again: nobody is to pay a whole wait for that on each read of an outage.
    pub(super) async fn spared(&self) -> Option<Response<Body>> {
        let is_read = self.asked.method == Method::GET && self.asked.upgrade.is_none();
        if !is_read || self.cached == Cached::Bypass(Bypass::Body) {
            return None;
        }
        // The rest of the time is for an answer of its own.
        let given = timeout(
            self.shared.config.timeout / LOOKING,
            self.stale(Outage::BreakerOpen),
        );
        given.await.ok().flatten()
    }

    /// It has been answered. Where it would be the one that tries, it still is.
    pub(super) async fn tries(&mut self, body: Body) {
        self.is_answered = true;
        if self.shared.wire.upstream.would_try(self.asked.priority) {
            self.run(body, Answering::over()).await;
        }
    }

    /// What an answer says of the provider's health.
    pub(super) fn outage(meant: StatusCode) -> Option<Outage> {
        match meant {
            StatusCode::TOO_MANY_REQUESTS => Some(Outage::RateLimited),
            status if status.is_server_error() => Some(Outage::Error),
            _ => None,
        }
    }

    pub(super) async fn stale_for(&self, failure: Failure) -> Option<Response<Body>> {
        let Failure::Upstream(failure) = failure else {
            return None;
        };
        let outage = match failure {
            UpstreamError::Unreachable(_) => Outage::Unreachable,
            UpstreamError::Timeout => Outage::Timeout,
            UpstreamError::Broken => Outage::Broken,
            UpstreamError::Limited { .. } => Outage::RateLimited,
            UpstreamError::Resting { .. } => Outage::BreakerOpen,
            UpstreamError::Unfinished => return None,
        };
        self.stale(outage).await
    }

    /// What can be given for want of the provider. Who asks for a fresh answer gets none, nor who asks for
    /// one of an age that nobody knows.
    pub(super) async fn stale(&self, outage: Outage) -> Option<Response<Body>> {
        let is_on = !self.shared.config.stale_if_error.is_zero();
        let (wish, now) = (self.shared.cache.wish(&self.asked.headers), clock::now());
        if !is_on || self.is_answered || self.matched.route.writes || wish.fresh {
            return None;
        }
        let cached = Cached::Stale(outage);
        let kept = self
            .keeping
            .as_ref()
            .and_then(|keeping| self.shared.cache.stale(keeping.key, wish, now));
        match kept {
            Some(hit) => Some(self.again(&hit, cached)),
            None if wish.at_most.is_some() => None,
            None => self.of_the_table(cached).await,
        }
    }

    /// Of a user who is known only to the table, to nobody but who shows usertap's own key, and as long as
    /// nothing later is known of that user.
    async fn of_the_table(&self, cached: Cached) -> Option<Response<Body>> {
        let (provider, tenant) = (&self.shared.config.provider, &self.shared.config.tenant);
        let refused = self.shared.standing(self.caller) == Standing::Refused;
        let user = provider
            .stands_for(tenant, &self.matched, Caller::Ours(self.credential))
            .filter(|_| !refused)?;
        let asked = self.shared.local.settled_user(user);
        let row = timeout(self.shared.config.sync_timeout, asked)
            .await
            .ok()?
            .ok()??;
        let answer = provider.stand_in(row.user?)?;
        self.shared.cache.count(cached);
        let outcome = Outcome::Recorded(row.recorded);
        let (route, status) = (&self.matched.route.name, answer.status);
        self.shared.answered(self.asked, route, status, &outcome, cached);
        Some(reply::stand_in(answer, &outcome, cached))
    }
}
