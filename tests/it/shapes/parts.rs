//! Answers that say of nobody whom usertap knows: kept all the same, and ended by whatever changes. And
//! refusals of a part of the provider.

use ::http::Method;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::{self, Reply};
use crate::support::shapes::{Shaped, set};

const TOKEN: [(&str, &str); 1] = [("authorization", "Bearer of-the-app")];
const SSWS: [(&str, &str); 1] = [("authorization", "SSWS 00token")];

fn cached(reply: &Reply) -> (u16, &str) {
    let cached = reply.header("x-usertap-cache").unwrap_or_default();
    (reply.status.as_u16(), cached)
}

/// Of a user's fields some: they change with the user.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_user_ends_with_the_users_change() {
    const USER: &str = "/api/v2/users/auth0%7C1";
    const NAME: &str = "/api/v2/users/auth0%7C1?fields=name";
    let settings = [("AUTH0_CLIENT_ID", "client"), ("AUTH0_CLIENT_SECRET", "secret")];
    let ada = json!({"user_id": "auth0|1", "email": "ada@example.com", "name": "Ada", "identities": [],
                     "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
    let renamed = set(ada.clone(), "/name", "Ada King");
    let renamed = set(renamed, "/updated_at", "2024-01-03T03:04:05.678Z");
    let world = Shaped::start("auth0", &settings, |shapes| {
        let token = r#"{"access_token":"own-token","expires_in":86400}"#;
        shapes.on("POST /oauth/token", 200, token);
        let nobody = r#"{"statusCode":404,"error":"Not Found","message":"","errorCode":"inexistent_user"}"#;
        shapes.on("GET /api/v2/users/", 404, nobody);
        shapes.on(&format!("GET {USER}"), 200, &ada);
        shapes.on(&format!("GET {NAME}"), 200, r#"{"name":"Ada"}"#);
        shapes.on(&format!("PATCH {USER}"), 200, &renamed);
    })
    .await;
    let read = || world.served.ask(Method::GET, NAME, &TOKEN, &Value::Null);
    let whole = world.served.ask(Method::GET, USER, &TOKEN, &Value::Null).await;
    assert!(whole.recorded().starts_with("committed"), "{}", whole.recorded());
    for told in ["miss; absent", "hit; fresh"] {
        assert_eq!(cached(&read().await), (200, told));
    }
    world
        .shapes
        .on(&format!("GET {NAME}"), 200, r#"{"name":"Ada King"}"#);
    let name = json!({"name": "Ada King"});
    let write = world.served.ask(Method::PATCH, USER, &TOKEN, &name).await;
    assert!(write.recorded().starts_with("committed"), "{}", write.recorded());
    let again = read().await;
    assert_eq!((cached(&again), &again.json()), ((200, "miss; changed"), &name));
    world.end().await;
}

/// As apps do: look a user up by the login, create it where there is none, read it.
#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_by_login_ends_with_the_user_who_comes() {
    const EVE: &str = "/api/v1/users/eve@example.com";
    let nobody = r#"{"errorCode":"E0000007","errorSummary":"Not found"}"#;
    let eve = json!({"id": "00u1abcdefghijklmn0y", "status": "ACTIVE", "lastLogin": null,
                     "created": "2024-01-02T03:04:05.678Z", "lastUpdated": "2024-01-02T03:04:05.678Z",
                     "profile": {"firstName": "Eve", "email": "eve@example.com", "login": "eve@example.com"}});
    let world = Shaped::start("okta", &[("OKTA_CLIENT_TOKEN", "00token")], |shapes| {
        shapes.on("GET /api/v1/users/", 404, nobody);
        shapes.on("POST /api/v1/users", 200, &eve);
    })
    .await;
    let read = || world.served.ask(Method::GET, EVE, &SSWS, &Value::Null);
    assert_eq!(cached(&read().await), (404, "miss; absent"));
    let profile = json!({"profile": eve["profile"]});
    let write = world
        .served
        .ask(Method::POST, "/api/v1/users", &SSWS, &profile)
        .await;
    assert!(write.recorded().starts_with("committed"), "{}", write.recorded());
    world.shapes.on(&format!("GET {EVE}"), 200, &eve);
    let found = read().await;
    assert_eq!((cached(&found), found.json()), ((200, "miss; changed"), eve));
    world.end().await;
}

/// Okta counts by endpoint: whatever one of them refuses, others may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_one_endpoint_holds_back_no_app_elsewhere() {
    let nobody = r#"{"errorCode":"E0000007","errorSummary":"Not found"}"#;
    let world = Shaped::start("okta", &[("OKTA_CLIENT_TOKEN", "00token")], |shapes| {
        shapes.on("GET /api/v1/users/", 404, nobody);
        let spent = [("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "30")];
        shapes.with("GET /api/v1/users?limit=1", 200, &spent, "[]");
        shapes.with("GET /api/v1/users?limit=2", 429, &[("retry-after", "30")], "{}");
    })
    .await;
    let read = |target| world.served.ask(Method::GET, target, &SSWS, &Value::Null);
    for (spent, status) in [("/api/v1/users?limit=1", 200), ("/api/v1/users?limit=2", 429)] {
        assert_eq!(read(spent).await.status, status);
        let next = read("/api/v1/users/00u1abcdefghijklmn0z").await;
        let error = next.header("x-usertap-error");
        assert_eq!((next.status.as_u16(), error), (404, None), "{spent}");
    }
    world.end().await;
}

/// WorkOS counts codes by the address of a mail, Clerk invitations by the hour: who asks for too many of them
/// stops neither an app nor a walk.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_a_request_has_to_itself_holds_back_nobody_else() {
    let world = Shaped::start("workos", &[("WORKOS_API_KEY", "sk_test_1")], |shapes| {
        let nobody =
            r#"{"message":"User not found: 'user_1'.","code":"entity_not_found","entity_id":"user_1"}"#;
        let none = r#"{"object":"list","data":[],"list_metadata":{"before":null,"after":null}}"#;
        shapes.on("GET /user_management/users/", 404, nobody);
        shapes.on("GET /user_management/users?", 200, none);
    })
    .await;
    let code = json!({"email": "eve@example.com"});
    all_go_on(
        world,
        ("/user_management/magic_auth", &code),
        "/user_management/users/user_1",
    )
    .await;
    let world = Shaped::start("clerk", &[("CLERK_SECRET_KEY", "sk_test_1")], |shapes| {
        let nobody = r#"{"errors":[{"message":"not found","long_message":"No user was found","code":"resource_not_found"}]}"#;
        shapes.on("GET /v1/users/", 404, nobody);
        shapes.on("GET /v1/users?", 200, "[]");
        shapes.on(
            "GET /v1/users/count",
            200,
            r#"{"object":"total_count","total_count":0}"#,
        );
    })
    .await;
    let invitations = json!([{"email_address": "eve@example.com", "role": "org:member"}]);
    let bulk = "/v1/organizations/org_1/invitations/bulk";
    all_go_on(world, (bulk, &invitations), "/v1/users/user_1").await;
}

async fn all_go_on(world: Shaped, (refused, body): (&str, &Value), read: &str) {
    const KEY: [(&str, &str); 1] = [("authorization", "Bearer sk_test_1")];
    let too_many = [("retry-after", "3000")];
    world.shapes.with(
        &format!("POST {refused}"),
        429,
        &too_many,
        r#"{"message":"Too many requests"}"#,
    );
    let reply = world.served.ask(Method::POST, refused, &KEY, body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-usertap-error")),
        (429, None)
    );
    let next = world.served.ask(Method::GET, read, &KEY, &Value::Null).await;
    assert_eq!(
        (next.status.as_u16(), next.header("x-usertap-error")),
        (404, None)
    );
    let status = world.served.status().await;
    assert_eq!(status["provider"]["paused_for"], 0, "{status}");
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    world.end().await;
}

/// Better Auth counts each of its paths by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_is_refused_at_better_auth_holds_back_no_app() {
    let world = Shaped::better_auth(&[], |shapes| {
        let too_many = r#"{"message":"Too many requests. Please try again later."}"#;
        let wait = [("x-retry-after", "3000")];
        shapes.with("GET /api/auth/admin/list-users", 429, &wait, too_many);
    })
    .await;
    let url = world.served.admin_url("/v1/backfill");
    assert!(http::post(&url, &[], &json!({})).await.status.is_success());
    eventually("the walk waits", async || {
        let paused = world.served.status().await["provider"]["paused_for"].as_u64()?;
        (paused > 0).then_some(())
    })
    .await;
    let headers = [("authorization", "Bearer of-the-app")];
    let read = "/api/auth/admin/get-user?id=kQ1";
    let reply = world.served.ask(Method::GET, read, &headers, &Value::Null).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-usertap-error")),
        (404, None)
    );
    world.end().await;
}
