//! Which answers may be kept, for whom, and what of them must not be given twice.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::form::Rank;
use super::pointer::Pointer;
use super::source::{Exchange, Source};
use super::tell::Kind;
use super::{Answer, Caller, Credential, HeaderNames, Matched, OwnAnswer, Provider, RoutedRequest, Tenant};
use crate::user::{UserId, json};

/// By these a request is watched (W3C, Sentry, Datadog, Zipkin, Jaeger, AWS, Google, Azure, Elastic, Instana, New
/// Relic): other ones with each, and no part of what any provider is asked.
pub(super) const TRACING: [&str; 31] = [
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-origin",
    "x-datadog-tags",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "request-id",
    "request-context",
    "correlation-context",
    "elastic-apm-traceparent",
    "x-instana-t",
    "x-instana-s",
    "x-instana-l",
    "x-instana-synthetic",
    "newrelic",
    "x-newrelic-id",
    "x-newrelic-transaction",
    "x-request-id",
    "x-correlation-id",
];

/// What a provider file says of keeping answers.
#[derive(Debug, Default)]
pub struct CacheRules {
    /// Request headers that change nothing in an answer.
    pub ignore: Vec<HeaderName>,
    /// Headers of an answer that belong to one exchange alone.
    pub once: HeaderNames,
    /// Whose `Cache-Control` is no wish.
    pub habit: Option<Habit>,
    /// Every header in which a caller can show who it is.
    pub shown: HeaderNames,
}

/// Clients that say the same `Cache-Control` with every request, whatever they want.
#[derive(Debug)]
pub struct Habit {
    /// By one of these they are known.
    pub headers: Vec<HeaderName>,
    /// What they say.
    pub values: Vec<String>,
}

/// A route whose answers may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// No longer than this, whatever the settings allow.
    pub at_most: Option<Duration>,
}

impl Habit {
    /// Whether what a request says is only its habit.
    pub fn is(&self, headers: &HeaderMap, says: &str) -> bool {
        self.values.iter().any(|value| value == says)
            && self.headers.iter().any(|name| headers.contains_key(name))
    }
}

impl Provider {
    pub fn cache_rules(&self) -> &CacheRules {
        &self.cache
    }

    /// The users whom a request names, whether or not it changes them.
    pub fn named(&self, request: &RoutedRequest<'_>) -> Vec<UserId> {
        Exchange::new(self, request, None).ids(&request.matched.route.user)
    }

    /// Whether this answer is the provider's own not-found of the user at whose path it was asked.
    pub fn says_not_found(&self, matched: &Matched<'_>, answer: &Answer<'_>) -> bool {
        let errors = &self.errors;
        matched.route.own_path.is_some() && errors.says_not_found(answer.meant, answer.headers, answer.body)
    }

    /// The user whom the route's answer to this caller is, whole and nothing else: what is known of
    /// that user can stand in for an answer that does not come.
    pub fn stands_for(&self, tenant: &Tenant, matched: &Matched<'_>, caller: Caller) -> Option<UserId> {
        let rooted = |kind: &Kind| matches!(kind, Kind::Whole(at) if *at == Pointer::default());
        let mut tells = matched.route.tells.iter();
        let whole = tells.any(|tell| rooted(&tell.kind) && tell.rank != Some(Rank::Client));
        let own = caller == Caller::Ours(Credential::OwnServer);
        let nothing_is_dropped = self.user.drop.is_empty();
        let own_place = matched.route.own_path.as_ref();
        match own_place.filter(|_| whole && own && nothing_is_dropped)? {
            Source::Path(name) => self.id(tenant, matched.param(name)?),
            _ => None,
        }
    }

    /// An answer made of a user's JSON as it was recorded; nothing where that is not the whole user.
    pub fn stand_in(&self, raw: String) -> Option<OwnAnswer> {
        let user = json::read(&raw)?;
        let whole = user.as_object().is_some_and(|fields| fields.len() > 1) && self.user.is_whole(&user);
        whole.then(|| self.own(http::StatusCode::OK, raw))
    }
}
