//! Requests of usertap's own: reads of a user, pages of a backfill.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{timeout, timeout_at};

use super::breaker::{Pass, Try};
use super::budget::{Ask, Leave};
use super::login::{self, NoToken};
use super::pause;
use super::retry::{self, Came};
use super::{
    ANSWERING, AnswerBody, Fetched, Forwarded, Priority, Upstream, UpstreamError, Yields, decode, empty,
    meant_by,
};
use crate::clock::{self, Instant};
use crate::provider::{OwnRequest, Use};
use crate::user::Sent;

/// A page of a thousand large users is some megabytes; more is not a page.
const LARGEST: usize = 64 << 20;
/// A re-read that nobody waits for goes on for so long before its caller looks at it anew.
const REFETCH: Duration = Duration::from_secs(30);
/// A backfill outlasts a provider's restart, and a limit that counts by the minute.
const BACKFILL: Duration = Duration::from_secs(150);

impl Upstream {
    /// Sends a request of usertap's own, within the budget. A read is repeated after failures, 5xx
    /// and 429 as long as the priority's patience lasts; what came last is the answer then.
    pub async fn own(&self, request: OwnRequest, priority: Priority) -> Result<Fetched, UpstreamError> {
        self.own_within(request, priority, self.patience(priority)).await
    }

    /// The same, with no more patience than an app's requests have.
    pub async fn own_soon(&self, request: OwnRequest, priority: Priority) -> Result<Fetched, UpstreamError> {
        self.own_within(request, priority, self.timeout).await
    }

    async fn own_within(
        &self,
        request: OwnRequest,
        priority: Priority,
        patience: Duration,
    ) -> Result<Fetched, UpstreamError> {
        let deadline = clock::now() + patience;
        let mut may_be_stale = request.token.is_some() && self.login.is_some();
        for attempt in 0.. {
            let answer = self.attempt_own(&request, priority, deadline).await;
            if matches!(answer, Err(UpstreamError::Limited { .. })) {
                return answer;
            }
            let came = Came::of(&answer, |fetched| (self.meant)(fetched.status, &fetched.headers));
            // A token that was refused has been forgotten: once more with a new one.
            let is_refused = came == Came::Answered(StatusCode::UNAUTHORIZED);
            let wait = match is_refused && std::mem::take(&mut may_be_stale) {
                true => Some(Duration::ZERO),
                false => retry::after(request.counts_as(), attempt, came, jitter()),
            };
            let refused = told_to_wait(&answer, came);
            let next = wait.map(|wait| clock::now() + wait.max(refused));
            match next.filter(|next| *next < deadline) {
                Some(next) => tokio::time::sleep_until(next).await,
                None if next.is_some() && !refused.is_zero() => {
                    return Err(UpstreamError::Limited {
                        retry_after: refused,
                        in_line: false,
                    });
                }
                None => {
                    if let (Ok(fetched), Came::Answered(meant)) = (&answer, came) {
                        self.key.judge(fetched, meant);
                    }
                    return answer;
                }
            }
        }
        Err(UpstreamError::Broken)
    }

    fn patience(&self, priority: Priority) -> Duration {
        match priority {
            Priority::App | Priority::Stranger => self.timeout,
            Priority::Refetch => REFETCH.max(self.timeout),
            Priority::Backfill => BACKFILL.max(self.timeout),
        }
    }

