//! What answers tell beside what they were asked for: a not-found of something else, a part of a user, whoever
//! was linked to another or signed in by a way of a plugin's.

use ::http::Method;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::shapes::{Shaped, Shapes, set};

const ADA: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";
const EVE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000002";
const MADE: &str = "2024-01-02T03:04:05.678Z";
const LATER: &str = "2024-02-02T03:04:05.678Z";
const BEARER: [(&str, &str); 1] = [("authorization", "Bearer of-the-app")];

async fn ask(world: &Shaped, on: &str) -> Reply {
    world.ask(on, &BEARER).await
}

async fn committed(world: &Shaped, on: &str) -> Reply {
    let reply = ask(world, on).await;
    let (status, recorded) = (reply.status, reply.recorded());
    assert!(
        status.is_success() && recorded.starts_with("committed"),
        "{on}: {status} {recorded}"
    );
    reply
}

/// The row of hers, soon: a read follows the answer.
async fn becomes(world: &Shaped, user: &Value, after: &str) {
    eventually(after, async || {
        let row = world.served.row(ADA).await?;
        (row.raw == *user).then_some(())
    })
    .await;
}

async fn name(world: &Shaped, id: &str) -> Option<String> {
    world.served.row(id).await.and_then(|row| row.name)
}

/// Clerk says `resource_not_found` of whatever a request names: of an address as of a user.
#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_in_answer_to_a_change_deletes_nobody_who_is_there() {
    const USER: &str = "/v1/users/user_1";
    let nobody = r#"{"errors":[{"code":"resource_not_found","message":"not found"}]}"#;
    let ada = json!({"id": "user_1", "object": "user", "first_name": "Ada", "email_addresses": [],
                     "created_at": 1_704_164_645_678_i64, "updated_at": 1_704_164_645_678_i64});
    let world = Shaped::start("clerk", &[("CLERK_SECRET_KEY", "sk_test_1")], |shapes| {
        shapes.on("GET /v1/users/", 404, nobody);
        shapes.on(&format!("GET {USER}"), 200, &ada);
        shapes.on(&format!("PATCH {USER}"), 404, nobody);
    })
    .await;
    let key = [("authorization", "Bearer sk_test_1")];
    let read = world.ask(&format!("GET {USER}"), &key).await;
    assert!(read.recorded().starts_with("committed"), "{}", read.recorded());
    // Of an address that is nobody's.
    let patch = format!("PATCH {USER}");
    assert_eq!(world.ask(&patch, &key).await.status, 404);
    assert!(!world.served.row("user_1").await.expect("a row").is_deleted);
    // Of the user.
    world.shapes.on(&format!("GET {USER}"), 404, nobody);
    let gone = world.ask(&patch, &key).await;
    assert!(gone.recorded().starts_with("committed"), "{}", gone.recorded());
    assert!(world.served.row("user_1").await.expect("a row").is_deleted);
    world.end().await;
}

async fn keycloak(ready: impl Fn(&Shapes)) -> Shaped {
    let settings = [
        ("KEYCLOAK_REALM", "shop"),
        ("KEYCLOAK_CLIENT_ID", "usertap"),
        ("KEYCLOAK_CLIENT_SECRET", "secret"),
        ("USERTAP_CACHE_TTL", "0"),
    ];
    Shaped::start("keycloak", &settings, |shapes| {
        let token = r#"{"access_token":"own-token","expires_in":60}"#;
        shapes.on("POST /realms/shop/protocol/openid-connect/token", 200, token);
        shapes.on(
            "GET /admin/realms/shop/users/",
            404,
            r#"{"error":"User not found"}"#,
        );
        ready(shapes);
    })
    .await
}

fn at_keycloak(name: &str) -> Value {
    json!({"id": ADA, "username": "ada", "firstName": name, "enabled": true, "createdTimestamp": 1,
           "requiredActions": [], "notBefore": 0, "attributes": {"plan": ["gold"]}})
}

const KEYCLOAK_USER: &str = "GET /admin/realms/shop/users/8b2d5a3e-1111-4c1a-9a37-000000000001";

/// A list shows whole users unless it is asked for less, and then a difference is one all the same.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_a_list_shows_what_has_changed_however_it_is_asked_for() {
    const LIST: &str = "GET /admin/realms/shop/users?max=10";
    let world = keycloak(|shapes| shapes.on(KEYCLOAK_USER, 200, at_keycloak("Ada"))).await;
    committed(&world, KEYCLOAK_USER).await;
    world.shapes.on(LIST, 200, json!([at_keycloak("Ada King")]));
    committed(&world, LIST).await;
    assert_eq!(name(&world, ADA).await.as_deref(), Some("Ada King"));
    let brief = json!({"id": ADA, "username": "ada", "firstName": "Ada Lovelace", "enabled": true, "createdTimestamp": 1});
    let listed = format!("{LIST}&briefRepresentation=true");
    world.shapes.on(&listed, 200, json!([brief]));
    world.shapes.on(KEYCLOAK_USER, 200, at_keycloak("Ada Lovelace"));
    committed(&world, &listed).await;
    let row = world.served.row(ADA).await.expect("a row");
    assert_eq!(row.name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(row.raw["attributes"]["plan"][0], "gold", "a part erases nothing");
    world.end().await;
}

