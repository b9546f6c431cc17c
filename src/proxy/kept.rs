//! An exchange and the kept answers: what is given again, what is kept, and what ends it.
//!
//! A write ends what is kept of the users it names before its answer leaves, whatever becomes of
//! its recording. One that can have changed anybody, be it because it was carried out and nobody was
//! named, ends everything; any other that names nobody ends the lists. Nothing is ended by a write that
//! the provider cannot have carried out, nor by one that failed of somebody whom it does not know:
//! neither an outage nor junk must cost what helps to bear one.

use bytes::Bytes;
use http::response::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::body::Body;
use super::exchange::{AnswerHead, Exchange};
use super::outcome::{Outcome, Why};
use super::{Shared, headers, reply};
use crate::cache::{
    self, AsOf, Bypass, CacheKey, Cached, CallerKey, Fit, Follow, Hit, Kept, Lead, Look, Served, Standing,
};
use crate::clock::{self, Instant};
use crate::provider::{Answer, Carries, Credential, Unnamed};
use crate::record::{Recorded, Unrecorded};
use crate::upstream::Priority;
use crate::user::UserId;

/// How long a not-found is fresh.
const NOT_FOUND: std::time::Duration = std::time::Duration::from_secs(2);

/// Where an answer is to be kept, if it turns out to be fit for it.
pub(super) struct Keeping {
    pub key: CacheKey,
    caller: CallerKey,
    /// Taken before the request is sent.
    pub as_of: AsOf,
    /// Others wait for this answer until this is gone.
    pub lead: Option<Lead>,
    /// Those who asked for it before.
    pub others: Option<Follow>,
}

impl Shared {
    pub(super) fn look(&self, request: &Request<Incoming>, reached: Option<&str>, now: Instant) -> Look {
        let target = headers::below(&self.wire.base, headers::target(request.uri()));
        self.cache.look(request, target, reached, now)
    }

    /// What the provider has lately thought of a caller.
    pub(super) fn standing(&self, caller: Option<CallerKey>) -> Standing {
        caller.map_or(Standing::Stranger, |caller| self.cache.standing(caller))
    }

    /// Who is known to be nobody's junk: who has usertap's own key, and whom the provider has lately
    /// accepted.
    pub(super) fn priority(standing: Standing, credential: Option<Credential>) -> Priority {
        match (standing, credential) {
            (Standing::Accepted, _) | (Standing::Stranger, Some(Credential::OwnServer)) => Priority::App,
            _ => Priority::Stranger,
        }
    }

    pub(super) fn again(&self, hit: &Hit, began: Instant) -> Response<Body> {
        let cached = Cached::Hit(Served::Fresh);
        self.cache.count(cached);
        let took = clock::now().saturating_duration_since(began);
        self.wire.traffic.meters.hit(took);
        tracing::debug!(status = hit.status().as_u16(), cache = cached.words(), "answered");
        reply::again(hit, cached)
    }
}

/// Before the request is sent.
impl Exchange<'_> {
    /// Decides whether the answer may be kept.
    pub(super) fn keeps_under(&mut self, key: Option<CacheKey>) {
        match self.may_be_kept(key) {
            Ok((key, caller)) => {
                self.keeping = Some(Keeping {
                    key,
                    caller,
                    as_of: self.shared.cache.as_of(),
                    lead: None,
                    others: None,
                });
            }
            Err(why) => self.cached = why,
        }
    }

    fn may_be_kept(&self, key: Option<CacheKey>) -> Result<(CacheKey, CallerKey), Cached> {
        let key = key.ok_or(self.cached)?;
        let shown = &self.shared.config.provider.cache_rules().shown;
        if self.matched.route.cache.is_none() {
            return Err(Cached::Bypass(Bypass::Route));
        }
        if shown.repeats(&self.asked.headers) {
            return Err(Cached::Bypass(Bypass::Repeated));
        }
        let caller = self.caller.ok_or(Cached::Bypass(Bypass::Foreign))?;
        Ok((key, caller))
    }

    pub(super) fn again(&self, hit: &Hit, cached: Cached) -> Response<Body> {
        self.shared.cache.count(cached);
        let outcome = Outcome::Recorded(Recorded::Committed { position: None });
        let (route, status) = (&self.matched.route.name, hit.status());
        self.shared.answered(self.asked, route, status, &outcome, cached);
        reply::again(hit, cached)
    }
}

