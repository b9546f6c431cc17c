//! Two processes on one database, each of which gets some of the webhooks, or all of them.

use serde_json::json;
use usertap::serve::Serving;

use super::{all_taken, connect, of_user, post, send, stack, webhooks};
use crate::support::stack::Stack;
use crate::support::wall;

async fn send_to(stack: &Stack, serving: &Serving, event: &usertap::sandbox::Event) {
    let url = format!("http://{}{}", serving.listen, super::PATH);
    let reply = post(&url, &webhooks(stack).headers(event, wall()), &event.body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_two_replicas_gets_an_event_the_rows_end_right() {
    let stack = stack().await;
    let second = stack.second().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(stack.known_user(json!({ "display_name": format!("{n}") })).await);
    }
    for round in 0..6 {
        for (n, id) in ids.iter().enumerate() {
            let name = json!({ "display_name": format!("{n} {round}") });
            assert!(stack.control().edit(0, *id, name));
            let event = of_user(&stack, "user.updated", *id);
            match (round + n) % 3 {
                0 => drop(send(&stack, &event).await),
                1 => send_to(&stack, &second, &event).await,
                _ => drop(tokio::join!(
                    send(&stack, &event),
                    send_to(&stack, &second, &event)
                )),
            }
        }
    }
    stack.settled().await;
    for id in &ids {
        stack.agrees(*id).await.expect("the last change");
    }
    // Made by one and deleted by the other.
    connect(&stack);
    let new = stack.user(json!({ "display_name": "New" }));
    all_taken(&stack).await;
    stack.agrees(new).await.expect("a row");
    assert!(stack.control().delete(0, new));
    send_to(&stack, &second, &super::of_deletion(new)).await;
    all_taken(&stack).await;
    assert!(stack.row(new).await.expect("a row").is_deleted);
    second.stop().await;
    stack.end().await;
}
