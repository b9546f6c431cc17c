//! The end of an exchange for the counters and the log, and errors of usertap's own.
//!
//! What must never be: a log that strangers fill; a failure of a caller's whom the provider takes that is not in it.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::asked::Asked;
use super::body::Body;
use super::outcome::{Outcome, Why};
use super::traffic::Counted;
use super::wire::Failure;
use super::{Shared, reply};
use crate::cache::{Bypass, Cached};
use crate::clock;
use crate::provider::RequestHead;
use crate::upstream::Priority;

impl Shared {
    pub(super) fn failed_for(&self, asked: &Asked, route: &str, failure: Failure) -> Response<Body> {
        let failure = self.wire.told(asked, failure);
        let answer = self.failed(failure, asked.priority);
        let (outcome, cached) = (Outcome::Nothing(Why::Own), Cached::Bypass(Bypass::Own));
        self.answered(asked, route, answer.status(), &outcome, cached);
        answer
    }

    /// Counts an answer and gives it its line in the log.
    pub(super) fn answered(
        &self,
        asked: &Asked,
        route: &str,
        status: StatusCode,
        outcome: &Outcome,
        cached: Cached,
    ) {
        let took = clock::now().saturating_duration_since(asked.began);
        self.wire.traffic.meters.answered(cached, outcome, took);
        asked.log(route, status, outcome, cached, took);
    }

    /// `of`: whom the provider does not know has some lines only.
    pub(super) fn failed(&self, failure: Failure, of: Priority) -> Response<Body> {
        self.wire.traffic.count(Counted::Failed);
        self.wire.traffic.meters.error(failure.word());
        if of != Priority::Stranger || self.strangers.may_write(failure.word()) {
            tracing::info!(%failure, "a request could not be forwarded");
        }
        reply::failed(&self.config.provider, failure)
    }

    /// Of a request that comes no further than here.
    pub(super) fn priority_of(&self, request: &Request<Incoming>) -> Priority {
        let (provider, tenant) = (&self.config.provider, &self.config.tenant);
        let head = RequestHead {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
        };
        let standing = self.standing(self.cache.caller(&provider.shown(head.headers)));
        Shared::priority(standing, provider.caller_by_head(tenant, &head).credential())
    }
}
