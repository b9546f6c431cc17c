//! Streams: lines and server-sent events, resumed anywhere, ended with the process.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use usertap::clock;

use super::{head, text};
use crate::support::eventually;
use crate::support::http;
use crate::support::lines::Lines;
use crate::support::stack::{Setup, Stack};

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

/// Of the next event. What is committed may come a moment after a bookmark.
async fn data(events: &mut Lines) -> String {
    loop {
        let [_id, data, _end] = [events.next().await, events.next().await, events.next().await];
        let data = data.expect("an event");
        if !data.contains("bookmark") {
            return data;
        }
    }
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
        assert!(data(&mut events).await.contains(id));
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

/// Whoever keeps the position knows that it is still good, and that the line is.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_where_nothing_comes_says_so_again_and_again() {
    let stack = Stack::new().await;
    create(&stack, "somebody").await;
    let head = head(&stack).await;
    let mut lines = Lines::ndjson(&stack.admin_url("/v1/changes?since=now")).await;
    let mut told = Lines::ndjson(&stack.admin_url("/v1/changes?since=oldest")).await;
    assert_eq!(told.event().await["pos"], json!(head));
    let says = async |lines: &mut Lines, times: usize| {
        for _ in 0..times {
            let said = lines.object().await.expect("the stream goes on");
            assert_eq!(
                (&said["type"], text(&said["pos"])),
                (&json!("bookmark"), head.clone())
            );
        }
    };
    tokio::join!(says(&mut lines, 3), says(&mut told, 1));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_waiters_wake_on_one_commit() {
    let stack = Stack::new().await;
    let url = stack.admin_url(&format!("/v1/changes?since={}&wait=50s", head(&stack).await));
    let waiting = (0..200).map(|_| http::get(&url, &[]));
    let commit = async {
        eventually("all of them wait", || async {
            (stack.status().await["feed"]["readers"] == 200).then_some(())
        })
        .await;
        create(&stack, "one").await
    };
    let (woken, id) = tokio::join!(join_all(waiting), commit);
    for reply in woken {
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["changes"][0]["key"]["id"]),
            (200, &json!(id))
        );
    }
    stack.end().await;
}

/// Its socket fills and stays full while everybody else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_holds_up_nobody_and_loses_nothing() {
    const USERS: usize = 6_000;
    let setup = Setup::users(USERS);
    let stack = Stack::with(setup).await;
    let url = stack.admin_url("/v1/changes?since=oldest&raw=1&before=1");
    let mut stopped = Lines::ndjson(&url).await;
    let mut swift = Lines::ndjson(&url).await;
    stack.walk_begins("backfill").await;
    let mut last = String::new();
    for _ in 0..USERS {
        last = text(&swift.event().await["pos"]);
    }
    // While a reader stands still.
    stack.walk_ends("backfill").await;
    let mut before = String::new();
    for _ in 0..USERS {
        let pos = text(&stopped.event().await["pos"]);
        assert!(before < pos);
        before = pos;
    }
    assert_eq!(before, last);
    stack.note();
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
    let ends = async {
        for lines in &mut idle {
            while lines.object().await.is_some() {}
        }
    };
    let (poll, (), ()) = tokio::join!(http::get(&poll, &[]), ends, stack.end());
    // Before DRAIN is over, when it would have been cut.
    assert_eq!(poll.status, 200);
}

/// Anybody who may connect may say anything there.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_says_on_the_channel_makes_nobody_wait() {
    let stack = Stack::new().await;
    let mut new = Lines::ndjson(&stack.admin_url("/v1/changes?since=now")).await;
    new.object().await.expect("a bookmark");
    eventually("somebody listens there", || async {
        stack.serving().station.feed.is_following().then_some(())
    })
    .await;
    let channel = stack.serving().station.database.names.channel();
    let never = i64::MAX;
    stack
        .sql(&format!(
            "NOTIFY {channel}, '{never}'; NOTIFY {channel}, '-1'; NOTIFY {channel}, 'anybody'; NOTIFY {channel}, '💥'"
        ))
        .await;
    let began = clock::now();
    for n in 0..6 {
        let id = create(&stack, &format!("{n}")).await;
        assert_eq!(new.event().await["key"]["id"], id.as_str());
    }
    // Without being told it asks every five seconds.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    stack.end().await;
}
