//! Whoever reaches a port, and what they can take from others: places, and the room for the log.

use std::time::Duration;

use ::http::{Method, Request};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::World;
use crate::support::http;

/// What drips comes so often, never silent for as long as a `serve` here lets anybody be.
const DRIP: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(60);

/// One where sixteen kilobytes may be waited for no longer than two seconds.
async fn impatient() -> World {
    let world = World::with_users(1).await.and("USERTAP_TIMEOUT", "1s");
    world.and("FAILPOINTS", "dripping=2000ms,dawdling=1000ms")
}

fn lines(headers: &[(&'static str, String)]) -> String {
    let line = |(name, value): &(&str, String)| format!("{name}: {value}\r\n");
    headers.iter().map(line).collect()
}

/// Sends a request whose body comes in pieces of so many bytes; all that comes back until the connection ends.
async fn sent_in_pieces(address: &str, head: &str, pieces: (usize, Duration), length: usize) -> String {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut from, mut to) = stream.into_split();
    let head = format!("{head}content-length: {length}\r\n\r\n");
    to.write_all(head.as_bytes()).await.expect("it is taken");
    let sending = async {
        let (size, every) = pieces;
        let (mut every, piece) = (interval(every), vec![b' '; size]);
        for _ in 0..length / size {
            every.tick().await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await
    };
    let mut answer = Vec::new();
    let whole = async {
        // Whoever still sends may find the connection reset.
        let _reset = from.read_to_end(&mut answer).await;
    };
    let ended = async {
        tokio::select! { () = whole => {}, () = sending => {} }
    };
    timeout(DEADLINE, ended).await.expect("it does not last");
    String::from_utf8(answer).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lets_a_body_drip_is_told_and_gives_up_the_place() {
    let world = impatient().await;
    let world = world.and("USERTAP_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let server = world.serve().await;
    let user = world.control().ids(0)[0];
    let (own, client) = (lines(&world.server_headers()), lines(&world.client_headers()));
    let json = "content-type: application/json\r\n";
    let cases = [
        ("POST /_usertap/webhooks", String::new(), "webhook-broken"),
        ("POST /api/v1/users", format!("{own}{json}"), "request-unfinished"),
        (
            &*format!("PATCH /api/v1/users/{user}"),
            format!("{own}{json}"),
            "request-unfinished",
        ),
        // Read before it is sent.
        ("POST /api/v1/auth/oauth/token", client, "request-unfinished"),
        ("POST /api/v1/users", json.to_owned(), "request-unfinished"),
        ("POST /api/v1/nobody/knows", String::new(), "request-unfinished"),
    ];
    let drips = cases.iter().map(|(line, headers, word)| {
        let head = format!("{line} HTTP/1.1\r\nhost: usertap\r\n{headers}");
        let address = server.listen.clone();
        async move {
            let answer = sent_in_pieces(&address, &head, (1, DRIP), 100_000).await;
            let has = |part: &str| answer.contains(part);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{line}: {answer}");
            assert!(has(&format!("x-usertap-error: {word}\r\n")), "{line}: {answer}");
            assert!(has("connection: close\r\n"), "{line}: {answer}");
        }
    });
    let console = sent_in_pieces(
        &server.admin,
        "POST /login HTTP/1.1\r\nhost: localhost\r\n",
        (1, DRIP),
        100_000,
    );
    let (_, console) = futures_util::join!(join_all(drips), console);
    assert!(console.starts_with("HTTP/1.1 408 "), "{console}");
    // The provider never had all of it: nobody need ask what became of it.
    let status = server.status().await;
    assert_eq!(status["traffic"]["unanswered"], 0, "{status}");
    assert_eq!(world.owed().await, 0);
    assert_eq!(world.control().count(&Method::PATCH, "/users"), 0);
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_what_drips_ends_alone() {
    let world = impatient().await;
    let server = world.serve().await;
    let stream = TcpStream::connect(&server.listen).await.expect("a connection");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("HTTP/2");
    world.tasks.spawn(async {
        let _ended = connection.await;
    });
    let asks = |method: Method, path: &str| {
        let mut request = Request::builder().method(method);
        for (name, value) in world.server_headers() {
            request = request.header(name, value);
        }
        request.uri(format!("http://{}/api/v1{path}", server.listen))
    };
    let drips = stream::unfold(interval(DRIP), |mut every| async {
        every.tick().await;
        let piece = Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b" ")));
        Some((piece, every))
    });
    let request = asks(Method::POST, "/users").body(StreamBody::new(drips).boxed());
    let dripping = sender.send_request(request.expect("a request"));
    let answer = timeout(DEADLINE, dripping).await.expect("it does not last");
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.headers()["x-usertap-error"], "request-unfinished");
    drop(answer);
    let read = asks(Method::GET, "/users/me").body(Empty::new().boxed());
    let read = sender.send_request(read.expect("a request")).await;
    assert!(read.is_ok(), "the connection goes on: {read:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_a_slow_line_has_all_the_time_it_needs() {
    let world = World::with_users(1).await.and("USERTAP_TIMEOUT", "4s");
    let world = world.and("FAILPOINTS", "dripping=4000ms");
    let server = world.serve().await;
    let head = format!(
        "POST /api/v1/nobody/knows HTTP/1.1\r\nhost: usertap\r\nconnection: close\r\n{}",
        lines(&world.server_headers())
    );
    // Twice as long as could be waited for what is too little.
    let piece = 8 << 10;
    let answer = sent_in_pieces(&server.listen, &head, (piece, DRIP * 4), piece * 20).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    server.stop().await;
}

/// All that comes of it.
async fn says(address: &str, said: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(said).await.expect("it is taken");
    let mut answer = Vec::new();
    let all = stream.read_to_end(&mut answer);
    let _reset = timeout(DEADLINE, all).await.expect("it does not last");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_fill_the_log_and_callers_keep_their_lines() {
    let world = World::with_users(1).await;
    let server = world.serve().await;
    let lost = |headers: &str| {
        format!(
            "GET /api/v1/users HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncache-control: only-if-cached\r\n{headers}\r\n"
        )
    };
    let (strange, own) = (lost(""), lost(&lines(&world.server_headers())));
    for _ in 0..60 {
        says(&server.listen, strange.as_bytes()).await;
    }
    for _ in 0..15 {
        says(&server.listen, own.as_bytes()).await;
    }
    // Of another kind.
    says(
        &server.listen,
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    let errors = http::get(&format!("http://{}/metrics", server.admin), &[]).await;
    let counted = "usertap_errors_total{error=\"not-kept\"} 75\n";
    assert!(errors.text().contains(counted), "{}", errors.text());
    // What an HTTP/2 client never was asked for.
    let (setting, pong) = (
        &[0, 0, 0, 4, 0, 0, 0, 0, 0][..],
        &[0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    );
    let goodbye = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..];
    let pongs = pong.repeat(50);
    says(
        &server.listen,
        &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", setting, &pongs, goodbye].concat(),
    )
    .await;
    let log = server.stop().await.log();
    let many = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(many("only-if-cached"), 10 + 15, "{log}");
    assert_eq!((many("has no such address"), many("PING")), (1, 0), "{log}");
    assert!(log.contains("kind=\"not-kept\" more=50"), "{log}");
}
