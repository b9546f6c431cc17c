//! TLS on both sides, and what it agrees to: HTTP/1.1 or HTTP/2.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::HOST;

use super::*;
use crate::config::Tls;
use crate::proxy::certificate::{Certificate, TlsError};
use crate::upstream::tests::tls_file;

fn certificate(tls: &Tls) -> Result<Arc<Certificate>, TlsError> {
    Certificate::new(tls, SECOND * 3_600)
}

#[tokio::test]
async fn tls_is_spoken_on_both_sides_and_certificates_are_checked() {
    let tls = Tls {
        cert: tls_file("cert.pem"),
        key: tls_file("key.pem"),
    };
    let acceptor = certificate(&tls).unwrap();
    let versions = |request: Request<Incoming>| async move {
        let host = request.headers().get(HOST);
        let is_ours = host.is_none_or(|host| request.uri().authority().is_none() && host != "app.example");
        Response::new(body::full(format!("{:?} {is_ours}", request.version())))
    };
    let server = Rig::listening(Tasks::default(), Some(acceptor), versions).await;
    let url = format!("https://{}", server.address);
    let trusting = Upstream::trusting(&url, &tls_file("ca.pem"), SECOND * 2, &Tasks::default());
    let ask = |body| {
        let request = Request::get(trusting.target("/").unwrap());
        request.header(HOST, "app.example").body(body).unwrap()
    };
    let answer = trusting
        .forward(ask, empty(), Priority::App, crate::clock::now(), || {})
        .await
        .unwrap()
        .response;
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "HTTP/2.0 true");
    let answer = trusting
        .forward_upgrade(ask(empty()), Priority::App, crate::clock::now())
        .await
        .unwrap()
        .response;
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "HTTP/1.1 true");
    let wary = Upstream::plain(&url, &[], SECOND * 2);
    assert_eq!(why_not(&wary).await, Obstacle::Untrusted);
}

async fn why_not(upstream: &Upstream) -> Obstacle {
    let ask = |body| Request::get(upstream.target("/").unwrap()).body(body).unwrap();
    let answer = upstream.forward(ask, empty(), Priority::App, crate::clock::now(), || {});
    match answer.await.unwrap_err() {
        UpstreamError::Unreachable(obstacle) => obstacle,
        error => panic!("{error}"),
    }
}

/// An operator mends each in another place.
#[tokio::test]
async fn why_nobody_is_reached_is_told() {
    let plain = Rig::listening(Tasks::default(), None, |_| async {
        Response::new(body::full(""))
    })
    .await;
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let cases = [
        (format!("https://{}", plain.address), Obstacle::Plain),
        (format!("http://{free}"), Obstacle::Refused),
        // Too long for a name: no server need be asked.
        (format!("http://{}.invalid", "x".repeat(64)), Obstacle::Nameless),
    ];
    for (url, obstacle) in cases {
        let upstream = Upstream::plain(&url, &[], SECOND * 20);
        assert_eq!(why_not(&upstream).await, obstacle, "{url}");
    }
    // Nobody takes the connection on.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    assert_eq!(
        why_not(&Upstream::plain(&url, &[], SECOND)).await,
        Obstacle::Silent
    );
}

/// Passes bytes on to an address that may change.
struct Relay {
    address: String,
    connections: Arc<AtomicUsize>,
    to: Arc<Mutex<String>>,
    /// Those that are there pass nothing on any more, and do not end.
    hush: Arc<tokio::sync::Notify>,
}

