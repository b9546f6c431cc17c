//! While the database is away a webhook is acknowledged once it is in the journal, and asked for again
//! where not even that takes it.

use serde_json::json;

use super::{of_user, send, webhooks, with, word};
use crate::support::eventually;
use crate::support::stack::{Setup, Stack};

async fn relayed() -> Stack {
    with(Setup::relayed()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_none_of_them() {
    let stack = relayed().await;
    let relay = stack.relay.as_ref().expect("a relay");
    let (ada, gone) = (
        stack.known_user(json!({ "display_name": "Ada" })).await,
        stack.known_user(json!({ "display_name": "Gone" })).await,
    );
    relay.close();
    assert!(
        stack
            .control()
            .edit(0, ada, json!({ "display_name": "Countess" }))
    );
    let new = stack.user(json!({ "display_name": "New" }));
    let events = [
        of_user(&stack, "user.updated", ada),
        of_user(&stack, "user.created", new),
        super::of_deletion(gone),
    ];
    assert!(stack.control().delete(0, gone));
    for event in &events {
        assert_eq!(word(&send(&stack, event).await), "journaled");
        assert_eq!(word(&send(&stack, event).await), "duplicate");
    }
    relay.open();
    stack.settled().await;
    stack.agrees(ada).await.expect("changed");
    stack.agrees(new).await.expect("made");
    assert!(stack.row(gone).await.expect("a row").is_deleted);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_tells_is_not_given_from_memory_any_more() {
    let stack = with(Setup {
        relayed: true,
        settings: vec![("USERTAP_CACHE_TTL", "1h")],
        ..Setup::default()
    })
    .await;
    let relay = stack.relay.as_ref().expect("a relay");
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    let kept = || async {
        let got = stack.get(&server, &path).await;
        (got.header("x-usertap-cache") == Some("hit; fresh")).then_some(())
    };
    eventually("it is kept", kept).await;
    relay.close();
    assert!(
        stack
            .control()
            .edit(0, ada, json!({ "display_name": "Countess" }))
    );
    let event = of_user(&stack, "user.updated", ada);
    assert_eq!(word(&send(&stack, &event).await), "journaled");
    let got = stack.get(&server, &path).await;
    assert_eq!(
        (&got.json()["display_name"], got.header("x-usertap-cache")),
        (&json!("Countess"), Some("miss; changed"))
    );
    relay.open();
    stack.settled().await;
    stack.end().await;
}

/// Neither the database nor the journal takes it: it must come again.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_asked_for_again() {
    let stack = relayed().await;
    let relay = stack.relay.as_ref().expect("a relay");
    let id = stack.known_user(json!({ "display_name": "0" })).await;
    stack.journal_takes_nothing(true);
    relay.close();
    assert!(stack.control().edit(0, id, json!({ "display_name": "1" })));
    let event = of_user(&stack, "user.updated", id);
    let reply = send(&stack, &event).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("x-usertap-error"), Some("webhook-not-durable"));
    assert!(reply.header("retry-after").is_some());
    // The sandbox goes on until it is taken.
    let sender = webhooks(&stack);
    sender.send_to(&super::url(&stack));
    sender.send([event]);
    eventually("it is sent again", || async {
        (sender.attempts() > 2).then_some(())
    })
    .await;
    assert_eq!(sender.taken(), 0);
    stack.journal_takes_nothing(false);
    relay.open();
    super::all_taken(&stack).await;
    stack.agrees(id).await.expect("changed");
    stack.end().await;
}
