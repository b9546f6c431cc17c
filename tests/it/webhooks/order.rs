//! Webhooks come late, twice, in another order, or before the answer of the app that made them: the
//! rows end as the provider has them, and an older one never shows.

use serde_json::json;
use usertap::sandbox::{Action, Event, Fault, Gate};
use uuid::Uuid;

use super::{all_taken, connect, figures, of_deletion, of_user, origins, send, stack, webhooks, with, word};
use crate::support::stack::Setup;
use crate::support::{eventually, now};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_the_dashboard_is_in_the_table() {
    let stack = stack().await;
    connect(&stack);
    let (ada, bea) = (
        stack.user(json!({ "display_name": "Ada" })),
        stack.user(json!({ "display_name": "Bea" })),
    );
    all_taken(&stack).await;
    for id in [ada, bea] {
        stack.agrees(id).await.expect("a row");
        assert_eq!(origins(&stack, id).await, ["user.created by webhook"]);
    }
    assert!(
        stack
            .control()
            .edit(0, ada, json!({ "display_name": "Countess" }))
    );
    assert!(stack.control().delete(0, bea));
    all_taken(&stack).await;
    stack.agrees(ada).await.expect("changed");
    assert!(stack.row(bea).await.expect("a row").is_deleted);
    let told = figures(&stack).await;
    assert_eq!((&told["received"], &told["malformed"]), (&json!(4), &json!(0)));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_before_an_event_is_signed_and_no_part_of_it() {
    let stack = stack().await;
    let id = stack.user(json!({ "display_name": "Ada" }));
    let mut created = of_user(&stack, "user.created", id);
    created.body.insert(0, '\u{feff}');
    assert_eq!(word(&send(&stack, &created).await), "applied");
    stack.agrees(id).await.expect("a row");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_row_is_refused_is_called_set_aside() {
    let stack = stack().await;
    let check = "ALTER TABLE neon_identity.users_sync ADD CHECK (name <> 'Refused')";
    stack.client.batch_execute(check).await.expect("a constraint");
    let id = stack.user(json!({ "display_name": "Refused" }));
    let created = of_user(&stack, "user.created", id);
    assert_eq!(word(&send(&stack, &created).await), "set-aside");
    let told = figures(&stack).await;
    assert_eq!((&told["set_aside"], &told["applied"]), (&json!(1), &json!(0)));
    let (path, fine) = (format!("/users/{id}"), json!({ "display_name": "Fine" }));
    let mended = stack.patch(&stack.server(0), &path, fine).await;
    stack.is_recorded(&mended, id).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_one_that_comes_after_a_newer_one_changes_nothing() {
    let stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "0" })).await;
    let older = of_user(&stack, "user.updated", id);
    assert!(stack.control().edit(0, id, json!({ "display_name": "1" })));
    let newer = of_user(&stack, "user.updated", id);
    for event in [&newer, &older] {
        assert_eq!(word(&send(&stack, event).await), "hint");
        stack.settled().await;
        assert_eq!(
            stack.row(id).await.expect("a row").name.as_deref(),
            Some("1"),
            "never the older name"
        );
    }
    let names = stack
        .client
        .query("SELECT name FROM usertap.changes ORDER BY position", &[])
        .await
        .expect("a query");
    let names: Vec<String> = names.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["0", "1"]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_comes_after_the_deletion_raises_nobody() {
    let stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "Gone" })).await;
    let update = of_user(&stack, "user.updated", id);
    assert!(stack.control().delete(0, id));
    for event in [of_deletion(id), update] {
        assert_eq!(word(&send(&stack, &event).await), "hint");
        stack.settled().await;
        assert!(stack.row(id).await.expect("a row").is_deleted);
    }
    assert_eq!(
        origins(&stack, id).await,
        ["user.created by proxy.read", "user.deleted by refetch"]
    );
    stack.end().await;
}

