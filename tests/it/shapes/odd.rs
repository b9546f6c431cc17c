//! Users whose JSON is legal and odd: what an end user may write into metadata of their own can be nested
//! deeper, or be a larger number, than most parsers take, and a name can be cut in the midst of a character.
//! It is that user's matter alone: whatever stands beside it is understood, wherever it comes from.

use ::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http;
use crate::support::shapes::{Shaped, Shapes};

const SECRET: &str = "0f6c1d5a8b7e4f3290abcdef";
const ONE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";

/// What Postgres takes, and what it does not.
fn odd() -> [String; 3] {
    let deep = format!("{}{}", "[".repeat(1_500), "]".repeat(1_500));
    [deep, "1e400".to_owned(), r#""half \ud83d""#.to_owned()]
}

/// With this in the place of the text `ODD`.
fn with(odd: &str, value: &Value) -> String {
    value.to_string().replace(r#""ODD""#, odd)
}

fn is_storable(odd: &str) -> bool {
    !odd.contains("half")
}

/// What stands in the row's columns: no parser here takes the rest either.
async fn name(world: &Shaped, id: &str) -> Option<Option<String>> {
    let row = "SELECT name FROM neon_identity.users_sync WHERE id::text = $1";
    let row = world.served.client.query_opt(row, &[&id]).await.expect("a query");
    row.map(|row| row.get(0))
}

/// The row has everything, or is one with the id alone where the database refuses what there is.
async fn has_row(world: &Shaped, odd: &str, id: &str) {
    let wanted = is_storable(odd).then(|| "Ada".to_owned());
    eventually("a row", || async {
        (name(world, id).await? == wanted).then_some(())
    })
    .await;
}

fn at_clerk(id: &str) -> Value {
    json!({"id": id, "first_name": "Ada", "last_name": null, "username": null, "primary_email_address_id": "idn_1",
           "email_addresses": [{"id": "idn_1", "email_address": "ada@example.com"}], "unsafe_metadata": {"mine": "ODD"},
           "created_at": 1_700_000_000_000_i64, "updated_at": 1_700_000_000_001_i64, "last_active_at": 5})
}

async fn clerk(settings: &[(&str, &str)], ready: impl Fn(&Shapes)) -> Shaped {
    let key = [("CLERK_SECRET_KEY", "sk_test_1")];
    Shaped::start("clerk", &[&key, settings].concat(), |shapes| {
        shapes.on(
            "GET /v1/users/",
            404,
            r#"{"errors":[{"code":"resource_not_found"}]}"#,
        );
        ready(shapes);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_goes_on_behind_a_user_whose_metadata_are_odd() {
    const LIST: &str = "GET /v1/users?order_by=%2Bcreated_at&limit=500";
    for odd in odd() {
        let world = Shaped::start("clerk", &[("CLERK_SECRET_KEY", "sk_test_1")], |shapes| {
            let page = |id: &str| with(&odd, &json!([at_clerk(id)]));
            shapes.on(
                "GET /v1/users/",
                404,
                r#"{"errors":[{"code":"resource_not_found"}]}"#,
            );
            shapes.on(LIST, 200, page("user_1"));
            shapes.on(&format!("{LIST}&starting_after=user_1"), 200, page("user_2"));
            shapes.on(&format!("{LIST}&starting_after=user_2"), 200, "[]");
            shapes.on("GET /v1/users/count", 200, r#"{"total_count":2}"#);
        })
        .await;
        let run = world.served.walk("backfill").await;
        assert_eq!(
            (&run["state"], &run["fetched"]),
            (&json!("done"), &json!(2)),
            "{run}"
        );
        for id in ["user_1", "user_2"] {
            has_row(&world, &odd, id).await;
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_streams_has_everyone_beside_a_user_whose_metadata_are_odd() {
    const MANY: usize = 300;
    let settings = [("USERTAP_RECORD_BUFFER", "64KiB")];
    let headers = [("authorization", "Bearer sk_test_1")];
    for odd in odd() {
        let world = clerk(&settings, |shapes| {
            let users = (0..MANY).map(|user| at_clerk(&format!("user_{user}")));
            let users: Vec<String> = users.map(|user| user.to_string()).collect();
            let list = format!("[{}]", users.join(",")).replacen(r#""ODD""#, &odd, 1);
            shapes.on("GET /v1/users?", 200, list);
        })
        .await;
        let list = world
            .served
            .ask(Method::GET, "/v1/users?limit=500", &headers, &Value::Null)
            .await;
        assert_eq!(list.recorded(), "none; streamed");
        assert_eq!(world.served.count("true").await, MANY as i64);
        has_row(&world, &odd, "user_0").await;
        world.end().await;
    }
}

fn at_supabase() -> Value {
    json!({"id": ONE, "aud": "authenticated", "role": "authenticated", "email": "ada@example.com", "phone": "",
           "user_metadata": {"full_name": "Ada", "mine": "ODD"}, "app_metadata": {"provider": "email"}, "identities": [],
           "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"})
}

async fn supabase(odd: &str) -> Shaped {
    let settings = [
        ("SUPABASE_SERVICE_ROLE_KEY", "service"),
        ("USERTAP_WEBHOOK_SECRET", SECRET),
    ];
    Shaped::start("supabase", &settings, |shapes| {
        let nobody = r#"{"code":"user_not_found","message":"User not found"}"#;
        shapes.on("GET /auth/v1/admin/users/", 404, nobody);
        let read = format!("GET /auth/v1/admin/users/{ONE}");
        shapes.on(&read, 200, with(odd, &at_supabase()));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_with_odd_metadata_has_a_row_before_the_answer() {
    for odd in odd() {
        let world = supabase(&odd).await;
        let session = json!({"access_token": "eyJ.a.token", "token_type": "bearer", "expires_in": 3600,
                             "refresh_token": "refresh-token", "user": at_supabase()});
        let on = "/auth/v1/token?grant_type=password";
        world.shapes.on(&format!("POST {on}"), 200, with(&odd, &session));
        let asks = json!({"email": "ada@example.com", "password": "correct horse battery"});
        let browser = [("apikey", "anon"), ("authorization", "Bearer anon")];
        let reply = world.served.ask(Method::POST, on, &browser, &asks).await;
        assert_eq!(reply.body, with(&odd, &session).as_bytes());
        let says = ["none; set-aside", "committed"][usize::from(is_storable(&odd))];
        assert!(reply.recorded().starts_with(says), "{odd}: {}", reply.recorded());
        let wanted = is_storable(&odd).then(|| "Ada".to_owned());
        assert_eq!(name(&world, ONE).await, Some(wanted));
        world.end().await;
    }
}

/// Supabase's tokens hold the user's own metadata.
#[tokio::test(flavor = "multi_thread")]
async fn whose_token_holds_odd_metadata_is_known_by_it() {
    let on = "/auth/v1/user/identities/8b2d5a3e-1111-4c1a-9a37-00000000000f";
    for odd in odd() {
        let world = supabase(&odd).await;
        world.shapes.on(&format!("DELETE {on}"), 200, "{}");
        let claims = json!({"sub": ONE, "role": "authenticated", "user_metadata": {"mine": "ODD"}});
        let payload = URL_SAFE_NO_PAD.encode(with(&odd, &claims));
        let token = format!("Bearer eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln");
        let browser = [("apikey", "anon"), ("authorization", token.as_str())];
        let reply = world.served.ask(Method::DELETE, on, &browser, &Value::Null).await;
        let says = ["none; set-aside", "committed"][usize::from(is_storable(&odd))];
        assert!(reply.recorded().starts_with(says), "{odd}: {}", reply.recorded());
        let wanted = is_storable(&odd).then(|| "Ada".to_owned());
        assert_eq!(name(&world, ONE).await, Some(wanted));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_understood_whatever_the_user_wrote_into_it() {
    for odd in odd() {
        let world = supabase(&odd).await;
        let record = json!({"id": ONE, "email": "ada@example.com", "raw_user_meta_data": {"mine": "ODD"}});
        let inserted = json!({"type": "INSERT", "table": "users", "schema": "auth", "record": record, "old_record": null});
        let url = format!("http://{}/_usertap/webhooks", world.served.listen());
        let bearer = format!("Bearer {SECRET}");
        let headers = [("authorization", bearer.as_str())];
        let reply = http::request(Method::POST, &url, &headers, with(&odd, &inserted)).await;
        assert_eq!(
            reply.expect("an answer").json(),
            json!({"webhook": "hint"}),
            "{odd}"
        );
        has_row(&world, &odd, ONE).await;
        assert_eq!(world.served.status().await["webhooks"]["malformed"], 0);
        world.end().await;
    }
}

const EVENTS: &str =
    "GET /events?events=user.created&events=user.updated&events=user.deleted&order=asc&limit=100";

fn at_workos(id: &str) -> Value {
    json!({"object": "user", "id": id, "email": "ada@example.com", "email_verified": true, "first_name": "Ada",
           "last_name": null, "profile_picture_url": null, "last_sign_in_at": null, "external_id": null,
           "metadata": {"mine": "ODD"}, "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"})
}

/// A page of events with one of this user's creation, and what there is to read of them.
fn created(shapes: &Shapes, odd: &str, on: &str, number: u32) {
    let user = at_workos(&format!("user_{number}"));
    let read = format!("GET /user_management/users/user_{number}");
    shapes.on(&read, 200, with(odd, &user));
    let event = json!({"object": "event", "id": format!("event_{number}"), "event": "user.created", "data": user,
                       "created_at": "2024-01-02T03:04:05.678Z"});
    let events = json!({"object": "list", "data": [event], "list_metadata": {"before": null, "after": null}});
    shapes.on(on, 200, with(odd, &events));
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_goes_on_behind_an_event_of_a_user_whose_metadata_are_odd() {
    let settings = [("WORKOS_API_KEY", "sk_test_1"), ("USERTAP_POLL_EVERY", "1s")];
    for odd in odd() {
        let world = Shaped::start("workos", &settings, |shapes| {
            let nobody = r#"{"message":"User not found","code":"entity_not_found"}"#;
            shapes.on("GET /user_management/users/", 404, nobody);
            created(shapes, &odd, EVENTS, 1);
            created(shapes, &odd, &format!("{EVENTS}&after=event_1"), 2);
            let none =
                json!({"object": "list", "data": [], "list_metadata": {"before": null, "after": null}});
            shapes.on(&format!("{EVENTS}&after=event_2"), 200, none);
        })
        .await;
        for id in ["user_1", "user_2"] {
            has_row(&world, &odd, id).await;
        }
        world.end().await;
    }
}

/// Where the key is exchanged for a token, no request to the provider shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_asked_for_with_the_secret_where_that_is_exchanged() {
    let token = r#"{"access_token":"own-token","token":"own-token","expires_in":86400}"#;
    let cases = [
        (
            "better-auth",
            &[
                ("BETTER_AUTH_ADMIN_EMAIL", "a@example.com"),
                ("BETTER_AUTH_ADMIN_PASSWORD", "very-secret"),
            ],
            "POST /api/auth/sign-in/email",
            ("/api/auth/admin/get-user?id=kQ1", "kQ1"),
            json!({"id": "kQ1", "name": "Ada", "email": "ada@example.com", "banned": false,
                   "createdAt": "2024-01-02T03:04:05.678Z", "updatedAt": "2024-01-02T03:04:05.678Z"}),
        ),
        (
            "auth0",
            &[
                ("AUTH0_CLIENT_ID", "client"),
                ("AUTH0_CLIENT_SECRET", "very-secret"),
            ],
            "POST /oauth/token",
            ("/api/v2/users/auth0%7C1", "auth0|1"),
            json!({"user_id": "auth0|1", "email": "ada@example.com", "name": "Ada", "identities": [],
                   "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"}),
        ),
    ];
    for (provider, settings, sign_in, (read, id), user) in cases {
        let world = Shaped::start(provider, settings, |shapes| {
            shapes.on(sign_in, 200, token);
            let nobody = json!({"code": "USER_NOT_FOUND", "errorCode": "inexistent_user"});
            let users = read.trim_end_matches("kQ1").trim_end_matches("auth0%7C1");
            shapes.on(&format!("GET {users}"), 404, nobody);
            shapes.on(&format!("GET {read}"), 200, &user);
        })
        .await;
        let own = format!("GET /_usertap/users/{}?ensure=1", id.replace('|', "%7C"));
        let asked = || {
            world
                .shapes
                .asked()
                .iter()
                .filter(|asked| asked.target == read)
                .count()
        };
        let before = asked();
        for wrong in [
            "Bearer another",
            "Basic very-secret",
            "Bearer very-secret,",
            "Bearer own-token",
            "Bearer ",
        ] {
            let refused = world.ask(&own, &[("authorization", wrong)]).await;
            assert_eq!(
                (refused.status.as_u16(), refused.header("x-usertap-error")),
                (401, Some("server-key")),
                "{provider}: {wrong}"
            );
        }
        assert_eq!(
            asked(),
            before,
            "{provider}: nothing is read for whoever has no key"
        );
        let shown = world.ask(&own, &[("authorization", "Bearer very-secret")]).await;
        assert_eq!(shown.status, 200, "{provider}: {}", shown.text());
        assert!(
            shown.recorded().starts_with("committed"),
            "{provider}: {}",
            shown.recorded()
        );
        assert!(world.served.row(id).await.is_some(), "{provider}");
        world.end().await;
    }
}
