//! Requests and answers that a careless proxy would take for others.

use ::http::Method;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use usertap::tasks::Tasks;

use super::rig::{Does, KEY, PROJECT, Rig};
use super::{id, path, user};
use crate::support::{eventually, http};

/// A provider that says these bytes to whatever comes.
async fn says(answer: String, tasks: &Tasks) -> url::Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = tokio::select! {
                accepted = listener.accept() => accepted.expect("a connection"),
                () = stop.stopping() => return,
            };
            let mut head = [0; 4096];
            let _asked = stream.read(&mut head).await;
            stream.write_all(answer.as_bytes()).await.expect("it is read");
        }
    });
    format!("http://{address}").parse().expect("a URL")
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-stack-access-type: server\r\nx-stack-project-id: {PROJECT}\r\n\
         x-stack-secret-server-key: {KEY}\r\n{more}\r\n"
    )
}

/// The whole answer to these bytes.
async fn said(rig: &Rig, request: &str) -> String {
    let mut stream = TcpStream::connect(rig.address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_in_chunks_is_not_as_long_as_it_says_beside() {
    let (tasks, ada) = (Tasks::default(), user(1, "Ada"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{ada}\r\n0\r\n\r\n",
        ada.len()
    );
    let provider = says(answer, &tasks).await;
    let rig = Rig::with(|config| config.upstream = provider).await;
    let got = rig.ask("GET", &path(1), "").await;
    assert!(got.recorded().starts_with("committed"), "{}", got.recorded());
    assert_eq!(got.body.as_deref(), Some(ada.as_bytes()));
    tasks.stop();
    rig.end().await;
}

/// The provider's version is that of its own connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_provider_ends_by_closing_ends_no_connection_of_the_apps() {
    let (tasks, ada) = (Tasks::default(), user(1, "Ada"));
    let answer = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{ada}");
    let provider = says(answer, &tasks).await;
    let rig = Rig::with(|config| config.upstream = provider).await;
    for path in [path(1), "/nowhere".to_owned()] {
        let asked = head("GET", &path, "") + &head("GET", &path, "connection: close\r\n");
        let answers = said(&rig, &asked).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
        assert_eq!(answers.matches(&ada).count(), 2, "{answers}");
        assert!(
            answers.ends_with("\r\n0\r\n\r\n") || answers.contains("content-length"),
            "{answers}"
        );
    }
    assert_eq!(rig.name(&id(1)).await.as_deref(), Some("Ada"));
    tasks.stop();
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trailer_speaks_for_usertap() {
    let (tasks, ada) = (Tasks::default(), user(1, "Ada"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\
         trailer: x-usertap-error, x-sum\r\n\r\n{:x}\r\n{ada}\r\n0\r\nx-usertap-error: no\r\nx-sum: 1\r\n\r\n",
        ada.len()
    );
    let provider = says(answer, &tasks).await;
    let rig = Rig::with(|config| config.upstream = provider).await;
    for path in [path(1), "/nowhere".to_owned()] {
        let asks = head("GET", &path, "connection: close\r\nte: trailers\r\n");
        let answer = said(&rig, &asks).await;
        assert!(answer.contains("\r\nx-sum: 1\r\n"), "{answer}");
        assert!(!answer.contains("x-usertap-error: no"), "{answer}");
    }
    tasks.stop();
    rig.end().await;
}

/// It would be given again without them.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_trailers_is_not_kept() {
    let (tasks, ada) = (Tasks::default(), user(1, "Ada"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{ada}\r\n0\r\nx-sum: 1\r\n\r\n",
        ada.len()
    );
    let provider = says(answer, &tasks).await;
    let rig = Rig::with(|config| {
        config.upstream = provider;
        config.cache_ttl = std::time::Duration::from_secs(600);
    });
    let rig = rig.await;
    for _ in 0..2 {
        let got = rig.ask("GET", &path(1), "").await;
        assert_eq!(got.header("x-usertap-cache"), "miss; absent");
        assert_eq!(got.body.as_deref(), Some(ada.as_bytes()));
    }
    tasks.stop();
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_answer_is_nobodys_word() {
    let rig = Rig::new().await;
    let part = Bytes::from(user(2, "Ada"));
    let range = &[
        ("content-type", "application/json"),
        ("content-range", "bytes 5-9/900"),
    ];
    rig.does([Does::Answers(206, range, part.clone())]);
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!((got.status.as_u16(), got.recorded()), (206, "none; part"));
    assert_eq!(got.body, Some(part));
    assert_eq!(rig.rows().await, 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_coding_that_nobody_undoes_is_refused() {
    let rig = Rig::new().await;
    let coded = head(
        "PATCH",
        &path(1),
        "connection: close\r\ntransfer-encoding: gzip, chunked\r\n",
    );
    let answer = said(&rig, &format!("{coded}3\r\nabc\r\n0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("x-usertap-error: request-coded"), "{answer}");
    assert_eq!(rig.seen().len(), 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_with_a_body_is_another_question() {
    let rig = Rig::with(|config| config.cache_ttl = std::time::Duration::from_secs(600)).await;
    rig.answers(200, user(1, "Ada")).answers(200, user(1, "Bea"));
    let plain = head("GET", &path(1), "connection: close\r\n");
    let kept = said(&rig, &plain).await;
    assert!(kept.contains("x-usertap-cache: miss"), "{kept}");
    let chunked = head(
        "GET",
        &path(1),
        "connection: close\r\ntransfer-encoding: chunked\r\n",
    );
    let answer = said(&rig, &format!("{chunked}5\r\nhello\r\n0\r\n\r\n")).await;
    assert!(
        answer.contains("x-usertap-cache: bypass; request-body"),
        "{answer}"
    );
    assert!(answer.contains("Bea"), "{answer}");
    rig.end().await;
}

/// Whoever sends bodies and lets them stand takes nothing that answers, token requests and small webhooks
/// need, and no memory for longer than the whole wait.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_hold_up_nobody() {
    let rig = Rig::with(|config| config.timeout = std::time::Duration::from_secs(10)).await;
    let begun = format!(
        "POST /_usertap/webhooks HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}",
        256 << 10,
        "x".repeat((256 << 10) - 100)
    );
    let large = "y".repeat(300 << 10);
    let webhooks = format!("http://{}/_usertap/webhooks", rig.address);
    // One that is answered before all of it was read may find its connection closed.
    let delivered = async || {
        http::request(Method::POST, &webhooks, &[], large.clone())
            .await
            .ok()
    };
    let mut standing = Vec::new();
    loop {
        let mut stream = TcpStream::connect(rig.address).await.expect("a connection");
        let _written = stream.write_all(begun.as_bytes()).await;
        standing.push(stream);
        assert!(standing.len() < 1000, "there is no bound");
        // That many are still far from it.
        let answer = if standing.len() > 100 {
            delivered().await
        } else {
            None
        };
        if answer.is_some_and(|got| got.status == 503 && got.header("retry-after") == Some("5")) {
            break;
        }
    }
    let small = rig.ask_as("POST", "/_usertap/webhooks", "a webhook", &[]).await;
    assert_eq!(small.status, 200);
    rig.answers(200, user(1, "Ada"));
    let got = rig.ask("GET", &path(1), "").await;
    assert!(got.recorded().starts_with("committed"), "{}", got.recorded());
    assert_eq!(rig.name(&id(1)).await.as_deref(), Some("Ada"));
    eventually("it is given back in time", async || {
        let got = delivered().await?;
        (got.status == 200).then_some(())
    })
    .await;
    drop(standing);
    rig.end().await;
}