impl Relay {
    async fn to(address: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay {
            address: listener.local_addr().unwrap().to_string(),
            connections: Arc::default(),
            to: Arc::new(Mutex::new(address.to_owned())),
            hush: Arc::default(),
        };
        let (tasks, connections, to) = (Tasks::default(), relay.connections.clone(), relay.to.clone());
        let hush = relay.hush.clone();
        tasks.clone().spawn(async move {
            while let Ok((mut one, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let to = to.lock().unwrap().clone();
                let mut other = TcpStream::connect(to).await.unwrap();
                let hushed = hush.clone().notified_owned();
                tasks.spawn(async move {
                    tokio::select! {
                        _ended = tokio::io::copy_bidirectional(&mut one, &mut other) => {}
                        () = hushed => std::future::pending().await,
                    }
                });
            }
        });
        relay
    }
}

#[tokio::test]
async fn over_http_2_all_requests_share_a_connection_and_another_follows_one_that_ended() {
    let (cert, key) = (tls_file("cert.pem"), tls_file("key.pem"));
    let acceptor = || {
        Some(
            certificate(&Tls {
                cert: cert.clone(),
                key: key.clone(),
            })
            .unwrap(),
        )
    };
    let fine = |_: Request<Incoming>| async { Response::new(body::full("{}")) };
    let server = Rig::listening(Tasks::default(), acceptor(), fine).await;
    let relay = Relay::to(&server.address).await;
    let (url, tasks) = (format!("https://{}", relay.address), Tasks::default());
    let upstream = Upstream::trusting(&url, &tls_file("ca.pem"), SECOND * 5, &tasks);
    let ask = |body| Request::get(upstream.target("/").unwrap()).body(body).unwrap();
    let read = || async {
        let answer = upstream
            .forward(ask, empty(), Priority::App, crate::clock::now(), || {})
            .await
            .unwrap();
        answer.response.into_body().collect().await.unwrap().to_bytes()
    };
    let answers = futures_util::future::join_all((0..20).map(|_| read())).await;
    assert!(answers.iter().all(|body| body == "{}"));
    assert_eq!(read().await, "{}");
    assert_eq!(relay.connections.load(Ordering::Relaxed), 1);
    // The provider ends it in an orderly way, and another is there.
    let other = Rig::listening(Tasks::default(), acceptor(), fine).await;
    *relay.to.lock().unwrap() = other.address;
    server.tasks.stop();
    assert!(server.tasks.ended(SECOND * 5).await);
    assert_eq!((read().await, read().await), ("{}".into(), "{}".into()));
    assert_eq!(relay.connections.load(Ordering::Relaxed), 2);
    // A stop waits for no connection that nobody uses, and what comes later has one to itself.
    tasks.stop();
    assert!(tasks.ended(SECOND * 5).await);
    assert_eq!((read().await, read().await), ("{}".into(), "{}".into()));
    assert!(tasks.ended(SECOND * 5).await);
}

#[tokio::test]
async fn a_connection_over_which_nothing_comes_is_given_up_with_the_first_that_waited_in_vain() {
    let (cert, key) = (tls_file("cert.pem"), tls_file("key.pem"));
    let acceptor = certificate(&Tls { cert, key }).unwrap();
    let fine = |_: Request<Incoming>| async { Response::new(body::full("{}")) };
    let server = Rig::listening(Tasks::default(), Some(acceptor), fine).await;
    let relay = Relay::to(&server.address).await;
    let url = format!("https://{}", relay.address);
    let upstream = Upstream::trusting(&url, &tls_file("ca.pem"), SECOND * 2, &Tasks::default());
    let ask = |body| Request::get(upstream.target("/").unwrap()).body(body).unwrap();
    let asked = || async {
        let answer = upstream.forward(ask, empty(), Priority::App, crate::clock::now(), || {});
        answer.await.map(drop)
    };
    assert_eq!(asked().await, Ok(()));
    relay.hush.notify_waiters();
    assert_eq!(asked().await, Err(UpstreamError::Timeout));
    assert_eq!((asked().await, asked().await), (Ok(()), Ok(())));
    assert_eq!(relay.connections.load(Ordering::Relaxed), 2);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_its_setting() {
    let error = |cert, key| certificate(&Tls { cert, key }).err().unwrap().to_string();
    assert!(error(tls_file("none.pem"), tls_file("key.pem")).starts_with("TLS_CERT "));
    assert!(error(tls_file("cert.pem"), tls_file("cert.pem")).starts_with("TLS_KEY "));
    assert!(error(tls_file("ca.pem"), tls_file("key.pem")).contains("do not go together"));
}

/// Renewed every few weeks, while apps ask.
#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_without_a_restart() {
    let folder = std::env::temp_dir().join(format!("usertap-tls-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let put = |from: &str, to: &std::path::Path| std::fs::copy(tls_file(from), to).map(drop).unwrap();
    put("cert.pem", &cert);
    put("key.pem", &key);
    let shown = Certificate::new(
        &Tls {
            cert: cert.clone(),
            key: key.clone(),
        },
        std::time::Duration::ZERO,
    );
    let fine = |_: Request<Incoming>| async { Response::new(body::full("{}")) };
    let server = Rig::listening(Tasks::default(), Some(shown.unwrap()), fine).await;
    let url = format!("https://{}", server.address);
    // Each asks on a connection of its own.
    let is_shown = async |authority: &str| {
        let upstream = Upstream::trusting(&url, &tls_file(authority), SECOND * 2, &Tasks::default());
        let ask = |body| Request::get(upstream.target("/").unwrap()).body(body).unwrap();
        let answer = upstream.forward(ask, empty(), Priority::App, crate::clock::now(), || {});
        answer.await.is_ok()
    };
    let (before, after) = ("ca.pem", "renewed-ca.pem");
    assert_eq!((is_shown(before).await, is_shown(after).await), (true, false));
    // Its key is not there yet.
    put("renewed.pem", &cert);
    assert_eq!((is_shown(before).await, is_shown(after).await), (true, false));
    put("renewed-key.pem", &key);
    assert_eq!((is_shown(after).await, is_shown(before).await), (true, false));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(is_shown(after).await, "there is no other");
}
