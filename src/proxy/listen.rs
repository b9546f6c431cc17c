//! The listeners: TLS where it is configured, HTTP/1.1 and HTTP/2, and an orderly end.
//!
//! What must never be: a connection that keeps its place for long and asks nothing, or takes nothing of what it asked
//! for.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admitted::{Admitted, Place, Places, Room};
use super::body::{Body, BodyError, arriving};
use super::certificate::Certificate;
use super::peer::Peer;
use super::pulse::{Pulse, Taken};
use crate::config::TrustedProxies;
use crate::descriptors;
use crate::failpoint;
use crate::gathered::Gathered;
use crate::tasks::Tasks;

/// A caller that dawdles over its handshake, its first request or its headers holds one of them.
pub(super) const DAWDLING: Duration = Duration::from_secs(10);
/// Between two requests of a program that does not repeat what met a connection's end: longer than most pools keep one.
const IDLE: Duration = Duration::from_secs(75);
/// Whoever has taken nothing more of an answer for so long takes none: a slow line empties what stands in buffers, some
/// megabytes, sooner.
const STALLED: Duration = Duration::from_secs(300);
/// Tokens and cookies make headers large; the provider has limits of its own.
const HEADERS: u32 = 128 << 10;
/// At the end of the drain, to say that there will be no answer.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// After an accept that failed for want of descriptors, trying at once fails again.
const BREATH: Duration = Duration::from_millis(50);

/// What connections have in common.
#[derive(Clone)]
pub struct Listening {
    pub(super) tasks: Tasks,
    pub(super) tls: Option<Arc<Certificate>>,
    pub(super) trusted: TrustedProxies,
    pub(super) drain: Duration,
    /// Of this process: each has as many listeners as the others.
    pub(super) tenants: usize,
    /// From one request to the next.
    pub(super) idle: Duration,
    /// Cancelled a moment before the drain ends: what is not answered by then is to be told so.
    pub(super) over: CancellationToken,
}

impl Listening {
    /// Another listener of the same process, without TLS.
    #[must_use]
    pub fn plainly(&self) -> Listening {
        Listening {
            tls: None,
            idle: IDLE,
            over: CancellationToken::new(),
            ..self.clone()
        }
    }

    /// A request whose body breaks off where it stands still or drips.
    pub fn received(request: Request<Incoming>) -> Request<Body> {
        request.map(|body| arriving(body, dawdling()))
    }

    /// Serves until the process is to stop, then lets go of the port, asks every connection to
    /// finish, and waits for them at most as long as the drain lasts.
    pub async fn serve<H, A, B>(self, listener: TcpListener, handler: H)
    where
        H: Fn(Request<Incoming>, Peer, Place) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
    {
        let open = TaskTracker::new();
        let room = Room::of(descriptors::room(self.tenants));
        loop {
            let (admitted, address) = tokio::select! {
                accepted = accept(&listener, &room) => accepted,
                () = self.tasks.stopping() => break,
            };
            let (this, handler, open) = (self.clone(), handler.clone(), open.token());
            self.tasks.spawn(async move {
                let peer = Peer::at(address, &this.trusted);
                this.connection(admitted, peer, handler).await;
                drop(open);
            });
        }
        drop(listener);
        open.close();
        let moment = LAST_WORDS.min(self.drain / 4);
        if timeout(self.drain - moment, open.wait()).await.is_ok() {
            return;
        }
        self.over.cancel();
        if timeout(moment, open.wait()).await.is_err() {
            tracing::warn!(
                left = open.len(),
                "the drain is over; connections still open are cut"
            );
        }
    }

    async fn connection<H, A, B>(self, admitted: Admitted, peer: Peer, handler: H)
    where
        H: Fn(Request<Incoming>, Peer, Place) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
    {
        // An answer's last small segment must not wait for an acknowledgement.
        let _unsupported = admitted.stream.set_nodelay(true);
        let places = admitted.places.clone();
        match self.tls.clone() {
            None => self.http(admitted, peer, places, handler).await,
            Some(tls) => match timeout(dawdling(), tls.acceptor().await.accept(admitted)).await {
                Ok(Ok(stream)) => self.http(stream, peer, places, handler).await,
                Ok(Err(_)) | Err(_) => tracing::debug!("a TLS handshake failed"),
            },
        }
    }

