//! The proxied side: one request from top to bottom.
//!
//! ```text
//! kept, fresh, and fetched with these very credentials      -> given again
//! below /_usertap/, or the provider's file has the answer  -> own answer
//! asks for an upgrade, and the provider agrees             -> tunnel
//! on no known route, or another tenant's                   -> streams through
//! its answer tells of no user                              -> streams through
//! else                                                     -> held, recorded, then as it came
//! ```
//!
//! What must never be: a byte, header or status of the provider's changed on its way (hop-by-hop
//! headers aside); a body, token, address or path in the log; an answer of the provider's that
//! does not reach the app because of its recording.

mod accepted;
mod admitted;
mod answering;
mod asked;
mod body;
mod certificate;
mod coalesced;
mod door;
mod exchange;
mod failed;
mod headers;
mod hold;
mod kept;
mod large;
mod links;
mod listen;
mod meters;
mod outcome;
mod own;
mod pace;
mod pass;
mod peer;
mod preflight;
mod pulse;
mod record;
mod reply;
mod stale;
mod traffic;
mod upgrade;
mod webhook;
mod wire;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::{Either, ready};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, CacheKey, Cached};
use crate::clock::{self, Instant};
use crate::config::Config;
use crate::provider::{Caller, Matched};
use crate::record::Recorder;
use crate::tasks::{self, Tasks};
use crate::telemetry::Strangers;
use crate::upstream::decode;
use crate::upstream::{Priority, Upstream, UpstreamError};
use accepted::Accepted;
use answering::Answering;
use asked::Asked;
use body::{Body, Delivery};
use certificate::Certificate;
use exchange::Exchange;
use hold::{Ended, Memory};
use links::Links;
use outcome::Why;
use traffic::Counted;
use upgrade::Wish;
use wire::{Failure, Wire};

pub use admitted::Place;
pub use certificate::TlsError;
pub use door::{Door, DoorFault, Through};
pub use listen::Listening;
pub use meters::Meters;
pub use own::{
    Judged, Local, LocalAnswer, LocalFault, Named, Readiness, SyncedRow, WebhookAnswer, WebhookTaken,
    WebhookUnread,
};
pub use peer::{Peer, claimed_host};
pub use traffic::{Traffic, TrafficSnapshot};

/// A request that must be read to know whose it is: token requests are some hundred bytes.
const READ_REQUEST: usize = 1 << 20;
/// Writes without an answer that wait to be doubted a second time.
const DOUBTS: usize = 10_000;

/// What the proxy is built from.
pub struct Parts {
    pub config: Arc<Config>,
    pub recorder: Recorder,
    pub upstream: Arc<Upstream>,
    pub cache: Arc<Cache>,
    pub tasks: Tasks,
    pub local: Arc<dyn Local>,
}

/// The listener for apps.
pub struct Proxy {
    shared: Arc<Shared>,
    listening: Listening,
}

/// What all requests have in common.
pub(crate) struct Shared {
    config: Arc<Config>,
    recorder: Recorder,
    cache: Arc<Cache>,
    local: Arc<dyn Local>,
    wire: Arc<Wire>,
    memory: Memory,
    doubts: Arc<Semaphore>,
    accepted: Accepted,
    strangers: Strangers,
    /// The drain is nearly over.
    over: CancellationToken,
}

