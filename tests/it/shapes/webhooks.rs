//! What these providers send by themselves: their published deliveries, and the rows that come of them.
//! Where nothing is signed, the secret in a header is all that is believed.

use ::http::Method;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::http::{self, Reply};
use crate::support::shapes::{Shaped, set};
use crate::support::{eventually, wall};

const SECRET: &str = "0f6c1d5a8b7e4f3290abcdef";
const BEARER: &str = "Bearer 0f6c1d5a8b7e4f3290abcdef";
const ONE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";

/// One provider as these tests need it.
struct Case {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// Before the id in the path that reads a user.
    read: &'static str,
    not_found: &'static str,
}

const AUTH0: Case = Case {
    name: "auth0",
    settings: &[("AUTH0_CLIENT_ID", "client"), ("AUTH0_CLIENT_SECRET", "secret")],
    read: "/api/v2/users/",
    not_found: r#"{"statusCode":404,"error":"Not Found","message":"","errorCode":"inexistent_user"}"#,
};
const OKTA: Case = Case {
    name: "okta",
    settings: &[("OKTA_CLIENT_TOKEN", "00token")],
    read: "/api/v1/users/",
    not_found: r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found"}"#,
};
const SUPABASE: Case = Case {
    name: "supabase",
    settings: &[("SUPABASE_SERVICE_ROLE_KEY", "service")],
    read: "/auth/v1/admin/users/",
    not_found: r#"{"code":"user_not_found","message":"User not found"}"#,
};
const KRATOS: Case = Case {
    name: "kratos",
    settings: &[],
    read: "/admin/identities/",
    not_found: r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#,
};
const WORKOS: Case = Case {
    name: "workos",
    settings: &[("WORKOS_API_KEY", "sk_test_1")],
    read: "/user_management/users/",
    not_found: r#"{"message":"User not found","code":"entity_not_found"}"#,
};

const LOGTO: Case = Case {
    name: "logto",
    settings: &[
        ("LOGTO_APP_ID", "client"),
        ("LOGTO_APP_SECRET", "secret"),
        ("LOGTO_API_RESOURCE", "https://shop.logto.app/api"),
    ],
    read: "/api/users/",
    not_found: r#"{"code":"entity.not_exists_with_id","message":"The user does not exist."}"#,
};

impl Case {
    async fn start(&self) -> Shaped {
        let secret = [("USERTAP_WEBHOOK_SECRET", SECRET)];
        let settings: Vec<_> = self.settings.iter().chain(&secret).copied().collect();
        Shaped::start(self.name, &settings, |shapes| {
            shapes.on(
                "POST /oauth/token",
                200,
                r#"{"access_token":"own-token","expires_in":86400}"#,
            );
            let token = r#"{"access_token":"own-token","expires_in":3600}"#;
            shapes.on("POST /oidc/token", 200, token);
            shapes.on(&format!("GET {}", self.read), 404, self.not_found);
        })
        .await
    }

    fn has(&self, world: &Shaped, id: &str, user: &Value) {
        world
            .shapes
            .on(&format!("GET {}{}", self.read, id.replace('|', "%7C")), 200, user);
    }

    fn has_no(&self, world: &Shaped, id: &str) {
        let path = format!("GET {}{}", self.read, id.replace('|', "%7C"));
        world.shapes.on(&path, 404, self.not_found);
    }

    fn reads(&self, world: &Shaped, id: &str) -> usize {
        let path = format!("{}{}", self.read, id.replace('|', "%7C"));
        let asked = world.shapes.asked();
        asked.iter().filter(|asked| asked.target == path).count()
    }
}

async fn send(world: &Shaped, headers: &[(&str, &str)], body: &Value) -> Reply {
    let url = format!("http://{}/_usertap/webhooks", world.served.listen());
    http::request(Method::POST, &url, headers, body.to_string())
        .await
        .expect("an answer")
}