/// The row went with the deletion, and a late one makes none.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_comes_after_the_purge_brings_no_row_back() {
    let stack = with(Setup::set(&[("USERTAP_DELETED", "purge")])).await;
    let id = stack.known_user(json!({ "display_name": "Gone" })).await;
    let (created, update) = (
        of_user(&stack, "user.created", id),
        of_user(&stack, "user.updated", id),
    );
    let path = format!("/users/{id}");
    assert_eq!(stack.delete(&stack.server(0), &path).await.status, 200);
    // At once, or where that takes longer, a moment later.
    eventually("the row is gone", || async {
        stack.row(id).await.is_none().then_some(())
    })
    .await;
    for event in [update, created] {
        assert_eq!(word(&send(&stack, &event).await), "hint");
        stack.settled().await;
        assert!(stack.row(id).await.is_none());
    }
    let told = origins(&stack, id).await;
    assert!(!told.iter().any(|told| told.contains("restored")), "{told:?}");
    stack.end().await;
}

/// As after a restore at the provider, or one that somebody made up who has the secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_comes_late_deletes_nobody_who_is_there() {
    let stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    assert_eq!(word(&send(&stack, &of_deletion(id)).await), "hint");
    stack.settled().await;
    stack.agrees(id).await.expect("still there");
    assert_eq!(origins(&stack, id).await, ["user.created by proxy.read"]);
    stack.end().await;
}

