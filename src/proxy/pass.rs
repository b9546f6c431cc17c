//! What streams through: on no known route, or another tenant's, or too large to be read before it is
//! sent. Nothing of it is kept, and nobody here knows what it did.

use http::response::Parts;
use http::{Response, StatusCode};

use super::Shared;
use super::asked::Asked;
use super::body::Body;
use super::outcome::{Outcome, Why};
use super::reply;
use super::traffic::Counted;
use super::wire::Failure;
use crate::cache::{Bypass, Cached, Standing};
use crate::clock::Instant;
use crate::provider::{Caller, Credential, Foreign};
use crate::upstream::{Priority, Yields};

impl Shared {
    /// A request on no known route.
    pub(super) async fn unmatched(
        &self,
        asked: &mut Asked,
        standing: Standing,
        body: Body,
    ) -> Response<Body> {
        let why = self.on_no_route(asked);
        if let Some(own) = self.config.provider.preflight(&asked.head()) {
            asked.priority = Priority::Stranger;
            return Box::pin(self.pass_preflight(asked, body, own)).await;
        }
        asked.priority = Shared::priority(standing, self.caller_by_head(asked).credential());
        self.pass(asked, "-", body, why).await
    }

    /// Of no interest, or a sign that the provider's API has moved on.
    fn on_no_route(&self, asked: &Asked) -> Why {
        if self.config.provider.is_userless(&asked.method, asked.path()) {
            return Why::NoUser;
        }
        self.wire.traffic.count(Counted::Unmatched);
        Why::Unmatched
    }

    /// Before anything of our tenant's is sent: where the database was left alone, others must know of it.
    pub(super) async fn needs_database(&self) {
        if let Some(in_use) = self.local.needs_database() {
            in_use.await;
        }
    }

    /// Who asks, whatever for.
    fn caller_by_head(&self, asked: &Asked) -> Caller {
        let (provider, tenant) = (&self.config.provider, &self.config.tenant);
        provider.caller_by_head(tenant, &asked.head())
    }

    /// Streams a request and its answer through; nothing of it is kept.
    pub(super) async fn pass(&self, asked: &Asked, route: &str, body: Body, why: Why) -> Response<Body> {
        let caller = self.caller_by_head(asked);
        if caller.credential().is_some() {
            self.needs_database().await;
        }
        let answered = self.wire.pass(asked, body).await;
        if let Ok((head, _, sent_at)) = &answered {
            self.heed_passed(asked, caller, head, *sent_at);
        }
        // The head may name nobody where the path of a known route names another tenant.
        if why != Why::Foreign(Foreign::Tenant) {
            self.passed(asked, caller, &answered);
        }
        match answered {
            Ok((head, body, _)) => self.passed_through(asked, route, (head, body), why),
            Err(failure) => self.failed_for(asked, route, failure),
        }
    }

    pub(super) fn passed_through(
        &self,
        asked: &Asked,
        route: &str,
        (head, body): (Parts, Body),
        why: Why,
    ) -> Response<Body> {
        let outcome = Outcome::Nothing(why.unless_upgraded(head.status));
        let cached = self.not_kept(why);
        self.answered(asked, route, head.status, &outcome, cached);
        reply::through(head, body, &outcome, cached)
    }

    /// A refusal of somebody whom the provider knows makes usertap's own requests yield. Apps go on: here it
    /// may be of a limit that the route has to itself. Who is no longer taken is given nothing stale.
    fn heed_passed(&self, asked: &Asked, caller: Caller, head: &Parts, sent_at: Instant) {
        let Some(credential) = caller.credential().filter(|_| self.is_known(asked, caller)) else {
            return;
        };
        let meant = self.config.provider.effective_status(head.status, &head.headers);
        if meant == StatusCode::TOO_MANY_REQUESTS && !self.is_counted_apart(asked) {
            self.wire.upstream.heed(meant, &head.headers, Yields::Own);
        }
        // Of a write it may be a password that is wrong, of usertap's own key what it may not do.
        let is_of_caller = asked.method.is_safe() && credential != Credential::OwnServer;
        if meant == StatusCode::UNAUTHORIZED && is_of_caller {
            let refused = self.cache.caller(&self.config.provider.shown(&asked.headers));
            refused
                .into_iter()
                .for_each(|caller| self.cache.refused(caller, sent_at));
        }
    }

    /// Whether what the provider says of its limit concerns such requests alone.
    pub(super) fn is_counted_apart(&self, asked: &Asked) -> bool {
        self.config.provider.is_counted_apart(&asked.method, asked.path())
    }

    /// Whether the request comes from usertap's own key, or from somebody whom the provider has lately taken.
    pub(super) fn is_known(&self, asked: &Asked, caller: Caller) -> bool {
        caller == Caller::Ours(Credential::OwnServer) || self.knows(asked)
    }

    /// Unless it only read, was another tenant's or was refused, anybody may have changed.
    fn passed(&self, asked: &Asked, caller: Caller, answered: &Result<(Parts, Body, Instant), Failure>) {
        let provider = &self.config.provider;
        let is_known = || self.is_known(asked, caller);
        let may_have_written = match answered {
            Ok((head, ..)) => self.carries_out(head, is_known),
            Err(failure) => failure.leaves_doubt() && is_known(),
        };
        let may_matter = !asked.method.is_safe() && !provider.is_userless(&asked.method, asked.path());
        if may_have_written && may_matter && caller.may_be_ours() {
            self.cache.forget_everywhere();
        }
    }

    /// Whether the provider has lately taken the secret that a request shows.
    pub(super) fn knows(&self, asked: &Asked) -> bool {
        let secret = self.config.provider.secret(&asked.headers);
        secret.is_some_and(|secret| self.accepted.knows(secret))
    }

    /// Whether the provider has carried a write out. What it refuses, or wants to be asked elsewhere, it
    /// has not even begun; what failed otherwise it `may_have`.
    pub(super) fn carries_out(&self, head: &Parts, may_have: impl Fn() -> bool) -> bool {
        match self.config.provider.effective_status(head.status, &head.headers) {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => false,
            failed if failed.is_client_error() || failed.is_server_error() => may_have(),
            _ => true,
        }
    }

    fn not_kept(&self, why: Why) -> Cached {
        match why {
            _ if !self.cache.is_on() => Cached::Bypass(Bypass::Off),
            Why::Foreign(_) => Cached::Bypass(Bypass::Foreign),
            _ => Cached::Bypass(Bypass::Route),
        }
    }
}
