//! A provider that gives the answers it was told to: recorded or published shapes, without any sense.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use usertap::tasks::Tasks;

use super::http::Reply;
use super::served::Served;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/providers");

#[derive(Clone, Default)]
pub struct Shapes {
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    answers: Vec<Shape>,
    asked: Vec<Asked>,
}

/// What is answered to whatever begins so.
#[derive(Clone)]
struct Shape {
    method: Method,
    target: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    /// Over status, headers and body.
    by: Option<Answering>,
}

/// Status, headers and body, by the target and the request's body.
type Answering = Arc<dyn Fn(&str, &[u8]) -> (u16, Vec<(String, String)>, Value) + Send + Sync>;

#[derive(Clone)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Shapes {
    pub async fn start(&self, tasks: &Tasks) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shapes, stop) = (self.clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = stop.stopping() => return,
                };
                let (shapes, stopping) = (shapes.clone(), stop.clone());
                stop.spawn(async move {
                    let service = service_fn(|request| shapes.answer(request));
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        _ended = served => {}
                        () = stopping.stopping() => {}
                    }
                });
            }
        });
        address
    }

    /// From now on, before what was said earlier: `GET /users/1`.
    pub fn on(&self, on: &str, status: u16, body: impl ToString) {
        self.with(on, status, &[], body);
    }

    pub fn with(&self, on: &str, status: u16, headers: &[(&str, &str)], body: impl ToString) {
        let (method, target) = on.split_once(' ').unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.told.lock().unwrap().answers.push(Shape {
            method: method.parse().unwrap(),
            target: target.to_owned(),
            status,
            headers: headers.iter().map(owned).collect(),
            body: body.to_string().into(),
            by: None,
        });
    }

    /// What may be no text.
    pub fn bytes(&self, on: &str, body: &'static [u8]) {
        self.on(on, 200, "");
        let mut told = self.told.lock().unwrap();
        told.answers.last_mut().expect("the last one").body = Bytes::from_static(body);
    }

    /// What is answered depends on the target.
    pub fn by(
        &self,
        on: &str,
        answer: impl Fn(&str) -> (u16, Vec<(String, String)>, Value) + Send + Sync + 'static,
    ) {
        self.answers(on, Arc::new(move |target, _| answer(target)));
    }

    /// On the JSON that is sent.
    pub fn by_body(&self, on: &str, answer: impl Fn(Value) -> Value + Send + Sync + 'static) {
        let read = |body: &[u8]| serde_json::from_slice(body).expect("a body of JSON");
        self.answers(on, Arc::new(move |_, body| (200, Vec::new(), answer(read(body)))));
    }

    fn answers(&self, on: &str, answering: Answering) {
        self.on(on, 200, "");
        let mut told = self.told.lock().unwrap();
        told.answers.last_mut().expect("the last one").by = Some(answering);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.told.lock().unwrap().asked.clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        let target = parts
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut told = self.told.lock().unwrap();
        let mut answers = told.answers.iter().rev();
        let shape = answers.find(|shape| shape.method == parts.method && target.starts_with(&shape.target));
        let mut shape = shape.cloned().unwrap_or_else(|| nothing(&target));
        if let Some(answer) = shape.by.take() {
            let (status, headers, body) = answer(&target, &body);
            (shape.status, shape.headers, shape.body) = (status, headers, body.to_string().into());
        }
        told.asked.push(Asked {
            method: parts.method,
            target,
            headers: parts.headers,
            body,
        });
        let mut response = Response::builder().status(shape.status);
        if !shape.body.is_empty() {
            response = response.header("content-type", "application/json");
        }
        for (name, value) in &shape.headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::from(shape.body)).unwrap())
    }
}

/// A serving usertap before such a provider.
pub struct Shaped {
    pub shapes: Shapes,
    pub served: Served,
    pub address: SocketAddr,
    tasks: Tasks,
}

impl Shaped {
    /// Better Auth, which takes usertap's sign-in and knows nobody, with these settings beside its own.
    pub async fn better_auth(settings: &[(&str, &str)], ready: impl Fn(&Shapes)) -> Shaped {
        let own = [
            ("BETTER_AUTH_ADMIN_EMAIL", "admin@example.com"),
            ("BETTER_AUTH_ADMIN_PASSWORD", "password"),
        ];
        Shaped::start("better-auth", &[&own[..], settings].concat(), |shapes| {
            shapes.on(
                "POST /api/auth/sign-in/email",
                200,
                r#"{"token":"own-token","user":{"id":"a"}}"#,
            );
            shapes.on(
                "GET /api/auth/admin/get-user?id=",
                404,
                r#"{"message":"User not found","code":"USER_NOT_FOUND"}"#,
            );
            ready(shapes);
        })
        .await
    }

    /// By one of the files to begin from.
    pub async fn by_file(name: &str, settings: &[(&str, &str)], ready: impl Fn(&Shapes)) -> Shaped {
        Shaped::start(&format!("{FILES}/{name}.toml"), settings, ready).await
    }

    /// The same with one thing said otherwise in it; `changed` tells such files apart.
    pub async fn by_changed_file(
        (name, changed): (&str, &str),
        (from, to): (&str, &str),
        settings: &[(&str, &str)],
        ready: impl Fn(&Shapes),
    ) -> Shaped {
        let text = std::fs::read_to_string(format!("{FILES}/{name}.toml")).expect("a file");
        assert!(text.contains(from), "{name} says no {from}");
        let file = format!("{}/{changed}.toml", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&file, text.replace(from, to)).expect("a file");
        Shaped::start(&file, settings, ready).await
    }

    /// `ready` says what is answered from the start on.
    pub async fn start(provider: &str, settings: &[(&str, &str)], ready: impl Fn(&Shapes)) -> Shaped {
        let (tasks, shapes) = (Tasks::default(), Shapes::default());
        let address = shapes.start(&tasks).await;
        ready(&shapes);
        let upstream = format!("http://{address}");
        let own = [
            ("USERTAP_PROVIDER", provider),
            ("USERTAP_UPSTREAM", upstream.as_str()),
        ];
        let all = own
            .iter()
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Shaped {
            served: Served::start(all.collect()).await,
            shapes,
            address,
            tasks,
        }
    }

    /// An app asks, and where it writes, it says something: `PATCH /users/1`.
    pub async fn ask(&self, on: &str, headers: &[(&str, &str)]) -> Reply {
        let (method, _) = on.split_once(' ').expect("a method and a target");
        let method: Method = method.parse().expect("a method");
        let body = match method.is_safe() {
            true => Value::Null,
            false => json!({"some": "field"}),
        };
        self.send(on, headers, &body).await
    }

    /// The same with this body, or none.
    pub async fn send(&self, on: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let (method, target) = on.split_once(' ').expect("a method and a target");
        let method = method.parse().expect("a method");
        self.served.ask(method, target, headers, body).await
    }

    pub async fn end(self) {
        self.served.end().await;
        self.tasks.stop();
    }
}

fn nothing(target: &str) -> Shape {
    Shape {
        method: Method::GET,
        target: String::new(),
        status: 501,
        headers: Vec::new(),
        body: json!({ "nothing was said of": target }).to_string().into(),
        by: None,
    }
}

/// One value inside another's text.
pub fn set(mut user: Value, pointer: &str, value: impl Into<Value>) -> Value {
    *user
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer} is not there")) = value.into();
    user
}
