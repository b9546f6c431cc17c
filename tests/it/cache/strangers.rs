//! An answer is given only to the very credentials it was fetched with.

use std::time::Duration;

use ::http::Method;
use serde_json::{Value, json};

use super::{Told, keeping, with};
use crate::support::eventually;
use crate::support::shapes::Shaped;
use crate::support::stack::Caller;
use usertap::sandbox::{Action, Canned, Fault, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_given_what_another_asked_for() {
    let stack = keeping().await;
    let (ada, bob) = (
        stack.user(json!({ "display_name": "Ada" })),
        stack.user(json!({ "display_name": "Bob" })),
    );
    let callers: Vec<Caller> = vec![
        stack.server(0),
        stack.admin(0),
        stack.signed_in(0, ada),
        stack.signed_in(0, bob),
        stack.server(0).newer(),
        stack.signed_in(0, ada).newer(),
        stack.server(0).with("secret-server-key", "ssk_of_nobody"),
        stack.browser(0),
        stack.server(0).raw("cookie", "a=1"),
        stack.server(0).raw("authorization", "Bearer x"),
    ];
    let paths = [
        format!("/users/{ada}"),
        format!("/users/{bob}"),
        "/users/me".into(),
        "/users?limit=10".into(),
    ];
    for path in &paths {
        for caller in &callers {
            // Whatever others have asked for meanwhile, this is what the provider itself says.
            let straight = caller
                .send(stack.sandbox.addr(), http::Method::GET, path, String::new())
                .await;
            let straight = straight.expect("an answer");
            let first = stack.get(caller, path).await;
            assert!(!first.cached().starts_with("hit"), "{path}: {}", first.cached());
            for _ in 0..2 {
                let again = stack.get(caller, path).await;
                assert_eq!(again.effective_status(), straight.effective_status(), "{path}");
                assert_eq!(again.json(), straight.json(), "{path}");
            }
        }
    }
    // Those who were given an answer are given it again, to the last.
    assert_eq!(stack.get(&callers[0], &paths[0]).await.cached(), "hit; fresh");
    assert_eq!(stack.get(&callers[2], "/users/me").await.cached(), "hit; fresh");
    let me = stack.get(&callers[3], "/users/me").await;
    assert_eq!(
        (me.cached(), me.json()["display_name"].as_str()),
        ("hit; fresh", Some("Bob"))
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_twice_is_nobodys_and_kept_for_nobody() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{ada}");
    let project = stack.setting(0, "STACK_PROJECT_ID");
    let twice = stack.server(0).raw("x-stack-project-id", project);
    let tokens = stack.signed_in(0, ada).raw("x-stack-access-token", "another");
    for _ in 0..3 {
        assert_eq!(stack.get(&twice, &path).await.cached(), "bypass; foreign-tenant");
        assert_eq!(stack.get(&tokens, "/users/me").await.cached(), "bypass; repeated");
        let other = stack
            .server(0)
            .with("project-id", stack.setting(1, "STACK_PROJECT_ID"));
        assert_eq!(stack.get(&other, &path).await.cached(), "bypass; foreign-tenant");
    }
    stack.end().await;
}

/// A refused key is refused from the next time on at which the provider is asked.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_now_is_given_nothing_fresh_after_the_ttl() {
    let stack = with(&[("USERTAP_CACHE_TTL", "300ms"), ("USERTAP_STALE_IF_ERROR", "1h")]).await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    assert_eq!(stack.get(&server, &path).await.status, 200);
    let refused = || {
        let refusal = Canned::new(401, r#"{"code":"INVALID_SECRET_SERVER_KEY","error":"no"}"#);
        stack.control().fault(Fault::on(&path, Action::Reject(refusal)));
    };
    refused();
    eventually("the refusal", || async {
        let got = stack.get(&server, &path).await;
        (got.status == 401).then_some(())
    })
    .await;
    assert_eq!(stack.control().faults_left(), 0);
    // Not even an outage brings the old answer back.
    stack
        .control()
        .fault(Fault::on(&path, Action::Reject(Canned::new(503, "away"))));
    assert_eq!(stack.get(&server, &path).await.status, 503);
    tokio::time::timeout(Duration::from_secs(30), stack.end())
        .await
        .expect("an end");
}

/// Whoever learned of it by asking anew is not given what was kept before.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_a_fresh_answer_is_not_given_the_kept_one() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    for refusal in [401, 403] {
        eventually("it is kept", || async {
            (stack.get(&server, &path).await.cached() == "hit; fresh").then_some(())
        })
        .await;
        let refused = || {
            let canned = Canned::new(refusal, r#"{"error":"no"}"#);
            stack.control().fault(Fault::on(&path, Action::Reject(canned)));
        };
        refused();
        let anew = server.clone().raw("cache-control", "no-cache");
        assert_eq!(stack.get(&anew, &path).await.status, refusal);
        refused();
        let next = stack.get(&server, &path).await;
        assert_eq!((next.status.as_u16(), next.cached()), (refusal, "miss; absent"));
    }
    stack.end().await;
}

/// Also on a route of which nothing else is known.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_anywhere_is_given_nothing_stale() {
    let stack = with(&[("USERTAP_CACHE_TTL", "1ms"), ("USERTAP_STALE_IF_ERROR", "1h")]).await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    // Not usertap's own key: of that it may be what it may not do.
    let (server, path) = (stack.admin(0), format!("/users/{ada}"));
    let says = |path: &str, status| {
        let canned = Canned::new(status, r#"{"error":"no"}"#);
        stack.control().fault(Fault::on(path, Action::Reject(canned)));
    };
    for (refused_on, then) in [(None, 200), (Some("/projects/current"), 503)] {
        assert_eq!(
            stack.get(&server, &path).await.cached().split(';').next(),
            Some("miss")
        );
        if let Some(route) = refused_on {
            says(route, 401);
            assert_eq!(stack.get(&server, route).await.status, 401);
        }
        says(&path, 503);
        assert_eq!(stack.get(&server, &path).await.status, then, "{refused_on:?}");
    }
    stack.end().await;
}

/// WorkOS says the same of a password that is wrong as of the app's key, which goes along.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_refuses_nobodys_key() {
    let settings = [("WORKOS_API_KEY", "sk_1"), ("USERTAP_CACHE_TTL", "1ms")];
    let (user, sign_in) = ("/user_management/users/user_01A", "/user_management/authenticate");
    let world = Shaped::start("workos", &settings, |shapes| {
        let ada = json!({"object": "user", "id": "user_01A", "email": "ada@example.com",
                         "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
        shapes.on(
            "GET /user_management/users/",
            404,
            r#"{"code":"entity_not_found"}"#,
        );
        shapes.on(&format!("GET {user}"), 200, ada);
        shapes.on(
            &format!("POST {sign_in}"),
            401,
            json!({ "code": "invalid_credentials" }),
        );
    })
    .await;
    let key = [("authorization", "Bearer sk_1")];
    let ask = |method, target, body| world.served.ask(method, target, &key, body);
    assert_eq!(ask(Method::GET, user, &Value::Null).await.status, 200);
    let guessed = json!({ "grant_type": "password", "email": "ada@example.com", "password": "guessed" });
    assert_eq!(ask(Method::POST, sign_in, &guessed).await.status, 401);
    world.shapes.on(&format!("GET {user}"), 503, "away");
    let got = ask(Method::GET, user, &Value::Null).await;
    assert_eq!(
        (got.status.as_u16(), got.cached()),
        (200, "stale; upstream-error")
    );
    let given = world.served.status().await["budget"]["given"].clone();
    assert_eq!(given["stranger"], 0, "{given}");
    world.end().await;
}

/// What was asked before the refusal is answered to whoever asked, and to nobody again.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_somebody_refused_meanwhile_is_not_kept() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    // A read of another key, so that nothing of it is kept yet.
    let slow = server.clone().raw("accept-language", "en");
    let gate = Gate::new();
    stack
        .control()
        .fault(Fault::on(&path, Action::HoldAfter(gate.clone())));
    let read = stack.get(&slow, &path);
    let refusal = async {
        gate.reached().await;
        let refused = Canned::new(401, r#"{"error":"no"}"#);
        stack
            .control()
            .fault(Fault::on("/users?limit=7", Action::Reject(refused)));
        assert_eq!(stack.get(&server, "/users?limit=7").await.status, 401);
        gate.release();
    };
    let (read, ()) = tokio::join!(read, refusal);
    assert_eq!(read.status, 200);
    assert_eq!(stack.get(&slow, &path).await.cached(), "miss; absent");
    assert_eq!(stack.get(&slow, &path).await.cached(), "hit; fresh");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_does_not_matter_and_any_other_header_does() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{ada}");
    let with = |name, value: &str| stack.server(0).raw(name, value);
    assert!(
        stack
            .get(&with("x-stack-random-nonce", "1"), &path)
            .await
            .cached()
            == "hit; fresh"
    );
    assert_eq!(
        stack
            .get(&with("x-stack-random-nonce", "2"), &path)
            .await
            .cached(),
        "hit; fresh"
    );
    // What watches an app writes into each of its requests.
    for tracing in [
        "traceparent",
        "x-datadog-parent-id",
        "x-b3-spanid",
        "x-amzn-trace-id",
        "newrelic",
    ] {
        assert_eq!(
            stack.get(&with(tracing, "00-1"), &path).await.cached(),
            "hit; fresh",
            "{tracing}"
        );
    }
    assert_eq!(
        stack
            .get(&with("x-stack-allow-restricted-user", "true"), &path)
            .await
            .cached(),
        "miss; absent"
    );
    assert_eq!(
        stack.get(&with("accept-encoding", "gzip"), &path).await.cached(),
        "miss; absent"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_answer_is_fetched_for_whom_it_is_no_habit_to_ask() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    stack.get(&server, &path).await;
    assert!(
        stack
            .control()
            .edit(0, ada, json!({ "display_name": "Ada behind" }))
    );
    let sdk = server
        .clone()
        .raw("x-stack-client-version", "js @stackframe/js@2.8.77");
    let habit = sdk
        .clone()
        .raw("cache-control", "no-cache")
        .raw("pragma", "no-cache");
    stack.get(&habit, &path).await;
    assert_eq!(stack.get(&habit, &path).await.cached(), "hit; fresh");
    let meant = server.clone().raw("cache-control", "no-cache");
    let fresh = stack.get(&meant, &path).await;
    assert_eq!(
        (fresh.cached(), fresh.json()["display_name"].as_str()),
        ("bypass; no-cache", Some("Ada behind"))
    );
    let forced = sdk.raw("cache-control", "max-age=0");
    assert_eq!(stack.get(&forced, &path).await.cached(), "bypass; no-cache");
    // What it brought is kept for the others.
    let after = stack.get(&server, &path).await;
    assert_eq!(
        (after.cached(), after.json()["display_name"].as_str()),
        ("hit; fresh", Some("Ada behind"))
    );
    stack.end().await;
}
