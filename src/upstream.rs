//! The way to the provider: one pooled client, one budget.
//!
//! Never follows a redirect. With the tenant's own key nothing leaves for another host. The
//! stamp of an attempt is taken just before its first byte, after queue and budget; a repeated
//! attempt has a stamp of its own.

mod allowance;
mod breaker;
mod budget;
mod burst;
mod by_user;
mod client;
mod deadline;
pub mod decode;
mod error;
mod heed;
mod key;
mod login;
mod own;
mod pace;
mod part;
mod pause;
mod retry;
pub mod share;
mod target;
mod window;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use tokio::sync::Notify;

use crate::clock::{self, Instant};
use crate::config::{Config, Limit, Rate};
use crate::provider::Use;
use crate::tasks::Tasks;
use crate::user::{Head, Sent};
use breaker::{Breaker, Pass, Try};
use budget::{Ask, Budget, Leave};
use by_user::ByUser;
use client::Client;
use deadline::Progress;
use target::Base;

pub use breaker::{Fault, Health};
pub use budget::Given;
pub use by_user::LeaveFor;
pub use client::{AnswerBody, TrustError};
pub use error::{Obstacle, SetUpError, UpstreamError};
pub use key::Answerer;
pub use pause::{Left, Yields};

/// A body on its way to the provider.
pub type RequestBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A request on its way there: boxed, as it is handed on so often that the future of every request
/// would be some times as large.
type Sending = Box<Request<RequestBody>>;

/// A request without a body.
pub fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// The status that an answer means, which the provider's file knows.
type Meant = Box<dyn Fn(StatusCode, &HeaderMap) -> StatusCode + Send + Sync>;

pub struct Upstream {
    base: Base,
    client: Client,
    budget: Budget,
    by_user: ByUser,
    login: Option<login::Login>,
    key: key::Key,
    breaker: Breaker,
    head: Arc<Head>,
    meant: Meant,
    /// Whom a refusal can concern at the most.
    widest: Yields,
    timeout: Duration,
    refused: Notify,
}

/// This part of the whole wait is left for the answer.
const ANSWERING: u32 = 2;
/// What a refusal of one user's requests, or of one of usertap's own, is taken for that says nothing.
const UNSAID: Duration = Duration::from_secs(1);

/// Who goes first when the budget is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// An app waits for it.
    App,
    /// The same, with credentials that the provider has not lately accepted.
    Stranger,
    Refetch,
    Backfill,
}

/// The head of an answer to an app's request, its body still flowing.
#[derive(Debug)]
pub struct Forwarded {
    pub response: Response<AnswerBody>,
    /// The status that the provider means, whatever the status line says.
    pub meant: StatusCode,
    pub sent: Sent,
    /// Since when there was leave to send it.
    pub sent_at: Instant,
    /// When the head came.
    pub answered_at: Instant,
}

/// The answer to a request of usertap's own.
#[derive(Debug)]
pub struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Decoded.
    pub body: Bytes,
    pub sent: Sent,
    pub sent_at: Instant,
}

impl Upstream {
    /// A stop waits for what is on its way to the provider.
    pub fn new(config: &Config, tasks: &Tasks) -> Result<Upstream, SetUpError> {
        let provider = config.provider.clone();
        let widest = match provider.endpoint_limits {
            true => Yields::Own,
            false => Yields::Everyone,
        };
        let meant: Meant = Box::new(move |status, headers| provider.effective_status(status, headers));
        let login = login::Login::of(config.provider.clone(), config.tenant.clone());
        let base = Base::of(&config.upstream).map_err(|_| SetUpError::Unfit)?;
        let client = Client::of(&base, config, tasks)?;
        let upstream = Upstream::to(base, client, &config.rate, config.timeout);
        Ok(Upstream {
            login,
            key: key::Key::of(config.provider.clone()),
            meant,
            widest,
            ..upstream
        })
    }

    /// For a few requests by themselves, whose end is waited for.
    pub fn alone(config: &Config) -> Result<Upstream, SetUpError> {
        Upstream::new(config, &Tasks::default())
    }

    /// One whose statuses mean what they say.
    fn to(base: Base, client: Client, limits: &[Limit], timeout: Duration) -> Upstream {
        Upstream {
            client,
            base,
            budget: Budget::new(limits),
            by_user: ByUser::default(),
            login: None,
            key: key::Key::default(),
            breaker: Breaker::default(),
            head: Arc::default(),
            meant: Box::new(|status, _| status),
            widest: Yields::Everyone,
            timeout,
            refused: Notify::new(),
        }
    }

    /// What stamps are taken from; whoever commits moves it.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The provider's URL for a path and query, byte for byte; nothing if no URL can hold them.
    pub fn target(&self, path_and_query: &str) -> Option<Uri> {
        self.base.target(path_and_query)
    }

    /// The same for what is below the provider's URL already.
    pub fn below(&self, path_and_query: &PathAndQuery) -> Option<Uri> {
        self.base.below(path_and_query)
    }

