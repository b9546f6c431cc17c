//! What ends a kept answer: any change, from wherever this process learns of it, and whatever is
//! under way meanwhile.

use http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Fault, Gate};
use uuid::Uuid;

use super::{Told, keeping};
use crate::support::shapes::Shaped;
use crate::support::stack::{Caller, Stack};

async fn name(stack: &Stack, caller: &Caller, path: &str) -> (String, Value) {
    let got = stack.get(caller, path).await;
    (got.cached().to_owned(), got.json()["display_name"].clone())
}

/// A user whose answer is kept.
async fn kept(stack: &Stack) -> (Uuid, String) {
    let ada = stack.user(json!({ "display_name": "Ada" }));
    let path = format!("/users/{ada}");
    let first = stack.get(&stack.server(0), &path).await;
    assert_eq!(first.cached(), "miss; absent");
    stack.is_recorded(&first, ada).await;
    // What the first read told itself was no change to it.
    let second = stack.get(&stack.server(0), &path).await;
    assert_eq!(
        (second.cached(), second.recorded()),
        ("hit; fresh", "committed; unchanged")
    );
    assert!(second.header("age").is_some());
    (ada, path)
}

/// What was kept of the list is not given any more.
async fn is_listed_anew(stack: &Stack, list: &str, users: usize) {
    let listed = stack.get(&stack.server(0), list).await;
    assert_eq!(
        (listed.cached(), listed.json()["items"].as_array().map(Vec::len)),
        ("miss; changed", Some(users))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_by_every_read_after_its_answer() {
    let stack = keeping().await;
    let (ada, path) = kept(&stack).await;
    let (server, me) = (stack.server(0), stack.signed_in(0, ada));
    let list = "/users?limit=100";
    stack.get(&me, "/users/me").await;
    stack.get(&server, list).await;
    assert_eq!(stack.get(&me, "/users/me").await.cached(), "hit; fresh");
    assert_eq!(stack.get(&server, list).await.cached(), "hit; fresh");
    for n in 0..5 {
        let wanted = format!("Ada {n}");
        stack
            .patch(&server, &path, json!({ "display_name": wanted }))
            .await;
        assert_eq!(
            name(&stack, &server, &path).await,
            ("miss; changed".into(), json!(wanted))
        );
        assert_eq!(
            name(&stack, &me, "/users/me").await,
            ("miss; changed".into(), json!(wanted))
        );
        let listed = stack.get(&server, list).await;
        assert_eq!(
            (listed.cached(), &listed.json()["items"][0]["display_name"]),
            ("miss; changed", &json!(wanted))
        );
        assert_eq!(name(&stack, &server, &path).await.0, "hit; fresh");
    }
    stack
        .patch(&me, "/users/me", json!({ "display_name": "herself" }))
        .await;
    assert_eq!(
        name(&stack, &server, &path).await,
        ("miss; changed".into(), json!("herself"))
    );
    stack.delete(&server, &path).await;
    assert_eq!(stack.get(&server, &path).await.effective_status(), 404);
    is_listed_anew(&stack, list, 0).await;
    stack.end().await;
}

/// A sign-in names nobody in its request, and moves what is no event: the time of the last one.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_too_that_changes_no_row() {
    let settings = [("WORKOS_API_KEY", "sk_1"), ("USERTAP_CACHE_TTL", "10m")];
    let (path, sign_in) = ("/user_management/users/user_01A", "/user_management/authenticate");
    let ada = |signed_in| {
        json!({"object": "user", "id": "user_01A", "email": "ada@example.com", "created_at": "2024-01-02T03:04:05.678Z",
               "updated_at": "2024-01-02T03:04:05.678Z", "last_sign_in_at": signed_in})
    };
    let world = Shaped::start("workos", &settings, |shapes| {
        shapes.on(
            "GET /user_management/users/",
            404,
            r#"{"code":"entity_not_found"}"#,
        );
        shapes.on(&format!("GET {path}"), 200, ada("2024-02-01T00:00:00.000Z"));
    })
    .await;
    let key = [("authorization", "Bearer sk_1")];
    let ask = |method, target, body| world.served.ask(method, target, &key, body);
    for word in ["miss; absent", "hit; fresh"] {
        assert_eq!(ask(Method::GET, path, &Value::Null).await.cached(), word);
    }
    let late = ada("2024-02-02T00:00:00.000Z");
    world.shapes.on(&format!("GET {path}"), 200, &late);
    world
        .shapes
        .on(&format!("POST {sign_in}"), 200, json!({ "user": late }));
    let signing_in = json!({ "grant_type": "password" });
    let signed_in = ask(Method::POST, sign_in, &signing_in).await;
    assert_eq!(signed_in.recorded(), "committed; unchanged");
    let got = ask(Method::GET, path, &Value::Null).await;
    assert_eq!((got.cached(), got.json()), ("miss; changed", late));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_is_in_every_list_after_that_answer() {
    let stack = keeping().await;
    let (server, list) = (stack.server(0), "/users?limit=100");
    for n in 0..3 {
        let before = stack.get(&server, list).await.json();
        assert_eq!(before["items"].as_array().map(Vec::len), Some(n));
        stack
            .post(&server, "/users", json!({ "display_name": "new" }))
            .await;
    }
    let sign_up = json!({ "email": "ada@example.com", "password": "correct horse", "verification_callback_url": "http://localhost" });
    stack
        .post(&stack.browser(0), "/auth/password/sign-up", sign_up)
        .await;
    assert_eq!(
        stack.get(&server, list).await.json()["items"]
            .as_array()
            .map(Vec::len),
        Some(4)
    );
    stack.settled().await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_read_that_is_answered_after_a_write_does_not_become_the_kept_answer() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "old" })).await;
    let (server, path, gate) = (stack.server(0), format!("/users/{ada}"), Gate::new());
    stack
        .control()
        .fault(Fault::on(&path, Action::HoldAfter(gate.clone())).method(Method::GET));
    // Another header, so that nothing is kept for it yet.
    let reader = server.clone().raw("accept-language", "en");
    let reading = stack.get(&reader, &path);
    let writing = async {
        gate.reached().await;
        stack
            .patch(&server, &path, json!({ "display_name": "new" }))
            .await;
        gate.release();
    };
    let (old, ()) = tokio::join!(reading, writing);
    assert_eq!(
        old.json()["display_name"],
        "old",
        "the provider had read it before the write"
    );
    assert_eq!(
        name(&stack, &reader, &path).await,
        ("miss; absent".into(), json!("new"))
    );
    assert_eq!(
        name(&stack, &reader, &path).await,
        ("hit; fresh".into(), json!("new"))
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_while_a_write_is_under_way_ends_with_its_answer() {
    let stack = keeping().await;
    let (_, path) = kept(&stack).await;
    let (server, gate) = (stack.server(0), Gate::new());
    // Taken before the write is carried out, in the one case; carried out and not answered, in the other.
    for action in [Action::HoldBefore(gate.clone()), Action::HoldAfter(gate.clone())] {
        let gate = Gate::new();
        let action = match action {
            Action::HoldBefore(_) => Action::HoldBefore(gate.clone()),
            _ => Action::HoldAfter(gate.clone()),
        };
        let wanted = Uuid::new_v4().to_string();
        stack
            .control()
            .fault(Fault::on(&path, action).method(Method::PATCH));
        let writing = stack.patch(&server, &path, json!({ "display_name": wanted }));
        let reading = async {
            gate.reached().await;
            for _ in 0..3 {
                stack.get(&server, &path).await;
                stack
                    .get(&server.clone().raw("cache-control", "no-cache"), &path)
                    .await;
            }
            gate.release();
        };
        tokio::join!(writing, reading);
        assert_eq!(name(&stack, &server, &path).await.1, json!(wanted));
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_ends_it_too() {
    let stack = keeping().await;
    let (_, path) = kept(&stack).await;
    let server = stack.server(0);
    stack
        .control()
        .fault(Fault::on(&path, Action::PerformThenDrop).method(Method::PATCH));
    let lost = stack
        .patch(&server, &path, json!({ "display_name": "lost" }))
        .await;
    assert_eq!(lost.status, 502);
    assert_eq!(name(&stack, &server, &path).await.1, json!("lost"));
    // And where it named nobody, the lists.
    let list = "/users?limit=100";
    stack.get(&server, list).await;
    assert_eq!(stack.get(&server, list).await.cached(), "hit; fresh");
    stack
        .control()
        .fault(Fault::on("/users", Action::PerformThenDrop).method(Method::POST));
    let lost = stack
        .post(&server, "/users", json!({ "display_name": "Bea" }))
        .await;
    assert_eq!(lost.status, 502);
    is_listed_anew(&stack, list, 2).await;
    stack.end().await;
}

/// Who is given an answer again is told that its row is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_not_kept() {
    let stack = keeping().await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CHECK (name <> 'Refused')")
        .await;
    let id = stack.user(json!({ "display_name": "Refused" }));
    let (server, path) = (stack.server(0), format!("/users/{id}"));
    for _ in 0..3 {
        let got = stack.get(&server, &path).await;
        assert_eq!(got.recorded(), "none; set-aside");
        assert!(got.cached().starts_with("miss"), "{}", got.cached());
    }
    let fine = stack.patch(&server, &path, json!({ "display_name": "Fine" }));
    stack.is_recorded(&fine.await, id).await;
    stack.get(&server, &path).await;
    let again = stack.get(&server, &path).await;
    assert_eq!(
        (again.cached(), again.recorded()),
        ("hit; fresh", "committed; unchanged")
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_learns_ends_it_for_everybody() {
    let stack = keeping().await;
    let (ada, path) = kept(&stack).await;
    let (server, list) = (stack.server(0), "/users?limit=100");
    stack.get(&server, list).await;
    assert_eq!(stack.get(&server, list).await.cached(), "hit; fresh");
    // Another caller's read.
    assert!(stack.control().edit(0, ada, json!({ "display_name": "read" })));
    stack.get(&stack.admin(0), &path).await;
    assert_eq!(name(&stack, &server, &path).await.1, json!("read"));
    let listed = stack.get(&server, list).await;
    assert_eq!(
        (listed.cached(), &listed.json()["items"][0]["display_name"]),
        ("miss; changed", &json!("read"))
    );
    // A backfill.
    assert!(stack.control().edit(0, ada, json!({ "display_name": "walked" })));
    assert_eq!(name(&stack, &server, &path).await.0, "hit; fresh");
    stack.walk_begins("backfill").await;
    crate::support::eventually("the walk has seen it", || async {
        let row = stack.row(ada).await?;
        (row.name.as_deref() == Some("walked")).then_some(())
    })
    .await;
    assert_eq!(
        name(&stack, &server, &path).await,
        ("miss; changed".into(), json!("walked"))
    );
    assert_eq!(stack.get(&server, list).await.cached(), "miss; changed");
    stack.walk_ends("backfill").await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_an_unknown_path_ends_everything_unless_it_was_refused_or_anothers() {
    let stack = keeping().await;
    let (_, path) = kept(&stack).await;
    let server = stack.server(0);
    let unknown = "/nobody-knows/this";
    stack.post(&server, unknown, json!({})).await;
    assert_eq!(
        stack.get(&server, &path).await.cached(),
        "hit; fresh",
        "the provider has no such path"
    );
    let elsewhere = Action::Reject(usertap::sandbox::Canned::new(308, ""));
    stack
        .control()
        .fault(Fault::on(unknown, elsewhere).method(Method::POST));
    stack.post(&server, unknown, json!({})).await;
    assert_eq!(
        stack.get(&server, &path).await.cached(),
        "hit; fresh",
        "it is to be asked elsewhere"
    );
    let performed = || {
        let fault = Action::Reject(usertap::sandbox::Canned::new(200, "{}"));
        stack
            .control()
            .fault(Fault::on(unknown, fault).method(Method::POST));
    };
    performed();
    stack
        .post(
            &server
                .clone()
                .with("project-id", stack.setting(1, "STACK_PROJECT_ID")),
            unknown,
            json!({}),
        )
        .await;
    assert_eq!(stack.get(&server, &path).await.cached(), "hit; fresh");
    performed();
    stack.post(&server, unknown, json!({})).await;
    assert_eq!(stack.get(&server, &path).await.cached(), "miss; changed");
    assert_eq!(stack.get(&server, &path).await.cached(), "hit; fresh");
    performed();
    let twice = server.clone().raw("x-stack-project-id", "x");
    stack.post(&twice, unknown, json!({})).await;
    assert_eq!(stack.get(&server, &path).await.cached(), "miss; changed");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_record_nothing_is_given_without_a_bookmark() {
    let stack = keeping().await;
    let (ada, path) = kept(&stack).await;
    let (server, cache) = (stack.server(0), stack.serving().station.cache.clone());
    // Straight at the cache: the next heartbeat finds nobody else.
    cache.set_shared(true);
    let got = stack.get(&server, &path).await;
    assert!(
        ["bypass; unfollowed", "miss; changed"].contains(&got.cached()),
        "{}",
        got.cached()
    );
    cache.set_shared(false);
    cache
        .forget(&usertap::user::UserId::parse(&ada.to_string(), usertap::user::IdType::Uuid).expect("an id"));
    assert!(stack.get(&server, &path).await.cached().starts_with("miss"));
    stack.end().await;
}
