//! The pooled HTTP client: HTTP/1.1 or HTTP/2 as the provider's TLS agrees to, certificates
//! always checked.
//!
//! It knows one origin. Over HTTP/2 all requests share a connection; over HTTP/1.1 each has one to
//! itself, which is given back after the last byte of both sides, to who has waited longest for one.
//! What must never be: a request that is sent twice, unless nothing of it was sent the first time.

mod connect;
mod line;
mod outgoing;
mod pool;
mod reach;
mod shared;
mod trust;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::target::Base;
use super::{Obstacle, RequestBody, Sending, UpstreamError};
use crate::config::{Config, ForwardProxy};
use crate::tasks::Tasks;
use connect::Connect;
use line::Line;
use pool::Pool;
use shared::Shared;

pub use line::AnswerBody;
pub use trust::TrustError;

/// Connecting takes at most this part of the whole wait, so that its failure can still be told.
const CONNECTING: u32 = 2;

/// The way to one origin.
pub(super) struct Client {
    connect: Arc<Connect>,
    pool: Arc<Pool>,
    host: HeaderValue,
    /// One at a time connects while it may turn out that all can share the connection.
    negotiating: tokio::sync::Mutex<()>,
    /// Who waited for a connection that did not come in time has no time left for another.
    silences: AtomicU64,
}

/// A connection for one request.
enum Way {
    /// HTTP/1.1
    Own(Box<Line>),
    /// HTTP/2
    Shared(Shared),
}

/// Why there is no answer.
enum Failed {
    /// Nothing was sent: the connection had ended before.
    Unsent(Sending),
    Broken,
}

impl Client {
    pub fn of(base: &Base, config: &Config, tasks: &Tasks) -> Result<Client, TrustError> {
        let (ca, proxy) = (config.upstream_ca.as_deref(), config.upstream_proxy.as_ref());
        Client::new(base, ca, proxy, config.timeout, tasks)
    }

    /// `ca` names a PEM file of authorities trusted beside the public ones; `timeout` is the whole
    /// wait for an answer's head.
    pub fn new(
        base: &Base,
        ca: Option<&Path>,
        proxy: Option<&ForwardProxy>,
        timeout: Duration,
        tasks: &Tasks,
    ) -> Result<Client, TrustError> {
        let connect = Connect::to(base.origin(), trust::tls(ca)?, proxy, timeout / CONNECTING, tasks);
        Ok(Client {
            connect: Arc::new(connect),
            pool: Pool::new(tasks),
            host: base.host(),
            negotiating: Default::default(),
            silences: AtomicU64::new(0),
        })
    }