/// Of whom nothing is remembered: the read that verifies it finds nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_comes_long_after_the_deletion_leaves_nobody() {
    let mut stack = stack().await;
    let id = stack.user(json!({ "display_name": "Brief" }));
    let created = of_user(&stack, "user.created", id);
    assert!(stack.control().delete(0, id));
    assert_eq!(word(&send(&stack, &of_deletion(id)).await), "hint");
    stack.settled().await;
    stack.restart().await;
    send(&stack, &created).await;
    stack.settled().await;
    assert!(stack.row(id).await.is_none_or(|row| row.is_deleted));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_own_create_and_its_webhook_are_one_change_whichever_comes_first() {
    let stack = stack().await;
    let webhooks = connect(&stack);
    let server = stack.server(0);
    // Before the answer, which the provider holds back.
    let gate = Gate::new();
    stack
        .control()
        .fault(Fault::on("/users", Action::HoldAfter(gate.clone())));
    let asked = async {
        let reply = stack
            .post(&server, "/users", json!({ "display_name": "Ada" }))
            .await;
        let id: Uuid = reply.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        (reply, id)
    };
    let opened = async {
        gate.reached().await;
        eventually("the webhook is taken", || async {
            (webhooks.taken() == 1).then_some(())
        })
        .await;
        gate.release();
    };
    let ((reply, ada), ()) = tokio::join!(asked, opened);
    stack.is_recorded(&reply, ada).await;
    all_taken(&stack).await;
    assert_eq!(origins(&stack, ada).await, ["user.created by webhook"]);
    // After it.
    webhooks.hold();
    let reply = stack
        .post(&server, "/users", json!({ "display_name": "Bea" }))
        .await;
    let bea: Uuid = reply.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    stack.is_recorded(&reply, bea).await;
    stack.settled().await;
    let reads = stack.control().count(&::http::Method::GET, "/users/{id}");
    webhooks.release();
    all_taken(&stack).await;
    assert_eq!(origins(&stack, bea).await, ["user.created by proxy.write"]);
    let more = stack.control().count(&::http::Method::GET, "/users/{id}") - reads;
    assert_eq!(more, 0, "what the row says already costs no read");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_event_is_acknowledged_and_costs_nothing() {
    let stack = stack().await;
    let id = stack.known_user(json!({ "display_name": "0" })).await;
    assert!(stack.control().edit(0, id, json!({ "display_name": "1" })));
    let event = of_user(&stack, "user.updated", id);
    assert_eq!(word(&send(&stack, &event).await), "hint");
    stack.settled().await;
    let (before, asked) = (stack.position().await, stack.control().log().len());
    for _ in 0..5 {
        assert_eq!(word(&send(&stack, &event).await), "duplicate");
    }
    stack.settled().await;
    assert_eq!(
        (stack.position().await, stack.control().log().len()),
        (before, asked)
    );
    assert_eq!(figures(&stack).await["duplicates"], 5);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_the_selected_team_shows_in_the_member() {
    let stack = stack().await;
    connect(&stack);
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let server = stack.server(0);
    let team = json!({ "display_name": "T", "creator_user_id": id });
    let team = stack.post(&server, "/teams", team).await.json()["id"].clone();
    let team = team.as_str().expect("a team").to_owned();
    let selected = stack
        .patch(
            &server,
            &format!("/users/{id}"),
            json!({ "selected_team_id": team }),
        )
        .await;
    stack.is_recorded(&selected, id).await;
    all_taken(&stack).await;
    // Behind the proxy's back.
    let left = stack
        .server(0)
        .send(
            stack.sandbox.addr(),
            ::http::Method::DELETE,
            &format!("/team-memberships/{team}/{id}"),
            "{}".into(),
        )
        .await
        .expect("an answer");
    assert_eq!(left.effective_status(), 200, "{}", left.text());
    all_taken(&stack).await;
    stack.agrees(id).await.expect("no team any more");
    let row = stack.row(id).await.expect("a row");
    assert_eq!(row.raw["selected_team_id"], json!(null));
    stack.end().await;
}

/// Twenty changes of each, every event twice and in no order.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_read_once_for_many_and_ends_right() {
    let stack = with(Setup::set(&[("USERTAP_RATE", "400/1s")])).await;
    let webhooks = connect(&stack);
    let ids: Vec<Uuid> = (0..50)
        .map(|n| stack.user(json!({ "display_name": format!("{n}") })))
        .collect();
    all_taken(&stack).await;
    webhooks.hold();
    for round in 0..20 {
        for id in &ids {
            let name = json!({ "display_name": format!("{round}") });
            assert!(stack.control().edit(0, *id, name));
        }
    }
    let mut events: Vec<Event> = webhooks.take();
    assert_eq!(events.len(), 1_000);
    let again: Vec<Event> = events
        .iter()
        .map(|event| Event {
            id: format!("{}x", event.id),
            ..event.clone()
        })
        .collect();
    events.extend(again);
    // As mixed as it gets without chance.
    events.sort_by_key(|event| event.id.chars().rev().collect::<String>());
    stack.control().forget_traffic();
    let began = now();
    webhooks.send(events);
    webhooks.release();
    all_taken(&stack).await;
    let reads = stack.control().count(&::http::Method::GET, "/users/{id}");
    // Of each user one a second, and no more.
    let at_most = 50 * (began.elapsed().as_secs() + 2);
    assert!(
        (50..=at_most).contains(&reads),
        "{reads} reads, at most {at_most}"
    );
    assert_eq!(stack.control().limited(), 0);
    for id in ids {
        stack.agrees(id).await.expect("the last change");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_event_tells_is_no_users_business() {
    let stack = stack().await;
    let before = (stack.position().await, stack.control().log().len());
    let team = Event::new(
        "team.updated",
        &json!({ "id": Uuid::new_v4(), "display_name": "T" }),
    );
    assert_eq!(word(&send(&stack, &team).await), "ignored");
    for kind in ["invoice.paid", ""] {
        assert_eq!(
            word(&send(&stack, &Event::new(kind, &json!({}))).await),
            "unknown"
        );
    }
    for data in [json!({}), json!({ "id": 5 }), json!({ "id": "me" }), json!(null)] {
        assert_eq!(
            word(&send(&stack, &Event::new("user.updated", &data)).await),
            "malformed"
        );
    }
    for body in ["", "{", "[]", "\u{0}", r#"{"type":5}"#, r#"{"data":{}}"#] {
        let event = Event {
            id: body.len().to_string(),
            kind: String::new(),
            body: body.into(),
        };
        assert_eq!(word(&send(&stack, &event).await), "malformed", "{body}");
    }
    stack.settled().await;
    assert_eq!((stack.position().await, stack.control().log().len()), before);
    // Nothing was learned of anybody, and that is named.
    let status = stack.status().await;
    assert_eq!(status["freshness"]["webhook"], json!(null));
    assert_eq!(status["problems"][0]["word"], "webhooks-malformed", "{status}");
    let told = figures(&stack).await;
    assert_eq!(
        (&told["ignored"], &told["unknown"], &told["malformed"]),
        (&json!(1), &json!(2), &json!(10))
    );
    let ada = stack.user(json!({ "display_name": "Ada" }));
    let created = of_user(&stack, "user.created", ada);
    assert_eq!(word(&send(&stack, &created).await), "applied");
    stack.settled().await;
    let status = stack.status().await;
    assert!(status["freshness"]["webhook"].is_u64(), "{status}");
    assert_eq!(status["problems"], json!([]));
    assert_eq!(webhooks(&stack).pending(), 0);
    stack.end().await;
}