impl Proxy {
    /// Fails where the settings name a certificate or key that cannot be used.
    pub fn new(parts: Parts) -> Result<Proxy, TlsError> {
        let Parts {
            config,
            recorder,
            upstream,
            cache,
            tasks,
            local,
        } = parts;
        let shown = |tls| Certificate::new(tls, certificate::LOOK_EVERY);
        let tls = config.tls.as_ref().map(shown).transpose()?;
        let listening = Listening {
            tasks: tasks.clone(),
            tls,
            trusted: config.trusted_proxies.clone(),
            drain: config.drain,
            tenants: config.beside.len() + 1,
            idle: listen::DAWDLING,
            over: CancellationToken::new(),
        };
        let base = config.base_path().to_owned();
        let links = Links::new(&config);
        let (idle, drain) = (config.timeout, config.drain);
        let strangers = Strangers::new(tasks.clone());
        let wire = Arc::new(Wire {
            upstream,
            tasks,
            traffic: Arc::default(),
            base,
            links,
            idle,
            drain,
        });
        let doubts = Arc::new(Semaphore::new(DOUBTS));
        let shared = Shared {
            config,
            recorder,
            cache,
            local,
            wire,
            memory: Memory::default(),
            doubts,
            accepted: Accepted::default(),
            strangers,
            over: listening.over.clone(),
        };
        Ok(Proxy {
            shared: Arc::new(shared),
            listening,
        })
    }

    /// The counters, for the status.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.shared.wire.traffic.clone()
    }

    /// The way in for this process itself.
    pub fn door(&self) -> Door {
        Door::new(self.shared.clone(), self.listening.plainly())
    }

    /// Serves until the process is to stop, then drains.
    pub async fn serve(self, listener: TcpListener) {
        let shared = self.shared;
        self.listening
            .serve(listener, move |request, peer, place| {
                answer(shared.clone(), request, peer, place)
            })
            .await;
    }
}

/// Answers a request, whoever it concerns. What is kept is given at once; only what is not costs a
/// future large enough for all that follows.
fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    peer: Peer,
    place: Place,
) -> impl Future<Output = Response<Body>> + Send + 'static {
    let began = clock::now();
    let reached = shared.wire.links.reached(&request, peer);
    let look = shared.look(&request, reached.as_deref(), began);
    match look.found {
        Ok(hit) => Either::Left(ready(shared.again(&hit, began))),
        Err(cached) => {
            let request = Box::new(request);
            let arrival = Arrival {
                key: look.key,
                cached,
                reached,
                began,
                _place: place,
            };
            Either::Right(tasks::boxed(|| until_over(shared, request, arrival)))
        }
    }
}

/// What is known of a request for which nothing was kept, before it is read.
struct Arrival {
    key: Option<CacheKey>,
    cached: Cached,
    /// By which URL it came, where its answer may have to tell it.
    reached: Option<String>,
    began: Instant,
    /// Until all is over that was begun for it, whoever waits for its answer.
    _place: Place,
}

/// Whoever still waits for an answer at the end of the drain is told to come back; what was sent for it goes
/// on for as long as it may.
async fn until_over(
    shared: Arc<Shared>,
    request: Box<Request<Incoming>>,
    arrival: Arrival,
) -> Response<Body> {
    tokio::select! {
        biased;
        answer = asked_for(shared.clone(), request, arrival) => answer,
        () = shared.over.cancelled() => shared.failed(Failure::Stopping, Priority::App),
    }
}

/// Answers a request for which nothing was kept. The request is boxed: each future that it is handed on
/// to would have room for it twice.
async fn asked_for(shared: Arc<Shared>, request: Box<Request<Incoming>>, arrival: Arrival) -> Response<Body> {
    if webhook::is_for(&shared, &request) {
        return Box::pin(webhook::answer(&shared, *request)).await;
    }
    if let Some(answer) = own::answer(&shared, &request).await {
        shared.wire.traffic.meters.own_answer(arrival.began);
        return answer;
    }
    let key = arrival.key;
    if key.is_some() && shared.cache.wish(request.headers()).only_kept {
        let priority = shared.priority_of(&request);
        return shared.failed(Failure::NotKept, priority);
    }
    let (app, answered) = answering::answering();
    // An app that hangs up undoes nothing; nor does an answer whose body is still on its way end it.
    let goes_on = || answered.goes_on(|| key.is_some_and(|key| shared.cache.is_waited_for(key)));
    let forwarding = tasks::boxed(|| forwarded(shared.clone(), request, arrival, app));
    let mut forwarding = shared.wire.tasks.see_through_if(forwarding, goes_on);
    let answer = poll_fn(|context| {
        let is_over = Pin::new(&mut forwarding).poll(context).is_ready();
        match answered.take() {
            None if !is_over => Poll::Pending,
            answer => Poll::Ready(answer),
        }
    });
    let answer = answer.await;
    answer.unwrap_or_else(|| shared.failed(Failure::Upstream(UpstreamError::Broken), Priority::App))
}

