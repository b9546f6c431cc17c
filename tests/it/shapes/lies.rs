//! Lists that lie, and users who are deleted and still shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::shapes::Shaped;

const ONE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";
const TWO: &str = "8b2d5a3e-1111-4c1a-9a37-000000000002";

const LIST: &str = "GET /api/auth/admin/list-users";
const READ: &str = "GET /api/auth/admin/get-user?id=";
const BEHIND_ONE: &str = "?sortBy=createdAt&sortDirection=asc&limit=100&offset=1";
const NOBODY: &str = r#"{"users":[],"total":0}"#;

fn user(id: &str) -> Value {
    json!({"id": id, "name": "Ada", "email": "ada@example.com", "banned": false, "role": "user",
           "createdAt": "2024-01-02T03:04:05Z", "updatedAt": "2024-01-02T03:04:05Z"})
}

async fn better_auth() -> Shaped {
    let world = Shaped::better_auth(&[], |_| {}).await;
    world.shapes.on(
        LIST,
        200,
        json!({"users": [user("kQ1"), user("kQ2")], "total": 2}),
    );
    world.shapes.on(
        &format!("{LIST}{BEHIND_ONE}"),
        200,
        json!({"users": [user("kQ2")], "total": 2}),
    );
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    assert_eq!(world.served.count("deleted_at IS NULL").await, 2);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_says_nobody_ends_no_walk_and_deletes_nobody() {
    let world = better_auth().await;
    // Even the single reads find nobody, as where the database behind them is another one.
    world.shapes.on(LIST, 200, NOBODY);
    for kind in ["backfill", "reconcile"] {
        let run = world.served.walk(kind).await;
        assert_eq!(run["state"], "failed", "{run}");
        assert!(
            run["error"]
                .as_str()
                .unwrap()
                .contains("although users are known"),
            "{run}"
        );
    }
    assert_eq!(world.served.count("deleted_at IS NULL").await, 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_says_nothing_of_holds_up_nobody_behind() {
    let world = better_auth().await;
    world
        .shapes
        .on(LIST, 200, json!({"users": [user("kQ3")], "total": 1}));
    world
        .shapes
        .on(&format!("{LIST}{BEHIND_ONE}"), 200, r#"{"users":[],"total":1}"#);
    // The first by id; the second is gone.
    world
        .shapes
        .on(&format!("{READ}kQ1"), 403, r#"{"message":"not this one"}"#);
    let run = world.served.walk("reconcile").await;
    let error = run["error"].as_str().unwrap_or_default();
    assert!(run["state"] == "failed" && error.contains("kQ1"), "{run}");
    assert_eq!(
        world.served.count("id = 'kQ2' AND deleted_at IS NOT NULL").await,
        1
    );
    assert_eq!(world.served.count("id = 'kQ1' AND deleted_at IS NULL").await, 1);
    // A key that is not taken says nothing of anybody.
    world.shapes.on(READ, 401, "");
    let run = world.served.walk("reconcile").await;
    assert_eq!(run["state"], "failed", "{run}");
    world.end().await;
}

/// Ory's own gateway has the form of Kratos' errors, where it knows no rule for a path.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_speaks_as_the_provider_does_deletes_nobody() {
    const READ: &str = "GET /admin/identities/";
    let gone = r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#;
    let shown = |id: &str| {
        json!({"id": id, "schema_id": "default", "state": "active", "traits": {"email": "ada@example.com"},
               "created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-01-02T03:04:05Z"})
    };
    let world = Shaped::start("kratos", &[], |shapes| {
        shapes.on(READ, 404, gone);
        shapes.on("GET /admin/identities?", 200, json!([shown(ONE), shown(TWO)]));
    })
    .await;
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    world
        .shapes
        .on("GET /admin/identities?", 200, json!([shown(ONE)]));
    let no_rule = r#"{"error":{"code":404,"status":"Not Found","request":"474ecda5-d911-458c-9cd5-a607bd413a1a","message":"Requested url does not match any rules"}}"#;
    world.shapes.on(READ, 404, no_rule);
    let run = world.served.walk("reconcile").await;
    assert_eq!(run["state"], "failed", "{run}");
    assert_eq!(world.served.count("deleted_at IS NULL").await, 2);
    world.shapes.on(READ, 404, gone);
    let run = world.served.walk("reconcile").await;
    assert_eq!(
        (&run["state"], &run["drift"]["deleted"]),
        (&json!("done"), &json!(1)),
        "{run}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_says_nobody_on_its_second_page_is_asked_again() {
    let world = better_auth().await;
    let users: Vec<Value> = (1..=12).map(|n| user(&format!("kQ{n}"))).collect();
    world.shapes.on(LIST, 200, json!({"users": users, "total": 12}));
    // Behind the twelve, and half of them again.
    let second = format!("{LIST}?sortBy=createdAt&sortDirection=asc&limit=100&offset=6");
    world.shapes.on(&second, 200, NOBODY);
    let walk = world.served.walk("reconcile");
    let heal = async {
        let asked = || {
            world
                .shapes
                .asked()
                .iter()
                .filter(|asked| asked.target.ends_with("offset=6"))
                .count()
        };
        crate::support::eventually("the page is asked for again", async || {
            (asked() >= 3).then_some(())
        })
        .await;
        world
            .shapes
            .on(&second, 200, json!({"users": users[6..], "total": 12}));
    };
    let (run, ()) = tokio::join!(walk, heal);
    assert_eq!(run["state"], "done", "{run}");
    assert_eq!(world.served.count("deleted_at IS NULL").await, 12);
    world.end().await;
}

/// Who names no version of Supabase's API is answered with the status in the place of the code.
#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_counts_whichever_version_of_the_api_was_asked() {
    let read = format!("GET /auth/v1/admin/users/{ONE}");
    let shown = json!({"id": ONE, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {}, "identities": [],
                       "created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-01-02T03:04:06Z"});
    let settings = [("SUPABASE_SERVICE_ROLE_KEY", "service")];
    let world = Shaped::start("supabase", &settings, |shapes| {
        let nobody = r#"{"code":"user_not_found","message":"User not found"}"#;
        shapes.on("GET /auth/v1/admin/users/", 404, nobody);
        shapes.on(&read, 200, &shown);
    })
    .await;
    let key = [("authorization", "Bearer service"), ("apikey", "service")];
    world.ask(&read, &key).await;
    assert!(!world.served.row(ONE).await.expect("a row").is_deleted);
    let gone = r#"{"code":404,"error_code":"user_not_found","msg":"User not found"}"#;
    world.shapes.on(&read, 404, gone);
    let reply = world.ask(&format!("{read}?again=1"), &key).await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    assert!(world.served.row(ONE).await.expect("a row").is_deleted);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_deleted_and_still_shown_is_deleted_in_the_row() {
    let world = Shaped::start(
        "supabase",
        &[("SUPABASE_SERVICE_ROLE_KEY", "service")],
        |shapes| {
            shapes.on(
                "GET /auth/v1/admin/users/",
                404,
                r#"{"code":"user_not_found","message":"User not found"}"#,
            );
        },
    );
    let world = world.await;
    let shown = |id: &str, deleted: Value| {
        json!({"id": id, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {}, "identities": null,
               "created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-01-02T03:04:06Z", "deleted_at": deleted})
    };
    let list = |users: Value| json!({"users": users, "aud": "authenticated"});
    let (list_on, second) = (
        "GET /auth/v1/admin/users?",
        "GET /auth/v1/admin/users?sort=created_at+asc&per_page=1000&page=2",
    );
    let gone = json!("2024-02-02T03:04:05Z");
    world.shapes.on(
        list_on,
        200,
        list(json!([shown(ONE, Value::Null), shown(TWO, gone.clone())])),
    );
    world.shapes.on(second, 200, list(json!([])));
    world.shapes.on(
        &format!("GET /auth/v1/admin/users/{TWO}"),
        200,
        shown(TWO, gone.clone()),
    );
    let run = world.served.walk("backfill").await;
    let account = ["fetched", "inserted", "unchanged"].map(|what| run[what].as_i64());
    assert_eq!(account, [2, 1, 1].map(Some), "{run}");
    assert_eq!(world.served.status().await["problems"], json!([]));
    assert!(!world.served.row(ONE).await.unwrap().is_deleted);
    assert!(
        world.served.row(TWO).await.is_none_or(|row| row.is_deleted),
        "never seen alive"
    );

    // Another key, whose project may be another, proves nothing of it.
    let alone = format!("GET /auth/v1/admin/users/{ONE}");
    let to_another = format!("{alone}?as=another");
    world.shapes.on(&alone, 200, shown(ONE, Value::Null));
    world.shapes.on(&to_another, 200, shown(ONE, gone.clone()));
    let another = [("authorization", "Bearer another"), ("apikey", "another")];
    world.ask(&to_another, &another).await;
    assert!(!world.served.row(ONE).await.unwrap().is_deleted);

    // An app deletes softly: the answer is `{}`, and the read that follows says which.
    world.shapes.on(&alone, 200, shown(ONE, gone));
    world
        .shapes
        .on(&format!("DELETE /auth/v1/admin/users/{ONE}"), 200, "{}");
    let headers = [("authorization", "Bearer service"), ("apikey", "service")];
    let target = format!("/auth/v1/admin/users/{ONE}");
    let body = json!({"should_soft_delete": true});
    let reply = world
        .served
        .ask(::http::Method::DELETE, &target, &headers, &body)
        .await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    assert!(world.served.row(ONE).await.unwrap().is_deleted);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_refused_is_got_anew() {
    let world = better_auth().await;
    let before = logins(&world);
    world.shapes.on(READ, 401, "");
    let headers = [("authorization", "Bearer of-the-app")];
    let body = json!({"userId": "kQ1", "role": "admin"});
    world.shapes.on("POST /api/auth/admin/set-role", 200, "{}");
    let write = world
        .served
        .ask(::http::Method::POST, "/api/auth/admin/set-role", &headers, &body);
    let heal = async {
        crate::support::eventually("a new token", async || (logins(&world) > before).then_some(())).await;
        world.shapes.on(
            READ,
            200,
            crate::support::shapes::set(user("kQ1"), "/role", "admin"),
        );
    };
    let (reply, ()) = tokio::join!(write, heal);
    assert_eq!(reply.status, 200);
    crate::support::eventually("the row has the role", async || {
        let row = world.served.row("kQ1").await?;
        (row.raw["role"] == "admin").then_some(())
    })
    .await;
    world.end().await;
}

/// As while an app is deployed anew: it fails, and after that knows none of the sessions it gave before.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_after_a_failure_is_got_anew_too() {
    let world = better_auth().await;
    let (before, asked) = (logins(&world), AtomicUsize::new(0));
    world.shapes.by(LIST, move |target| {
        let behind = usize::from(target.ends_with("offset=1"));
        let users = vec![user("kQ1"), user("kQ2")].split_off(behind);
        match asked.fetch_add(1, Ordering::Relaxed) {
            0 => (503, Vec::new(), json!({})),
            1 => (401, Vec::new(), json!({"code": "UNAUTHORIZED"})),
            _ => (200, Vec::new(), json!({"users": users, "total": 2})),
        }
    });
    let run = world.served.walk("backfill").await;
    assert_eq!(run["state"], "done", "{run}");
    assert_eq!(logins(&world), before + 1);
    world.end().await;
}

/// Better Auth takes three sign-ins in ten seconds from one address, an app's users' among them.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_tokens_is_waited_for_and_is_no_refused_key() {
    let mut world = better_auth().await;
    let too_many = r#"{"message":"Too many requests. Please try again later."}"#;
    world.shapes.with(
        "POST /api/auth/sign-in/email",
        429,
        &[("x-retry-after", "3000")],
        too_many,
    );
    let before = logins(&world);
    world.served.restart().await;
    let url = world.served.admin_url("/v1/backfill");
    assert!(http::post(&url, &[], &json!({})).await.status.is_success());
    crate::support::eventually("the walk is held up by the limit", async || {
        let status = world.served.status().await;
        let run = &status["backfill"];
        assert_ne!(run["state"], "failed", "{run}");
        assert!(
            !status["problems"].to_string().contains("key-refused"),
            "{status}"
        );
        let is_limit = run["error"].as_str()?.contains("limit is used up");
        (run["state"] == "running" && is_limit).then_some(())
    })
    .await;
    assert_eq!(logins(&world), before + 1, "asked again before it is time");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lasts_for_ever_is_taken() {
    let settings = [
        ("KEYCLOAK_REALM", "shop"),
        ("KEYCLOAK_CLIENT_ID", "usertap"),
        ("KEYCLOAK_CLIENT_SECRET", "secret"),
    ];
    let token = json!({"access_token": "own-token", "expires_in": u64::MAX, "token_type": "Bearer"});
    let world = Shaped::start("keycloak", &settings, |shapes| {
        shapes.on("POST /realms/shop/protocol/openid-connect/token", 200, &token);
        shapes.on(
            "GET /admin/realms/shop/users/",
            404,
            r#"{"error":"User not found"}"#,
        );
        shapes.on("GET /admin/realms/shop/users?", 200, "[]");
    })
    .await;
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    world.end().await;
}

fn logins(world: &Shaped) -> usize {
    let asked = world.shapes.asked();
    asked
        .iter()
        .filter(|asked| asked.target == "/api/auth/sign-in/email")
        .count()
}
