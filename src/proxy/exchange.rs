//! An exchange of our own tenant on a known route: what its answer tells is recorded before the
//! answer leaves.
//!
//! It runs in a task of its own from the moment the request is sent: an app that hangs up does
//! not undo what the provider has done. What must never be: an answer changed or lost because
//! of its recording.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use http::response::Parts;
use http::{Response, StatusCode};

use super::answering::Answering;
use super::asked::Asked;
use super::body::{self, Body, Delivery};
use super::hold::{Ended, Held};
use super::kept::Keeping;
use super::outcome::{Outcome, Why};
use super::record::Stamp;
use super::wire::Failure;
use super::{Shared, reply};
use crate::cache::{CacheKey, Cached, CallerKey, Outage};
use crate::clock::Instant;
use crate::failpoint;
use crate::provider::{Answer, Credential, Extraction, Matched, Rate, RoutedRequest};
use crate::record::{Intent, Recorded};
use crate::upstream::decode::{self, DecodeFault};
use crate::upstream::{Forwarded, LeaveFor, UpstreamError, Yields};
use crate::user::UserId;

/// An encoded answer whose text is larger than so many record buffers is read piece by piece.
const UNFOLDED: usize = 4;

pub(super) struct Exchange<'s> {
    pub shared: &'s Arc<Shared>,
    pub asked: &'s Asked,
    pub matched: Matched<'s>,
    pub credential: Credential,
    /// What it shows of itself, as far as it shows anything.
    pub caller: Option<CallerKey>,
    /// Where the route needs it: decoded.
    pub request_body: Option<Bytes>,
    pub delivery: Delivery,
    pub cached: Cached,
    /// Where its answer may be kept.
    pub keeping: Option<Keeping>,
    /// A write that has not ended.
    pub intent: Option<Intent>,
    /// The app has had its answer, and what comes now is for usertap alone.
    pub is_answered: bool,
    /// What came as a success is none, as its body says.
    pub is_failure: bool,
}

/// The head of the provider's answer.
pub(super) struct AnswerHead {
    pub head: Parts,
    /// The status that the provider means.
    pub meant: StatusCode,
    /// When it came.
    pub at: Instant,
}