/// After it was answered.
impl Exchange<'_> {
    /// What the provider thinks of these credentials.
    pub(super) fn note_standing(&self, status: StatusCode, at: Instant) {
        let Some(caller) = self.caller else { return };
        let cache = &self.shared.cache;
        if status.is_success() && self.matched.route.judges {
            cache.accepted(caller, at);
        }
        // Who shows nothing and is taken all the same is refused where users are read, and not for want of
        // a session of its own.
        let is_of_caller = || self.matched.route.cache.is_some() || self.shows_something();
        let provider = &self.shared.config.provider;
        if provider.refuses(&self.matched, status) && is_of_caller() {
            cache.refused(caller, at);
        }
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let Some(keeping) = self.keeping.as_ref().filter(|_| refused) {
            cache.drop_key(keeping.key);
        }
    }

    fn shows_something(&self) -> bool {
        !self.shared.config.provider.shown(&self.asked.headers).is_empty()
    }

    /// The answer is whole and what it told is on its way into the table.
    pub(super) fn learned(
        &mut self,
        users: Vec<UserId>,
        answered: &AnswerHead,
        body: &Bytes,
        outcome: &Outcome,
        has_trailers: bool,
    ) {
        let Some(recorded) = again_as(outcome).filter(|_| !self.matched.route.writes) else {
            // No commit says what changed, or none has yet, or not all of it is worth one.
            return users.iter().for_each(|user| self.shared.cache.forget(user));
        };
        // Whoever was refused by an answer to something later is given nothing of an earlier one.
        let is_refused = || self.shared.standing(self.caller) == Standing::Refused;
        let Some(keeping) = self.keeping.take().filter(|_| !has_trailers && !is_refused()) else {
            return;
        };
        let Some(fit) = self.fit(answered, body) else {
            return;
        };
        let cache = &self.shared.cache;
        let mut headers = answered.head.headers.clone();
        super::headers::to_app(&mut headers);
        let kept = Kept {
            status: answered.head.status,
            headers: &headers,
            body,
            recorded: recorded.header(),
            caller: keeping.caller,
            answered: answered.at,
            fit,
        };
        let depends = cache.depends(&self.shows(users), self.matched.route.carries == Carries::Users);
        cache.keep(keeping.key, kept, depends, keeping.as_of, &self.asked.name());
    }

    /// Whom an answer shows that tells of these: where of nobody, still of whom the request names.
    fn shows(&self, told: Vec<UserId>) -> Vec<UserId> {
        if !told.is_empty() {
            return told;
        }
        self.shared.config.provider.named(&self.request())
    }

    /// For how long an answer is fit to be kept, a success as the route allows, a not-found shortly: it
    /// is often followed by the user's creation.
    fn fit(&self, AnswerHead { head, meant, .. }: &AnswerHead, body: &Bytes) -> Option<Fit> {
        let kept = self.matched.route.cache?;
        if !cache::may_keep(head.status, &head.headers) {
            return None;
        }
        let answer = Answer {
            meant: *meant,
            headers: &head.headers,
            body,
        };
        match *meant {
            StatusCode::OK if !self.is_failure => Some(Fit {
                at_most: kept.at_most,
                lasts: true,
            }),
            _ if self.shared.config.provider.says_not_found(&self.matched, &answer) => Some(Fit {
                at_most: Some(NOT_FOUND),
                lasts: false,
            }),
            _ => None,
        }
    }

    /// Whether an answer says that something was written, and does not show whom it changed.
    pub(super) fn is_unshown(&self, head: &Parts, outcome: &Outcome) -> bool {
        let meant = self
            .shared
            .config
            .provider
            .effective_status(head.status, &head.headers);
        let is_done = (meant.is_success() && !self.is_failure) || meant.is_redirection();
        is_done && matches!(outcome, Outcome::Nothing(_))
    }

    /// Whether an answer leaves open that something was written.
    pub(super) fn may_have_written(&self, head: &Parts) -> bool {
        self.matched.route.writes && self.shared.carries_out(head, || self.may_be_carried_out())
    }

    /// A write was carried out, or may have been. `unshown`: it was, and its answer shows nobody.
    pub(super) fn wrote(&self, unshown: bool) {
        let (route, cache) = (self.matched.route, &self.shared.cache);
        let (provider, request) = (&self.shared.config.provider, self.request());
        let anybody = || provider.may_change_anybody(&request);
        let is_silent = route.unnamed == Unnamed::Somebody;
        // By another name of a user's that nobody here knows it can have been anybody, too.
        if is_silent || provider.alias(&self.matched).is_some() || (unshown && anybody()) {
            return cache.forget_everywhere();
        }
        let named = provider.named(&request);
        named.iter().for_each(|user| cache.forget(user));
        cache.forget_lists();
    }

    /// The same, and what it came to no change says yet: others who record cannot know.
    pub(super) fn wrote_unseen(&self, unshown: bool) {
        self.wrote(unshown);
        self.shared.cache.tell_others();
    }
}

/// What is told of the recording when the answer is given again; nothing where the row may not say
/// the same.
fn again_as(outcome: &Outcome) -> Option<Outcome> {
    match outcome {
        Outcome::Recorded(Recorded::Committed { .. }) => {
            Some(Outcome::Recorded(Recorded::Committed { position: None }))
        }
        Outcome::NotAwaited
        | Outcome::Nothing(Why::NoUser)
        | Outcome::Recorded(Recorded::None(Unrecorded::NoUser)) => Some(outcome.clone()),
        Outcome::Recorded(_) | Outcome::Nothing(_) => None,
    }
}