async fn word(world: &Shaped, headers: &[(&str, &str)], body: &Value) -> String {
    let reply = send(world, headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["webhook"].as_str().expect("a word").to_owned()
}

async fn is_deleted(world: &Shaped, id: &str) {
    eventually("the row is deleted", || async {
        world.served.row(id).await?.is_deleted.then_some(())
    })
    .await;
}

async fn has_name(world: &Shaped, id: &str, name: &str) {
    eventually("the row says so", || async {
        let row = world.served.row(id).await?;
        (row.name.as_deref() == Some(name) && !row.is_deleted).then_some(())
    })
    .await;
}

/// No read is owed.
async fn settled(world: &Shaped) {
    eventually("no read is owed", || async {
        let sql = "SELECT count(*) FROM usertap.user_state WHERE doubt IS NOT NULL";
        let owed: i64 = world.served.client.query_one(sql, &[]).await.ok()?.get(0);
        (owed == 0).then_some(())
    })
    .await;
}

async fn changes(world: &Shaped) -> i64 {
    let sql = "SELECT count(*) FROM usertap.changes";
    world
        .served
        .client
        .query_one(sql, &[])
        .await
        .expect("a query")
        .get(0)
}

fn auth0_user(id: &str, name: &str, second: u32) -> Value {
    json!({"user_id": id, "email": "ada@example.com", "name": name, "nickname": "ada",
           "identities": [{"connection": "db", "user_id": "1", "provider": "auth0", "isSocial": false}],
           "created_at": "2024-01-02T03:04:05.678Z", "updated_at": format!("2024-01-02T03:04:{second:02}.678Z")})
}

fn auth0_event(id: &str, kind: &str, user: &Value) -> Value {
    json!({"specversion": "1.0", "type": kind, "source": "urn:auth0:shop", "id": id, "time": "2024-01-02T03:04:05.678Z",
           "data": {"object": user, "context": {}}, "a0tenant": "shop", "a0stream": "est_1"})
}

#[tokio::test(flavor = "multi_thread")]
async fn auth0_streams_whole_users_in_any_order() {
    let world = AUTH0.start().await;
    let by = [("authorization", BEARER)];
    let id = "auth0|1";
    let (old, new) = (auth0_user(id, "Ada", 10), auth0_user(id, "Countess", 11));
    AUTH0.has(&world, id, &new);
    assert_eq!(
        word(&world, &by, &auth0_event("e1", "user.created", &old)).await,
        "applied"
    );
    settled(&world).await;
    has_name(&world, id, "Countess").await;
    let newest = auth0_user(id, "Ada King", 12);
    AUTH0.has(&world, id, &newest);
    let reads = AUTH0.reads(&world, id);
    assert_eq!(
        word(&world, &by, &auth0_event("e3", "user.updated", &newest)).await,
        "applied"
    );
    has_name(&world, id, "Ada King").await;
    let late = auth0_event("e2", "user.updated", &new);
    assert_eq!(word(&world, &by, &late).await, "unchanged");
    assert_eq!(AUTH0.reads(&world, id), reads, "updated_at says which is newer");
    has_name(&world, id, "Ada King").await;
    // Who is still there is not deleted.
    let deleted = auth0_event("e4", "user.deleted", &set(newest, "/name", "Gone"));
    assert_eq!(word(&world, &by, &deleted).await, "hint");
    settled(&world).await;
    has_name(&world, id, "Ada King").await;
    AUTH0.has_no(&world, id);
    let deleted = set(deleted, "/id", "e5");
    assert_eq!(word(&world, &by, &deleted).await, "hint");
    is_deleted(&world, id).await;
    // As the dashboard sends it to try a stream.
    let mut trial = auth0_event("e6", "user.created", &auth0_user("auth0|0", "Nobody", 10));
    trial["a0purpose"] = json!("test");
    assert_eq!(word(&world, &by, &trial).await, "ignored");
    assert_eq!(world.served.row("auth0|0").await, None);
    world.end().await;
}

fn okta_user(id: &str, name: &str, status: &str) -> Value {
    json!({"id": id, "status": status, "created": "2024-01-02T03:04:05.678Z", "lastLogin": null,
           "lastUpdated": "2024-01-02T03:04:10.000Z",
           "profile": {"firstName": name, "lastName": null, "email": "ada@example.com", "login": "ada@example.com"}})
}

fn okta_events(id: &str, events: &[(&str, &str)]) -> Value {
    let event = |(kind, user): &(&str, &str)| {
        json!({"uuid": "u", "published": "2024-01-02T03:04:05.678Z", "eventType": kind,
               "target": [{"id": "0oa1", "type": "AppInstance"}, {"id": user, "type": "User", "alternateId": "a@example.com"}]})
    };
    let events: Vec<Value> = events.iter().map(event).collect();
    json!({"eventType": "com.okta.event_hook", "eventTypeVersion": "1.0", "source": "https://dev/api/v1/eventHooks/who1",
           "eventId": id, "data": {"events": events}, "eventTime": "2024-01-02T03:04:05.678Z"})
}

#[tokio::test(flavor = "multi_thread")]
async fn okta_makes_sure_of_the_hook_and_sends_batches_that_name_users() {
    let world = OKTA.start().await;
    let url = format!("http://{}/_usertap/webhooks", world.served.listen());
    let challenge = [("x-okta-verification-challenge", "a \"b\"")];
    let reply = http::get(&url, &challenge).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()),
        (200, json!({"verification": "a \"b\""}))
    );
    assert_eq!(http::get(&url, &[]).await.status, 405);

    let by = [("authorization", SECRET)];
    OKTA.has(&world, "00u1", &okta_user("00u1", "Ada", "ACTIVE"));
    OKTA.has(&world, "00u2", &okta_user("00u2", "Bea", "ACTIVE"));
    let made = okta_events(
        "one",
        &[
            ("user.lifecycle.create", "00u1"),
            ("user.account.update_profile", "00u2"),
        ],
    );
    assert_eq!(word(&world, &by, &made).await, "hint");
    has_name(&world, "00u1", "Ada").await;
    has_name(&world, "00u2", "Bea").await;
    assert_eq!(word(&world, &by, &made).await, "duplicate");
    // Deactivated first, deleted after that.
    OKTA.has(&world, "00u1", &okta_user("00u1", "Ada", "DEPROVISIONED"));
    let gone = |id| {
        okta_events(
            id,
            &[
                ("user.lifecycle.delete.initiated", "00u1"),
                ("policy.lifecycle.update", "00p1"),
            ],
        )
    };
    assert_eq!(word(&world, &by, &gone("two")).await, "hint");
    eventually("she is deactivated", || async {
        let row = world.served.row("00u1").await?;
        (row.raw["status"] == "DEPROVISIONED" && !row.is_deleted).then_some(())
    })
    .await;
    OKTA.has_no(&world, "00u1");
    assert_eq!(word(&world, &by, &gone("three")).await, "hint");
    is_deleted(&world, "00u1").await;
    for (events, told) in [
        (okta_events("four", &[]), "ignored"),
        (
            okta_events("five", &[("policy.lifecycle.update", "00p1")]),
            "unknown",
        ),
        (json!({"eventId": "six"}), "malformed"),
        // A machine signed in.
        (
            set(
                okta_events("seven", &[("user.session.start", "00u1")]),
                "/data/events/0/target",
                json!([{"id": "0oa1", "type": "AppInstance"}]),
            ),
            "ignored",
        ),
    ] {
        assert_eq!(word(&world, &by, &events).await, told);
    }
    // Twice an event that the file does not know came beside one that it knows.
    let told = &world.served.status().await["webhooks"];
    assert_eq!(
        (&told["partly_understood"], &told["unknown"]),
        (&json!(2), &json!(1))
    );
    let asked = world.shapes.asked();
    assert!(
        asked
            .iter()
            .all(|asked| !asked.target.contains("0oa1") && !asked.target.contains("00p1")),
        "what is no user was read"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn supabase_tells_of_rows_and_their_users_are_read() {
    let world = SUPABASE.start().await;
    let by = [("authorization", BEARER)];
    let user = json!({"id": ONE, "aud": "authenticated", "email": "ada@example.com", "user_metadata": {"full_name": "Ada"},
                      "app_metadata": {}, "identities": [], "created_at": "2024-01-02T03:04:05Z",
                      "updated_at": "2024-01-02T03:04:05Z"});
    SUPABASE.has(&world, ONE, &user);
    let record = json!({"id": ONE, "email": "ada@example.com", "encrypted_password": "$2a$10$hash", "aud": "authenticated"});
    let row = |kind: &str, table: &str, new: Value, old: Value| json!({"type": kind, "table": table, "schema": "auth", "record": new, "old_record": old});
    let inserted = row("INSERT", "users", record.clone(), Value::Null);
    assert_eq!(word(&world, &by, &inserted).await, "hint");
    has_name(&world, ONE, "Ada").await;
    let kept = world.served.row(ONE).await.expect("a row").raw;
    assert!(kept.get("encrypted_password").is_none(), "{kept}");
    let reads = SUPABASE.reads(&world, ONE);
    let elsewhere = row("INSERT", "sessions", record.clone(), Value::Null);
    assert_eq!(word(&world, &by, &elsewhere).await, "unknown");
    assert_eq!(SUPABASE.reads(&world, ONE), reads);
    let updated = row("UPDATE", "users", record.clone(), record.clone());
    for (second, name) in ["Countess", "Ada King"].iter().enumerate() {
        let renamed = set(user.clone(), "/user_metadata/full_name", *name);
        let at = format!("2024-01-02T03:04:{:02}Z", 6 + second);
        SUPABASE.has(&world, ONE, &set(renamed, "/updated_at", at));
        // The columns that the hook shows say the same each time.
        assert_eq!(word(&world, &by, &updated).await, "hint");
        has_name(&world, ONE, name).await;
    }
    SUPABASE.has_no(&world, ONE);
    let deleted = row("DELETE", "users", Value::Null, record);
    assert_eq!(word(&world, &by, &deleted).await, "hint");
    is_deleted(&world, ONE).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kratos_names_an_identity_by_a_body_of_ones_own() {
    let world = KRATOS.start().await;
    let user = json!({"id": ONE, "schema_id": "default", "state": "active", "traits": {"email": "ada@example.com", "name": "Ada"},
                      "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
    KRATOS.has(&world, ONE, &user);
    let saved = json!({"type": "identity.saved", "identity_id": ONE});
    assert_eq!(word(&world, &[("authorization", BEARER)], &saved).await, "hint");
    has_name(&world, ONE, "Ada").await;
    // Nothing in the body tells one change from the next.
    for name in ["Countess", "Ada"] {
        KRATOS.has(&world, ONE, &set(user.clone(), "/traits/name", name));
        assert_eq!(word(&world, &[("authorization", BEARER)], &saved).await, "hint");
        has_name(&world, ONE, name).await;
    }
    world.end().await;
}

fn hmac(text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    let mac = mac.chain_update(text).finalize().into_bytes();
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn workos_signed(body: &Value) -> String {
    let at = wall().timestamp_millis();
    format!("t={at}, v1={}", hmac(&format!("{at}.{body}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn logto_signs_the_body_alone_and_its_users_are_read() {
    let world = LOGTO.start().await;
    let id = "4hyx6r0ck2lu";
    let user = |name: &str| {
        json!({"id": id, "username": null, "primaryEmail": "ada@example.com", "name": name, "customData": {},
               "identities": {}, "lastSignInAt": null, "createdAt": 1_704_164_645_678_i64,
               "updatedAt": 1_704_164_645_678_i64, "profile": {}, "isSuspended": false})
    };
    let take = async |event: &Value| {
        let signature = hmac(&event.to_string());
        word(&world, &[("logto-signature-sha-256", &signature)], event).await
    };
    LOGTO.has(&world, id, &user("Ada"));
    let registered = json!({"hookId": "h", "event": "PostRegister", "createdAt": "2024-01-02T03:04:05.678Z", "userId": id});
    assert_eq!(take(&registered).await, "hint");
    has_name(&world, id, "Ada").await;
    LOGTO.has(&world, id, &user("Countess"));
    let updated = json!({"hookId": "h", "event": "User.Data.Updated", "data": user("Ada King")});
    assert_eq!(take(&updated).await, "hint");
    has_name(&world, id, "Countess").await;
    let forged = set(updated.clone(), "/event", "User.Deleted");
    let signature = hmac(&updated.to_string());
    let reply = send(&world, &[("logto-signature-sha-256", &signature)], &forged).await;
    assert_eq!(reply.status, 401);
    LOGTO.has_no(&world, id);
    let deleted = json!({"hookId": "h", "event": "User.Deleted", "params": {"userId": id}, "data": null});
    assert_eq!(take(&deleted).await, "hint");
    is_deleted(&world, id).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workos_signs_whole_users() {
    let world = WORKOS.start().await;
    let user = |name: &str, second: u32| {
        json!({"object": "user", "id": "user_a", "email": "ada@example.com", "first_name": name, "last_name": null,
               "metadata": {}, "created_at": "2024-01-02T03:04:05.678Z",
               "updated_at": format!("2024-01-02T03:04:{second:02}.678Z")})
    };
    let event = |id: &str, kind: &str, user: &Value| json!({"id": id, "event": kind, "data": user, "created_at": "2024-01-02T03:04:05.678Z"});
    let take =
        async |event: &Value| word(&world, &[("workos-signature", &workos_signed(event))], event).await;
    WORKOS.has(&world, "user_a", &user("Ada", 10));
    let made = event("event_1", "user.created", &user("Ada", 10));
    assert_eq!(take(&made).await, "applied");
    settled(&world).await;
    assert_eq!(
        take(&event("event_2", "user.updated", &user("Countess", 11))).await,
        "applied"
    );
    has_name(&world, "user_a", "Countess").await;
    // An attempt of nobody's, and what is no id.
    for (user_id, told) in [(Value::Null, "ignored"), (json!(5), "malformed")] {
        let data =
            json!({"type": "password", "status": "failed", "user_id": user_id, "email": "eve@example.com"});
        let failed = event(&format!("event_{told}"), "authentication.password_failed", &data);
        assert_eq!(take(&failed).await, told);
    }
    // A body that was changed on the way.
    let signature = workos_signed(&made);
    let forged = set(made, "/data/first_name", "Eve");
    assert_eq!(
        send(&world, &[("workos-signature", &signature)], &forged)
            .await
            .status,
        401
    );
    WORKOS.has_no(&world, "user_a");
    assert_eq!(
        take(&event("event_3", "user.deleted", &user("Countess", 11))).await,
        "hint"
    );
    is_deleted(&world, "user_a").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_have_the_secret_leaves_no_trace() {
    for case in [AUTH0, OKTA, SUPABASE, KRATOS] {
        let world = case.start().await;
        let asked = world.shapes.asked().len();
        let body = json!({"type": "user.created", "id": "e", "eventId": "e", "data": {"object": auth0_user("auth0|1", "Eve", 10)}});
        let (cut, longer) = (&BEARER[..BEARER.len() - 1], format!("{BEARER}0"));
        let wrong: [&[(&str, &str)]; 7] = [
            &[],
            &[("authorization", "")],
            &[("authorization", "Bearer ")],
            &[("authorization", cut)],
            &[("authorization", &longer)],
            &[("authorization", BEARER), ("authorization", BEARER)],
            &[("authorization", "Basic 0f6c1d5a8b7e4f3290abcdef")],
        ];
        for headers in wrong {
            let reply = send(&world, headers, &body).await;
            assert_eq!(reply.status, 401, "{}: {headers:?}", case.name);
            assert_eq!(reply.header("x-usertap-error"), Some("webhook-refused"));
        }
        let state = "SELECT count(*) FROM usertap.user_state";
        let known: i64 = world
            .served
            .client
            .query_one(state, &[])
            .await
            .expect("a query")
            .get(0);
        assert_eq!((known, world.shapes.asked().len()), (0, asked), "{}", case.name);
        world.end().await;
    }
}

/// Which events were taken is remembered in memory alone: after a restart one is judged once more, by the
/// same rule as every late one.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_after_a_restart_changes_nothing() {
    let mut world = AUTH0.start().await;
    let by = [("authorization", BEARER)];
    let (ada, bea) = ("auth0|1", "auth0|2");
    let events = [
        auth0_event("e1", "user.created", &auth0_user(ada, "Ada", 10)),
        auth0_event("e2", "user.updated", &auth0_user(ada, "Countess", 11)),
        auth0_event("e3", "user.created", &auth0_user(bea, "Bea", 10)),
        auth0_event("e4", "user.deleted", &auth0_user(bea, "Bea", 10)),
    ];
    AUTH0.has(&world, ada, &auth0_user(ada, "Countess", 11));
    for event in &events {
        word(&world, &by, event).await;
    }
    settled(&world).await;
    is_deleted(&world, bea).await;
    for event in &events {
        assert_eq!(word(&world, &by, event).await, "duplicate");
    }
    let (before, reads) = (
        changes(&world).await,
        [AUTH0.reads(&world, ada), AUTH0.reads(&world, bea)],
    );
    world.served.restart().await;
    for _ in 0..5 {
        for event in &events {
            word(&world, &by, event).await;
        }
    }
    settled(&world).await;
    assert_eq!(changes(&world).await, before, "the feed says it twice");
    has_name(&world, ada, "Countess").await;
    assert!(world.served.row(bea).await.expect("a row").is_deleted);
    let again = [
        AUTH0.reads(&world, ada) - reads[0],
        AUTH0.reads(&world, bea) - reads[1],
    ];
    // The creation and the deletion of who is gone are each a reason to ask, once.
    assert_eq!(again[0], 0);
    assert!(again[1] <= 2, "{again:?}");
    world.end().await;
}

#[test]
fn a_secret_that_can_be_guessed_is_refused_by_name() {
    let provider = usertap::provider::Provider::builtin("okta").expect("a file without a mistake");
    let told = provider.signing_secret("short").expect_err("too short");
    assert!(told.contains("at least 16 characters"), "{told}");
    assert!(provider.signing_secret(SECRET).is_ok());
}