    async fn attempt_own(
        &self,
        request: &OwnRequest,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Fetched, UpstreamError> {
        let ask = Ask {
            priority,
            what: Use::of(request.counts_as()),
        };
        self.breaker
            .admits(priority, Try::Prompt)
            .map_err(super::resting)?;
        // Whoever waits for a token must not hold a place of the limit meanwhile.
        let token = timeout_at(deadline, self.token_of(request)).await;
        if let Err(none) = token.map_err(|_| UpstreamError::Timeout)? {
            return self.without_token(none);
        }
        let (leave, mut pass) = self.leave(ask, Try::Prompt, deadline).await?;
        let left = clock::now();
        let exchange = self.exchange_own(request, leave, &mut pass);
        let Ok(answer) = timeout_at(deadline, exchange).await else {
            pass.timed_out(deadline - left, self.timeout / ANSWERING);
            return Err(UpstreamError::Timeout);
        };
        let answer = answer?;
        self.budget
            .answered(clock::now().saturating_duration_since(answer.sent_at));
        Ok(answer)
    }

    /// Once there is leave for it.
    async fn exchange_own(
        &self,
        request: &OwnRequest,
        leave: Leave<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<Fetched, UpstreamError> {
        // The same one, unless it has come to its end since.
        let token = match self.token_of(request).await {
            Ok(token) => token,
            Err(none) => return self.without_token(none),
        };
        let answer = self.send_own(request, token.as_ref()).await;
        leave.end(answer.as_ref().err());
        pass.note(meant_by(&answer));
        let Forwarded {
            response,
            meant,
            sent,
            sent_at,
            ..
        } = answer?;
        let (head, body) = response.into_parts();
        self.heed(meant, &head.headers, Yields::Everyone);
        if let (Some(login), Some(token), StatusCode::UNAUTHORIZED) = (&self.login, &token, meant) {
            login.forget(token).await;
        }
        let body = whole(body, self.timeout).await?;
        let body = decode::decoded(&head.headers, &body, LARGEST).map_err(|_| UpstreamError::Broken)?;
        Ok(Fetched {
            status: head.status,
            headers: head.headers,
            body,
            sent,
            sent_at,
        })
    }

    async fn token_of(&self, own: &OwnRequest) -> Result<Option<SecretString>, NoToken> {
        match (&self.login, &own.token) {
            (Some(login), Some(_)) => login.token(self).await.map(Some),
            _ => Ok(None),
        }
    }

    fn without_token(&self, none: NoToken) -> Result<Fetched, UpstreamError> {
        match none {
            NoToken::Refused(status) => Ok(Fetched::refused(status, self.head.sent())),
            NoToken::Upstream(failure) => Err(failure),
        }
    }

    async fn send_own(
        &self,
        own: &OwnRequest,
        token: Option<&SecretString>,
    ) -> Result<Forwarded, UpstreamError> {
        let body = own.body.as_ref();
        let mut request =
            Request::new(body.map_or_else(empty, |body| login::body(body.expose_secret().to_owned())));
        *request.method_mut() = own.method.clone();
        *request.uri_mut() = self.target(&own.target).ok_or(UpstreamError::Broken)?;
        *request.headers_mut() = own.headers.clone();
        if let (Some(header), Some(token)) = (&own.token, token) {
            header.put_into(request.headers_mut(), token.expose_secret());
        }
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        let (sent, sent_at) = (self.head.sent(), clock::now());
        let answer = timeout(self.timeout, self.client.request(Box::new(request))).await;
        let response = answer.map_err(|_| UpstreamError::Timeout)??;
        Ok(self.forwarded(response, (sent, sent_at)))
    }
}

impl Fetched {
    /// There was no token to ask with.
    fn refused(status: StatusCode, sent: Sent) -> Fetched {
        Fetched {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            sent,
            sent_at: clock::now(),
        }
    }
}

/// For how long a refusal asked to be left alone. Its endpoint may be the only one that is closed.
fn told_to_wait(answer: &Result<Fetched, UpstreamError>, came: Came) -> Duration {
    match (answer, came) {
        (Ok(fetched), Came::Answered(StatusCode::TOO_MANY_REQUESTS)) => {
            pause::refusal(&fetched.headers, clock::wall()).unwrap_or(super::UNSAID)
        }
        _ => Duration::ZERO,
    }
}

/// The whole body, at most [`LARGEST`], no pause longer than `idle`.
pub(super) async fn whole(body: AnswerBody, idle: Duration) -> Result<Bytes, UpstreamError> {
    let mut body = Limited::new(body, LARGEST);
    let mut whole = bytes::BytesMut::new();
    while let Some(frame) = timeout(idle, body.frame())
        .await
        .map_err(|_| UpstreamError::Timeout)?
    {
        let frame = frame.map_err(|_| UpstreamError::Broken)?;
        if let Some(data) = frame.data_ref() {
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

/// Evenly from 0 to 1.
pub(super) fn jitter() -> f64 {
    uuid::Uuid::new_v4().as_fields().0 as f64 / f64::from(u32::MAX)
}