/// Whom a user came by stands in a read of one user, and in no list.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_a_list_and_a_read_of_the_same_user_are_no_change() {
    const LIST: &str = "GET /admin/realms/shop/users?briefRepresentation=false";
    let world = keycloak(|shapes| {
        let mut read = at_keycloak("Ada");
        read["federatedIdentities"] =
            json!([{"identityProvider": "google", "userId": "1", "userName": "ada"}]);
        shapes.on(KEYCLOAK_USER, 200, &read);
        shapes.on(LIST, 200, json!([at_keycloak("Ada")]));
    })
    .await;
    committed(&world, KEYCLOAK_USER).await;
    for again in [LIST, KEYCLOAK_USER, LIST] {
        let reply = committed(&world, again).await;
        assert_eq!(reply.recorded(), "committed; unchanged", "{again}");
    }
    world.end().await;
}

/// Since when tokens count stands in the user.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_a_sign_out_by_an_admin_changes_the_user() {
    const LOGOUT: &str = "POST /admin/realms/shop/users/8b2d5a3e-1111-4c1a-9a37-000000000001/logout";
    let world = keycloak(|shapes| {
        shapes.on(KEYCLOAK_USER, 200, at_keycloak("Ada"));
        shapes.on(LOGOUT, 204, "");
    })
    .await;
    committed(&world, KEYCLOAK_USER).await;
    let signed_out = set(at_keycloak("Ada"), "/notBefore", 1_704_164_645);
    world.shapes.on(KEYCLOAK_USER, 200, signed_out);
    committed(&world, LOGOUT).await;
    let row = world.served.row(ADA).await.expect("a row");
    assert_eq!(row.raw["notBefore"], 1_704_164_645);
    world.end().await;
}

/// Of a directory whose users are not imported nobody knows when they were made.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_a_user_of_a_directory_has_a_row() {
    const BOB: &str = "f:5f0e8c1a-2222-4c1a-9a37-000000000001:bob";
    let mut bob = set(at_keycloak("Bob"), "/id", BOB);
    bob.as_object_mut().expect("a user").remove("createdTimestamp");
    let world = keycloak(|shapes| {
        shapes.on("GET /admin/realms/shop/users/f%3A", 200, &bob);
        shapes.on(
            "GET /admin/realms/shop/users?",
            200,
            json!([at_keycloak("Ada"), bob]),
        );
        let behind = "GET /admin/realms/shop/users?briefRepresentation=false&max=100&first=1";
        shapes.on(behind, 200, json!([bob]));
        shapes.on("GET /admin/realms/shop/users/count", 200, "2");
    })
    .await;
    let run = world.served.walk("backfill").await;
    assert_eq!(
        (&run["state"], &run["inserted"]),
        (&json!("done"), &json!(2)),
        "{run}"
    );
    let row = world.served.row(BOB).await.expect("a row");
    assert_eq!((row.name.as_deref(), row.created_at), (Some("Bob"), None));
    world.end().await;
}

/// Whoever belongs to an organisation alone goes with the membership, and whoever was locked out for guesses
/// is let in again.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_who_leaves_an_organisation_or_a_lockout_is_read_again() {
    const UNLOCK: &str =
        "DELETE /admin/realms/shop/attack-detection/brute-force/users/8b2d5a3e-1111-4c1a-9a37-000000000001";
    const LEAVE: &str = "DELETE /admin/realms/shop/organizations/5f0e8c1a-2222-4c1a-9a37-000000000001/members/\
                         8b2d5a3e-1111-4c1a-9a37-000000000001";
    let locked = set(at_keycloak("Ada"), "/enabled", false);
    let world = keycloak(|shapes| {
        shapes.on(KEYCLOAK_USER, 200, &locked);
        shapes.on(UNLOCK, 204, "");
        shapes.on(LEAVE, 204, "");
    })
    .await;
    committed(&world, KEYCLOAK_USER).await;
    world.shapes.on(KEYCLOAK_USER, 200, at_keycloak("Ada"));
    committed(&world, UNLOCK).await;
    let row = world.served.row(ADA).await.expect("a row");
    assert_eq!(row.raw["enabled"], true);
    world
        .shapes
        .on(KEYCLOAK_USER, 404, r#"{"error":"User not found"}"#);
    committed(&world, LEAVE).await;
    assert!(world.served.row(ADA).await.expect("a row").is_deleted);
    world.end().await;
}

