//! The events that a project sends: signed as Svix signs them, at least once, in no promised order.
//!
//! They are made where the provider makes them (creates, changes and deletes of users, teams and
//! memberships, and nothing else), and sent in the background after the answer, again and again until
//! they are taken. A test holds them back and sends them as it likes: late, twice, in another order,
//! or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::clock::{self, Instant};
use crate::tasks::Tasks;

/// Between attempts at an event that was not taken: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Who does not answer by then has not taken it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Sent at the same time.
const AT_ONCE: usize = 16;
/// Events that wait: the oldest give way.
const AT_MOST: usize = 100_000;

/// Where the events of one project go; cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Mutex<Inner>>,
    stir: Arc<Notify>,
    key: [u8; 24],
}

#[derive(Default)]
struct Inner {
    to: Option<http::Uri>,
    is_held: bool,
    deliveries: Deliveries,
    made: u64,
    waiting: VecDeque<Waiting>,
    /// Sent, and not yet known to be taken.
    under_way: usize,
    taken: u64,
    attempts: u64,
}

struct Waiting {
    event: Event,
    due: Instant,
    attempts: u32,
}

/// How events are sent, none of which is promised by any provider to be otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deliveries {
    /// Each event waits so long before it is first sent.
    pub delay: Duration,
    pub twice: bool,
    /// Every other event waits longer, so that the one after it goes before it.
    pub reordered: bool,
}

/// What an event waits longer that others go before.
const BEHIND: Duration = Duration::from_secs(1);

/// One event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same however often it is sent.
    pub id: String,
    /// `user.created`.
    pub kind: String,
    /// Whole.
    pub body: String,
}

impl Event {
    pub fn new(kind: &str, data: &Value) -> Event {
        Event {
            id: format!("msg_{}", Uuid::new_v4().simple()),
            kind: kind.to_owned(),
            body: json!({ "type": kind, "data": data }).to_string(),
        }
    }
}

impl Webhooks {
    pub(super) fn new(seed: &str) -> Webhooks {
        let mut key = [0; 24];
        key.iter_mut()
            .zip(seed.bytes().cycle())
            .for_each(|(to, from)| *to = from);
        Webhooks {
            inner: Arc::default(),
            stir: Arc::default(),
            key,
        }
    }

