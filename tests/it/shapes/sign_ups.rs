//! Users who sign up themselves at the provider's address, through the proxy: the answer names them
//! beside tokens, and their row is there before it.

use ::http::Method;
use serde_json::{Value, json};

use crate::support::http::Reply;
use crate::support::shapes::Shaped;

const ONE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";
const TWO: &str = "8b2d5a3e-1111-4c1a-9a37-000000000002";
const THREE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000003";

async fn post(world: &Shaped, target: &str, headers: &[(&str, &str)]) -> Reply {
    let body = json!({"email": "ada@example.com", "password": "correct horse battery"});
    let reply = world.served.ask(Method::POST, target, headers, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// The row is there with the answer, and has no token in it.
async fn is_there(world: &Shaped, reply: &Reply, id: &str) {
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    let row = world.served.row(id).await.expect("a row");
    assert_eq!(row.email.as_deref(), Some("ada@example.com"));
    assert!(!row.raw.to_string().contains("token"), "{}", row.raw);
}

fn supabase_user(id: &str) -> Value {
    json!({"id": id, "aud": "authenticated", "role": "authenticated", "email": "ada@example.com", "phone": "",
           "user_metadata": {}, "app_metadata": {"provider": "email"}, "identities": [],
           "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"})
}

#[tokio::test(flavor = "multi_thread")]
async fn at_supabase_with_a_session_or_before_the_address_is_confirmed() {
    let settings = [("SUPABASE_SERVICE_ROLE_KEY", "service")];
    let world = Shaped::start("supabase", &settings, |shapes| {
        let nobody = r#"{"code":"user_not_found","message":"User not found"}"#;
        shapes.on("GET /auth/v1/admin/users/", 404, nobody);
    })
    .await;
    for id in [ONE, TWO] {
        let user = supabase_user(id);
        world
            .shapes
            .on(&format!("GET /auth/v1/admin/users/{id}"), 200, user);
    }
    let browser = [("apikey", "anon"), ("authorization", "Bearer anon")];
    let session = json!({"access_token": "eyJ.a.token", "token_type": "bearer", "expires_in": 3600,
                         "refresh_token": "refresh-token", "user": supabase_user(ONE)});
    world.shapes.on("POST /auth/v1/signup", 200, &session);
    let reply = post(&world, "/auth/v1/signup", &browser).await;
    is_there(&world, &reply, ONE).await;
    world.shapes.on("POST /auth/v1/signup", 200, supabase_user(TWO));
    let reply = post(&world, "/auth/v1/signup?redirect_to=x", &browser).await;
    is_there(&world, &reply, TWO).await;
    // And signs in.
    world
        .shapes
        .on("POST /auth/v1/token?grant_type=password", 200, &session);
    let reply = post(&world, "/auth/v1/token?grant_type=password", &browser).await;
    is_there(&world, &reply, ONE).await;
    // By a passkey, as somebody whom usertap has not seen.
    let user = supabase_user(THREE);
    let read = format!("GET /auth/v1/admin/users/{THREE}");
    world.shapes.on(&read, 200, &user);
    let session = json!({"access_token": "eyJ.a.token", "refresh_token": "refresh-token", "user": user});
    world
        .shapes
        .on("POST /auth/v1/passkeys/authentication/verify", 200, &session);
    let reply = post(&world, "/auth/v1/passkeys/authentication/verify", &browser).await;
    is_there(&world, &reply, THREE).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_kratos_by_its_registration_flow() {
    let world = Shaped::start("kratos", &[], |shapes| {
        let nobody =
            r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#;
        shapes.on("GET /admin/identities/", 404, nobody);
    })
    .await;
    let identity = json!({"id": ONE, "schema_id": "default", "state": "active", "traits": {"email": "ada@example.com"},
                          "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
    world
        .shapes
        .on(&format!("GET /admin/identities/{ONE}"), 200, &identity);
    let session = json!({"id": TWO, "active": true, "identity": identity});
    let registered = json!({"session_token": "ory_st_token", "session": session, "identity": identity});
    world
        .shapes
        .on("POST /self-service/registration", 200, registered);
    let reply = post(&world, "/self-service/registration?flow=f", &[]).await;
    is_there(&world, &reply, ONE).await;
    let signed_in = json!({"session_token": "ory_st_token", "session": session});
    world.shapes.on("POST /self-service/login", 200, signed_in);
    let reply = post(&world, "/self-service/login?flow=f", &[]).await;
    is_there(&world, &reply, ONE).await;
    // By another provider that the browser itself has asked.
    let identity = json!({"id": THREE, "schema_id": "default", "state": "active", "traits": {"email": "ada@example.com"},
                          "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
    let read = format!("GET /admin/identities/{THREE}");
    world.shapes.on(&read, 200, &identity);
    let signed_up = json!({"session_token": "ory_st_token", "session": {"id": TWO, "active": true, "identity": identity}});
    world.shapes.on("POST /self-service/fed-cm/token", 200, signed_up);
    let reply = post(&world, "/self-service/fed-cm/token", &[]).await;
    is_there(&world, &reply, THREE).await;
    world.end().await;
}

/// It shows a part of the id; who has a token asks who that is.
#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_by_its_authentication_api() {
    let settings = [("AUTH0_CLIENT_ID", "client"), ("AUTH0_CLIENT_SECRET", "secret")];
    let world = Shaped::start("auth0", &settings, |shapes| {
        let token = r#"{"access_token":"own-token","expires_in":86400}"#;
        shapes.on("POST /oauth/token", 200, token);
        let nobody = r#"{"statusCode":404,"error":"Not Found","message":"","errorCode":"inexistent_user"}"#;
        shapes.on("GET /api/v2/users/", 404, nobody);
    })
    .await;
    for id in ["auth0|65f0c0ffee", "google-oauth2|117"] {
        let user = json!({"user_id": id, "email": "ada@example.com", "name": "Ada", "identities": [],
                          "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
        let read = format!("GET /api/v2/users/{}", id.replace('|', "%7C"));
        world.shapes.on(&read, 200, user);
    }
    let made = json!({"_id": "65f0c0ffee", "email": "ada@example.com", "email_verified": false});
    world.shapes.on("POST /dbconnections/signup", 200, made);
    let reply = post(&world, "/dbconnections/signup", &[]).await;
    is_there(&world, &reply, "auth0|65f0c0ffee").await;
    let token = [("authorization", "Bearer of-a-user")];
    world
        .shapes
        .on("GET /userinfo", 200, json!({"sub": "google-oauth2|117"}));
    let reply = world
        .served
        .ask(Method::GET, "/userinfo", &token, &Value::Null)
        .await;
    is_there(&world, &reply, "google-oauth2|117").await;
    world.end().await;
}

/// Its app is at the same address as all else that sets cookies there: a comma parts none of them.
#[tokio::test(flavor = "multi_thread")]
async fn at_better_auth_whatever_the_browser_s_other_cookies_are() {
    let user = json!({"id": "kQ1", "name": "Ada", "email": "ada@example.com", "emailVerified": false, "banned": false,
                      "createdAt": "2024-01-02T03:04:05.678Z", "updatedAt": "2024-01-02T03:04:05.678Z"});
    let world = Shaped::better_auth(&[], |shapes| {
        shapes.on("GET /api/auth/admin/get-user?id=kQ1", 200, &user);
    })
    .await;
    let signed_up = json!({"token": "a-token", "user": user});
    world.shapes.on("POST /api/auth/sign-up/email", 200, signed_up);
    let cookies = [("cookie", "cookieyes-consent=consentid:x,consent:yes")];
    let reply = post(&world, "/api/auth/sign-up/email", &cookies).await;
    is_there(&world, &reply, "kQ1").await;
    world.end().await;
}
