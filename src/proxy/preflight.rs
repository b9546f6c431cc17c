//! What a browser asks before it sends a request to another origin. It shows no credentials, so it comes last
//! in every queue; and where it is not answered, the request itself is never sent, whatever could be given for
//! that. So where the provider gives no answer, usertap does.
//!
//! What must never be: an answer in the place of one that the provider gives; one for what nobody knows.

use http::response::Parts;
use http::{Response, StatusCode};

use super::Shared;
use super::asked::Asked;
use super::body::Body;
use super::outcome::{Outcome, Why};
use super::reply;
use super::traffic::Counted;
use crate::cache::{Bypass, Cached};
use crate::provider::OwnAnswer;
use crate::upstream::Priority;

impl Shared {
    /// Streams the question and its answer through, or gives this one. A provider that fails is not tried with
    /// it: the request that follows does that.
    pub(super) async fn pass_preflight(&self, asked: &Asked, body: Body, own: OwnAnswer) -> Response<Body> {
        if self.wire.upstream.falters(Priority::Stranger) {
            return self.allowed(asked, own);
        }
        match self.wire.pass(asked, body).await {
            Ok((head, body, _)) if !self.is_failure(&head) => {
                self.passed_through(asked, "-", (head, body), Why::NoUser)
            }
            _ => self.allowed(asked, own),
        }
    }

    fn is_failure(&self, head: &Parts) -> bool {
        let meant = self.config.provider.effective_status(head.status, &head.headers);
        meant.is_server_error() || meant == StatusCode::TOO_MANY_REQUESTS
    }

    fn allowed(&self, asked: &Asked, own: OwnAnswer) -> Response<Body> {
        self.wire.traffic.count(Counted::Own);
        let (outcome, cached) = (Outcome::Nothing(Why::Own), Cached::Bypass(Bypass::Own));
        self.answered(asked, "-", own.status, &outcome, cached);
        reply::own(own)
    }
}
