//! Where few files may be open: fewer are answered at once, nothing is lost, and somebody is told.

use std::process::Command;
use std::time::Duration;

use ::http::{Method, Request};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use usertap::sandbox::Options;

use super::{Server, World, recorded, through_a_relay};
use crate::support::eventually;
use crate::support::process::{Process, setting};

/// With no more than so many.
fn start_with(files: usize, world: &World, command: &str) -> Process {
    let limited = format!(
        "ulimit -n {files} && exec '{}' {command}",
        env!("CARGO_BIN_EXE_usertap")
    );
    Process::run(
        "/bin/sh",
        world.folder.path(),
        &["-c", &limited],
        &world.settings(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_let_in_is_answered() {
    let world = World::with_users(60).await.and("USERTAP_CACHE_TTL", 0);
    let server = Server::of(start_with(36, &world, "serve")).await;
    let ids = world.control().ids(0);
    let paths: Vec<String> = ids.iter().map(|id| format!("/users/{id}")).collect();
    let replies = join_all(paths.iter().map(|path| server.get(&world, path))).await;
    for reply in replies {
        assert_eq!(
            (reply.status.as_u16(), recorded(&reply).as_str()),
            (200, "committed"),
            "{}",
            reply.text()
        );
    }
    server.has_no_problem().await;
    server.stop().await;
}

/// Whose provider takes so long.
async fn slow(users: usize, latency: Duration) -> World {
    let options = Options {
        users,
        latency,
        ..Options::default()
    };
    World::new(options).await.and("USERTAP_CACHE_TTL", 0)
}

/// By HTTP/2 all of it comes over one connection.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_much_at_once_is_answered() {
    let world = slow(40, Duration::from_millis(300)).await;
    let server = Server::of(start_with(36, &world, "serve")).await;
    let stream = TcpStream::connect(&server.listen).await.expect("a connection");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("HTTP/2");
    world.tasks.spawn(async {
        let _ended = connection.await;
    });
    let ids = world.control().ids(0);
    let answers = ids.iter().map(|id| {
        let mut request = Request::get(format!("http://{}/api/v1/users/{id}", server.listen));
        for (name, value) in world.server_headers() {
            request = request.header(name, value);
        }
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.expect("an answer") }
    });
    for answer in join_all(answers).await {
        let word = answer.headers().get("x-usertap-error");
        assert_eq!((answer.status().as_u16(), word), (200, None));
    }
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_keeps_a_place_until_all_is_over() {
    let world = slow(1, Duration::from_millis(300)).await;
    let server = Server::of(start_with(36, &world, "serve")).await;
    let body = json!({ "display_name": "Ada" }).to_string();
    let mut asks = format!(
        "POST /api/v1/users HTTP/1.1\r\nhost: usertap\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in world.server_headers() {
        asks += &format!("{name}: {value}\r\n");
    }
    asks += &format!("\r\n{body}");
    for _ in 0..40 {
        let mut stream = TcpStream::connect(&server.listen).await.expect("a connection");
        stream.write_all(asks.as_bytes()).await.expect("it is taken");
    }
    let reply = server
        .get(&world, &format!("/users/{}", world.control().ids(0)[0]))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_too_low_is_named_by_log_status_and_doctor() {
    let world = World::with_users(1).await;
    let server = Server::of(start_with(26, &world, "serve")).await;
    server
        .names(&["descriptors-short", "26", "needs 33", "ulimit -n"])
        .await;
    let log = server.stop().await.log();
    assert!(
        log.contains("needs 33: requests wait or fail; raise the limit"),
        "{log}"
    );
    let doctor = start_with(26, &world, "doctor").ended().await;
    let said = doctor.with_code(1).stdout.join("\n");
    assert!(
        said.contains("FAIL open files: this process may have 26"),
        "{said}"
    );
    let doctor = start_with(63, &world, "doctor").ended().await;
    let said = doctor.with_code(0).stdout.join("\n");
    assert!(
        said.contains("ok   open files: 63 at once, so 11 connections of apps -> raise"),
        "{said}"
    );
}

/// A client that has one connection, and opens no other.
struct Connected {
    sender: http1::SendRequest<Full<Bytes>>,
    headers: Vec<(&'static str, String)>,
}

impl Connected {
    async fn to(server: &Server, world: &World) -> Connected {
        let stream = TcpStream::connect(&server.listen).await.expect("a connection");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a client");
        world.tasks.spawn(async {
            let _ended = connection.await;
        });
        let mut connected = Connected {
            sender,
            headers: world.server_headers(),
        };
        assert_eq!(connected.creates("Ada").await, "committed");
        connected
    }

    /// What became of a new user.
    async fn creates(&mut self, name: &str) -> String {
        let mut request = Request::post("/api/v1/users")
            .header("host", "usertap")
            .header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = json!({ "display_name": name }).to_string();
        let request = request.body(Full::from(body)).expect("a request");
        let answered = async {
            self.sender.ready().await.expect("it is kept");
            let (head, body) = self
                .sender
                .send_request(request)
                .await
                .expect("an answer")
                .into_parts();
            (head, body.collect().await.expect("all of it").to_bytes())
        };
        let (head, body) = timeout(Duration::from_secs(30), answered).await.expect("in time");
        assert_eq!(head.status, 201, "{body:?}");
        let word = head.headers["x-usertap-recorded"].to_str().expect("a word");
        word.split(';').next().unwrap_or_default().to_owned()
    }
}

/// No file and no connection can be opened until there may be more again.
fn leaves(files: usize, server: &Server) {
    let (pid, limit) = (server.process.pid(), format!("--nofile={files}:"));
    let set = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &limit])
        .status();
    assert!(set.expect("util-linux is there").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_can_be_opened_who_is_connected_is_served_and_others_wait() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let mut connected = Connected::to(&server, &world).await;
    leaves(3, &server);
    let waiting = server.create(&world, "Bob");
    let others = async {
        server.process.line("new connections wait").await;
        assert_eq!(connected.creates("Cid").await, "committed");
        leaves(1_000, &server);
    };
    let (waited, ()) = futures_util::join!(waiting, others);
    assert_eq!(recorded(&waited), "committed");
    server.names(&["descriptors-short", "ulimit -n"]).await;
    assert_eq!(world.rows().await, 3);
    let log = server.stop().await.log();
    assert_eq!(log.matches("new connections wait").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_is_told_while_nothing_can_be_opened_and_the_database_is_away_is_not_lost() {
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let through = [
        setting("DATABASE_URL", &url),
        // A database that refuses is journaled for at once; one that a busy machine slows is waited for.
        setting("USERTAP_SYNC_TIMEOUT", "20s"),
    ];
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    let mut connected = Connected::to(&server, &world).await;
    leaves(3, &server);
    relay.close();
    for name in ["Bob", "Cid", "Dan"] {
        let word = connected.creates(name).await;
        assert!(matches!(word.as_str(), "journaled" | "queued"), "{word}");
    }
    relay.open();
    let waiting = http_get(&server);
    let others = async {
        server.process.line("new connections wait").await;
        leaves(1_000, &server);
    };
    futures_util::join!(waiting, others);
    eventually("all are in the table", || async {
        (world.rows().await == 4).then_some(())
    })
    .await;
    let log = server.stop().await.log();
    assert!(!log.contains("a defect of usertap"), "{log}");
}

async fn http_get(server: &Server) {
    crate::support::http::request(
        Method::GET,
        &format!("http://{}/_usertap/healthz", server.listen),
        &[],
        "",
    )
    .await
    .expect("an answer");
}
