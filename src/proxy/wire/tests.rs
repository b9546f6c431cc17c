//! Transparency over real sockets: what goes in comes out, byte for byte.

mod tls;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cache::{Bypass, Cached};
use crate::config::TrustedProxies;
use crate::proxy::answering::Answering;
use crate::proxy::body::Fed;
use crate::proxy::certificate::Certificate;
use crate::proxy::listen::Listening;
use crate::proxy::outcome::{Outcome, Why};
use crate::proxy::reply;
use crate::proxy::upgrade::Wish;
use crate::upstream::tests::{Says, Script};
use crate::upstream::{Obstacle, Priority, empty};

const SECOND: Duration = Duration::from_secs(1);

/// A proxy that passes everything through.
struct Rig {
    address: String,
    tasks: Tasks,
}

impl Rig {
    async fn before(url: &str) -> Rig {
        let tasks = Tasks::default();
        let wire = Arc::new(Wire {
            upstream: Arc::new(Upstream::plain(url, &[], SECOND * 2)),
            tasks: tasks.clone(),
            traffic: Arc::default(),
            base: "/base".into(),
            links: Links::default(),
            idle: SECOND * 2,
            drain: SECOND * 5,
        });
        Rig::serving(tasks, move |request| through(wire.clone(), request)).await
    }

    async fn serving<H, A>(tasks: Tasks, handler: H) -> Rig
    where
        H: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Rig::listening(tasks, None, handler).await
    }

    async fn listening<H, A>(tasks: Tasks, tls: Option<Arc<Certificate>>, handler: H) -> Rig
    where
        H: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let listening = Listening {
            tasks: tasks.clone(),
            tls,
            trusted: TrustedProxies::default(),
            tenants: 1,
            drain: SECOND * 5,
            idle: SECOND * 10,
            over: CancellationToken::new(),
        };
        tasks.spawn(listening.serve(listener, move |request, _, _| handler(request)));
        Rig { address, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Sends bytes and returns all that comes until the connection ends.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

async fn through(wire: Arc<Wire>, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = Wish::of(&mut request);
    let (parts, body) = request.into_parts();
    let mut asked = Asked::new(parts, &wire.base, Answering::over(), clock::now());
    asked.upgrade = upgrade;
    match wire.pass(&asked, body::arriving(body, wire.idle)).await {
        Ok((head, body, _)) => reply::through(
            head,
            body,
            &Outcome::Nothing(Why::Unmatched),
            Cached::Bypass(Bypass::Off),
        ),
        Err(failure) => failed(failure),
    }
}

fn failed(failure: Failure) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{failure:?}")));
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    response
}

/// Reads until what came contains `text`.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut got = String::new();
    let mut piece = [0; 1024];
    while !got.contains(text) {
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "ended after {got:?} before {text:?}");
        got.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    got
}