/// A session names whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn at_keycloak_whoever_has_a_session_at_a_client_has_a_row() {
    let world = keycloak(|_| {}).await;
    for (id, sessions) in [
        ("8b2d5a3e-1111-4c1a-9a37-00000000000a", "user-sessions"),
        ("8b2d5a3e-1111-4c1a-9a37-00000000000b", "offline-sessions"),
    ] {
        let user = format!("GET /admin/realms/shop/users/{id}");
        world.shapes.on(&user, 200, set(at_keycloak("Ada"), "/id", id));
        let on = format!("GET /admin/realms/shop/clients/5f0e8c1a-2222-4c1a-9a37-000000000001/{sessions}");
        let session = json!({"id": "5f0e8c1a-2222-4c1a-9a37-000000000002", "username": "ada", "userId": id,
                             "ipAddress": "192.0.2.1", "start": 1, "lastAccess": 2, "rememberMe": false, "clients": {}});
        world.shapes.on(&on, 200, json!([session]));
        committed(&world, &on).await;
        assert_eq!(name(&world, id).await.as_deref(), Some("Ada"), "{on}");
    }
    world.end().await;
}

fn at_auth0(id: &str, name: &str, updated: &str) -> Value {
    json!({"user_id": id, "name": name, "email": "ada@example.com", "identities": [],
           "created_at": MADE, "updated_at": updated})
}

const NO_AUTH0_USER: &str =
    r#"{"statusCode":404,"error":"Not Found","message":"","errorCode":"inexistent_user"}"#;

async fn auth0() -> Shaped {
    let settings = [
        ("AUTH0_CLIENT_ID", "client"),
        ("AUTH0_CLIENT_SECRET", "secret"),
        ("USERTAP_CACHE_TTL", "0"),
    ];
    Shaped::start("auth0", &settings, |shapes| {
        let token = r#"{"access_token":"own-token","expires_in":86400}"#;
        shapes.on("POST /oauth/token", 200, token);
        shapes.on("GET /api/v2/users/", 404, NO_AUTH0_USER);
        for (path, id) in [("auth0%7C1", "auth0|1"), ("auth0%7C2", "auth0|2")] {
            let user = at_auth0(id, "Ada", MADE);
            shapes.on(&format!("GET /api/v2/users/{path}"), 200, user);
        }
    })
    .await
}

/// The Python SDK says so where others say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_a_list_without_totals_is_a_list() {
    const LIST: &str = "GET /api/v2/users?page=0&include_totals=false";
    let world = auth0().await;
    world
        .shapes
        .on(LIST, 200, json!([at_auth0("auth0|1", "Ada", MADE)]));
    committed(&world, LIST).await;
    assert_eq!(name(&world, "auth0|1").await.as_deref(), Some("Ada"));
    world.end().await;
}

/// Nobody knows how old what its index shows is.
#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_a_list_takes_nothing_back() {
    const READ: &str = "GET /api/v2/users/auth0%7C1";
    const LIST: &str = "GET /api/v2/users?page=0&include_totals=false";
    let world = auth0().await;
    world.shapes.on(READ, 200, at_auth0("auth0|1", "Countess", MADE));
    committed(&world, READ).await;
    world
        .shapes
        .on(LIST, 200, json!([at_auth0("auth0|1", "Ada", MADE)]));
    ask(&world, LIST).await;
    assert_eq!(name(&world, "auth0|1").await.as_deref(), Some("Countess"));
    world.end().await;
}

