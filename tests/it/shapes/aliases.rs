//! Users who are named otherwise than by their ids.

use ::http::Method;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::shapes::Shaped;

const ID: &str = "00u1abcdefghijklmn0x";
const TOKEN: [(&str, &str); 1] = [("authorization", "SSWS 00token")];

fn user(status: &str) -> String {
    json!({"id": ID, "status": status, "created": "2024-01-02T03:04:05.678Z", "lastLogin": null,
           "lastUpdated": format!("2024-02-02T03:04:{:02}.000Z", status.len()),
           "profile": {"firstName": "Ada", "lastName": null, "email": "ada@example.com", "login": "ada@example.com"},
           "credentials": {"provider": {"type": "OKTA"}}, "_links": {}})
    .to_string()
}

async fn okta() -> Shaped {
    let nobody = r#"{"errorCode":"E0000007","errorSummary":"Not found"}"#;
    let world = Shaped::start("okta", &[("OKTA_CLIENT_TOKEN", "00token")], |shapes| {
        shapes.on("GET /api/v1/users/", 404, nobody);
    });
    let world = world.await;
    is(&world, "ACTIVE");
    for cached in ["miss; absent", "hit; fresh"] {
        assert_eq!(asked(&world, Method::GET, ID).await, (200, cached.to_owned()));
    }
    world
}

/// Whatever the user is asked by.
fn is(world: &Shaped, status: &str) {
    for name in [ID, "ada@example.com", "ada%40example.com"] {
        world
            .shapes
            .on(&format!("GET /api/v1/users/{name}"), 200, user(status));
    }
}

async fn asked(world: &Shaped, method: Method, rest: &str) -> (u16, String) {
    let target = format!("/api/v1/users/{rest}");
    let reply = world.served.ask(method, &target, &TOKEN, &Value::Null).await;
    let cached = reply.header("x-usertap-cache").unwrap_or_default();
    (reply.status.as_u16(), cached.to_owned())
}

/// Of a row whose status is this; the only one.
async fn has_status(world: &Shaped, status: &str) {
    eventually("the row says so", async || {
        let row = world.served.row(ID).await?;
        (row.raw["status"] == status).then_some(())
    })
    .await;
    assert_eq!(world.served.count("true").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_by_login_is_one_of_the_user() {
    let world = okta().await;
    let target = "/api/v1/users/ada@example.com/lifecycle/suspend";
    world.shapes.on(&format!("POST {target}"), 200, "{}");
    // As it is after the write, which only a read by id is asked for then.
    world
        .shapes
        .on(&format!("GET /api/v1/users/{ID}"), 200, user("SUSPENDED"));
    assert_eq!(asked(&world, Method::GET, ID).await.1, "hit; fresh");
    let rest = "ada@example.com/lifecycle/suspend";
    assert_eq!(asked(&world, Method::POST, rest).await.0, 200);
    has_status(&world, "SUSPENDED").await;
    let again = format!("/api/v1/users/{ID}");
    let again = world.served.ask(Method::GET, &again, &TOKEN, &Value::Null).await;
    assert_eq!(again.json()["status"], "SUSPENDED");
    world.end().await;
}

/// For somebody whom the provider is not known to take nothing is read, until it has answered.
#[tokio::test(flavor = "multi_thread")]
async fn whose_a_write_was_is_asked_after_it_where_it_was_not_before() {
    let world = okta().await;
    is(&world, "SUSPENDED");
    let target = "/api/v1/users/ada@example.com/lifecycle/suspend";
    let write = async |token: &str, status| {
        world.shapes.on(&format!("POST {target}"), status, "{}");
        let headers = [("authorization", token)];
        let served = &world.served;
        served.ask(Method::POST, target, &headers, &Value::Null).await
    };
    let asked = world.shapes.asked().len();
    assert_eq!(write("Bearer of-nobody", 401).await.status, 401);
    assert_eq!(world.shapes.asked().len(), asked + 1);
    let write = write("Bearer of-the-app", 200).await;
    assert!(write.recorded().starts_with("committed"), "{}", write.recorded());
    has_status(&world, "SUSPENDED").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_login_that_nobody_knows_it_may_have_been_anybody() {
    let world = okta().await;
    assert_eq!(asked(&world, Method::GET, "eve@example.com").await.0, 404);
    assert_eq!(asked(&world, Method::GET, ID).await.1, "hit; fresh");
    for status in [204, 500] {
        world
            .shapes
            .on("DELETE /api/v1/users/eve@example.com", status, "");
        assert_eq!(asked(&world, Method::DELETE, "eve@example.com").await.0, status);
        assert_eq!(asked(&world, Method::GET, ID).await.1, "miss; changed");
        assert_eq!(asked(&world, Method::GET, ID).await.1, "hit; fresh");
    }
    has_status(&world, "ACTIVE").await;
    world.end().await;
}

/// A table whose ids are text: the provider's are uuids all the same, and have one spelling.
#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_a_uuid_is_the_same_user() {
    let settings = [
        ("SUPABASE_SERVICE_ROLE_KEY", "service"),
        ("USERTAP_ID_TYPE", "text"),
    ];
    let gone = r#"{"code":"user_not_found","message":"User not found"}"#;
    let world = Shaped::start("supabase", &settings, |shapes| {
        shapes.on("GET /auth/v1/admin/users/", 404, gone);
    });
    let world = world.await;
    let id = "8b2d5a3e-1111-4c1a-9a37-00000000000a";
    let ada = json!({"id": id, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {}, "identities": null,
                     "created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-01-02T03:04:06Z"});
    let (path, spelled) = (
        format!("/auth/v1/admin/users/{id}"),
        format!("/auth/v1/admin/users/{}", id.to_uppercase()),
    );
    world.shapes.on(&format!("GET {path}"), 200, ada);
    let headers = [("authorization", "Bearer service"), ("apikey", "service")];
    let ask = async |method, target: &str| world.served.ask(method, target, &headers, &Value::Null).await;
    assert!(ask(Method::GET, &path).await.recorded().starts_with("committed"));
    world.shapes.on(&format!("DELETE {spelled}"), 200, "{}");
    world.shapes.on(&format!("GET {path}"), 404, gone);
    let deleted = ask(Method::DELETE, &spelled).await;
    assert!(
        deleted.recorded().starts_with("committed; pos="),
        "{}",
        deleted.recorded()
    );
    assert!(world.served.row(id).await.unwrap().is_deleted);
    assert_eq!(ask(Method::GET, &path).await.status, 404);
    world.end().await;
}