    /// Sends a request whose target is complete. The answer's head; its body still flows.
    pub async fn request(&self, mut request: Sending) -> Result<Response<AnswerBody>, UpstreamError> {
        loop {
            let (way, is_kept) = match self.pool.take() {
                Some(way) => (way, true),
                // Boxed: what is seldom and large must not make the future of every request as large.
                None => Box::pin(self.connected()).await?,
            };
            match self.send(way, request).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Unsent(back)) if is_kept => request = back,
                Err(Failed::Unsent(_) | Failed::Broken) => return Err(UpstreamError::Broken),
            }
        }
    }

    /// Sends a request that asks for an upgrade, over a connection of its own: only HTTP/1.1 can be
    /// upgraded.
    pub async fn upgrade(&self, mut request: Sending) -> Result<Response<AnswerBody>, UpstreamError> {
        let mut sender = Box::pin(self.connect.upgradable()).await?;
        self.address(&mut request);
        let answer = sender.send_request(*request).await;
        answer
            .map(|answer| answer.map(AnswerBody::undriven))
            .map_err(|_| UpstreamError::Broken)
    }

    /// A connection, and whether it was there already.
    async fn connected(&self) -> Result<(Way, bool), UpstreamError> {
        if !self.connect.may_share() {
            return Ok(self.first_way().await?);
        }
        let before = self.silences.load(Ordering::Acquire);
        let alone = self.negotiating.lock().await;
        if let Some(way) = self.pool.take() {
            return Ok((way, true));
        }
        if self.silences.load(Ordering::Acquire) != before {
            return Err(UpstreamError::Unreachable(Obstacle::Silent));
        }
        // It may have turned out meanwhile that each request has one to itself.
        let alone = self.connect.may_share().then_some(alone);
        let way = new_way(&self.connect, &self.pool).await;
        if way.as_ref().err() == Some(&Obstacle::Silent) {
            self.silences.fetch_add(1, Ordering::AcqRel);
        }
        drop(alone);
        Ok((way?, false))
    }

    /// A new connection, or one that becomes free before that is there. The new one is kept then.
    async fn first_way(&self) -> Result<(Way, bool), Obstacle> {
        let mut freed = self.pool.next();
        if let Some(line) = (&mut freed).now_or_never() {
            return Ok((Way::Own(line), true));
        }
        let (told, connected) = oneshot::channel();
        let connecting = connecting(self.connect.clone(), self.pool.clone(), told);
        let connecting = self.pool.tasks().see_through(Box::pin(connecting));
        let connected = async {
            connecting.await;
            connected.await.unwrap_or(Err(Obstacle::Broken))
        };
        match select(freed, pin!(connected)).await {
            Either::Left((line, _goes_on)) => Ok((Way::Own(line), true)),
            Either::Right((way, _)) => Ok((way?, false)),
        }
    }

    async fn send(&self, way: Way, mut request: Sending) -> Result<Response<AnswerBody>, Failed> {
        match way {
            Way::Own(line) => {
                let whole = self.address(&mut request);
                let answer = line.exchange(request, &self.pool).await;
                answer.map_err(|unsent| Failed::of(unsent, |request| *request.uri_mut() = whole))
            }
            Way::Shared(mut shared) => {
                request.headers_mut().remove(HOST);
                request.headers_mut().remove(TRANSFER_ENCODING);
                let answer = shared.exchange(*request).await;
                answer
                    .map(|answer| answer.map(AnswerBody::undriven))
                    .map_err(|unsent| Failed::of(unsent, |_| ()))
            }
        }
    }

    /// As HTTP/1.1 has it: the host in a header, the target without it, and a body of unknown length announced,
    /// which the library else leaves out of a question. Gives back the whole target.
    fn address(&self, request: &mut Request<RequestBody>) -> Uri {
        let is_question = matches!(*request.method(), Method::GET | Method::HEAD);
        let has_body = !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH);
        if is_question && has_body {
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
        request.headers_mut().insert(HOST, self.host.clone());
        let below = request.uri().path_and_query().cloned();
        let below = below.map_or_else(|| Uri::from_static("/"), Uri::from);
        std::mem::replace(request.uri_mut(), below)
    }
}

/// Makes a connection for whoever waits for it, or for the next. A stop waits for none that nobody
/// waits for.
async fn connecting(
    connect: Arc<Connect>,
    pool: Arc<Pool>,
    mut told: oneshot::Sender<Result<Way, Obstacle>>,
) {
    let way = {
        let needless = async {
            told.closed().await;
            pool.tasks().stopping().await;
        };
        match select(pin!(new_way(&connect, &pool)), pin!(needless)).await {
            Either::Left((way, _)) => way,
            Either::Right(_) => return,
        }
    };
    if let Err(Ok(Way::Own(unasked))) = told.send(way) {
        pool.give_back(unasked);
    }
}

async fn new_way(connect: &Connect, pool: &Arc<Pool>) -> Result<Way, Obstacle> {
    let way = connect.way().await?;
    if let Way::Shared(shared) = &way {
        pool.share(shared.clone());
    }
    Ok(way)
}

impl Failed {
    fn of(unsent: Option<Request<RequestBody>>, restored: impl FnOnce(&mut Request<RequestBody>)) -> Failed {
        match unsent {
            Some(mut request) => {
                restored(&mut request);
                Failed::Unsent(Box::new(request))
            }
            None => Failed::Broken,
        }
    }
}

#[cfg(test)]
mod tests;
