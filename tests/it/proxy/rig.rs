//! A proxy with everything real but the provider, which does what a test tells it to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use usertap::cache::Cache;
use usertap::config::Config;
use usertap::proxy::{
    Judged, Local, LocalAnswer, Named, Parts, Proxy, Readiness, SyncedRow, Traffic, WebhookAnswer,
    WebhookTaken, WebhookUnread,
};
use usertap::record::{Owed, Recorded, Recorder};
use usertap::tasks::Tasks;
use usertap::upstream::Upstream;
use usertap::user::{IdType, UserId};

use crate::support::postgres::TestDatabase;

pub const PROJECT: &str = "6418f649-f6a9-4d40-a23e-b1c2e3f5a2f4";
pub const KEY: &str = "ssk_of_this_project";

/// What the provider does with one request.
#[derive(Clone)]
pub enum Does {
    Answers(u16, &'static [(&'static str, &'static str)], Bytes),
    /// Begins an answer so and breaks off.
    Breaks(Bytes),
    /// Takes the request and closes.
    HangsUp,
    /// Takes the request and waits to be told.
    Waits(Arc<tokio::sync::Notify>, Bytes),
}

#[derive(Clone, Default)]
struct Script {
    does: Arc<Mutex<VecDeque<Does>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

pub struct Rig {
    pub db: TestDatabase,
    pub address: SocketAddr,
    pub traffic: Arc<Traffic>,
    pub cache: Arc<Cache>,
    pub owed: mpsc::Receiver<Owed>,
    pub tasks: Tasks,
    recorder: Recorder,
    script: Script,
}

/// An answer, read to its end.
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Nothing where it broke off.
    pub body: Option<Bytes>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub fn recorded(&self) -> &str {
        self.header("x-usertap-recorded")
    }
}

/// The row of one user, as if there were a store.
struct Rows;

impl Local for Rows {
    fn needs_database(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    fn readiness(&self) -> Readiness {
        Readiness::Degraded
    }

    fn takes_key(&self) -> Judged<'_> {
        Box::pin(async { true })
    }

    fn user(&self, id: UserId, ensure: bool) -> LocalAnswer<'_> {
        let json = serde_json::json!({ "id": id.as_str() }).to_string();
        let row = SyncedRow {
            json: RawValue::from_string(json).expect("JSON"),
            user: None,
            recorded: Recorded::Committed { position: None },
        };
        Box::pin(async move { Ok(ensure.then_some(row)) })
    }

    fn settled_user(&self, _: UserId) -> LocalAnswer<'_> {
        Box::pin(async { Ok(None) })
    }

    fn user_of<'l>(&'l self, _: &'l str) -> Named<'l> {
        Box::pin(async { None })
    }

    fn takes_webhooks(&self) -> bool {
        true
    }

    fn webhook_unread(&self, _: WebhookUnread) {}

    /// As the body says.
    fn webhook<'l>(&'l self, _: &'l HeaderMap, body: Bytes) -> WebhookAnswer<'l> {
        Box::pin(async move {
            match &body[..] {
                b"closed" => WebhookTaken::Closed,
                b"refused" => WebhookTaken::Refused("signature"),
                b"lost" => WebhookTaken::NotDurable,
                _ => WebhookTaken::Acknowledged("applied"),
            }
        })
    }
}

impl Rig {
    pub async fn new() -> Rig {
        Rig::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let (db, tasks, script) = (
            TestDatabase::new(IdType::Uuid).await,
            Tasks::default(),
            Script::default(),
        );
        let mut config = config(script.clone().start(&tasks).await, &db);
        change(&mut config);
        let config = Arc::new(config);
        let upstream = Arc::new(Upstream::new(&config, &tasks).expect("an upstream"));
        let (recorder, owed) = Recorder::start(
            db.database.clone(),
            upstream.head().clone(),
            config.deleted,
            &tasks,
        );
        let cache = Arc::new(Cache::new(&config));
        let told = cache.clone();
        recorder.on_change(move |user, by| told.heard(user, by));
        let parts = Parts {
            cache: cache.clone(),
            config,
            recorder: recorder.clone(),
            upstream,
            tasks: tasks.clone(),
            local: Arc::new(Rows),
        };
        let proxy = Proxy::new(parts).expect("no TLS files to read");
        let traffic = proxy.traffic();
        let (listener, address) = listener().await;
        tasks.spawn(proxy.serve(listener));
        Rig {
            db,
            address,
            traffic,
            cache,
            owed,
            tasks,
            recorder,
            script,
        }
    }