/// Forwards a request, to the end, whatever becomes of the app.
async fn forwarded(
    shared: Arc<Shared>,
    mut request: Box<Request<Incoming>>,
    arrival: Arrival,
    app: Answering,
) {
    let upgrade = Wish::of(&mut request);
    let (parts, body) = request.into_parts();
    let mut asked = Asked::new(parts, &shared.wire.base, app.clone(), arrival.began);
    (asked.upgrade, asked.reached) = (upgrade, arrival.reached);
    let segments = shared.config.provider.segments(asked.path());
    // No route is without any.
    let segments = segments.as_deref().unwrap_or_default();
    if let Some(answer) = own::by_file(&shared, &asked, segments) {
        return app.send(answer);
    }
    let shown = shared.config.provider.shown(&asked.headers);
    let caller = shared.cache.caller(&shown);
    let standing = shared.standing(caller);
    let body = body::arriving(body, shared.wire.idle);
    let matched = shared.config.provider.route_at(&asked.method, segments);
    asked.priority = Shared::priority(standing, None);
    let Some(matched) = matched else {
        return app.send(shared.unmatched(&mut asked, standing, body).await);
    };
    let name = &matched.route.name;
    let (body, read) = shared.read(&asked, &matched, body).await;
    if !matches!(read, Read::NotNeeded) {
        asked.ready = clock::now();
    }
    asked.is_write = matched.route.writes;
    let request_body = match read {
        Read::Whole(bytes) => Some(bytes),
        Read::NotNeeded => None,
        Read::TooLarge => return app.send(shared.pass(&asked, name, body, Why::RequestOversized).await),
    };
    let (config, shows) = (&shared.config, (&shown, asked.query()));
    match config
        .provider
        .caller(&config.tenant, &matched, shows, request_body.as_deref())
    {
        Caller::Foreign(foreign) => {
            shared.wire.traffic.count(Counted::Foreign);
            app.send(shared.pass(&asked, name, body, Why::Foreign(foreign)).await);
        }
        Caller::Ours(credential) => {
            shared.needs_database().await;
            asked.priority = Shared::priority(standing, Some(credential));
            let mut exchange = Exchange {
                shared: &shared,
                asked: &asked,
                matched,
                credential,
                caller,
                request_body,
                delivery: Delivery::default(),
                cached: arrival.cached,
                keeping: None,
                intent: None,
                is_answered: false,
                is_failure: false,
            };
            exchange.begin(arrival.key, body, app).await;
        }
    }
}

/// What is known of a request's body before it is sent.
enum Read {
    NotNeeded,
    Whole(Bytes),
    TooLarge,
}

impl Shared {
    /// Reads the request's body where the route needs it. What is sent on is the same either way.
    async fn read(&self, asked: &Asked, matched: &Matched<'_>, body: Body) -> (Body, Read) {
        if !matched.route.needs_request_body {
            return (body, Read::NotNeeded);
        }
        let until = asked.began + self.config.timeout;
        let (mut held, ended) = self.memory.hold_request(body, READ_REQUEST, until).await;
        let read = match ended {
            // A body that broke off breaks off for the provider too.
            Ended::Whole | Ended::Broken | Ended::Late => {
                let decoded = decode::decoded(&asked.headers, &held.joined(), READ_REQUEST);
                Read::Whole(decoded.unwrap_or_default())
            }
            Ended::More(_) => Read::TooLarge,
        };
        (held.replayed(ended), read)
    }
}
