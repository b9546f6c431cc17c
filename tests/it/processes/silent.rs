//! Connections on which nothing is asked, or not to the end: they keep out nobody who asks something.

use std::time::Duration;

use ::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use usertap::tasks::Tasks;

use super::{Server, World, recorded};
use crate::support::process::Process;

/// Longer than anybody is held here.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_asks_nothing_holds_no_place_on_either_side() {
    let world = World::with_users(0).await.and("FAILPOINTS", "dawdling=200ms");
    let server = world.serve().await;
    let form = "POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\nproof=";
    for side in [&server.listen, &server.admin] {
        for said in [
            "",
            "PRI * HT",
            "GET / HT",
            "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n",
            form,
        ] {
            if said == form && side == &server.listen {
                continue;
            }
            let mut stream = TcpStream::connect(side).await.expect("a connection");
            stream.write_all(said.as_bytes()).await.expect("whole");
            let mut answer = Vec::new();
            let ended = timeout(LONG, stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{side} holds whoever says {said:?} and no more");
        }
    }
    server.stop().await;
}

/// Asks once by HTTP/2, and from then on says no more than that it is there. How the connection goes on and ends.
async fn asked_once(
    side: &str,
    path: &str,
    window: u32,
) -> (::http::Response<Incoming>, impl Future<Output = ()> + use<>) {
    let stream = TcpStream::connect(side).await.expect("a connection");
    let mut second = http2::Builder::new(TokioExecutor::new());
    second.initial_stream_window_size(window);
    let (mut sender, connection) = second.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    let going_on = Tasks::default().spawn(connection);
    let request = Request::get(format!("http://{side}{path}"));
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let ends = async move {
        let _whether_in_order = going_on.await;
        drop(sender);
    };
    (answer, ends)
}

#[tokio::test]
async fn who_goes_on_by_http2_and_asks_no_more_holds_no_place() {
    let world = World::with_users(0).await.and("FAILPOINTS", "dawdling=200ms");
    let server = world.serve().await;
    for (side, path) in [(&server.listen, "/_usertap/healthz"), (&server.admin, "/healthz")] {
        let (answer, ends) = asked_once(side, path, 1 << 16).await;
        assert_eq!(answer.status(), StatusCode::OK);
        drop(answer);
        assert!(timeout(LONG, ends).await.is_ok(), "{side} holds whoever is there");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_of_the_answers_holds_no_place() {
    let world = World::with_users(0).await.and("FAILPOINTS", "dawdling=200ms");
    let server = world.serve().await;
    for (side, path) in [(&server.listen, "/_usertap/healthz"), (&server.admin, "/healthz")] {
        let (untaken, ends) = asked_once(side, path, 1).await;
        assert!(timeout(LONG, ends).await.is_ok(), "{side} holds an answer");
        drop(untaken);
        let asks = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").repeat(100);
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("it is small");
        let connected = socket.connect(side.parse().expect("an address")).await;
        let mut stream = connected.expect("a connection");
        // As many answers as the system's buffers hold take their time on a busy machine.
        let cut = async { while stream.write_all(asks.as_bytes()).await.is_ok() {} };
        assert!(timeout(LONG * 4, cut).await.is_ok(), "{side} holds many answers");
    }
    server.stop().await;
}

/// What is served by a process that has so few descriptors, and has 180 connections that say nothing.
async fn crowded(world: &World, few: &str) -> (Server, Vec<TcpStream>) {
    let line = format!("ulimit {few} 200 && exec {} serve", env!("CARGO_BIN_EXE_usertap"));
    let process = Process::run("sh", world.folder.path(), &["-c", &line], &world.settings());
    let server = Server::of(process).await;
    let mut silent = Vec::new();
    for _ in 0..180 {
        let stream = TcpStream::connect(&server.listen).await;
        silent.push(stream.expect("a connection"));
    }
    (server, silent)
}

/// Many systems give a thousand to a process that asks for no more.
#[tokio::test]
async fn it_takes_the_descriptors_that_it_may_have() {
    let world = World::with_users(0).await.and("FAILPOINTS", "dawdling=600000ms");
    let (server, silent) = crowded(&world, "-Sn").await;
    let created = timeout(LONG, server.create(&world, "Ada")).await;
    assert_eq!(recorded(&created.expect("an answer")), "committed");
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn connections_leave_descriptors_for_what_else_needs_some() {
    let world = World::with_users(0).await.and("FAILPOINTS", "dawdling=600000ms");
    let (server, silent) = crowded(&world, "-n").await;
    let status = timeout(LONG, server.status()).await.expect("an answer");
    assert_eq!(status["healthy"], true, "{status}");
    drop(silent);
    let created = server.create(&world, "Ada").await;
    assert_eq!(recorded(&created), "committed");
    server.stop().await;
}