    /// What the provider does next, in order; with nothing left it answers 500.
    pub fn does(&self, does: impl IntoIterator<Item = Does>) -> &Rig {
        self.script.does.lock().expect("no panic").extend(does);
        self
    }

    /// Nothing of what it was still to do.
    pub fn does_no_more(&self) {
        self.script.does.lock().expect("no panic").clear();
    }

    pub fn answers(&self, status: u16, body: impl Into<Bytes>) -> &Rig {
        self.does([Does::Answers(
            status,
            &[("content-type", "application/json")],
            body.into(),
        )])
    }

    /// Method and target of every request that the provider got.
    pub fn seen(&self) -> Vec<String> {
        self.script.seen.lock().expect("no panic").clone()
    }

    /// Asks as a server of this project does.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Got {
        self.ask_as(
            method,
            path,
            body,
            &[
                ("x-stack-project-id", PROJECT),
                ("x-stack-secret-server-key", KEY),
            ],
        )
        .await
    }

    pub async fn ask_as(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Got {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("x-stack-access-type", "server")
            .header("x-stack-override-error-status", "true");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .expect("a request");
        let (head, body) = client.request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.ok().map(|body| body.to_bytes());
        Got {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub async fn name(&self, id: &str) -> Option<String> {
        self.db
            .text(&format!(
                "SELECT name FROM neon_identity.users_sync WHERE id = '{id}'"
            ))
            .await
    }

    pub async fn rows(&self) -> i64 {
        self.db
            .count("SELECT count(*) FROM neon_identity.users_sync")
            .await
    }

    pub async fn end(self) {
        self.recorder.close();
        self.tasks.stop();
        assert!(
            self.tasks.ended(Duration::from_secs(20)).await,
            "everything ends with the process"
        );
    }
}

impl Script {
    async fn start(self, tasks: &Tasks) -> SocketAddr {
        let (listener, address) = listener().await;
        let spawner = tasks.clone();
        tasks.spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.expect("a connection"),
                    () = spawner.stopping() => return,
                };
                let script = self.clone();
                let service = service_fn(move |request| script.clone().answer(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let stopping = spawner.clone();
                spawner.spawn(async move {
                    tokio::select! {
                        _ended = connection => {}
                        () = stopping.stopping() => {}
                    }
                });
            }
        });
        address
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Gone>>, Gone> {
        let target = request
            .uri()
            .path_and_query()
            .map(|target| target.as_str().to_owned());
        let line = format!("{} {}", request.method(), target.unwrap_or_default());
        self.seen.lock().expect("no panic").push(line);
        let does = self.does.lock().expect("no panic").pop_front();
        match does {
            None => Ok(answer(500, &[], Bytes::from_static(b"no answer left"))),
            Some(Does::Answers(status, headers, body)) => Ok(answer(status, headers, body)),
            Some(Does::Breaks(begun)) => Ok(Response::new(broken(begun))),
            Some(Does::HangsUp) => Err(Gone),
            Some(Does::Waits(until, body)) => {
                until.notified().await;
                Ok(answer(200, &[], body))
            }
        }
    }
}

/// Ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("the provider hung up")]
struct Gone;

fn answer(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: Bytes,
) -> Response<BoxBody<Bytes, Gone>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = Full::new(body).map_err(|never| match never {}).boxed();
    response.body(body).expect("an answer")
}

/// What was begun is on its way before the end of it.
fn broken(begun: Bytes) -> BoxBody<Bytes, Gone> {
    let end = async {
        tokio::task::yield_now().await;
        Err(Gone)
    };
    let begun = stream::iter([Ok(Frame::data(begun))]);
    BodyExt::boxed(StreamBody::new(begun.chain(stream::once(end))))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn config(upstream: SocketAddr, db: &TestDatabase) -> Config {
    let upstream = format!("http://{upstream}");
    let settings = [
        ("DATABASE_URL", db.url.expose_secret()),
        ("STACK_PROJECT_ID", PROJECT),
        ("STACK_SECRET_SERVER_KEY", KEY),
        ("USERTAP_UPSTREAM", &upstream),
        ("USERTAP_SYNC_TIMEOUT", "5s"),
        ("USERTAP_TIMEOUT", "5s"),
        ("USERTAP_RECORD_BUFFER", "64KiB"),
        ("USERTAP_DRAIN", "5s"),
        ("USERTAP_CACHE_TTL", "0"),
        ("USERTAP_STALE_IF_ERROR", "0"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::from_env(settings).expect("settings without a mistake")
}
