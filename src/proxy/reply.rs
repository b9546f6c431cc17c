//! The answers that leave: the provider's, marked with what became of them, and usertap's own.
//! The only maker of error answers.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::{self, Body};
use super::headers;
use super::outcome::{Outcome, Why};
use super::own::SyncedRow;
use super::upgrade;
use super::wire::Failure;
use crate::cache::{Bypass, Cached, Hit};
use crate::clock;
use crate::provider::{OwnAnswer, Provider};
use crate::upstream::UpstreamError;

const CACHE: HeaderName = HeaderName::from_static("x-usertap-cache");
const RECORDED: HeaderName = HeaderName::from_static("x-usertap-recorded");
const ERROR: HeaderName = HeaderName::from_static("x-usertap-error");

/// While the database takes nothing.
pub(super) const LATER: Duration = Duration::from_secs(5);
/// After a failure it is worth a try again so soon.
const SOON: Duration = Duration::from_secs(1);

/// The provider's answer as it came, and what became of it.
pub(super) fn through(mut head: Parts, body: Body, outcome: &Outcome, cached: Cached) -> Response<Body> {
    let upgrade = head.headers.get(UPGRADE).cloned();
    headers::to_app(&mut head.headers);
    if let Some(to) = upgrade.filter(|_| upgrade::is_agreed(head.status)) {
        upgrade::say(&mut head.headers, to);
    }
    mark(&mut head.headers, outcome, cached);
    Response::from_parts(head, body)
}

/// A kept answer of the provider's, given again.
pub(super) fn again(hit: &Hit, cached: Cached) -> Response<Body> {
    let mut response = Response::new(body::full(hit.body()));
    *response.status_mut() = hit.status();
    *response.headers_mut() = hit.headers(cached);
    response
}

/// An answer made of what is recorded, because the provider does not give one.
pub(super) fn stand_in(answer: OwnAnswer, outcome: &Outcome, cached: Cached) -> Response<Body> {
    let mut response = own(answer);
    mark(response.headers_mut(), outcome, cached);
    response
}

/// The error that a failed way to the provider is.
pub(super) fn failed(provider: &Provider, failure: Failure) -> Response<Body> {
    let (status, wait) = match failure {
        Failure::Unaddressable | Failure::Coded => (StatusCode::BAD_GATEWAY, None),
        Failure::Upstream(UpstreamError::Unfinished) => {
            return late(provider, failure.word(), &failure.to_string());
        }
        Failure::NotKept => (StatusCode::GATEWAY_TIMEOUT, None),
        Failure::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Some(SOON)),
        Failure::Upstream(UpstreamError::Unreachable(_) | UpstreamError::Broken) => {
            (StatusCode::BAD_GATEWAY, Some(SOON))
        }
        Failure::Upstream(UpstreamError::Timeout) => (StatusCode::GATEWAY_TIMEOUT, Some(SOON)),
        Failure::Upstream(UpstreamError::Resting { retry_after }) => {
            (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after))
        }
        Failure::Upstream(UpstreamError::Limited { retry_after, .. }) => {
            (StatusCode::TOO_MANY_REQUESTS, Some(retry_after))
        }
    };
    error(provider, status, failure.word(), &failure.to_string(), wait)
}

/// A request whose body was not there in time. Of its connection nobody knows where the next one would begin.
pub(super) fn late(provider: &Provider, word: &'static str, text: &str) -> Response<Body> {
    let mut answer = error(provider, StatusCode::REQUEST_TIMEOUT, word, text, None);
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An error of usertap's own in the provider's shape. `wait` is told with whatever is
/// worth a try again.
pub(super) fn error(
    provider: &Provider,
    status: StatusCode,
    word: &'static str,
    text: &str,
    wait: Option<Duration>,
) -> Response<Body> {
    let mut answer = own(provider.error(status, word, text));
    if let Some(wait) = wait {
        let headers = answer.headers_mut();
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
        if let Some(name) = provider.again_at() {
            headers.insert(name, whole_seconds(since_the_epoch() + wait).into());
        }
    }
    answer
}

fn since_the_epoch() -> Duration {
    Duration::from_millis(clock::wall().timestamp_millis().try_into().unwrap_or_default())
}

/// Rounded up: nobody is told to come back too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// An answer that needed no provider.
pub(super) fn own(answer: OwnAnswer) -> Response<Body> {
    let mut response = Response::new(body::full(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    if let Some(word) = answer.word {
        response
            .headers_mut()
            .insert(ERROR, HeaderValue::from_static(word));
    }
    mark(
        response.headers_mut(),
        &Outcome::Nothing(Why::Own),
        Cached::Bypass(Bypass::Own),
    );
    response
}

/// An answer under `/_usertap/`.
pub(super) fn json(status: StatusCode, value: &impl ToString) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The row of one user. Only where it says `committed` does that row stand in the table for good.
pub(super) fn row(row: SyncedRow) -> Response<Body> {
    let mut response = json(StatusCode::OK, &row.json);
    let (recorded, cached) = (Outcome::Recorded(row.recorded), Cached::Bypass(Bypass::Own));
    mark(response.headers_mut(), &recorded, cached);
    response
}

fn mark(headers: &mut HeaderMap, outcome: &Outcome, cached: Cached) {
    headers.insert(CACHE, HeaderValue::from_static(cached.words()));
    headers.insert(RECORDED, outcome.header());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_in_whole_seconds_rounded_up() {
        for (millis, told) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2")] {
            let provider = Provider::builtin("stack-auth").expect("it has no mistake");
            let wait = Some(Duration::from_millis(millis));
            let answer = error(&provider, StatusCode::TOO_MANY_REQUESTS, "rate-limited", "", wait);
            assert_eq!(answer.headers()[RETRY_AFTER], told);
            assert_eq!(answer.headers()[ERROR], "rate-limited");
        }
    }

    /// Okta's SDK comes back by this header alone.
    #[test]
    fn when_to_come_back_is_told_as_the_providers_sdks_look_for_it() {
        let okta = Provider::builtin("okta").expect("it has no mistake");
        let told = |wait: Option<Duration>| {
            let answer = error(&okta, StatusCode::TOO_MANY_REQUESTS, "rate-limited", "", wait);
            let at = answer.headers().get("x-rate-limit-reset").cloned();
            at.map(|at| at.to_str().ok().and_then(|at| at.parse::<i64>().ok()))
        };
        let before = clock::wall().timestamp();
        let at = told(Some(Duration::from_secs(30)))
            .flatten()
            .expect("seconds of the epoch");
        assert!(
            (before + 30..=clock::wall().timestamp() + 31).contains(&at),
            "{at}"
        );
        assert_eq!(told(None), None);
    }

    #[test]
    fn a_provider_cannot_speak_for_usertap() {
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers
            .insert(RECORDED, HeaderValue::from_static("committed; pos=9"));
        head.headers
            .insert("x-usertap-error", HeaderValue::from_static("x"));
        let answer = through(
            head,
            body::full(""),
            &Outcome::Nothing(Why::NoUser),
            Cached::Bypass(Bypass::Off),
        );
        assert_eq!(answer.headers()[RECORDED], "none; no-user");
        assert!(!answer.headers().contains_key(ERROR));
    }
}