impl Exchange<'_> {
    /// From the moment it is known to be our tenant's. `key` is what its answer would be kept under.
    pub async fn begin(&mut self, key: Option<CacheKey>, body: Body, app: Answering) {
        self.keeps_under(key);
        if self.asked.is_write {
            app.under_way();
        }
        if self.shared.wire.upstream.falters(self.asked.priority)
            && let Some(answer) = Box::pin(self.spared()).await
        {
            app.send(answer);
            return Box::pin(self.tries(body)).await;
        }
        match self.found_meanwhile().await {
            Some(answer) => app.send(answer),
            None => self.run(body, app).await,
        }
    }

    pub async fn run(&mut self, body: Body, app: Answering) {
        self.note().await;
        let body = self.delivery.watch(body);
        let forwarded = match self.others() {
            None => self.forwarded(body).await,
            Some((key, others)) => match Box::pin(self.forwarded_beside(key, others, body)).await {
                Either::Left(hit) => return app.send(self.coalesced(&hit)),
                Either::Right(forwarded) => forwarded,
            },
        };
        match forwarded {
            Ok(forwarded) => self.answered(forwarded, app).await,
            Err(failure) => {
                if failure.leaves_doubt() && self.matched.route.writes {
                    if self.may_be_carried_out() {
                        self.resolve().await;
                        self.wrote_unseen(false);
                    }
                    self.left_in_doubt();
                }
                if self.is_answered {
                    return;
                }
                if let Some(answer) = self.stale_for(failure).await {
                    return app.send(answer);
                }
                let name = &self.matched.route.name;
                app.send(self.shared.failed_for(self.asked, name, failure));
            }
        }
    }

    /// Where the provider counts such requests for each user by itself, in that user's turn.
    pub async fn forwarded(&self, body: Body) -> Result<Forwarded, Failure> {
        let wire = &self.shared.wire;
        let mut leaves = Vec::new();
        for (user, rate) in self.counted_apart() {
            let leave = wire.upstream.leave_for(user, rate, self.asked.ready).await;
            leaves.push(leave.map_err(Failure::Upstream)?);
        }
        let forwarded = wire.forward(self.asked, body).await;
        if matches!(&forwarded, Err(failure) if failure.sent_nothing()) {
            leaves.into_iter().for_each(LeaveFor::give_back);
        }
        forwarded
    }

    /// The users for whom the provider counts this request by itself, each once and in the same order
    /// for all: who waits for the next holds leave for those before.
    fn counted_apart(&self) -> Vec<(String, Rate)> {
        let limit = self.matched.route.user_limit;
        let Some(rate) = limit.filter(|_| self.shared.config.user_limits) else {
            return Vec::new();
        };
        let users = self.shared.config.provider.named(&self.request());
        let key = |user: UserId| format!("{} {user}", self.matched.route.name);
        let apart: BTreeSet<String> = users.into_iter().map(key).collect();
        apart.into_iter().map(|user| (user, rate)).collect()
    }

    async fn answered(&mut self, forwarded: Forwarded, app: Answering) {
        let Forwarded {
            response,
            meant,
            sent,
            sent_at,
            answered_at: at,
        } = forwarded;
        failpoint::reached("exchange.answered");
        let (head, body) = response.into_parts();
        let body = body::flowing(body, self.shared.wire.idle);
        let status = head.status;
        let answered = AnswerHead { head, meant, at };
        self.heed(&answered, sent_at);
        if self.may_have_written(&answered.head) {
            self.resolve().await;
        }
        if let Some(outage) = Self::outage(meant)
            && let Some(answer) = self.stale(outage).await
        {
            return app.send(answer);
        }
        if !self.tells(&answered) {
            let why = Why::NoUser.unless_upgraded(status);
            return app.send(self.leaves(answered.head, body, Outcome::Nothing(why)));
        }
        let stamp = Stamp { sent, at: sent_at };
        if is_part(status) {
            let outcome = self.unread(Why::Part, stamp).await;
            return app.send(self.leaves(answered.head, body, outcome));
        }
        let (held, ended) = self
            .shared
            .memory
            .hold(body, self.shared.config.record_buffer)
            .await;
        match ended {
            Ended::Whole => self.whole(answered, held, stamp, app).await,
            // Boxed: what is seldom and large must not make the future of every request as large.
            Ended::More(_) => Box::pin(self.large(answered.head, held, ended, stamp, app)).await,
            Ended::Broken | Ended::Late => Box::pin(self.broken(answered.head, held, app)).await,
        }
    }

    /// A write that failed at the provider may be carried out all the same, and be seen only later.
    fn heed(&self, answered: &AnswerHead, sent_at: Instant) {
        if self.is_known() {
            self.yields(answered);
        }
        let meant = &answered.meant;
        self.judged(*meant);
        self.note_standing(*meant, sent_at);
        if meant.is_server_error() {
            self.doubt_later();
        }
    }

    /// A refusal makes usertap yield. Not where the provider is not known to take the caller: anybody could
    /// stop a walk for an hour, by asking until it was refused.
    fn yields(&self, AnswerHead { head, meant, .. }: &AnswerHead) {
        if *meant != StatusCode::SERVICE_UNAVAILABLE && self.shared.is_counted_apart(self.asked) {
            return;
        }
        let whom = match self.credential {
            Credential::OwnServer => Yields::Everyone,
            Credential::Server | Credential::Client => Yields::Own,
        };
        let upstream = &self.shared.wire.upstream;
        let apart = match *meant {
            StatusCode::TOO_MANY_REQUESTS => self.counted_apart(),
            _ => Vec::new(),
        };
        if apart.is_empty() {
            upstream.heed(*meant, &head.headers, whom);
        }
        apart
            .iter()
            .for_each(|(user, _)| upstream.refused_for(user, &head.headers));
    }

    /// The provider has said what it thinks of the caller's secret. It always knows usertap's own.
    fn judged(&self, meant: StatusCode) {
        let (provider, accepted) = (&self.shared.config.provider, &self.shared.accepted);
        if self.credential == Credential::OwnServer {
            // It may be of something else that came along: usertap asks by itself.
            if meant == StatusCode::UNAUTHORIZED && self.shared.config.tenant.key.is_some() {
                self.shared.wire.upstream.doubt_key();
            }
            return;
        }
        let Some(secret) = provider.secret(&self.asked.headers) else {
            return;
        };
        if provider.refuses(&self.matched, meant) {
            accepted.refuses(secret);
        } else if meant.is_success() && provider.judges(&self.matched, self.credential) {
            accepted.takes(secret);
        }
    }

    /// A failure of the provider's is nobody's word for a write that it cannot have carried out.
    fn tells(&self, AnswerHead { head, meant, .. }: &AnswerHead) -> bool {
        let provider = &self.shared.config.provider;
        let counts = !meant.is_server_error() || self.may_be_carried_out();
        counts && provider.tells(&self.matched, self.credential, *meant, &head.headers)
    }

    async fn whole(&mut self, answered: AnswerHead, mut held: Held, stamp: Stamp, app: Answering) {
        let body = held.joined();
        let outcome = match self.extracted(&answered, &body) {
            Ok(extraction) => {
                self.is_failure = extraction.is_failure;
                let users = extraction.sightings.iter().map(|seen| seen.id.clone()).collect();
                let outcome = self.told(extraction, stamp).await;
                self.learned(users, &answered, &body, &outcome, held.has_trailers());
                outcome
            }
            Err(DecodeFault::TooLarge) => {
                return Box::pin(self.large(answered.head, held, Ended::Whole, stamp, app)).await;
            }
            Err(DecodeFault::Unknown | DecodeFault::Corrupt) => {
                self.malformed(1, "its encoding");
                self.unread(Why::Malformed, stamp).await
            }
        };
        app.send(self.leaves(answered.head, held.replayed(Ended::Whole), outcome));
    }

    /// Decoded and extracted in one go: the decoded copy is gone before anything is waited for.
    fn extracted(
        &self,
        AnswerHead { head, meant, .. }: &AnswerHead,
        body: &Bytes,
    ) -> Result<Extraction, DecodeFault> {
        let limit = self.shared.config.record_buffer.saturating_mul(UNFOLDED);
        let body = decode::decoded(&head.headers, body, limit)?;
        let answer = Answer {
            meant: *meant,
            headers: &head.headers,
            body: &body,
        };
        let provider = &self.shared.config.provider;
        if meant.is_success() {
            provider.issued(&self.matched, &body, |token| self.shared.accepted.takes(token));
        }
        Ok(provider.extract(&self.request(), &answer))
    }

    /// The request, for the provider's file to judge.
    pub fn request(&self) -> RoutedRequest<'_> {
        RoutedRequest {
            tenant: &self.shared.config.tenant,
            matched: &self.matched,
            credential: self.credential,
            head: self.asked.head(),
            body: self.request_body.as_deref(),
        }
    }

    async fn told(&self, extraction: Extraction, stamp: Stamp) -> Outcome {
        let malformed = extraction.malformed;
        if malformed > 0 {
            self.malformed(malformed as u64, "its users");
        }
        if extraction.unfit > 0 {
            self.shared.wire.traffic.unfit(&self.matched.route.name);
        }
        let is_read = !extraction.sightings.is_empty();
        if is_read || malformed > 0 {
            self.shared.wire.traffic.told(is_read);
        }
        if !is_read && malformed > 0 {
            return Box::pin(self.unread(Why::Malformed, stamp)).await;
        }
        match self.recorded(extraction.sightings, stamp).await {
            // Not all that the app is told of is there.
            Outcome::Recorded(Recorded::Committed { .. }) if malformed > 0 => {
                Outcome::Nothing(Why::Malformed)
            }
            outcome => outcome,
        }
    }

    /// A write was carried out and its answer does not say what it came to: the user that it names
    /// is read again before the answer leaves.
    pub async fn unread(&self, why: Why, stamp: Stamp) -> Outcome {
        match self.recorded(self.hints(), stamp).await {
            Outcome::Nothing(Why::NoUser) => {
                self.never_learned();
                Outcome::Nothing(why)
            }
            recorded => recorded,
        }
    }

    /// Of a read what was known before is told instead, of a write that it failed: nothing has left yet.
    async fn broken(&self, head: Parts, held: Held, app: Answering) {
        self.left_in_doubt();
        self.malformed(1, "it broke off");
        if let Some(answer) = self.stale(Outage::Broken).await {
            return app.send(answer);
        }
        if self.may_have_written(&head) {
            self.wrote_unseen(self.is_unshown(&head, &Outcome::Nothing(Why::Truncated)));
            let failure = Failure::Upstream(UpstreamError::Broken);
            return app.send(
                self.shared
                    .failed_for(self.asked, &self.matched.route.name, failure),
            );
        }
        app.send(self.leaves(
            head,
            held.replayed(Ended::Broken),
            Outcome::Nothing(Why::Truncated),
        ));
    }

    pub fn malformed(&self, many: u64, what: &'static str) {
        self.shared
            .wire
            .traffic
            .malformed(&self.matched.route.name, many, what);
    }

    /// The answer as it came, and one line in the log.
    pub fn leaves(&self, head: Parts, body: Body, outcome: Outcome) -> Response<Body> {
        failpoint::reached("exchange.leaving");
        if self.may_have_written(&head) {
            let unshown = self.is_unshown(&head, &outcome);
            match outcome.is_owed() {
                true => self.wrote_unseen(unshown),
                false => self.wrote(unshown),
            }
            if unshown && outcome == Outcome::Nothing(Why::NoUser) {
                self.never_named(head.status);
            }
        }
        if !self.is_answered {
            self.shared.cache.count(self.cached);
            let (route, status) = (&self.matched.route.name, head.status);
            self.shared
                .answered(self.asked, route, status, &outcome, self.cached);
        }
        reply::through(head, body, &outcome, self.cached)
    }
}

/// Of a user, or of what changed in one: nobody's word for the whole (RFC 9110, 15.3.7; RFC 3229).
fn is_part(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::IM_USED)
}
