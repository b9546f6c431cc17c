//! Connections: who gets which, and what becomes of them.

mod over_tls;

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered};
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::tests::{Says, Script};
use super::super::{Priority, Upstream, empty};
use super::*;
use crate::clock;
use crate::tasks::Tasks;

/// What a task may do in one turn.
const TURN: usize = 128;
const SECOND: Duration = Duration::from_secs(1);
const FINE: Says = Says::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
const CHUNKED: Says =
    Says::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
const BARE: Says = Says::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n");
const CLOSING: Says = Says::Last(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}");
/// And closes what it said it would keep.
const LEAVING: Says = Says::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
const UNENDED: Says = Says::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}");

async fn before(answers: &[Says]) -> (Script, Client) {
    let script = Script::of(answers).await;
    let client = client(&script.url, SECOND * 5, &Tasks::default());
    (script, client)
}

fn client(url: &str, timeout: Duration, tasks: &Tasks) -> Client {
    Client::new(
        &Base::of(&url.parse().unwrap()).unwrap(),
        None,
        None,
        timeout,
        tasks,
    )
    .unwrap()
}

fn asked(script: &Script, method: Method) -> Sending {
    let base = Base::of(&script.url.parse().unwrap()).unwrap();
    let mut request = Box::new(Request::new(empty()));
    *request.method_mut() = method;
    *request.uri_mut() = base.target("/users?a=%2F").unwrap();
    request
}

