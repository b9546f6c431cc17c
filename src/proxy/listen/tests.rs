//! Connections: how long each is held, and its place.

use std::future::ready;

use futures_util::stream::{iter, once};
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::upgrade::on;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::clock;
use crate::proxy::{body::full, upgrade};

fn listening() -> Listening {
    Listening {
        tasks: Tasks::default(),
        tls: None,
        trusted: TrustedProxies::default(),
        drain: DAWDLING,
        tenants: 1,
        idle: DAWDLING,
        over: CancellationToken::new(),
    }
}

/// It has a descriptor as any connection has, and that of the provider's side.
#[tokio::test]
async fn a_tunnel_keeps_its_place_until_it_ends() {
    let (room, listener) = (Room::of(1), TcpListener::bind("127.0.0.1:0"));
    let listener = listener.await.unwrap();
    let mut app = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (admitted, _) = accept(&listener, &room).await;
    let (tunnel, tunnels) = oneshot::channel();
    let tunnel = Arc::new(std::sync::Mutex::new(Some(tunnel)));
    let agree = move |request| {
        if let Some(tunnel) = tunnel.lock().unwrap().take() {
            tunnel.send(on(request)).unwrap();
        }
        let mut agreed = Response::new(full(""));
        *agreed.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        upgrade::say(agreed.headers_mut(), "websocket".parse().unwrap());
        async { agreed }
    };
    let asks = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    app.write_all(asks).await.unwrap();
    let serving = listening().connection(admitted, Peer::default(), move |request, _, _| agree(request));
    let (_, tunnel) = futures_util::join!(serving, async { tunnels.await.unwrap().await.unwrap() });
    assert_eq!(room.left(), 0);
    drop(tunnel);
    assert_eq!(room.left(), 1);
}

/// How long a connection is held on which this is said and no more.
async fn held(said: &[u8]) -> Duration {
    let (mut app, ours) = duplex(4096);
    let serving = listening().http(ours, Peer::default(), Places::default(), |_, _, _| async {
        Response::new(full(""))
    });
    app.write_all(said).await.unwrap();
    let reading = async { app.read_to_end(&mut Vec::new()).await };
    let began = clock::now();
    let both = futures_util::future::join(serving, reading);
    timeout(DAWDLING * 100, both)
        .await
        .map_or(Duration::MAX, |_| began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_that_could_be_answered_is_not_held_for_long() {
    for said in [
        "",
        "PRI * HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HT",
        "GET / HTTP/1.1\r\nhost: a\r\n",
    ] {
        let held = held(said.as_bytes()).await;
        assert!(held <= DAWDLING * 3, "{said:?}: {held:?}");
    }
}

/// How long a connection is held whose answers are these, as they are taken.
async fn held_while<B, A>(
    answer: impl Fn() -> A + Clone + Send + Sync + 'static,
    taking: impl AsyncFnOnce(DuplexStream),
) -> Duration
where
    A: Future<Output = B> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
{
    let (app, ours) = duplex(4096);
    let began = clock::now();
    let serving = listening().http(ours, Peer::default(), Places::default(), move |_, _, _| {
        answer().map(Response::new)
    });
    let held = timeout(STALLED * 100, serving).map(|ended| ended.map_or(Duration::MAX, |()| began.elapsed()));
    futures_util::future::join(held, taking(app)).await.0
}

async fn ask(app: &mut DuplexStream) {
    let asks = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    app.write_all(asks).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_not_held_for_ever_and_who_takes_a_little_is() {
    let piece = || Ok::<_, BodyError>(Frame::data(Bytes::from(vec![0; 64 << 10])));
    let large = move || ready(StreamBody::new(iter((0..100).map(move |_| piece()))));
    let nothing = held_while(large, async |mut app: DuplexStream| {
        ask(&mut app).await;
        tokio::time::sleep(STALLED * 10).await;
    });
    assert!(nothing.await <= STALLED * 3);
    let a_little = held_while(large, async |mut app: DuplexStream| {
        ask(&mut app).await;
        while app.read_exact(&mut [0; 64 << 10]).await.is_ok() {
            tokio::time::sleep(STALLED / 2).await;
        }
    });
    let held = a_little.await;
    assert!(held > STALLED * 40 && held < Duration::MAX, "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_come_is_waited_for() {
    let long = STALLED * 5;
    let late = move || async move {
        tokio::time::sleep(long).await;
        let end = async move {
            tokio::time::sleep(long).await;
            Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"late")))
        };
        StreamBody::new(Box::pin(once(end)))
    };
    let held = held_while(late, async |mut app: DuplexStream| {
        ask(&mut app).await;
        let mut answer = String::new();
        app.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("late"), "{answer}");
    });
    let held = held.await;
    assert!(held >= long * 2 && held < long * 3, "{held:?}");
}