    /// Forwards an app's request as it is (the target already complete, hop-by-hop headers gone),
    /// as `make` makes it of its body. A read without a body whose pooled connection turned out to
    /// be closed is sent once more.
    ///
    /// It has been waited for since `began`. `sent` is told that it has its place and goes now.
    pub async fn forward(
        &self,
        make: impl Fn(RequestBody) -> Request<RequestBody>,
        body: RequestBody,
        priority: Priority,
        began: Instant,
        sent: impl Fn(),
    ) -> Result<Forwarded, UpstreamError> {
        let request = Box::new(make(body));
        let is_repeatable = retry::is_harmless(request.method()) && request.body().is_end_stream();
        let send = |request| {
            sent();
            self.client.request(request)
        };
        match self
            .attempt(send, request, (priority, is_repeatable), began)
            .await
        {
            Err(UpstreamError::Broken) if is_repeatable => {
                let again = Box::new(make(empty()));
                self.attempt(send, again, (priority, false), began).await
            }
            answer => answer,
        }
    }

    /// The same for one that may do something: it is not sent twice.
    pub async fn forward_once(
        &self,
        request: Request<RequestBody>,
        priority: Priority,
        began: Instant,
    ) -> Result<Forwarded, UpstreamError> {
        let send = |request| self.client.request(request);
        self.attempt(send, Box::new(request), (priority, false), began)
            .await
    }

    /// Forwards a request that asks for an upgrade.
    pub async fn forward_upgrade(
        &self,
        request: Request<RequestBody>,
        priority: Priority,
        began: Instant,
    ) -> Result<Forwarded, UpstreamError> {
        let send = |request| self.client.upgrade(request);
        self.attempt(send, Box::new(request), (priority, false), began)
            .await
    }

    /// Waits for leave to send what the provider counts for this user by itself. It has been waited
    /// since `began`.
    pub async fn leave_for(
        &self,
        user: String,
        rate: Rate,
        began: Instant,
    ) -> Result<LeaveFor<'_>, UpstreamError> {
        let leave = self.by_user.leave(user, rate, self.sent_by(began)).await;
        leave.map_err(|retry_after| UpstreamError::Limited {
            retry_after,
            in_line: false,
        })
    }

    /// What an app is told of why its request has no answer: of many for whom there is no place, each is to
    /// come back at a time of its own.
    pub fn told(&self, mut error: UpstreamError, priority: Priority, method: &Method) -> UpstreamError {
        if let UpstreamError::Limited {
            retry_after,
            in_line: true,
        } = &mut error
        {
            let what = Use::of(method);
            *retry_after = self.budget.tell(Ask { priority, what }, *retry_after);
        }
        error
    }

    /// One that is sent `again` where its connection breaks says nothing by that: it counts once.
    async fn attempt<A>(
        &self,
        send: impl Fn(Sending) -> A,
        mut request: Sending,
        (priority, again): (Priority, bool),
        began: Instant,
    ) -> Result<Forwarded, UpstreamError>
    where
        A: Future<Output = Result<Response<AnswerBody>, UpstreamError>>,
    {
        let ask = Ask {
            priority,
            what: Use::of(request.method()),
        };
        let by = match request.body().is_end_stream() {
            true => Try::Prompt,
            false => Try::Flowing,
        };
        let (leave, mut pass) = self.leave(ask, by, self.sent_by(began)).await?;
        let progress = Progress::since(began);
        let body = std::mem::replace(request.body_mut(), empty());
        *request.body_mut() = progress.watch(body);
        let (sent, sent_at) = (self.head.sent(), leave.given());
        let answer = progress.answer(pin!(send(request)), self.timeout).await;
        let answer = answer.unwrap_or(Err(UpstreamError::Timeout));
        let answer = answer.map_err(|error| progress.blamed(error));
        let forwarded = answer.map(|response| self.forwarded(response, (sent, sent_at)));
        match &forwarded {
            Err(UpstreamError::Broken) if again => {}
            Err(UpstreamError::Timeout) => pass.timed_out(clock::now() - sent_at, self.timeout / ANSWERING),
            _ => pass.note(meant_by(&forwarded)),
        }
        leave.end(forwarded.as_ref().err());
        forwarded
    }

    /// Leave to send at once. Whoever waits for a place of the limit is not the one that tries a
    /// provider that failed.
    async fn leave(
        &self,
        ask: Ask,
        by: Try,
        deadline: Instant,
    ) -> Result<(Leave<'_>, Pass<'_>), UpstreamError> {
        self.breaker.admits(ask.priority, by).map_err(resting)?;
        let leave = self.budget.leave(ask, deadline).await;
        let leave = leave.map_err(|retry_after| UpstreamError::Limited {
            retry_after,
            in_line: true,
        })?;
        match self.breaker.admit(ask.priority, by) {
            Ok(pass) => Ok((leave, pass)),
            Err(wait) => {
                leave.give_back();
                Err(resting(wait))
            }
        }
    }

    fn forwarded(&self, response: Response<AnswerBody>, (sent, sent_at): (Sent, Instant)) -> Forwarded {
        Forwarded {
            meant: (self.meant)(response.status(), response.headers()),
            response,
            sent,
            sent_at,
            answered_at: clock::now(),
        }
    }

    /// The latest time for a request to leave that has been waited for since `began`: what left with no
    /// time for its answer would only be in doubt.
    pub fn sent_by(&self, began: Instant) -> Instant {
        began + self.timeout - self.timeout / ANSWERING
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

fn meant_by(answer: &Result<Forwarded, UpstreamError>) -> Result<StatusCode, UpstreamError> {
    answer.as_ref().map(|answer| answer.meant).map_err(|error| *error)
}

fn resting(retry_after: Duration) -> UpstreamError {
    UpstreamError::Resting { retry_after }
}

#[cfg(test)]
pub(crate) mod tests;