async fn read(script: &Script, client: &Client) -> Bytes {
    let answer = client.request(asked(script, Method::GET)).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let (script, client) = before(&[FINE, CHUNKED, BARE, CHUNKED, BARE, FINE]).await;
    for body in ["{}", "{}", "", "{}", "", "{}", "{}"] {
        assert_eq!(read(&script, &client).await, body);
    }
    assert_eq!(script.connections(), 1);
    let host = format!("host: {}\r\n", script.url.strip_prefix("http://").unwrap());
    for head in script.seen() {
        assert!(
            head.starts_with("GET /users?a=%2F HTTP/1.1\r\n") && head.contains(&host),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_connection_wakes_nobody_who_has_all_that_came_by_it() {
    let (script, client) = before(&[CHUNKED]).await;
    let (polls, has_all) = (Cell::new(0), Cell::new(false));
    let mut first = pin!(async {
        read(&script, &client).await;
        has_all.set(true);
        std::future::pending::<()>().await
    });
    let first = poll_fn(|context| {
        polls.set(polls.get() + 1);
        first.as_mut().poll(context)
    });
    // Polled where it has been woken, and nowhere else.
    let mut first = FuturesUnordered::from_iter([first]);
    let next = async {
        while !has_all.get() {
            tokio::task::yield_now().await;
        }
        let before = polls.get();
        assert_eq!(read(&script, &client).await, "{}");
        tokio::task::yield_now().await;
        assert_eq!(polls.get(), before);
    };
    select(stream::StreamExt::next(&mut first), pin!(next)).await;
    assert_eq!(script.connections(), 1);
}

/// Tokio has a task that goes on for long give way at any place where it could wait.
#[tokio::test]
async fn an_answer_reaches_a_task_wherever_its_turn_ends() {
    for says in [FINE, CHUNKED, BARE, CLOSING, UNENDED, LEAVING] {
        let (script, client) = before(&[says]).await;
        for spent in 0..TURN {
            let mut asking = pin!(client.request(asked(&script, Method::GET)));
            let answered = poll_fn(|context| {
                for _ in 0..spent {
                    if let Poll::Ready(turn) = tokio::task::coop::poll_proceed(context) {
                        turn.made_progress();
                    }
                }
                asking.as_mut().poll(context)
            });
            // Asked for first: whoever looks again when it is late finds what nobody was woken for.
            let late = pin!(tokio::time::sleep(SECOND * 2));
            let Either::Right((answered, _)) = select(late, pin!(answered)).await else {
                panic!("{spent} of a turn spent, and nobody is woken");
            };
            let _part = answered.unwrap().into_body().collect().now_or_never();
        }
    }
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own() {
    let (script, client) = before(&[FINE]).await;
    for _ in 0..3 {
        let both = tokio::join!(read(&script, &client), read(&script, &client));
        assert_eq!(both, ("{}".into(), "{}".into()));
    }
    assert_eq!(script.connections(), 2);
}

#[tokio::test]
async fn a_connection_for_somebody_who_has_left_goes_to_the_next_who_waits() {
    let (script, client) = before(&[FINE]).await;
    let (left, next) = (client.pool.next(), client.pool.next());
    assert_eq!(read(&script, &client).await, "{}");
    drop(left);
    let line = tokio::time::timeout(SECOND * 5, next).await.unwrap();
    client.pool.give_back(line);
    assert_eq!(read(&script, &client).await, "{}");
    assert_eq!(script.connections(), 1);
}

#[tokio::test]
async fn where_a_connection_is_free_none_is_made() {
    let (script, tasks) = (Script::of(&[FINE]).await, Tasks::default());
    let client = client(&script.url, SECOND * 5, &tasks);
    assert_eq!(read(&script, &client).await, "{}");
    // As for who finds none and is overtaken by one that becomes free.
    assert!(matches!(client.first_way().await, Ok((Way::Own(_), true))));
    tasks.stop();
    assert!(tasks.ended(SECOND * 5).await);
    assert_eq!(script.connections(), 1);
}

#[tokio::test]
async fn a_connection_with_the_rest_of_an_answer_in_it_is_not_used_again() {
    let (script, client) = before(&[UNENDED, FINE, UNENDED, FINE]).await;
    let answer = client.request(asked(&script, Method::GET)).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{}");
    drop(body);
    assert_eq!(read(&script, &client).await, "{}");
    assert_eq!(script.connections(), 2);
    // Nor one whose answer's head nobody waited for.
    let mut left = Box::pin(client.request(asked(&script, Method::GET)));
    poll_fn(|context| {
        assert!(left.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(left);
    assert_eq!(read(&script, &client).await, "{}");
    assert_eq!(script.connections(), 3);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_leaves_its_connection_usable_where_it_has_come() {
    let (script, client) = before(&[FINE, CHUNKED, FINE]).await;
    for _ in 0..2 {
        drop(client.request(asked(&script, Method::GET)).await.unwrap());
    }
    assert_eq!(read(&script, &client).await, "{}");
    assert_eq!(script.connections(), 1);
}

#[tokio::test]
async fn what_the_provider_has_closed_costs_a_request_nothing() {
    let (script, client) = before(&[CLOSING]).await;
    for _ in 0..5 {
        assert_eq!(read(&script, &client).await, "{}");
    }
    assert_eq!(script.connections(), 5);
    // Nor does a write, where the end came before it.
    let (script, client) = before(&[Says::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")]).await;
    assert_eq!(read(&script, &client).await, "{}");
    while script.open() > 0 {
        tokio::task::yield_now().await;
    }
    // Until the runtime has looked at the sockets once more.
    tokio::task::yield_now().await;
    let written = client.request(asked(&script, Method::POST)).await.unwrap();
    assert_eq!(written.into_body().collect().await.unwrap().to_bytes(), "{}");
    assert_eq!(script.seen().len(), 2);
    // Without a word, once the answer was given.
    let (script, _) = before(&[Says::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")]).await;
    let upstream = Upstream::plain(&script.url, &[], SECOND * 5);
    for _ in 0..20 {
        let ask = |body| asked(&script, Method::GET).map(|_| body);
        let answer = upstream
            .forward(ask, empty(), Priority::App, crate::clock::now(), || {})
            .await
            .unwrap();
        assert_eq!(
            answer.response.into_body().collect().await.unwrap().to_bytes(),
            "{}"
        );
    }
}

#[tokio::test]
async fn a_kept_connection_that_nobody_uses_is_closed() {
    let (script, client) = before(&[FINE]).await;
    assert_eq!(read(&script, &client).await, "{}");
    assert_eq!(script.open(), 1);
    tokio::time::pause();
    let began = clock::now();
    while script.open() > 0 {
        tokio::time::sleep(SECOND).await;
        assert!(clock::now() - began < pool::IDLE * 100, "it is still open");
    }
    assert!(clock::now() - began >= pool::IDLE);
}

#[tokio::test]
async fn an_answer_that_comes_early_does_not_cut_off_the_request() {
    const LARGE: usize = 8 << 20;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (answered, is_answered) = tokio::sync::oneshot::channel::<()>();
    let provider = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut got, mut piece) = (0, vec![0; 1 << 16]);
        got += stream.read(&mut piece).await.unwrap();
        let early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(early).await.unwrap();
        is_answered.await.unwrap();
        while got < LARGE {
            match stream.read(&mut piece).await {
                Ok(more @ 1..) => got += more,
                _ => break,
            }
        }
        (got, stream)
    };
    let tasks = Tasks::default();
    let base = Base::of(&url.parse().unwrap()).unwrap();
    let client = Client::new(&base, None, None, SECOND * 5, &tasks).unwrap();
    let app = async {
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; LARGE]));
        let mut request = Box::new(Request::new(body.map_err(|never| match never {}).boxed()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = base.target("/users").unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
        answered.send(()).unwrap();
    };
    let ((got, _open), ()) = tokio::join!(provider, app);
    assert!(got >= LARGE, "{got}");
    // And its connection is free again.
    tasks.stop();
    assert!(tasks.ended(SECOND * 5).await);
}

/// Whoever closes with something unread cuts the connection off, and has answered before.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_a_cut_is_read_all_the_same() {
    let refused = Says::Last(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
    let (script, client) = before(&[refused]).await;
    for size in [1 << 16, 1 << 18, 8 << 20].into_iter().cycle().take(60) {
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; size]));
        let mut request = asked(&script, Method::POST);
        *request.body_mut() = body.map_err(|never| match never {}).boxed();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    }
}

#[tokio::test]
async fn a_stop_waits_for_an_upload_and_for_no_connection() {
    let (script, _) = before(&[FINE]).await;
    let tasks = Tasks::default();
    let client = client(&script.url, SECOND * 5, &tasks);
    assert_eq!(read(&script, &client).await, "{}");
    let (more, is_there) = tokio::sync::oneshot::channel::<()>();
    let body = futures_util::stream::once(async {
        is_there.await.unwrap();
        Ok(Frame::data("{}".into()))
    });
    let mut request = asked(&script, Method::POST);
    *request.body_mut() = StreamBody::new(body).boxed();
    let answer = client.request(request).await.unwrap();
    drop(answer);
    tasks.stop();
    assert!(!tasks.ended(Duration::from_millis(1)).await);
    more.send(()).unwrap();
    assert!(tasks.ended(SECOND * 5).await);
    while script.open() > 0 {
        tokio::task::yield_now().await;
    }
}