    /// The endpoint's signing secret, the same at every start.
    pub fn secret(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.key))
    }

    /// Events made from now on go there; nowhere where it is no URL.
    pub fn send_to(&self, url: &str) {
        self.lock().to = url.parse().ok();
        self.stir.notify_one();
    }

    /// What is made from now on waits until [`Webhooks::release`].
    pub fn hold(&self) {
        self.lock().is_held = true;
    }

    /// Sends what waits, in its order, and goes on.
    pub fn release(&self) {
        self.lock().is_held = false;
        self.stir.notify_one();
    }

    /// How events that are made from now on are sent.
    pub fn deliver(&self, deliveries: Deliveries) {
        self.lock().deliveries = deliveries;
    }

    /// Takes out what waits: it is not sent unless it is given back.
    pub fn take(&self) -> Vec<Event> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().map(|waiting| waiting.event).collect()
    }

    /// Sends these, begun in this order; one may stand there twice.
    pub fn send(&self, events: impl IntoIterator<Item = Event>) {
        let now = clock::now();
        for event in events {
            self.lock().push(event, now);
        }
        self.stir.notify_one();
    }

    /// Events that are made and not yet taken.
    pub fn pending(&self) -> usize {
        let inner = self.lock();
        inner.waiting.len() + inner.under_way
    }

    /// Events that were answered 2xx.
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// How often one was sent, taken or not.
    pub fn attempts(&self) -> u64 {
        self.lock().attempts
    }

    /// The headers with which an event is sent at a time.
    pub fn headers(&self, event: &Event, at: chrono::DateTime<chrono::Utc>) -> [(&'static str, String); 3] {
        let at = at.timestamp().to_string();
        let signed = format!("{}.{at}.{}", event.id, event.body);
        let signature = Hmac::<Sha256>::new_from_slice(&self.key).map(|mac| {
            let mac = mac.chain_update(signed);
            STANDARD.encode(mac.finalize().into_bytes())
        });
        [
            ("svix-id", event.id.clone()),
            ("svix-timestamp", at),
            // A key of any length does.
            ("svix-signature", format!("v1,{}", signature.unwrap_or_default())),
        ]
    }

    /// Something happened in the project.
    pub(super) fn tell(&self, kind: &str, data: impl FnOnce() -> Value) {
        let mut inner = self.lock();
        if inner.to.is_none() {
            return;
        }
        let due = clock::now() + inner.wait();
        let event = Event::new(kind, &data());
        if inner.deliveries.twice {
            inner.push(event.clone(), due + FIRST_PAUSE);
        }
        inner.push(event, due);
        drop(inner);
        self.stir.notify_one();
    }

    /// Sends until the tasks are told to stop.
    pub(super) async fn run(self, tasks: Tasks) {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut under_way = FuturesUnordered::new();
        loop {
            let mut due = None;
            while under_way.len() < AT_ONCE {
                match self.next(clock::now()) {
                    Next::Send(waiting, to) => under_way.push(self.attempt(&client, waiting, to)),
                    Next::At(at) => {
                        due = Some(at);
                        break;
                    }
                    Next::Nothing => break,
                }
            }
            tokio::select! {
                Some(()) = under_way.next() => {}
                () = self.stir.notified() => {}
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {}
                () = tasks.stopping() => return,
            }
        }
    }

    fn next(&self, now: Instant) -> Next {
        let mut inner = self.lock();
        let Some(to) = inner.to.clone().filter(|_| !inner.is_held) else {
            return Next::Nothing;
        };
        let due = inner.waiting.iter().position(|waiting| waiting.due <= now);
        match due.and_then(|at| inner.waiting.remove(at)) {
            Some(waiting) => {
                inner.under_way += 1;
                inner.attempts += 1;
                Next::Send(waiting, to)
            }
            None => {
                let next = inner.waiting.iter().map(|waiting| waiting.due).min();
                next.map_or(Next::Nothing, Next::At)
            }
        }
    }

    async fn attempt(&self, client: &Client<HttpConnector, Full<Bytes>>, waiting: Waiting, to: http::Uri) {
        let is_taken = self.post(client, &waiting.event, to).await.is_some();
        let mut inner = self.lock();
        inner.under_way -= 1;
        if is_taken {
            inner.taken += 1;
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << waiting.attempts.min(10));
        inner.waiting.push_back(Waiting {
            due: clock::now() + pause.min(LONGEST_PAUSE),
            attempts: waiting.attempts + 1,
            ..waiting
        });
    }

    /// Nothing where it was not taken.
    async fn post(
        &self,
        client: &Client<HttpConnector, Full<Bytes>>,
        event: &Event,
        to: http::Uri,
    ) -> Option<StatusCode> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(to)
            .header("content-type", "application/json");
        for (name, value) in self.headers(event, clock::wall()) {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(event.body.clone())).ok()?;
        let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
        answer
            .ok()?
            .ok()
            .map(|answer| answer.status())
            .filter(StatusCode::is_success)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Before the next event is first sent.
    fn wait(&mut self) -> Duration {
        let Deliveries { delay, reordered, .. } = self.deliveries;
        self.made += 1;
        match reordered && self.made % 2 == 1 {
            true => delay + BEHIND,
            false => delay,
        }
    }

    fn push(&mut self, event: Event, due: Instant) {
        if self.waiting.len() == AT_MOST {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            event,
            due,
            attempts: 0,
        });
    }
}

enum Next {
    Send(Waiting, http::Uri),
    At(Instant),
    Nothing,
}
