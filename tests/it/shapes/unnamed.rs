//! Writes that name nobody, in the request or in the answer: what is kept ends where they can have
//! changed somebody, and does not where they are frequent and harmless.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::shapes::Shaped;

const ADA: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";
const MADE: &str = "2024-01-02T03:04:05.678Z";
const BEARER: [(&str, &str); 1] = [("authorization", "Bearer of-the-app")];

/// A provider with one user, whose answer is kept.
struct World {
    shaped: Shaped,
    headers: Vec<(&'static str, &'static str)>,
    read: &'static str,
}

impl World {
    async fn start(
        provider: &str,
        settings: &[(&str, &str)],
        headers: &[(&'static str, &'static str)],
        (read, user, nobody): (&'static str, Value, &str),
    ) -> World {
        let (others, _) = read.rsplit_once(['/', '=']).expect("an id at its end");
        let settings = [settings, &[("USERTAP_CACHE_TTL", "10m")]].concat();
        let world = World {
            shaped: Shaped::start(provider, &settings, |shapes| {
                shapes.on(&format!("GET {others}"), 404, nobody);
                shapes.on("POST /api/auth/sign-in/email", 200, r#"{"token":"own-token"}"#);
                shapes.on("POST /oauth/token", 200, token());
                shapes.on("POST /oidc/token", 200, token());
                shapes.on("POST /realms/shop/protocol/openid-connect/token", 200, token());
                shapes.on(&format!("GET {read}"), 200, &user);
            })
            .await,
            headers: headers.to_vec(),
            read,
        };
        assert_eq!(world.kept().await, "miss; absent");
        assert_eq!(world.kept().await, "hit; fresh");
        world
    }

    async fn ask(&self, on: &str) -> Reply {
        self.shaped.ask(on, &self.headers).await
    }

    async fn kept(&self) -> String {
        let reply = self.ask(&format!("GET {}", self.read)).await;
        reply.header("x-usertap-cache").unwrap_or_default().to_owned()
    }

    async fn answered(&self, on: &str, status: u16, body: impl ToString) -> Reply {
        self.shaped.shapes.on(on, status, body);
        let reply = self.ask(on).await;
        assert_eq!(reply.status, status, "{on}: {}", reply.text());
        reply
    }

    /// It can have changed somebody.
    async fn ends(&self, on: &str, status: u16, body: impl ToString) {
        self.answered(on, status, body).await;
        assert_eq!(self.kept().await, "miss; changed", "{on}");
        assert_eq!(self.kept().await, "hit; fresh", "{on}");
    }

    /// It changes nobody who is there.
    async fn leaves(&self, on: &str, status: u16, body: impl ToString) {
        self.answered(on, status, body).await;
        assert_eq!(self.kept().await, "hit; fresh", "{on}");
    }

    /// Whatever was asked is known to the provider's file.
    async fn end_with_nothing_unmatched(self) {
        let status = self.shaped.served.status().await;
        assert_eq!(status["traffic"]["unmatched"], 0, "{}", status["traffic"]);
        self.shaped.end().await;
    }
}

fn token() -> String {
    json!({"access_token": "own-token", "expires_in": 3600, "token_type": "Bearer"}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_a_connection_takes_its_users_with_it() {
    let user = json!({"user_id": "auth0|1", "name": "Ada", "identities": [], "created_at": MADE, "updated_at": MADE});
    let nobody = r#"{"statusCode":404,"errorCode":"inexistent_user"}"#;
    let settings = [("AUTH0_CLIENT_ID", "client"), ("AUTH0_CLIENT_SECRET", "secret")];
    let world = World::start(
        "auth0",
        &settings,
        &BEARER,
        ("/api/v2/users/auth0%7C1", user, nobody),
    )
    .await;
    let by_address = "DELETE /api/v2/connections/con_1/users?email=ada%40example.com";
    world.ends(by_address, 204, "").await;
    world.ends("DELETE /api/v2/connections/con_1", 202, "").await;
    world
        .ends("DELETE /api/v2/guardian/enrollments/e1", 204, "")
        .await;
    for one_of_hers in [
        "DELETE /api/v2/users/auth0%7C1/authentication-methods/m1",
        "DELETE /api/v2/users/auth0%7C1/authenticators",
    ] {
        world.ends(one_of_hers, 204, "").await;
    }
    for (harmless, status) in [
        ("POST /oauth/token", 200),
        ("POST /oauth/revoke", 200),
        ("POST /passwordless/start", 200),
        ("POST /dbconnections/change_password", 200),
        ("GET /api/v2/organizations", 200),
        ("POST /api/v2/organizations/org_1/invitations", 200),
        ("POST /api/v2/organizations/org_1/members/auth0%7C1/roles", 204),
        ("DELETE /api/v2/organizations/org_1", 204),
        ("GET /api/v2/users/auth0%7C1/authentication-methods", 200),
        ("DELETE /api/v2/users/auth0%7C1/sessions", 202),
        ("DELETE /api/v2/user-blocks/auth0%7C1", 204),
        ("PATCH /api/v2/connections/con_1", 200),
        ("POST /api/v2/users/auth0%7C1/roles", 204),
        ("POST /api/v2/tickets/password-change", 201),
        ("DELETE /api/v2/clients/c1", 204),
    ] {
        world.leaves(harmless, status, token()).await;
    }
    world.end_with_nothing_unmatched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_users_change_themselves() {
    let user = |name: &str| json!({"id": ADA, "username": "ada", "firstName": name, "createdTimestamp": 1, "requiredActions": []});
    let settings = [
        ("KEYCLOAK_REALM", "shop"),
        ("KEYCLOAK_CLIENT_ID", "usertap"),
        ("KEYCLOAK_CLIENT_SECRET", "secret"),
    ];
    let nobody = r#"{"error":"User not found"}"#;
    let read = "/admin/realms/shop/users/8b2d5a3e-1111-4c1a-9a37-000000000001";
    let world = World::start("keycloak", &settings, &BEARER, (read, user("Ada"), nobody)).await;
    for (touching, status) in [
        ("POST /realms/shop/login-actions/registration?execution=x", 302),
        (
            "POST /realms/shop/login-actions/required-action?execution=UPDATE_PROFILE",
            302,
        ),
        (
            "GET /realms/shop/login-actions/first-broker-login?client_id=c",
            302,
        ),
        ("GET /realms/shop/login-actions/action-token?key=k", 302),
        ("GET /realms/shop/broker/google/endpoint?code=c", 303),
        ("DELETE /admin/realms/shop/components/ldap", 204),
        ("DELETE /admin/realms/shop/clients/c1", 204),
    ] {
        world.ends(touching, status, "").await;
    }
    for (harmless, status) in [
        ("POST /realms/shop/protocol/openid-connect/token", 200),
        ("POST /realms/shop/protocol/openid-connect/logout", 204),
        ("POST /realms/shop/login-actions/authenticate?execution=x", 302),
        ("DELETE /realms/shop/account/sessions/s1", 204),
        ("PUT /admin/realms/shop/clients/c1/client-secret", 204),
        ("POST /admin/realms/shop/groups", 201),
        // Another realm's.
        ("POST /realms/other/login-actions/registration?execution=x", 302),
    ] {
        world.leaves(harmless, status, token()).await;
    }
    // Her own token says who she is.
    let claims = URL_SAFE_NO_PAD.encode(json!({ "sub": ADA }).to_string());
    let hers = format!("Bearer e30.{claims}.c2ln");
    world.shaped.shapes.on("POST /realms/shop/account", 204, "");
    world
        .shaped
        .shapes
        .on(&format!("GET {read}"), 200, user("Ada King"));
    let reply = world
        .shaped
        .ask("POST /realms/shop/account/", &[("authorization", hers.as_str())])
        .await;
    assert!(
        reply.recorded().starts_with("committed; pos="),
        "{}",
        reply.recorded()
    );
    let row = world.shaped.served.row(ADA).await.expect("a row");
    assert_eq!(row.name.as_deref(), Some("Ada King"));
    assert_eq!(world.kept().await, "miss; changed");
    world.end_with_nothing_unmatched().await;
}

/// As @keycloak/keycloak-admin-client asks.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_whom_an_organization_manages_goes_with_it() {
    let user = json!({"id": ADA, "username": "ada", "firstName": "Ada", "createdTimestamp": 1, "requiredActions": []});
    let settings = [
        ("KEYCLOAK_REALM", "shop"),
        ("KEYCLOAK_CLIENT_ID", "usertap"),
        ("KEYCLOAK_CLIENT_SECRET", "secret"),
    ];
    let nobody = r#"{"error":"User not found"}"#;
    let read = "/admin/realms/shop/users/8b2d5a3e-1111-4c1a-9a37-000000000001";
    let world = World::start("keycloak", &settings, &BEARER, (read, user, nobody)).await;
    for (harmless, status) in [
        (format!("GET {read}/role-mappings"), 200),
        (format!("POST {read}/role-mappings/realm"), 204),
        (format!("DELETE {read}/role-mappings/clients/c1"), 204),
        (format!("DELETE {read}/consents/c1"), 204),
        ("GET /admin/realms/shop/organizations?first=0&max=10".into(), 200),
        ("POST /admin/realms/shop/organizations".into(), 201),
        ("POST /admin/realms/shop/organizations/o1/members".into(), 201),
        (
            "POST /admin/realms/shop/organizations/o1/members/invite-user".into(),
            204,
        ),
    ] {
        world.leaves(&harmless, status, "").await;
    }
    for silent in [
        "DELETE /admin/realms/shop/organizations/o2",
        "PUT /admin/realms/shop/organizations/o1",
        "PUT /admin/realms/shop",
    ] {
        world.ends(silent, 204, "").await;
        // What fails may be carried out all the same.
        world.ends(silent, 500, "").await;
    }
    world.shaped.shapes.on(&format!("GET {read}"), 404, nobody);
    let leaves = format!("DELETE /admin/realms/shop/organizations/o1/members/{ADA}");
    let reply = world.answered(&leaves, 204, "").await;
    assert!(
        reply.recorded().starts_with("committed; pos="),
        "{}",
        reply.recorded()
    );
    assert!(world.shaped.served.row(ADA).await.expect("a row").is_deleted);
    world.end_with_nothing_unmatched().await;
}

/// As @okta/okta-sdk-nodejs asks.
#[tokio::test(flavor = "multi_thread")]
async fn at_okta_groups_and_factors_change_nobody() {
    let user = json!({"id": "00u1abcdefghijklmn0x", "status": "ACTIVE", "created": MADE, "lastUpdated": MADE,
                      "profile": {"firstName": "Ada", "email": "ada@example.com", "login": "ada@example.com"}});
    let server = [("authorization", "SSWS 00token")];
    let nobody = r#"{"errorCode":"E0000007"}"#;
    let settings = [("OKTA_CLIENT_TOKEN", "00token")];
    let world = World::start(
        "okta",
        &settings,
        &server,
        ("/api/v1/users/00u1abcdefghijklmn0x", user, nobody),
    )
    .await;
    for (harmless, status) in [
        ("GET /api/v1/groups?limit=10", 200),
        ("POST /api/v1/groups", 200),
        ("DELETE /api/v1/groups/g1", 204),
        ("GET /api/v1/users/00u1abcdefghijklmn0x/factors/catalog", 200),
        ("POST /api/v1/users/00u1abcdefghijklmn0x/factors/f1/verify", 200),
        ("GET /api/v1/users/00u1abcdefghijklmn0x/idps", 200),
        ("DELETE /api/v1/users/00u1abcdefghijklmn0x/grants", 204),
    ] {
        world.leaves(harmless, status, "[]").await;
    }
    world.end_with_nothing_unmatched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_supabase_a_mail_to_sign_in_makes_a_user_and_changes_nobody() {
    let user = json!({"id": ADA, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {},
                      "created_at": MADE, "updated_at": MADE});
    let server = [("authorization", "Bearer service"), ("apikey", "service")];
    let settings = [("SUPABASE_SERVICE_ROLE_KEY", "service")];
    let nobody = r#"{"code":"user_not_found"}"#;
    let read = "/auth/v1/admin/users/8b2d5a3e-1111-4c1a-9a37-000000000001";
    let world = World::start("supabase", &settings, &server, (read, user.clone(), nobody)).await;
    let list = "GET /auth/v1/admin/users?page=1";
    world.shaped.shapes.on(list, 200, json!({ "users": [user] }));
    let listed = async || world.ask(list).await.header("x-usertap-cache").map(str::to_owned);
    listed().await;
    for mails in ["otp", "magiclink", "recover", "resend"] {
        assert_eq!(listed().await.as_deref(), Some("hit; fresh"));
        world.leaves(&format!("POST /auth/v1/{mails}"), 200, "{}").await;
        assert_eq!(listed().await.as_deref(), Some("miss; changed"), "{mails}");
    }
    for (harmless, status) in [
        ("POST /auth/v1/logout", 204),
        ("POST /auth/v1/factors/f1/challenge", 200),
        ("POST /auth/v1/passkeys/registration/verify", 200),
        ("DELETE /auth/v1/passkeys/p1", 200),
        ("GET /auth/v1/admin/oauth/clients", 200),
        ("DELETE /auth/v1/user/oauth/grants?client_id=c", 204),
    ] {
        world.leaves(harmless, status, "{}").await;
    }
    world.ends("POST /auth/v1/sso/saml/acs", 303, "").await;
    world.end_with_nothing_unmatched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_logto_its_own_pages_sign_users_up() {
    let user = json!({"id": "4hyx6r0ck2lu", "name": "Ada", "customData": {}, "identities": {}, "createdAt": 1, "updatedAt": 1});
    let settings = [
        ("LOGTO_APP_ID", "client"),
        ("LOGTO_APP_SECRET", "secret"),
        ("LOGTO_API_RESOURCE", "https://shop.logto.app/api"),
    ];
    let nobody = r#"{"code":"entity.not_exists_with_id"}"#;
    let world = World::start(
        "logto",
        &settings,
        &BEARER,
        ("/api/users/4hyx6r0ck2lu", user, nobody),
    )
    .await;
    let redirects = r#"{"redirectTo":"https://shop.logto.app/callback"}"#;
    world.ends("POST /api/experience/submit", 200, redirects).await;
    world.ends("POST /api/interaction/submit", 200, redirects).await;
    let single = "POST /api/interaction/single-sign-on/c1/registration";
    world.ends(single, 200, redirects).await;
    for (harmless, status) in [
        ("POST /oidc/token", 200),
        ("PUT /api/experience", 204),
        ("POST /api/experience/identification", 204),
        ("POST /api/experience/verification/password", 200),
        ("PUT /api/interaction", 204),
        ("POST /api/roles/r1/users", 201),
        ("POST /api/subject-tokens", 201),
        ("POST /api/one-time-tokens/verify", 200),
        ("DELETE /api/users/4hyx6r0ck2lu/sessions/s1", 204),
    ] {
        world.leaves(harmless, status, token()).await;
    }
    world.end_with_nothing_unmatched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_workos_what_comes_with_every_request_changes_nobody() {
    let user = json!({"object": "user", "id": "user_01", "email": "ada@example.com", "created_at": MADE, "updated_at": MADE});
    let nobody = r#"{"code":"entity_not_found"}"#;
    let read = ("/user_management/users/user_01", user, nobody);
    let key = [("authorization", "Bearer sk_test_1")];
    let world = World::start("workos", &[("WORKOS_API_KEY", "sk_test_1")], &key, read).await;
    for (harmless, status) in [
        ("POST /api_keys/validations", 200),
        ("POST /agents/credentials/validate", 200),
        ("POST /radar/attempts", 201),
        ("PUT /radar/attempts/radar_att_1", 204),
        ("POST /user_management/radar_challenges", 201),
        ("POST /auth/factors/auth_factor_1/challenge", 201),
        ("POST /auth/challenges/auth_challenge_1/verify", 201),
        ("POST /passwordless/sessions", 201),
        ("POST /passwordless/sessions/passwordless_session_1/send", 200),
        ("POST /data-integrations/github/token", 200),
        ("POST /client/token", 201),
        ("POST /user_management/authorize/device", 200),
        ("GET /user_management/users/user_01/api_keys", 200),
        ("GET /directory_users/directory_user_1", 200),
        ("GET /sdk/feature-flags", 200),
    ] {
        world
            .leaves(harmless, status, json!({"object": "something"}))
            .await;
    }
    world.end_with_nothing_unmatched().await;
}

fn identity(name: &str) -> Value {
    json!({"id": ADA, "schema_id": "default", "traits": {"email": "ada@example.com", "name": name},
           "created_at": MADE, "updated_at": format!("2024-02-02T03:04:{:02}.000Z", name.len())})
}

const NO_IDENTITY: &str =
    r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#;
const IDENTITY: &str = "/admin/identities/8b2d5a3e-1111-4c1a-9a37-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn at_kratos_a_flow_in_a_browser_names_nobody() {
    let world = World::start("kratos", &[], &BEARER, (IDENTITY, identity("Ada"), NO_IDENTITY)).await;
    let read = format!("GET {IDENTITY}");
    world.shaped.shapes.on(&read, 200, identity("Ada King"));
    world.ends("POST /self-service/settings?flow=1", 303, "").await;
    let row = world.shaped.served.row(ADA).await.expect("a row");
    assert_eq!(row.name.as_deref(), Some("Ada King"), "that read has told it");
    // Not taken, or of nobody who is there.
    for (harmless, status) in [
        ("POST /self-service/settings?flow=3", 400),
        ("POST /self-service/registration?flow=4", 303),
        ("POST /self-service/login?flow=5", 303),
        ("DELETE /self-service/logout/api", 204),
        ("DELETE /sessions/s1", 204),
        ("PATCH /admin/sessions/s1/extend", 204),
        ("GET /admin/courier/messages/m1", 200),
        ("GET /self-service/fed-cm/parameters", 200),
        ("GET /admin/relation-tuples?namespace=files", 200),
        ("POST /oauth2/token", 200),
    ] {
        world.leaves(harmless, status, "").await;
    }
    // A link that is opened, and who comes back from another provider.
    world
        .ends("GET /self-service/verification?flow=6&token=t", 303, "")
        .await;
    world
        .ends("GET /self-service/methods/oidc/callback/google?code=c", 303, "")
        .await;
    world.end_with_nothing_unmatched().await;
}

/// Whoever is sent on to another provider.
const AWAY: &str = r#"{"url":"https://accounts.example/","redirect":true}"#;

async fn better_auth() -> World {
    let user = json!({"id": "kQ1", "name": "Ada", "email": "ada@example.com", "banned": false, "createdAt": MADE, "updatedAt": MADE});
    let settings = [
        ("BETTER_AUTH_ADMIN_EMAIL", "admin@example.com"),
        ("BETTER_AUTH_ADMIN_PASSWORD", "password"),
    ];
    let nobody = r#"{"code":"USER_NOT_FOUND"}"#;
    let read = "/api/auth/admin/get-user?id=kQ1";
    World::start("better-auth", &settings, &BEARER, (read, user, nobody)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn at_better_auth_the_way_to_another_provider_touches_nobody() {
    let world = better_auth().await;
    world.leaves("POST /api/auth/sign-in/social", 200, AWAY).await;
    world
        .leaves("POST /api/auth/sign-out", 200, r#"{"success":true}"#)
        .await;
    world.leaves("POST /api/auth/sign-in/email", 200, AWAY).await;
    world
        .ends("POST /api/auth/update-user", 200, r#"{"status":true}"#)
        .await;
    world.end_with_nothing_unmatched().await;
}

/// A redirection is as often a refusal, and the way to another provider has made nobody yet: a look at the newest for
/// each would cost the provider more than the apps do.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_was_made_nobody_is_looked_for() {
    let world = better_auth().await;
    for (on, status, body) in [
        ("POST /api/auth/sign-in/social", 200, AWAY),
        ("POST /api/auth/sign-up/email", 302, ""),
    ] {
        world.answered(on, status, body).await;
        eventually("the write has ended", async || {
            let status = world.shaped.served.status().await;
            (status["recorder"]["writes"]["open"] == 0).then_some(())
        })
        .await;
        let asked = world.shaped.shapes.asked();
        let is_list = |target: &str| target.starts_with("/api/auth/admin/list-users");
        assert!(!asked.iter().any(|asked| is_list(&asked.target)), "{on}");
    }
    world.shaped.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_what_is_known_to_be_read_is_no_sign_of_a_newer_api() {
    let world = World::start("kratos", &[], &BEARER, (IDENTITY, identity("Ada"), NO_IDENTITY)).await;
    for target in [IDENTITY, "/health/alive", "/admin/identities?page_size=1"] {
        let reply = world.answered(&format!("HEAD {target}"), 200, "").await;
        assert_eq!(reply.recorded(), "none; no-user", "{target}");
    }
    let reply = world.answered("HEAD /nobody/knows", 200, "").await;
    assert_eq!(reply.recorded(), "none; unmatched");
    world.shaped.end().await;
}
