//! Sockets: takes connections, and does to each request what limits and faults ask for.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use futures_util::stream::{self, StreamExt};
use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::Options;
use super::answer::Answer;
use super::control::{self, Control};
use super::fault::{Action, Canned};
use super::played::Plays;
use super::rate::Window;
use super::world;
use crate::clock;
use crate::tasks::Tasks;

/// More than any body that an SDK sends.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What stands between a connection and the world.
pub struct Shell {
    control: Control,
    plays: Plays,
    window: Option<Mutex<Window>>,
    latency: Duration,
    tasks: Tasks,
}

/// The connection is to close without an answer, or in the midst of one.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped, as a fault asks")]
pub struct Dropped;

type Body = UnsyncBoxBody<Bytes, Dropped>;

impl Shell {
    pub fn new(options: &Options, control: Control, tasks: Tasks) -> Shell {
        let window = options.rate.map(|rate| Mutex::new(Window::new(rate)));
        Shell {
            control,
            plays: options.plays,
            window,
            latency: options.latency,
            tasks,
        }
    }
}

/// Until the tasks are told to stop.
pub async fn serve(listener: TcpListener, shell: Shell) {
    let tasks = shell.tasks.clone();
    let shell = Arc::new(shell);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tasks.stopping() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(connection(stream, shell.clone(), tasks.clone()));
            }
            // Out of descriptors, as a rule: what is open must close first.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A stop cuts connections off: whatever was asked is either done or not.
async fn connection(stream: TcpStream, shell: Arc<Shell>, tasks: Tasks) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(&shell, request));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A connection that ends badly is the peer's business, or a fault's.
        _ = served => {}
        () = tasks.stopping() => {}
    }
}

async fn answer(shell: &Shell, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    shell.control.arrived(&parts);
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return Ok(respond(
            Answer::text(413, "The request's body is too large."),
            None,
        ));
    };
    let body = body.to_bytes();
    if !shell.latency.is_zero() {
        tokio::time::sleep(shell.latency).await;
    }
    if let Err(left) = admit(shell, &parts) {
        shell.control.count_limited();
        return Ok(respond(shell.plays.too_many(left), None));
    }
    match shell.control.take_fault(&parts) {
        None => Ok(respond(perform(shell, &parts, body), None)),
        Some(action) => with_fault(shell, &parts, body, action).await,
    }
}

fn perform(shell: &Shell, parts: &Parts, body: Bytes) -> Answer {
    let (answer, unsent) = {
        let mut played = shell.control.played();
        let answer = played.answer(&world::request(parts, body), control::now());
        (answer, played.take_unsent())
    };
    for webhooks in unsent {
        shell.tasks.spawn(webhooks.run(shell.tasks.clone()));
    }
    answer
}

async fn with_fault(
    shell: &Shell,
    parts: &Parts,
    body: Bytes,
    action: Action,
) -> Result<Response<Body>, Dropped> {
    match action {
        Action::Reject(canned) => return Ok(respond(canned.into(), None)),
        Action::Drop => return Err(Dropped),
        Action::HoldBefore(gate) => gate.pass().await,
        Action::Delay(delay) => tokio::time::sleep(delay).await,
        after => return after_performing(perform(shell, parts, body), after).await,
    }
    Ok(respond(perform(shell, parts, body), None))
}

async fn after_performing(mut answer: Answer, action: Action) -> Result<Response<Body>, Dropped> {
    let mut cut = None;
    match action {
        Action::PerformThenDrop => return Err(Dropped),
        Action::PerformThen(canned) => answer = canned.into(),
        Action::HoldAfter(gate) => gate.pass().await,
        Action::Cut(length) => cut = Some(length),
        Action::Body(body) => answer.body = body,
        Action::Gzip => compress(&mut answer),
        Action::Reject(_) | Action::Drop | Action::HoldBefore(_) | Action::Delay(_) => {}
    }
    Ok(respond(answer, cut))
}

fn compress(answer: &mut Answer) {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    let compressed = encoder.write_all(&answer.body).and_then(|()| encoder.finish());
    // Writing to memory does not fail.
    answer.body = compressed.unwrap_or_default().into();
    answer
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

impl From<Canned> for Answer {
    fn from(canned: Canned) -> Answer {
        let mut answer = Answer {
            status: canned.status,
            headers: http::HeaderMap::new(),
            body: canned.body,
        };
        for (name, value) in canned.headers {
            if let Ok(name) = HeaderName::try_from(name) {
                answer.set(name, &value);
            }
        }
        answer
    }
}

fn admit(shell: &Shell, parts: &Parts) -> Result<(), Duration> {
    let counted = shell.plays.counted(parts);
    match (&shell.window, counted) {
        (Some(window), Some(project)) => {
            let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
            window.admit(project, clock::now())
        }
        _ => Ok(()),
    }
}

/// Chunked, as the provider answers. A cut leaves the last chunk out, so that it shows.
fn respond(answer: Answer, cut: Option<usize>) -> Response<Body> {
    let whole = answer.body;
    let sent = whole.slice(..cut.map_or(whole.len(), |length| length.min(whole.len())));
    let start = stream::iter([Ok(Frame::data(sent))]);
    let end = stream::iter(cut).then(|_| async {
        // What was sent must leave before the connection breaks.
        tokio::task::yield_now().await;
        Err(Dropped)
    });
    let mut response = Response::new(StreamBody::new(start.chain(end)).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answer.headers;
    response
}
