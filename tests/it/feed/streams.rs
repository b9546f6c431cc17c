//! Streams: lines and server-sent events, resumed anywhere, ended with the process.

use serde_json::json;

use super::{head, text};
use crate::support::http;
use crate::support::lines::Lines;
use crate::support::stack::Stack;

async fn create(stack: &Stack, name: &str) -> String {
    stack
        .known_user(json!({ "display_name": name }))
        .await
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_as_they_are_committed() {
    let stack = Stack::new().await;
    let first = create(&stack, "before").await;
    let mut all = Lines::ndjson(&stack.admin_url("/v1/changes?since=oldest")).await;
    let mut new = Lines::ndjson(&stack.admin_url("/v1/changes?since=now")).await;
    let bookmark = new.object().await.expect("a bookmark");
    assert_eq!(
        (&bookmark["type"], text(&bookmark["pos"])),
        (&json!("bookmark"), head(&stack).await)
    );
    assert_eq!(all.event().await["key"]["id"], first.as_str());
    for n in 0..5 {
        let id = create(&stack, &format!("{n}")).await;
        let (one, other) = (all.event().await, new.event().await);
        assert_eq!(one, other);
        assert_eq!(one["key"]["id"], id.as_str());
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_resumed_by_their_id() {
    let stack = Stack::new().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(create(&stack, &format!("{n}")).await);
    }
    let url = stack.admin_url("/v1/changes?since=oldest");
    let mut events = Lines::open(&url, &[("accept", "text/event-stream")]).await;
    let mut last = String::new();
    for id in &ids[..2] {
        last = events
            .next()
            .await
            .unwrap()
            .strip_prefix("id: ")
            .expect("an id")
            .to_owned();
        let data = events.next().await.unwrap();
        let event: serde_json::Value =
            serde_json::from_str(data.strip_prefix("data: ").expect("data")).unwrap();
        assert_eq!((&event["pos"], &event["key"]["id"]), (&json!(last), &json!(id)));
        assert_eq!(events.next().await.unwrap(), "");
    }
    drop(events);
    let resumed = [("accept", "text/event-stream"), ("last-event-id", last.as_str())];
    let mut events = Lines::open(&url, &resumed).await;
    for id in &ids[2..] {
        events.next().await.unwrap();
        assert!(events.next().await.unwrap().contains(id));
        events.next().await.unwrap();
    }
    let wrong = [("accept", "text/event-stream"), ("last-event-id", "7")];
    assert_eq!(http::get(&url, &wrong).await.status, 400);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_stream_says_where_it_stands() {
    let stack = Stack::new().await;
    create(&stack, "somebody").await;
    let mut lines = Lines::ndjson(&stack.admin_url("/v1/changes?since=oldest&type=user.deleted&raw=1")).await;
    let bookmark = lines.object().await.unwrap();
    assert_eq!(
        (&bookmark["type"], text(&bookmark["pos"])),
        (&json!("bookmark"), head(&stack).await)
    );
    create(&stack, "somebody else").await;
    let later = lines.object().await.unwrap();
    assert_eq!(
        (&later["type"], text(&later["pos"])),
        (&json!("bookmark"), head(&stack).await)
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_at_once_with_the_process() {
    let stack = Stack::new().await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut lines = Lines::ndjson(&stack.admin_url("/v1/changes?since=now")).await;
        lines.object().await.expect("a bookmark");
        idle.push(lines);
    }
    let poll = stack.admin_url("/v1/changes?since=now&wait=60s");
    let begun = crate::support::now();
    let ends = async {
        for lines in &mut idle {
            while lines.object().await.is_some() {}
        }
    };
    let (poll, (), ()) = tokio::join!(http::get(&poll, &[]), ends, stack.end());
    assert_eq!(poll.status, 200);
    // Well before DRAIN, after which everything would have been cut.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15));
}