    pub(super) async fn http<S, H, A, B>(self, stream: S, peer: Peer, places: Places, handler: H)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Fn(Request<Incoming>, Peer, Place) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
    {
        let pulse = Arc::<Pulse>::default();
        let beats = pulse.clone();
        let service = service_fn(move |request| {
            beats.asked();
            match places.at_once() {
                Some(place) => {
                    let answer = handler(request, peer, place.clone());
                    Either::Left(taken(answer, beats.clone(), place))
                }
                None => {
                    let (pulse, handler, place) = (beats.clone(), handler.clone(), places.clone().next());
                    Either::Right(Box::pin(async move {
                        let place = place.await;
                        taken(handler(request, peer, place.clone()), pulse, place).await
                    }))
                }
            }
        });
        let http = protocols(self.idle);
        let mut connection =
            pin!(http.serve_connection_with_upgrades(Gathered(TokioIo::new(stream)), service));
        let mut end = self.end(&pulse);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            Some(end) = end.next() => {
                connection.as_mut().graceful_shutdown();
                match end {
                    End::Stop => timeout(self.drain, connection).await.unwrap_or(Ok(())),
                    End::Silence => self.last(connection, &pulse).await,
                }
            }
        };
        if ended.is_err() {
            tracing::debug!("a connection ended early");
        }
    }

    /// What ends a connection that goes on by itself: looked at only where it has come, not beside each request.
    fn end<'a>(&'a self, pulse: &'a Pulse) -> FuturesUnordered<impl Future<Output = End> + 'a> {
        let stop = self.tasks.stopping().map(|()| End::Stop);
        let silence = self.silence(pulse).map(|()| End::Silence);
        [Either::Left(stop), Either::Right(silence)].into_iter().collect()
    }

    /// Nothing has been asked for too long: before a first byte no other bound counts, and HTTP/2 has none
    /// between two requests.
    async fn silence(&self, pulse: &Pulse) {
        tokio::time::sleep(dawdling()).await;
        if pulse.has_asked() {
            pulse.silence(failpoint::wait("dawdling", self.idle)).await;
        }
    }

    /// What was asked is answered, however long that takes, to whoever takes any of it; where nothing was, it ends.
    async fn last<E>(
        &self,
        mut connection: Pin<&mut impl Future<Output = Result<(), E>>>,
        pulse: &Pulse,
    ) -> Result<(), E> {
        if let Ok(ended) = timeout(dawdling(), connection.as_mut()).await {
            return ended;
        }
        if !pulse.has_asked() {
            return Ok(());
        }
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = pulse.silence(failpoint::wait("dawdling", STALLED)) => Ok(()),
            () = self.tasks.stopping() => timeout(self.drain, connection).await.unwrap_or(Ok(())),
        }
    }
}

/// An answer that is waited for, and then for whoever is to take it.
async fn taken<B>(
    answer: impl Future<Output = Response<B>>,
    pulse: Arc<Pulse>,
    place: Place,
) -> Result<Response<Taken<B>>, Infallible>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let to_come = pulse.to_come();
    let answer = answer.await;
    drop(to_come);
    Ok(answer.map(|body| Taken::of(body, pulse, place)))
}

enum End {
    Stop,
    Silence,
}

fn dawdling() -> Duration {
    failpoint::wait("dawdling", DAWDLING)
}

async fn accept(listener: &TcpListener, room: &Room) -> (Admitted, IpAddr) {
    let places = room.connection().await;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (Admitted { stream, places }, address.ip()),
            Err(error) => {
                descriptors::missed(&error);
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn protocols(idle: Duration) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(failpoint::wait("dawdling", idle));
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(DAWDLING * 2)
        .max_header_list_size(HEADERS)
        .adaptive_window(true);
    http
}

#[cfg(test)]
mod tests;
