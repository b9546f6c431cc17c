//! What is not the provider's leaves no trace, and what is wrong with it is said.

use ::http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use usertap::sandbox::Event;
use uuid::Uuid;

use super::{PATH, figures, minutes, of_user, post, send, send_at, stack, url, webhooks, with, word};
use crate::support::http::{self, Reply};
use crate::support::stack::{Setup, Stack};
use crate::support::{eventually, wall};

/// What a delivery could leave behind.
async fn traces(stack: &Stack) -> (i64, i64, usize) {
    stack.settled().await;
    (
        stack.position().await,
        stack.count("SELECT count(*) FROM usertap.user_state").await,
        stack.control().log().len(),
    )
}

fn is_refused(reply: &Reply, reason: &str) {
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(reply.header("x-usertap-error"), Some("webhook-refused"));
    assert!(reply.text().contains(reason), "{reason} in {}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_is_no_intake() {
    let stack = Stack::new().await;
    let id = stack.user(json!({ "display_name": "Ada" }));
    let event = of_user(&stack, "user.created", id);
    let reply = send(&stack, &event).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("x-usertap-error"), Some("no-webhook-secret"));
    assert_eq!(figures(&stack).await, json!(null));
    stack.unseen(id);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_changed_or_old_leaves_no_trace() {
    let stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let stranger = Uuid::new_v4();
    let before = traces(&stack).await;
    let event = of_user(&stack, "user.updated", id);
    let planted = Event::new("user.created", &json!({ "id": stranger, "server_metadata": {} }));
    let signed = webhooks(&stack).headers(&event, wall());
    for (body, reason) in [
        (event.body.replace("Ada", "Eve"), "signature"),
        (planted.body.clone(), "signature"),
        (String::new(), "signature"),
    ] {
        is_refused(&post(&url(&stack), &signed, &body).await, reason);
    }
    is_refused(&post(&url(&stack), &[], &event.body).await, "unsigned");
    for left_out in 0..3 {
        let some = signed.iter().enumerate().filter(|(at, _)| *at != left_out);
        let some: Vec<_> = some.map(|(_, header)| header.clone()).collect();
        is_refused(&post(&url(&stack), &some, &event.body).await, "unsigned");
    }
    for away in [minutes(6), minutes(-6)] {
        is_refused(&send_at(&stack, &event, wall() + away).await, "timestamp");
    }
    assert_eq!(traces(&stack).await, before);
    let told = figures(&stack).await;
    assert_eq!(told["received"], 0);
    assert_eq!(
        told["refused"],
        json!({ "unsigned": 4, "signature": 3, "timestamp": 2 })
    );
    // Anybody can send these: they are counted, and no problem of the operator's.
    assert_eq!(stack.status().await["problems"], json!([]));
    // A clock that is off by less is no matter.
    for away in [minutes(4), minutes(-4)] {
        let event = of_user(&stack, "user.updated", id);
        assert_eq!(word(&send_at(&stack, &event, wall() + away).await), "unchanged");
    }
    assert_eq!(stack.status().await["problems"], json!([]));
    stack.end().await;
}

/// Nobody but the provider comes so far.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_named() {
    let stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    for (away, says) in [(-10, "10 minutes behind"), (10, "minutes ahead of")] {
        let event = of_user(&stack, "user.updated", id);
        for sent in 0..3 {
            assert_eq!(stack.status().await["problems"], json!([]), "after {sent}");
            is_refused(
                &send_at(&stack, &event, wall() + minutes(away)).await,
                "timestamp",
            );
        }
        let problems = stack.status().await["problems"].clone();
        assert_eq!(problems[0]["word"], "webhooks-untimely", "{problems}");
        let what = problems[0]["what"].as_str().expect("a text");
        assert!(what.contains(says), "{what}");
        assert_eq!(word(&send(&stack, &event).await), "unchanged");
        assert_eq!(stack.status().await["problems"], json!([]));
    }
    stack.end().await;
}

/// The endpoint of another project has another secret.
#[tokio::test(flavor = "multi_thread")]
async fn another_projects_events_leave_no_trace() {
    let stack = with(Setup::projects(2)).await;
    let ours = stack.known_user(json!({ "display_name": "Ours" })).await;
    let before = traces(&stack).await;
    let theirs = stack.control().webhooks(1).expect("a project");
    let at = wall();
    let created = Event::new(
        "user.created",
        &json!({ "id": Uuid::new_v4(), "server_metadata": null }),
    );
    for event in [
        of_user(&stack, "user.updated", ours),
        super::of_deletion(ours),
        created,
    ] {
        is_refused(
            &post(&url(&stack), &theirs.headers(&event, at), &event.body).await,
            "signature",
        );
    }
    assert_eq!(traces(&stack).await, before);
    stack.agrees(ours).await.expect("untouched");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_takes_anothers_place_both_hold() {
    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let secret = webhooks(&stack).secret();
    for (setting, holds) in [
        (format!("{OLD},{secret}"), true),
        (format!(" {secret} , {OLD},"), true),
        (OLD.to_owned(), false),
        (secret, true),
    ] {
        stack.restart_with("USERTAP_WEBHOOK_SECRET", &setting).await;
        let reply = send(&stack, &of_user(&stack, "user.updated", id)).await;
        match holds {
            true => assert_eq!(word(&reply), "unchanged"),
            false => is_refused(&reply, "signature"),
        }
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_posts_of_a_bearable_size_are_taken() {
    let stack = stack().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let reply = http::request(method, &url(&stack), &[], "")
            .await
            .expect("an answer");
        assert_eq!(reply.status, 405);
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    let large = Event::new(
        "user.updated",
        &json!({ "id": Uuid::new_v4(), "x": "x".repeat(2 << 20) }),
    );
    let reply = send(&stack, &large).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-usertap-error")),
        (413, Some("webhook-too-large"))
    );
    let told = figures(&stack).await;
    assert_eq!((&told["too_large"], &told["received"]), (&json!(1), &json!(0)));
    // The query is nobody's business; anything else below it is not there.
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let event = of_user(&stack, "user.updated", id);
    let signed = webhooks(&stack).headers(&event, wall());
    let reply = post(&format!("{}?from=dashboard", url(&stack)), &signed, &event.body).await;
    assert_eq!(word(&reply), "unchanged");
    let reply = post(&format!("{}/more", url(&stack)), &signed, &event.body).await;
    assert_eq!(reply.status, 404);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_off_is_counted() {
    let stack = stack().await;
    let mut stream = TcpStream::connect(stack.serving().listen)
        .await
        .expect("a connection");
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{{\"id\":");
    stream.write_all(head.as_bytes()).await.expect("sent");
    drop(stream);
    eventually("it is counted", || async {
        (figures(&stack).await["broken"] == 1).then_some(())
    })
    .await;
    let metrics = format!("http://{}/metrics", stack.serving().admin);
    let metrics = http::get(&metrics, &[]).await.text();
    assert!(
        metrics.contains("usertap_webhooks_total{result=\"broken\"} 1"),
        "{metrics}"
    );
    stack.end().await;
}
