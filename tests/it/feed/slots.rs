//! Slots: made once, read by one at a time, advanced and never back; and what is too old.

use ::http::{Method, StatusCode};
use serde_json::{Value, json};
use usertap::feed::retention::{self, Retention};

use super::{get, head, kinds, list, page, text};
use crate::support::eventually;
use crate::support::http::{self, Reply};
use crate::support::stack::{Setup, Stack};

async fn send(stack: &Stack, method: Method, path: &str, body: Value) -> Reply {
    http::send(method, &stack.admin_url(path), &[], &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glance_counts_no_further_than_it_was_told_to() {
    let stack = Stack::new().await;
    for _ in 0..3 {
        stack.known_user(json!({})).await;
    }
    send(
        &stack,
        Method::PUT,
        "/v1/slots/mailer",
        json!({ "since": "oldest" }),
    )
    .await;
    let feed = &stack.serving().station.feed;
    for (counted, events, is_at_least) in [(2, 2, true), (4, 3, false)] {
        let lag = feed.slots(counted).await.expect("a slot")[0]
            .lag
            .expect("it is not lost");
        assert_eq!((lag.events, lag.is_at_least), (events, is_at_least));
    }
    stack.end().await;
}

/// Whoever goes on through a long lag does not have it counted at each step.
#[tokio::test(flavor = "multi_thread")]
async fn an_advance_counts_no_long_lag() {
    let stack = Stack::new().await;
    // Of users who came and went.
    let many = "INSERT INTO usertap.changes (position, nonce, id, type, changed, blank, origin, route, request_id)
        SELECT n, 0, md5((n / 2)::text)::uuid, CASE n % 2 WHEN 0 THEN 'user.created' ELSE 'user.purged' END, '{}', true,
            'sql', '', '' FROM generate_series(2, 10101) n;
        UPDATE usertap.meta SET position = 10101";
    stack.client.batch_execute(many).await.expect("changes");
    let path = "/v1/slots/mailer";
    send(&stack, Method::PUT, path, json!({ "since": "oldest" })).await;
    let peeked = page(&stack, "/v1/slots/mailer/changes?limit=10").await;
    let advance = json!({ "pos": peeked["next"], "lease": peeked["lease"] });
    let advanced = send(&stack, Method::POST, "/v1/slots/mailer/advance", advance).await;
    assert_eq!(
        (&advanced.json()["pos"], &advanced.json()["lag"]["events"]),
        (&peeked["next"], &json!(10_000))
    );
    let shown = page(&stack, path).await;
    assert_eq!(shown["lag"]["events"], 10_090);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_made_once_and_keeps_its_position() {
    let mut stack = Stack::new().await;
    stack.known_user(json!({})).await;
    let made = send(
        &stack,
        Method::PUT,
        "/v1/slots/mailer",
        json!({ "since": "oldest" }),
    )
    .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let again = send(&stack, Method::PUT, "/v1/slots/mailer", json!({ "since": "now" })).await;
    assert_eq!(
        (again.status, &again.json()["pos"]),
        (StatusCode::OK, &made.json()["pos"])
    );
    assert_eq!(
        (&again.json()["status"], &again.json()["lag"]["events"]),
        (&json!("reserved"), &json!(1))
    );

    let peeked = page(&stack, "/v1/slots/mailer/changes").await;
    let (lease, next) = (text(&peeked["lease"]), text(&peeked["next"]));
    let same = page(&stack, &format!("/v1/slots/mailer/changes?lease={lease}")).await;
    assert_eq!((list(&peeked), list(&peeked).len()), (list(&same), 1));
    let other = get(&stack, "/v1/slots/mailer/changes").await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{}", other.text());

    let path = "/v1/slots/mailer/advance";
    for body in [
        json!({ "pos": next }),
        json!({ "pos": next, "lease": uuid::Uuid::new_v4() }),
    ] {
        assert_eq!(
            send(&stack, Method::POST, path, body).await.status,
            StatusCode::CONFLICT
        );
    }
    let foreign = json!({ "pos": format!("{}-deadbeef", &next[..16]), "lease": lease });
    assert_eq!(
        send(&stack, Method::POST, path, foreign).await.status,
        StatusCode::GONE
    );
    let unmoved = page(&stack, "/v1/slots/mailer").await;
    assert_eq!(unmoved["pos"], made.json()["pos"], "{unmoved}");
    // Whoever was slow and whom nobody has overtaken has done its work.
    let over = "UPDATE usertap.slots SET leased_until = now() - interval '1 minute'";
    stack.client.batch_execute(over).await.unwrap();
    let advanced = send(&stack, Method::POST, path, json!({ "pos": next, "lease": lease })).await;
    assert_eq!(
        (advanced.status, &advanced.json()["lag"]["events"]),
        (StatusCode::OK, &json!(0))
    );
    // No lease is so long: the database's clock has been set back since.
    let ahead = "UPDATE usertap.slots SET leased_until = now() + interval '1 day'";
    stack.client.batch_execute(ahead).await.unwrap();
    let other = page(&stack, "/v1/slots/mailer/changes").await;
    assert!(other["lease"].is_string(), "{other}");
    let lease = text(&other["lease"]);
    let back = json!({ "pos": made.json()["pos"], "lease": lease });
    assert_eq!(
        send(&stack, Method::POST, path, back).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(page(&stack, "/v1/slots/mailer").await["pos"], json!(next));

    stack.restart().await;
    stack.known_user(json!({})).await;
    let rest = page(&stack, &format!("/v1/slots/mailer/changes?lease={lease}")).await;
    assert_eq!(
        (list(&rest).len(), kinds(&list(&rest))),
        (1, vec!["user.created"])
    );
    let all = page(&stack, "/v1/slots").await;
    assert_eq!(
        (&all["slots"][0]["name"], &all["slots"][0]["pos"]),
        (&json!("mailer"), &json!(next))
    );
    let status = stack.status().await;
    assert_eq!(status["feed"]["slots"][0]["lag"]["events"], 1, "{status}");
    assert_eq!(status["feed"]["head"], json!(head(&stack).await));

    let gone = send(&stack, Method::DELETE, "/v1/slots/mailer", json!({})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for (method, path) in [
        (Method::GET, "/v1/slots/mailer"),
        (Method::GET, "/v1/slots/mailer/changes"),
        (Method::DELETE, "/v1/slots/mailer"),
    ] {
        assert_eq!(
            send(&stack, method, path, Value::Null).await.status,
            StatusCode::NOT_FOUND
        );
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_begins_with_what_comes_unless_its_maker_says_otherwise() {
    let stack = Stack::new().await;
    let before = head(&stack).await;
    stack.known_user(json!({})).await;
    let first = head(&stack).await;
    stack.known_user(json!({})).await;
    let last = head(&stack).await;
    for (name, body, begins) in [
        ("nothing", String::new(), &last),
        ("empty", "{}".to_owned(), &last),
        ("now", json!({ "since": "now" }).to_string(), &last),
        ("oldest", json!({ "since": "oldest" }).to_string(), &before),
        ("first", json!({ "since": first }).to_string(), &first),
    ] {
        let url = stack.admin_url(&format!("/v1/slots/{name}"));
        let made = http::request(Method::PUT, &url, &[], body)
            .await
            .expect("an answer");
        assert_eq!(made.status, StatusCode::CREATED, "{name}: {}", made.text());
        assert_eq!(made.json()["pos"], json!(begins), "{name}");
    }
    stack.end().await;
}

/// Whoever works through several pages at a time need not have done with one before it has the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_go_ahead_of_what_it_has_confirmed() {
    let stack = Stack::new().await;
    for _ in 0..3 {
        stack.known_user(json!({})).await;
    }
    let all = list(&page(&stack, "/v1/changes?since=oldest").await);
    let from_the_first = json!({ "since": "oldest" });
    send(&stack, Method::PUT, "/v1/slots/mailer", from_the_first).await;
    let first = page(&stack, "/v1/slots/mailer/changes?limit=1").await;
    let lease = text(&first["lease"]);
    let mut next = text(&first["next"]);
    for change in &all[1..] {
        let path = format!("/v1/slots/mailer/changes?limit=1&lease={lease}&since={next}");
        let ahead = page(&stack, &path).await;
        assert_eq!(list(&ahead), std::slice::from_ref(change));
        next = text(&ahead["next"]);
    }
    let again = page(&stack, &format!("/v1/slots/mailer/changes?lease={lease}")).await;
    assert_eq!(list(&again), all, "nothing of it is confirmed");
    let done = json!({ "pos": next, "lease": lease });
    let done = send(&stack, Method::POST, "/v1/slots/mailer/advance", done).await;
    assert_eq!(done.json()["lag"]["events"], 0, "{}", done.text());
    // Never back behind what was confirmed.
    let back = format!(
        "/v1/slots/mailer/changes?lease={lease}&since={}",
        text(&first["next"])
    );
    assert_eq!(list(&page(&stack, &back).await), [] as [Value; 0]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_slot_can_have_is_told_whatever_is_asked_of_it() {
    let stack = Stack::new().await;
    let advance = json!({ "pos": "0000000000000001-00000001", "lease": uuid::Uuid::new_v4() });
    for name in ["no%20spaces", "%00", "a%00b", "%C3%A4", "a%2Fb", &"x".repeat(64)] {
        for (method, path, body) in [
            (Method::PUT, "", &json!({})),
            (Method::GET, "", &Value::Null),
            (Method::DELETE, "", &Value::Null),
            (Method::GET, "/changes", &Value::Null),
            (Method::POST, "/advance", &advance),
        ] {
            let wrong = send(&stack, method, &format!("/v1/slots/{name}{path}"), body.clone()).await;
            let told = (
                wrong.status,
                wrong.text().contains("a slot's name has 1 to 63 letters"),
            );
            assert_eq!(
                told,
                (StatusCode::BAD_REQUEST, true),
                "{name}{path}: {}",
                wrong.text()
            );
        }
    }
    stack.end().await;
}

/// Each costs a look whenever something is too old; one that is there can be asked for all the same.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_a_thousand_slots_and_no_more() {
    let stack = Stack::new().await;
    let many = "INSERT INTO usertap.slots (name, position, nonce)
        SELECT 'slot-' || n, m.position, 0 FROM generate_series(1, 999) n CROSS JOIN usertap.meta m";
    stack.sql(many).await;
    let make = async |name: &str| {
        let path = format!("/v1/slots/{name}");
        send(&stack, Method::PUT, &path, json!({})).await
    };
    for (name, status) in [
        ("last", StatusCode::CREATED),
        ("one-more", StatusCode::CONFLICT),
        ("last", StatusCode::OK),
    ] {
        let made = make(name).await;
        assert_eq!(made.status, status, "{name}: {}", made.text());
    }
    stack.sql("DELETE FROM usertap.slots WHERE name = 'slot-1'").await;
    assert_eq!(make("one-more").await.status, StatusCode::CREATED);
    stack.end().await;
}

/// Ages every change and slot by so many seconds.
async fn pass(stack: &Stack, seconds: u32) {
    let aged =
        format!("UPDATE usertap.changes SET committed_at = committed_at - interval '{seconds} seconds'");
    stack.sql(&aged).await;
}

async fn partitions(stack: &Stack) -> i64 {
    let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usertap.changes'::regclass";
    stack.count(sql).await
}

/// Partitions that went, at a retention of a thousand seconds.
async fn look(stack: &Stack) -> usize {
    let keep = std::time::Duration::from_secs(1000);
    let database = &stack.serving().station.database;
    retention::look(database, Retention { keep })
        .await
        .expect("a look")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_and_a_slot_keeps_it_for_a_while() {
    let setup = Setup::set(&[("USERTAP_FEED_RETENTION", "1000s")]);
    let stack = Stack::with(setup).await;
    let look = || look(&stack);
    let id = stack.known_user(json!({ "display_name": "0" })).await;
    let start = text(&page(&stack, "/v1/changes?since=now").await["oldest"]);
    let made = send(&stack, Method::PUT, "/v1/slots/slow", json!({ "since": start })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let status = || async { text(&page(&stack, "/v1/slots/slow").await["status"]) };
    let server = stack.server(0);
    let patch = |name: u32| {
        let (stack, server) = (&stack, &server);
        async move {
            stack
                .patch(
                    server,
                    &format!("/users/{id}"),
                    json!({ "display_name": name.to_string() }),
                )
                .await;
            stack.settled().await;
        }
    };

    // Young: nothing goes, and the partition in use is closed once it holds something old enough.
    assert_eq!((look().await, partitions(&stack).await), (0, 2));
    pass(&stack, 200).await;
    assert_eq!((look().await, partitions(&stack).await), (0, 3));
    patch(1).await;
    assert_eq!(status().await, "reserved");
    let second = head(&stack).await;

    pass(&stack, 1000).await;
    assert_eq!((look().await, status().await.as_str()), (0, "extended"));
    let late = page(&stack, &format!("/v1/changes?since={start}")).await;
    assert!(list(&late).len() >= 2, "the slot keeps it for everybody: {late}");

    pass(&stack, 3000).await;
    assert_eq!(status().await, "unreserved");
    assert_eq!(look().await, 2);
    assert_eq!(status().await, "lost");
    for path in [
        "/v1/slots/slow/changes".to_owned(),
        format!("/v1/changes?since={start}"),
    ] {
        assert_eq!(get(&stack, &path).await.status, StatusCode::GONE, "{path}");
    }
    let lost = page(&stack, "/v1/slots/slow").await;
    assert_eq!(
        (&lost["lag"], &lost["leased_until"]),
        (&Value::Null, &Value::Null),
        "{lost}"
    );
    let problems = stack.status().await["problems"].to_string();
    assert!(problems.contains("slot slow"), "{problems}");
    let deleted = send(&stack, Method::DELETE, "/v1/slots/slow", json!({})).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);

    // The last position that was dropped is still good, and everything kept comes after it.
    let empty = page(&stack, &format!("/v1/changes?since={second}")).await;
    let ends = ["oldest", "next", "head"].map(|end| text(&empty[end]));
    assert_eq!((list(&empty).len(), ends), (0, [&second; 3].map(Clone::clone)));
    patch(2).await;
    let kept = page(&stack, "/v1/changes?since=oldest").await;
    assert_eq!(list(&kept)[0]["after"]["name"], "2");
    assert_eq!(
        list(&page(&stack, &format!("/v1/changes?since={second}")).await),
        list(&kept)
    );
    stack.feed_is_cut();
    stack.end().await;
}

/// By a clock that was a year ahead for a while, and has been set right since.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_in_a_time_to_come_keeps_nothing_for_ever() {
    let stack = Stack::new().await;
    let look = || look(&stack);
    stack.known_user(json!({})).await;
    stack
        .sql("UPDATE usertap.changes SET committed_at = committed_at + interval '1 year'")
        .await;
    stack.known_user(json!({})).await;

    // What came after it tells how old it must be.
    let aged = "UPDATE usertap.changes SET committed_at = committed_at - interval '200 seconds' WHERE committed_at < now()";
    stack.sql(aged).await;
    assert_eq!((look().await, partitions(&stack).await), (0, 3), "it is closed");
    stack.known_user(json!({})).await;
    assert_eq!(look().await, 0);
    stack.sql(&aged.replace("200", "1000")).await;
    stack
        .sql(
            "UPDATE usertap.changes SET committed_at = committed_at + interval '2 years' WHERE position IN (
                   SELECT max(position) FROM usertap.changes WHERE position < 500000)",
        )
        .await;
    assert_eq!(look().await, 2);
    stack.feed_is_cut();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_another_history_is_lost_and_not_nothing_behind() {
    let stack = Stack::new().await;
    stack.known_user(json!({})).await;
    let made = send(&stack, Method::PUT, "/v1/slots/old", json!({ "since": "now" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    stack
        .sql("UPDATE usertap.slots SET position = position + 1000000, nonce = nonce # 1")
        .await;
    let gone = get(&stack, "/v1/slots/old/changes").await;
    assert_eq!(gone.status, StatusCode::GONE, "{}", gone.text());
    let slot = page(&stack, "/v1/slots/old").await;
    let shown = ["status", "lag", "leased_until"].map(|name| &slot[name]);
    assert_eq!(shown, [&json!("lost"), &Value::Null, &Value::Null], "{slot}");
    let told = get(&stack, "/metrics").await.text();
    assert!(!told.contains("usertap_slot_lag_changes{"), "{told}");
    assert!(
        told.contains("usertap_problems{problem=\"slot-lost\"} 1"),
        "{told}"
    );
    let pages = get(&stack, "/feed").await.text();
    assert!(!pages.contains("nothing"), "{pages}");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_still_knows_its_history_after_its_last_change_was_dropped() {
    let mut setup = Setup::set(&[("USERTAP_FEED_RETENTION", "1s")]);
    setup.relayed = true;
    let stack = Stack::with(setup).await;
    stack.known_user(json!({})).await;
    let head = head(&stack).await;
    eventually("the only change is dropped", || async {
        (text(&page(&stack, "/v1/changes?since=now").await["oldest"]) == head).then_some(())
    })
    .await;
    let epoch = stack.count("SELECT epoch FROM usertap.meta").await;
    let relay = stack.relay.as_ref().expect("relayed");
    relay.close();
    relay.open();
    eventually("it is back", || async {
        let reply = get(&stack, "/v1/changes?since=now").await;
        (reply.status == 200).then_some(())
    })
    .await;
    stack.known_user(json!({})).await;
    assert_eq!(stack.count("SELECT epoch FROM usertap.meta").await, epoch);
    stack.feed_is_cut();
    stack.end().await;
}

/// Whoever is overtaken in the very moment is told so, and not that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn an_advance_that_another_reader_overtakes_is_refused() {
    let stack = Stack::new().await;
    stack.known_user(json!({})).await;
    send(
        &stack,
        Method::PUT,
        "/v1/slots/mailer",
        json!({ "since": "oldest" }),
    )
    .await;
    let peeked = page(&stack, "/v1/slots/mailer/changes").await;
    let take = "BEGIN; UPDATE usertap.slots SET lease = gen_random_uuid(), leased_until = now() + interval '1 minute'";
    stack.client.batch_execute(take).await.expect("a lease");
    let advance = json!({ "pos": peeked["next"], "lease": peeked["lease"] });
    let advance = send(&stack, Method::POST, "/v1/slots/mailer/advance", advance);
    let (refused, ()) = tokio::join!(advance, commit_once_waited_for(&stack));
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    let slot = page(&stack, "/v1/slots/mailer").await;
    assert_eq!(slot["pos"], peeked["oldest"], "it moved all the same: {slot}");
    stack.end().await;
}

/// And until when the other one has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_another_overtakes_is_told_until_when() {
    let stack = Stack::new().await;
    send(&stack, Method::PUT, "/v1/slots/mailer", json!({})).await;
    let take = "BEGIN; UPDATE usertap.slots SET lease = gen_random_uuid(), leased_until = now() + interval '1 minute'";
    stack.client.batch_execute(take).await.expect("a lease");
    let (refused, ()) = tokio::join!(
        get(&stack, "/v1/slots/mailer/changes"),
        commit_once_waited_for(&stack)
    );
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    assert!(!refused.text().contains("1970"), "{}", refused.text());
    stack.end().await;
}

async fn commit_once_waited_for(stack: &Stack) {
    eventually("somebody waits", || async {
        let waits =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid";
        (stack.count(waits).await == 1).then_some(())
    })
    .await;
    stack.client.batch_execute("COMMIT").await.expect("an end");
}