/// Whoever was asked for in part is named, and has a row before the app can refer to it.
#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_whoever_is_shown_in_part_has_a_row() {
    let world = auth0().await;
    let part = json!({"user_id": "auth0|1", "name": "Ada"});
    let list = "GET /api/v2/users?include_totals=true&fields=user_id,name";
    world.shapes.on(
        list,
        200,
        json!({"start": 0, "limit": 50, "length": 1, "total": 1, "users": [part]}),
    );
    committed(&world, list).await;
    assert_eq!(name(&world, "auth0|1").await.as_deref(), Some("Ada"));
    let part = json!({"user_id": "auth0|2", "name": "Ada"});
    let by_email = "GET /api/v2/users-by-email?email=ada@example.com&fields=user_id,name";
    world.shapes.on(by_email, 200, json!([part]));
    committed(&world, by_email).await;
    assert_eq!(name(&world, "auth0|2").await.as_deref(), Some("Ada"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_whoever_is_in_a_group_has_a_row() {
    const MEMBERS: &str = "GET /api/v2/groups/grp_1/members?take=50";
    let world = auth0().await;
    let member = json!({"id": "auth0|1", "member_type": "user", "type": "connection", "connection_id": "con_1",
                        "created_at": MADE});
    world.shapes.on(MEMBERS, 200, json!({"members": [member]}));
    committed(&world, MEMBERS).await;
    assert_eq!(name(&world, "auth0|1").await.as_deref(), Some("Ada"));
    world.end().await;
}

/// Of two users one is left, and then they are two again.
#[tokio::test(flavor = "multi_thread")]
async fn at_auth0_who_is_linked_to_another_goes_and_comes_back() {
    let world = auth0().await;
    for id in ["auth0%7C1", "auth0%7C2"] {
        committed(&world, &format!("GET /api/v2/users/{id}")).await;
    }
    let link = "/api/v2/users/auth0%7C1/identities";
    world.shapes.on(
        &format!("POST {link}"),
        201,
        json!([{"provider": "auth0", "user_id": "1"}]),
    );
    world.shapes.on("GET /api/v2/users/auth0%7C2", 404, NO_AUTH0_USER);
    let other = json!({"provider": "auth0", "user_id": "2"});
    let linked = world.served.ask(Method::POST, link, &BEARER, &other).await;
    assert!(
        linked.recorded().starts_with("committed"),
        "{}",
        linked.recorded()
    );
    assert!(world.served.row("auth0|2").await.expect("a row").is_deleted);
    assert!(!world.served.row("auth0|1").await.expect("a row").is_deleted);
    let again = at_auth0("auth0|2", "Ada again", LATER);
    world.shapes.on("GET /api/v2/users/auth0%7C2", 200, again);
    let unlink = "DELETE /api/v2/users/auth0%7C1/identities/auth0/2";
    world
        .shapes
        .on(unlink, 200, json!([{"provider": "auth0", "user_id": "1"}]));
    committed(&world, unlink).await;
    let row = world.served.row("auth0|2").await.expect("a row");
    assert_eq!((row.name.as_deref(), row.is_deleted), (Some("Ada again"), false));
    world.end().await;
}

/// `fields` leaves out whatever it does not name, inside the profile too.
#[tokio::test(flavor = "multi_thread")]
async fn at_okta_a_selection_of_fields_erases_nothing() {
    let ada = json!({"id": "00u1abcdefghijklmn0x", "status": "ACTIVE", "created": MADE, "lastUpdated": MADE, "lastLogin": null,
                     "profile": {"firstName": "Ada", "email": "ada@example.com", "login": "ada@example.com"}});
    let settings = [("OKTA_CLIENT_TOKEN", "00token"), ("USERTAP_CACHE_TTL", "0")];
    let user = "GET /api/v1/users/00u1abcdefghijklmn0x";
    let list = "GET /api/v1/users?fields=id,status,created,lastUpdated,profile:(firstName)";
    let world = Shaped::start("okta", &settings, |shapes| {
        shapes.on("GET /api/v1/users/", 404, r#"{"errorCode":"E0000007"}"#);
        shapes.on(user, 200, &ada);
        let part = set(ada.clone(), "/profile", json!({"firstName": "Ada"}));
        shapes.on(list, 200, json!([part]));
    })
    .await;
    let headers = [("authorization", "SSWS 00token")];
    for on in [list, user, list] {
        let reply = world.ask(on, &headers).await;
        assert!(
            reply.recorded().starts_with("committed"),
            "{on}: {}",
            reply.recorded()
        );
        let row = world.served.row("00u1abcdefghijklmn0x").await.expect("a row");
        assert_eq!(row.email.as_deref(), Some("ada@example.com"), "{on}");
    }
    world.end().await;
}

/// As its Python SDK shows it: `SSWS00token`.
#[tokio::test(flavor = "multi_thread")]
async fn at_okta_a_token_that_nothing_parts_from_its_scheme_is_the_key() {
    const USER: &str = "00u1abcdefghijklmn0x";
    let ada = json!({"id": USER, "status": "ACTIVE", "created": MADE, "lastUpdated": MADE, "lastLogin": null,
                     "profile": {"firstName": "Ada", "email": "ada@example.com", "login": "ada@example.com"}});
    let (on, nobody) = (format!("GET /api/v1/users/{USER}"), r#"{"errorCode":"E0000007"}"#);
    let settings = [("OKTA_CLIENT_TOKEN", "00token"), ("USERTAP_CACHE_TTL", "0")];
    let world = Shaped::start("okta", &settings, |shapes| {
        shapes.on("GET /api/v1/users/", 404, nobody);
        shapes.on(&on, 200, &ada);
    })
    .await;
    let key = [("authorization", "SSWS00token")];
    let ensured = world
        .ask(&format!("GET /_usertap/users/{USER}?ensure=1"), &key)
        .await;
    assert_eq!(ensured.status, 200);
    world.shapes.on(&on, 404, nobody);
    let gone = world.ask(&on, &key).await;
    assert!(gone.recorded().starts_with("committed"), "{}", gone.recorded());
    assert!(world.served.row(USER).await.expect("a row").is_deleted);
    world.end().await;
}

fn at_better_auth(id: &str) -> Value {
    json!({"id": id, "name": "Ada", "email": "ada@example.com", "banned": false, "createdAt": MADE, "updatedAt": MADE})
}

/// By whichever of its plugins somebody signs in.
#[tokio::test(flavor = "multi_thread")]
async fn at_better_auth_who_signs_in_by_a_plugin_has_a_row() {
    let world = Shaped::better_auth(&[], |_| {}).await;
    let ways = [
        "GET /api/auth/magic-link/verify?token=t",
        "POST /api/auth/sign-in/anonymous",
        "POST /api/auth/sign-in/email-otp",
        "POST /api/auth/sign-in/phone-number",
        "POST /api/auth/email-otp/verify-email",
        "POST /api/auth/phone-number/verify",
        "POST /api/auth/one-tap/callback",
        "POST /api/auth/one-time-token/verify",
        "POST /api/auth/passkey/verify-authentication",
        "POST /api/auth/siwe/verify",
        "POST /api/auth/two-factor/verify-backup-code",
        "POST /api/auth/two-factor/verify-otp",
        "POST /api/auth/two-factor/verify-totp",
    ];
    for (at, way) in ways.into_iter().enumerate() {
        let id = format!("user{at}");
        let read = format!("GET /api/auth/admin/get-user?id={id}");
        world.shapes.on(&read, 200, at_better_auth(&id));
        // Less than the user: what its columns hold is left out.
        let answer = json!({"token": "a-token", "user": {"id": id, "name": "Ada"}});
        world.shapes.on(way, 200, answer);
        committed(&world, way).await;
        assert_eq!(name(&world, &id).await.as_deref(), Some("Ada"), "{way}");
    }
    let status = world.served.status().await;
    assert_eq!(status["traffic"]["unmatched"], 0, "{}", status["traffic"]);
    world.end().await;
}

fn at_kratos(id: &str, name: &str, updated: &str) -> Value {
    json!({"id": id, "schema_id": "default", "schema_url": "http://kratos/schemas/default", "state": "active",
           "traits": {"email": "ada@example.com", "name": name}, "metadata_public": null,
           "created_at": MADE, "updated_at": updated})
}

/// A session shows whose it is: what has changed elsewhere is in the table before the app sees it there.
#[tokio::test(flavor = "multi_thread")]
async fn at_kratos_a_session_tells_of_its_identity() {
    let user = |id: &str| format!("GET /admin/identities/{id}");
    let whole = |id: &str, name: &str, updated: &str| {
        let mut whole = at_kratos(id, name, updated);
        whole["metadata_admin"] = json!({"plan": "gold"});
        whole
    };
    let world = Shaped::start("kratos", &[("USERTAP_CACHE_TTL", "0")], |shapes| {
        shapes.on(
            "GET /admin/identities/",
            404,
            r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#,
        );
        shapes.on(&user(ADA), 200, whole(ADA, "Ada", MADE));
        shapes.on(&user(EVE), 200, whole(EVE, "Eve", MADE));
    })
    .await;
    committed(&world, &user(ADA)).await;
    let reads = || {
        world
            .shapes
            .asked()
            .iter()
            .filter(|asked| asked.target.ends_with(ADA))
            .count()
    };
    let session = |identity: Value| json!({"id": "s1", "active": true, "identity": identity});
    let whoami = "GET /sessions/whoami";
    world.shapes.on(whoami, 200, session(at_kratos(ADA, "Ada", MADE)));
    committed(&world, whoami).await;
    assert_eq!(reads(), 1, "nothing new is no read");
    world.shapes.on(&user(ADA), 200, whole(ADA, "Ada King", LATER));
    world
        .shapes
        .on(whoami, 200, session(at_kratos(ADA, "Ada King", LATER)));
    committed(&world, whoami).await;
    let row = world.served.row(ADA).await.expect("a row");
    assert_eq!(
        (row.name.as_deref(), &row.raw["metadata_admin"]["plan"]),
        (Some("Ada King"), &json!("gold"))
    );
    // An app that signs somebody up by another provider has the session so.
    let exchange = "GET /sessions/token-exchange?init_code=i&return_to_code=r";
    let answer = json!({"session_token": "ory_st_token", "session": session(at_kratos(EVE, "Eve", MADE))});
    world.shapes.on(exchange, 200, answer);
    committed(&world, exchange).await;
    assert_eq!(name(&world, EVE).await.as_deref(), Some("Eve"));
    world.end().await;
}

/// GoTrue answers a write with what it has in memory: more exact times, and without what the database computes.
#[tokio::test(flavor = "multi_thread")]
async fn at_supabase_the_answer_to_a_write_is_not_yet_the_user() {
    let settings = [
        ("SUPABASE_SERVICE_ROLE_KEY", "service"),
        ("USERTAP_CACHE_TTL", "0"),
    ];
    let key = [("authorization", "Bearer service"), ("apikey", "service")];
    let user = "/auth/v1/admin/users/8b2d5a3e-1111-4c1a-9a37-000000000001";
    let mut stored = json!({"id": ADA, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {},
                            "email_confirmed_at": MADE, "created_at": MADE, "updated_at": "2024-01-02T03:04:05.678901Z"});
    let answer = set(stored.clone(), "/updated_at", "2024-01-02T03:04:05.678901234Z");
    stored["confirmed_at"] = json!(MADE);
    let world = Shaped::start("supabase", &settings, |shapes| {
        shapes.on("GET /auth/v1/admin/users/", 404, r#"{"code":"user_not_found"}"#);
        shapes.on(&format!("GET {user}"), 200, &stored);
        shapes.on("POST /auth/v1/admin/users", 200, &answer);
        shapes.on(&format!("PUT {user}"), 200, &answer);
    })
    .await;
    for write in ["POST /auth/v1/admin/users".to_owned(), format!("PUT {user}")] {
        let reply = world.ask(&write, &key).await;
        assert!(
            reply.recorded().starts_with("committed"),
            "{write}: {}",
            reply.recorded()
        );
        becomes(&world, &stored, &write).await;
    }
    world.end().await;
}

/// Kratos as well: its own clock is more exact than its database.
#[tokio::test(flavor = "multi_thread")]
async fn at_kratos_the_answer_to_a_write_is_not_yet_the_identity() {
    let user = "/admin/identities/8b2d5a3e-1111-4c1a-9a37-000000000001";
    let mut stored = at_kratos(ADA, "Ada", MADE);
    stored["state_changed_at"] = json!("2024-01-02T03:04:05.678901Z");
    let answer = set(
        stored.clone(),
        "/state_changed_at",
        "2024-01-02T03:04:05.678901234Z",
    );
    let world = Shaped::start("kratos", &[("USERTAP_CACHE_TTL", "0")], |shapes| {
        shapes.on(
            "GET /admin/identities/",
            404,
            r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#,
        );
        shapes.on(&format!("GET {user}"), 200, &stored);
        shapes.on("POST /admin/identities", 201, &answer);
        shapes.on(&format!("PATCH {user}"), 200, &answer);
    })
    .await;
    for write in ["POST /admin/identities".to_owned(), format!("PATCH {user}")] {
        committed(&world, &write).await;
        becomes(&world, &stored, &write).await;
    }
    world.end().await;
}

async fn better_auth() -> Shaped {
    Shaped::better_auth(&[("USERTAP_CACHE_TTL", "0")], |shapes| {
        shapes.on("GET /api/auth/admin/get-user?id=kQ1", 200, at_better_auth("kQ1"));
    })
    .await
}

/// What the app has changed within its own process is in the table before a session shows it. What an app adds to
/// its sessions is no difference.
#[tokio::test(flavor = "multi_thread")]
async fn at_better_auth_a_session_tells_that_its_user_has_changed() {
    const SESSION: &str = "GET /api/auth/get-session";
    let world = better_auth().await;
    let reads = || {
        world
            .shapes
            .asked()
            .iter()
            .filter(|asked| asked.target.ends_with("id=kQ1"))
            .count()
    };
    let mut shown = at_better_auth("kQ1");
    shown["plan"] = json!("of a plugin's");
    let session = |user: &Value| json!({"session": {"id": "s1", "userId": "kQ1"}, "user": user});
    world.shapes.on(SESSION, 200, session(&shown));
    for _ in 0..3 {
        committed(&world, SESSION).await;
        assert_eq!(reads(), 1, "nothing new is no read");
    }
    let renamed = |user: Value| set(set(user, "/name", "Ada King"), "/updatedAt", LATER);
    world.shapes.on(
        "GET /api/auth/admin/get-user?id=kQ1",
        200,
        renamed(at_better_auth("kQ1")),
    );
    world.shapes.on(SESSION, 200, session(&renamed(shown)));
    committed(&world, SESSION).await;
    assert_eq!(name(&world, "kQ1").await.as_deref(), Some("Ada King"));
    // Nobody is signed in.
    world.shapes.on(SESSION, 200, "null");
    assert_eq!(ask(&world, SESSION).await.recorded(), "none; no-user");
    assert_eq!(world.served.status().await["traffic"]["malformed"], 0);
    world.end().await;
}

/// The members of an organisation have rows before the app can refer to them.
#[tokio::test(flavor = "multi_thread")]
async fn at_better_auth_members_are_named() {
    let members =
        json!({"members": [{"id": "m1", "userId": "kQ1", "user": {"id": "kQ1", "name": "Ada"}}], "total": 1});
    for on in [
        "GET /api/auth/organization/list-members",
        "GET /api/auth/organization/get-full-organization?organizationId=o1",
        "POST /api/auth/organization/set-active",
    ] {
        let world = better_auth().await;
        world.shapes.on(on, 200, &members);
        committed(&world, on).await;
        assert_eq!(name(&world, "kQ1").await.as_deref(), Some("Ada"), "{on}");
        world.end().await;
    }
}

/// Whoever signs in by Okta's own API is named deep in the answer.
#[tokio::test(flavor = "multi_thread")]
async fn at_okta_who_signs_in_has_a_row() {
    let id = "00u1abcdefghijklmn0x";
    let ada = json!({"id": id, "status": "ACTIVE", "created": MADE, "lastUpdated": MADE,
                     "profile": {"firstName": "Ada", "email": "ada@example.com", "login": "ada@example.com"}});
    let world = Shaped::start("okta", &[("OKTA_CLIENT_TOKEN", "00token")], |shapes| {
        shapes.on("GET /api/v1/users/", 404, r#"{"errorCode":"E0000007"}"#);
        shapes.on(&format!("GET /api/v1/users/{id}"), 200, &ada);
        let answer = json!({"status": "SUCCESS", "sessionToken": "t", "_embedded": {"user": {"id": id, "profile": {}}}});
        shapes.on("POST /api/v1/authn", 200, answer);
    })
    .await;
    committed(&world, "POST /api/v1/authn").await;
    assert_eq!(name(&world, id).await.as_deref(), Some("Ada"));
    world.end().await;
}

/// Of an address that is taken GoTrue says nothing: it makes up a user.
#[tokio::test(flavor = "multi_thread")]
async fn at_supabase_a_user_who_is_made_up_leaves_nothing() {
    let world = Shaped::start("supabase", &[("SUPABASE_SERVICE_ROLE_KEY", "service")], |shapes| {
        shapes.on("GET /auth/v1/admin/users/", 404, r#"{"code":"user_not_found"}"#);
        let made_up = json!({"id": EVE, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {},
                             "identities": [], "created_at": MADE, "updated_at": MADE});
        shapes.on("POST /auth/v1/signup", 200, made_up);
    })
    .await;
    let browser = [("apikey", "anon"), ("authorization", "Bearer anon")];
    for _ in 0..2 {
        let reply = world.ask("POST /auth/v1/signup", &browser).await;
        assert!(!reply.recorded().contains("reread-late"), "{}", reply.recorded());
        assert_eq!(world.served.count("true").await, 0, "{}", reply.recorded());
    }
    world.end().await;
}

/// What users see of themselves tells that they have changed.
#[tokio::test(flavor = "multi_thread")]
async fn at_logto_an_account_tells_that_its_user_has_changed() {
    let ada = |name: &str| {
        json!({"id": "4hyx6r0ck2lu", "name": name, "primaryEmail": "ada@example.com", "customData": {}, "identities": {},
               "createdAt": 1, "updatedAt": name.len(), "isSuspended": false})
    };
    let settings = [
        ("LOGTO_APP_ID", "client"),
        ("LOGTO_APP_SECRET", "secret"),
        ("LOGTO_API_RESOURCE", "https://shop.logto.app/api"),
    ];
    let user = "GET /api/users/4hyx6r0ck2lu";
    let world = Shaped::start("logto", &settings, |shapes| {
        shapes.on(
            "POST /oidc/token",
            200,
            r#"{"access_token":"own-token","expires_in":3600}"#,
        );
        shapes.on("GET /api/users/", 404, r#"{"code":"entity.not_exists_with_id"}"#);
    })
    .await;
    let account = |name: &str| json!({"id": "4hyx6r0ck2lu", "name": name, "updatedAt": name.len()});
    for (on, shown) in [
        ("GET /api/my-account", "Ada"),
        ("GET /api/my-account", "Ada King"),
        ("PATCH /api/my-account", "Ada K."),
    ] {
        world.shapes.on(user, 200, ada(shown));
        world.shapes.on(on, 200, account(shown));
        committed(&world, on).await;
        assert_eq!(name(&world, "4hyx6r0ck2lu").await.as_deref(), Some(shown), "{on}");
    }
    world.end().await;
}

/// What a mail is about names whose it is: apps send such mails themselves.
#[tokio::test(flavor = "multi_thread")]
async fn at_workos_whoever_a_mail_is_for_has_a_row() {
    let settings = [("WORKOS_API_KEY", "sk_test_1"), ("USERTAP_CACHE_TTL", "0")];
    let key = [("authorization", "Bearer sk_test_1")];
    let world = Shaped::start("workos", &settings, |shapes| {
        let nobody = r#"{"message":"User not found","code":"entity_not_found"}"#;
        shapes.on("GET /user_management/users/", 404, nobody);
    })
    .await;
    for (at, on) in [
        "GET /user_management/email_verification/email_verification_1",
        "GET /user_management/password_reset/password_reset_1",
        "GET /user_management/invitations/by_token/t",
        "POST /user_management/invitations/invitation_1/resend",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("user_{at}");
        let user = json!({"object": "user", "id": id, "email": "ada@example.com", "first_name": "Ada", "last_name": null,
                          "created_at": MADE, "updated_at": MADE});
        world
            .shapes
            .on(&format!("GET /user_management/users/{id}"), 200, user);
        let answer = json!({"id": "x", "user_id": id, "accepted_user_id": id, "email": "ada@example.com"});
        world.shapes.on(on, 200, answer);
        let reply = world.ask(on, &key).await;
        assert!(
            reply.recorded().starts_with("committed"),
            "{on}: {}",
            reply.recorded()
        );
        assert_eq!(name(&world, &id).await.as_deref(), Some("Ada"), "{on}");
    }
    world.end().await;
}

/// The key of an organisation is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn at_workos_whose_key_is_shown_has_a_row() {
    const VALIDATE: &str = "POST /api_keys/validations";
    let settings = [("WORKOS_API_KEY", "sk_test_1")];
    let key = [("authorization", "Bearer sk_test_1")];
    let world = Shaped::start("workos", &settings, |shapes| {
        let user = json!({"object": "user", "id": "user_1", "email": "ada@example.com", "first_name": "Ada",
                          "last_name": null, "created_at": MADE, "updated_at": MADE});
        let nobody = r#"{"message":"User not found","code":"entity_not_found"}"#;
        shapes.on("GET /user_management/users/", 404, nobody);
        shapes.on("GET /user_management/users/user_1", 200, user);
    })
    .await;
    for (owner, recorded) in [
        (json!({"type": "organization", "id": "org_1"}), "none"),
        (
            json!({"type": "user", "id": "user_1", "organization_id": "org_1"}),
            "committed",
        ),
        (Value::Null, "none"),
    ] {
        let shown = json!({"object": "api_key", "id": "api_key_1", "owner": owner, "name": "Mine"});
        world.shapes.on(VALIDATE, 200, json!({"api_key": shown}));
        let reply = world.ask(VALIDATE, &key).await;
        assert!(
            reply.recorded().starts_with(recorded),
            "{owner}: {}",
            reply.recorded()
        );
    }
    assert_eq!(name(&world, "user_1").await.as_deref(), Some("Ada"));
    let asked = world.shapes.asked();
    assert!(
        asked.iter().all(|asked| !asked.target.contains("org_1")),
        "an organisation is no user"
    );
    world.end().await;
}

/// A session that has ended is answered `null`, with a 200: that takes no refusal back.
#[tokio::test(flavor = "multi_thread")]
async fn at_better_auth_nobodys_session_is_given_nothing_stale() {
    let user = "GET /api/auth/admin/get-user?id=kQ1";
    let cookie = [("cookie", "better-auth.session_token=ended")];
    let world = Shaped::better_auth(&[("USERTAP_CACHE_TTL", "1ms")], |shapes| {
        shapes.on(user, 200, at_better_auth("kQ1"));
        shapes.on("GET /api/auth/admin/list-users", 401, "");
        shapes.on("GET /api/auth/get-session", 200, "null");
    })
    .await;
    assert_eq!(world.ask(user, &cookie).await.status, 200);
    world.shapes.on(user, 503, "");
    assert_eq!(world.ask(user, &cookie).await.status, 200, "known, and stale");
    for (on, status) in [
        ("GET /api/auth/admin/list-users", 401),
        ("GET /api/auth/get-session", 200),
    ] {
        assert_eq!(world.ask(on, &cookie).await.status, status, "{on}");
        assert_eq!(world.ask(user, &cookie).await.status, 503, "after {on}");
    }
    world.end().await;
}