#[tokio::test]
async fn targets_and_headers_arrive_as_they_were_sent() {
    let script = Script::of(&[Says::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let rig = Rig::before(&format!("{}/deep/", script.url)).await;
    rig.exchange(
        "GET /base/api/v1/users//a%2Fb/%7e?q='x'&&=%zz HTTP/1.1\r\nhost: proxy.example\r\nX-Stack-Project-Id: p\r\n\
         x-usertap-recorded: committed\r\nx-hop: 1\r\nconnection: close, x-hop\r\n\r\n",
    )
    .await;
    let head = script.seen().remove(0);
    assert!(
        head.starts_with("GET /deep/api/v1/users//a%2Fb/%7e?q='x'&&=%zz HTTP/1.1\r\n"),
        "{head}"
    );
    let host = script.url.trim_start_matches("http://");
    assert!(
        head.contains(&format!("host: {host}\r\n")) && head.contains("x-stack-project-id: p\r\n"),
        "{head}"
    );
    for stays in ["x-usertap", "x-hop", "close", "proxy.example"] {
        assert!(!head.contains(stays), "{stays} in {head}");
    }
}

#[tokio::test]
async fn answers_arrive_as_they_were_sent() {
    let redirect = b"HTTP/1.1 307 Over There\r\nlocation: https://elsewhere.example/\r\nset-cookie: a=1\r\n\
        set-cookie: b=2\r\nx-stack-actual-status: 404\r\ncontent-length: 3\r\nconnection: close\r\n\r\n{} ";
    let script = Script::of(&[Says::Last(redirect)]).await;
    let rig = Rig::before(&script.url).await;
    let answer = rig
        .exchange("GET / HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n")
        .await;
    for line in [
        "HTTP/1.1 307 ",
        "\r\nlocation: https://elsewhere.example/\r\n",
        "\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n",
        "\r\nx-stack-actual-status: 404\r\n",
        "\r\nx-usertap-recorded: none; unmatched\r\n",
        "\r\nx-usertap-cache: bypass; off\r\n",
        "\r\n\r\n{} ",
    ] {
        assert!(answer.contains(line), "{line:?} in {answer:?}");
    }
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_headers() {
    for (method, says, kept) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
            "content-length: 1234\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
            "etag: \"x\"\r\n",
        ),
        (
            "DELETE",
            "HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n",
            "x-a: b\r\n",
        ),
    ] {
        let script = Script::of(&[Says::Bytes(says.as_bytes())]).await;
        let rig = Rig::before(&script.url).await;
        let answer = rig
            .exchange(&format!(
                "{method} / HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert!(
            answer.contains(kept) && answer.ends_with("\r\n\r\n"),
            "{answer:?}"
        );
        assert!(!answer.contains("transfer-encoding"), "{answer:?}");
    }
}

#[tokio::test]
async fn chunks_stay_chunks_and_trailers_arrive() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
        3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n";
    let script = Script::of(&[Says::Bytes(chunked)]).await;
    let rig = Rig::before(&script.url).await;
    let asked = "GET / HTTP/1.1\r\nhost: p\r\nte: trailers\r\nconnection: close, te\r\n\r\n";
    let answer = rig.exchange(asked).await;
    assert!(answer.contains("transfer-encoding: chunked\r\n"), "{answer:?}");
    assert!(
        answer.ends_with("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{answer:?}"
    );
    assert!(script.seen()[0].contains("te: trailers\r\n"));
}

#[tokio::test]
async fn what_breaks_off_breaks_off() {
    let cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let script = Script::of(&[Says::Last(cut)]).await;
    let rig = Rig::before(&script.url).await;
    let answer = rig.exchange("GET / HTTP/1.1\r\nhost: p\r\n\r\n").await;
    assert!(answer.ends_with("3\r\nabc\r\n"), "{answer:?}");
}

#[tokio::test]
async fn both_ways_stream_as_bytes_come() {
    let echo =
        |request: Request<Incoming>| async { Response::new(body::flowing(request.into_body(), SECOND * 2)) };
    let upstream = Rig::serving(Tasks::default(), echo).await;
    let rig = Rig::before(&format!("http://{}", upstream.address)).await;
    // A question seldom has a body, and has it like any other.
    for method in ["POST", "GET", "PURGE"] {
        let mut stream = rig.connect().await;
        let head = format!("{method} / HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n");
        stream
            .write_all(format!("{head}5\r\nfirst\r\n").as_bytes())
            .await
            .unwrap();
        until(&mut stream, "first").await;
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
        until(&mut stream, "second\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn silence_between_bytes_has_a_bound() {
    let slow = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let script = Script::of(&[Says::Bytes(slow)]).await;
    let rig = Rig::before(&script.url).await;
    let began = crate::clock::now();
    let answer = rig.exchange("GET / HTTP/1.1\r\nhost: p\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer:?}");
    assert!(crate::clock::now() - began < SECOND * 4);
}

#[tokio::test]
async fn http2_is_spoken_to_apps() {
    let script = Script::of(&[Says::Bytes(
        b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}",
    )])
    .await;
    let rig = Rig::before(&script.url).await;
    let io = TokioIo::new(rig.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    rig.tasks.spawn(connection);
    let request = Request::builder()
        .uri("http://p.example/base/x?y")
        .header("cookie", "a=1");
    let request = request
        .header("cookie", "b=2")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "{}");
    let head = script.seen().remove(0);
    assert!(
        head.starts_with("GET /x?y HTTP/1.1\r\n") && head.contains("cookie: a=1; b=2\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn upgrades_are_tunnelled_and_http2_offers_are_not() {
    let agrees = b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: k\r\n\r\n";
    let script = Script::of(&[Says::Echo(agrees)]).await;
    let rig = Rig::before(&script.url).await;
    let mut stream = rig.connect().await;
    let asks = "GET /base/ws HTTP/1.1\r\nhost: p\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";
    stream.write_all(asks.as_bytes()).await.unwrap();
    let answer = until(&mut stream, "\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: websocket\r\n"),
        "{answer:?}"
    );
    assert!(answer.contains("sec-websocket-accept: k\r\n"), "{answer:?}");
    stream.write_all(b"\x81\x05hello").await.unwrap();
    let mut echoed = [0; 7];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"\x81\x05hello");
    assert!(script.seen()[0].contains("upgrade: websocket\r\n"));
}

#[tokio::test]
async fn an_upgrade_that_the_provider_passes_over_is_answered_as_any_request() {
    let refuses = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let script = Script::of(&[Says::Bytes(refuses)]).await;
    let rig = Rig::before(&script.url).await;
    let mut stream = rig.connect().await;
    let asks = "POST /base/users HTTP/1.1\r\nhost: p\r\nconnection: Upgrade\r\nupgrade: foo\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(asks.as_bytes()).await.unwrap();
    let answer = until(&mut stream, "{}").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && !answer.contains("upgrade: "),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_accepts_nothing_more() {
    let (frames, fed) = mpsc::channel(1);
    let fed = Arc::new(std::sync::Mutex::new(Some(fed)));
    let slowly = move |_: Request<Incoming>| {
        let fed = fed.lock().unwrap().take().unwrap();
        async { Response::new(Fed(fed).boxed()) }
    };
    let rig = Rig::serving(Tasks::default(), slowly).await;
    let mut stream = rig.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: p\r\n\r\n")
        .await
        .unwrap();
    frames
        .send(Ok(Frame::data(Bytes::from_static(b"begun"))))
        .await
        .unwrap();
    until(&mut stream, "begun").await;
    rig.tasks.stop();
    while TcpStream::connect(&rig.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    frames
        .send(Ok(Frame::data(Bytes::from_static(b"ended"))))
        .await
        .unwrap();
    drop(frames);
    until(&mut stream, "ended\r\n0\r\n\r\n").await;
    assert!(rig.tasks.ended(SECOND * 4).await);
}
