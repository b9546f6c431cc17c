//! Providers that are not built in, each by a file of its own and the answers that it publishes: how their
//! APIs differ is for the file to say.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::http::{self, Reply};
use crate::support::shapes::{Shaped, Shapes};
use crate::support::{eventually, wall};

const MADE: &str = "2024-01-02T03:04:05.678Z";

async fn ask(world: &Shaped, on: &str, key: (&str, &str), body: Value) -> Reply {
    let (method, target) = on.split_once(' ').expect("a method and a target");
    let method: Method = method.parse().expect("a method");
    world.served.ask(method, target, &[key], &body).await
}

/// How often the provider was asked so.
fn asked(world: &Shaped, method: &Method, target: &str) -> usize {
    let asked = world.shapes.asked().into_iter();
    asked
        .filter(|asked| asked.method == *method && asked.target.starts_with(target))
        .count()
}

fn assert_done(run: &Value, fetched: usize) {
    assert_eq!(
        (&run["state"], &run["fetched"]),
        (&json!("done"), &json!(fetched)),
        "{run}"
    );
}

/// Nothing that came was taken for what the file does not promise.
async fn assert_all_read(world: &Shaped) {
    let status = world.served.status().await;
    let words = status["problems"].as_array().expect("problems");
    assert!(words.is_empty(), "{words:?}");
    assert_eq!(status["traffic"]["malformed"], 0, "{}", status["traffic"]);
}

mod stytch {
    use super::*;

    const KEY: (&str, &str) = ("authorization", "Basic cHJvamVjdC10ZXN0LTE6c2VjcmV0LTE=");
    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==";

    fn user(id: &str) -> Value {
        json!({"user_id": id, "name": {"first_name": "Ada", "middle_name": "", "last_name": id}, "status": "active",
               "emails": [{"email_id": "email-1", "email": "ada@example.com", "verified": true}], "created_at": MADE})
    }

    fn with(request: &str, fields: Value) -> Value {
        let mut answer = json!({"status_code": 200, "request_id": request});
        let fields = fields.as_object().expect("an object").clone();
        answer.as_object_mut().expect("an object").extend(fields);
        answer
    }

    async fn world() -> Shaped {
        let settings = [
            ("STYTCH_PROJECT_ID", "project-test-1"),
            ("STYTCH_SECRET", "secret-1"),
            ("USERTAP_WEBHOOK_SECRET", SECRET),
        ];
        Shaped::by_file("stytch", &settings, |shapes| {
            let nobody = with(
                "r-0",
                json!({"error_type": "user_not_found", "error_message": "User could not be found."}),
            );
            shapes.on("GET /v1/users/", 404, nobody);
            shapes.by_body("POST /v1/users/search", |body| {
                assert_eq!(body["limit"], 1000, "a number, as the provider reads it: {body}");
                let (users, next) = match body["cursor"].as_str() {
                    None => (json!([user("user-1"), user("user-2")]), json!("at=2")),
                    Some("at=2") => (json!([user("user-3")]), Value::Null),
                    other => panic!("{other:?} was never told"),
                };
                with(
                    "r-1",
                    json!({"results": users, "results_metadata": {"total": 3, "next_cursor": next}}),
                )
            });
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_list_by_post_is_walked_with_a_key_of_two_parts() {
        let world = world().await;
        assert_done(&world.served.walk("backfill").await, 3);
        for id in ["user-1", "user-2", "user-3"] {
            let row = world.served.row(id).await.expect("a row");
            assert_eq!(row.raw, user(id));
        }
        for asked in world.shapes.asked() {
            assert_eq!(asked.headers["authorization"], KEY.1, "{}", asked.target);
        }
        world.end().await;
    }

    /// A read of a list that fails once is asked for again, though it is a POST.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_by_post_is_asked_again() {
        let world = world().await;
        let failing = AtomicBool::new(true);
        world.shapes.by("POST /v1/users/search", move |_| {
            match failing.swap(false, Ordering::SeqCst) {
                true => (503, Vec::new(), json!({})),
                false => (
                    200,
                    Vec::new(),
                    with("r-2", json!({"results": [user("user-1")], "results_metadata": {"total": 1, "next_cursor": null}})),
                ),
            }
        });
        assert_done(&world.served.walk("backfill").await, 1);
        assert_eq!(asked(&world, &Method::POST, "/v1/users/search"), 2);
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_deleted_by_another_name_is_known_by_the_id() {
        let world = world().await;
        assert_done(&world.served.walk("backfill").await, 3);
        world
            .shapes
            .on("GET /v1/users/of-the-app-7", 200, with("r-6", user("user-1")));
        let deleted = with("r-7", json!({"user_id": "user-1"}));
        world.shapes.on("DELETE /v1/users/of-the-app-7", 200, deleted);
        let gone = ask(&world, "DELETE /v1/users/of-the-app-7", KEY, Value::Null).await;
        assert!(gone.recorded().starts_with("committed"), "{}", gone.recorded());
        assert!(world.served.row("user-1").await.expect("a row").is_deleted);
        assert!(world.served.row("of-the-app-7").await.is_none());
        world.end().await;
    }

    async fn delivered(world: &Shaped, action: &str, user: &str) -> Reply {
        let event = json!({"action": action, "event_id": format!("webhook-event-{action}"), "id": user,
                           "object_type": "user", "source": "DASHBOARD", "vertical": "CONSUMER"});
        let (id, at) = (format!("msg_{action}"), wall().timestamp().to_string());
        let mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef").expect("a key");
        let mac = mac
            .chain_update(format!("{id}.{at}.{event}"))
            .finalize()
            .into_bytes();
        let signature = format!("v1,{}", STANDARD.encode(mac));
        let headers = [
            ("svix-id", id.as_str()),
            ("svix-timestamp", &at),
            ("svix-signature", &signature),
        ];
        let url = format!("http://{}/_usertap/webhooks", world.served.listen());
        http::request(Method::POST, &url, &headers, event.to_string())
            .await
            .expect("an answer")
    }

    /// No one place of an event says of which type it is.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_is_known_by_several_of_its_fields() {
        let world = world().await;
        world
            .shapes
            .on("GET /v1/users/user-1", 200, with("r-4", user("user-1")));
        let made = delivered(&world, "CREATE", "user-1").await;
        assert_eq!(made.json()["webhook"], "hint", "{}", made.text());
        eventually("a row", async || world.served.row("user-1").await).await;
        let nobody = with("r-5", json!({"error_type": "user_not_found"}));
        world.shapes.on("GET /v1/users/user-1", 404, nobody);
        delivered(&world, "DELETE", "user-1").await;
        eventually("it is deleted", async || {
            world.served.row("user-1").await?.is_deleted.then_some(())
        })
        .await;
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_apps_key_is_known_by_what_it_shows() {
        let world = world().await;
        let found = ask(&world, "POST /v1/users/search", KEY, json!({"limit": 1000})).await;
        assert!(found.recorded().starts_with("committed"), "{}", found.recorded());
        let read = with("r-3", user("user-1"));
        world.shapes.on("GET /v1/users/user-1", 200, read);
        let again = ask(&world, "GET /v1/users/user-1", KEY, Value::Null).await;
        // What belongs to one answer alone is no change of the user's.
        assert_eq!(again.recorded(), "committed; unchanged");
        // Somebody else's key is no evidence.
        let other = ("authorization", "Basic cHJvamVjdC10ZXN0LTE6b3RoZXI=");
        let gone = ask(&world, "GET /v1/users/user-2", other, Value::Null).await;
        assert_eq!(gone.recorded(), "none; foreign-tenant");
        assert!(!world.served.row("user-2").await.expect("a row").is_deleted);
        ask(&world, "GET /v1/users/user-2", KEY, Value::Null).await;
        assert!(world.served.row("user-2").await.expect("a row").is_deleted);
        assert_all_read(&world).await;
        world.end().await;
    }
}

mod supertokens {
    use super::*;

    const KEY: (&str, &str) = ("api-key", "secret-1");
    const UNKNOWN: &str = r#"{"status":"UNKNOWN_USER_ID_ERROR"}"#;

    fn user(id: &str) -> Value {
        json!({"id": id, "isPrimaryUser": false, "tenantIds": ["public"], "timeJoined": 1_704_164_645_678_i64,
               "emails": ["ada@example.com"], "phoneNumbers": [], "thirdParty": [], "loginMethods": []})
    }

    fn ok(user: &Value) -> Value {
        json!({"status": "OK", "user": user})
    }

    async fn world() -> Shaped {
        Shaped::by_file("supertokens", &[("SUPERTOKENS_API_KEY", KEY.1)], |shapes| {
            shapes.on("GET /user/id?userId=", 200, UNKNOWN);
            shapes.on("GET /user/id?userId=u-1", 200, ok(&user("u-1")));
            shapes.on("POST /recipe/signup", 200, ok(&user("u-1")));
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_not_found_that_comes_as_a_success_is_one() {
        let world = world().await;
        ask(&world, "GET /user/id?userId=u-1", KEY, Value::Null).await;
        assert!(!world.served.row("u-1").await.expect("a row").is_deleted);
        // In answer to another key it is a reason to ask, no more.
        world.shapes.on("GET /user/id?userId=u-2", 200, ok(&user("u-2")));
        ask(&world, "GET /user/id?userId=u-2", KEY, Value::Null).await;
        world.shapes.on("GET /user/id?userId=u-2&again=1", 200, UNKNOWN);
        let other = ("api-key", "of-somebody-else");
        ask(&world, "GET /user/id?userId=u-2&again=1", other, Value::Null).await;
        assert!(!world.served.row("u-2").await.expect("a row").is_deleted);
        world.shapes.on("GET /user/id?userId=u-1", 200, UNKNOWN);
        let gone = ask(&world, "GET /user/id?userId=u-1&again=2", KEY, Value::Null).await;
        assert!(gone.recorded().starts_with("committed"), "{}", gone.recorded());
        assert!(world.served.row("u-1").await.expect("a row").is_deleted);
        assert_all_read(&world).await;
        world.end().await;
    }

    /// Any other failure of this kind tells of nobody, deletes nobody and is not given again.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_failure_that_comes_as_a_success_is_none() {
        let world = world().await;
        ask(
            &world,
            "POST /recipe/signup",
            KEY,
            json!({"email": "ada@example.com"}),
        )
        .await;
        world.shapes.on(
            "GET /user/id?userId=u-1",
            200,
            r#"{"status":"FEATURE_NOT_ENABLED_ERROR"}"#,
        );
        for _ in 0..2 {
            let failed = ask(&world, "GET /user/id?userId=u-1", KEY, Value::Null).await;
            assert_eq!(failed.recorded(), "none; no-user");
        }
        assert_eq!(asked(&world, &Method::GET, "/user/id?userId=u-1"), 2);
        assert!(!world.served.row("u-1").await.expect("a row").is_deleted);
        world.shapes.on(
            "POST /recipe/signup",
            200,
            r#"{"status":"EMAIL_ALREADY_EXISTS_ERROR"}"#,
        );
        let refused = ask(
            &world,
            "POST /recipe/signup",
            KEY,
            json!({"email": "ada@example.com"}),
        )
        .await;
        assert_eq!(refused.recorded(), "none; no-user");
        // Nobody was made, so nobody is looked for: a write that may have made somebody is open until then.
        eventually("no write is open", async || {
            let status = world.served.status().await;
            (status["recorder"]["writes"]["open"] == 0).then_some(())
        })
        .await;
        assert_eq!(asked(&world, &Method::GET, "/users"), 0);
        assert_all_read(&world).await;
        world.end().await;
    }

    /// Where others are linked to a user, the user may stay.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_removal_counts_once_a_read_finds_nobody() {
        let world = world().await;
        ask(&world, "POST /recipe/signup", KEY, json!({})).await;
        world
            .shapes
            .on("POST /user/remove", 200, r#"{"status":"OK","didUserExist":true}"#);
        for stays in [true, false] {
            if !stays {
                world.shapes.on("GET /user/id?userId=u-1", 200, UNKNOWN);
            }
            let body = json!({"userId": "u-1", "removeAllLinkedUsers": !stays});
            let removed = ask(&world, "POST /user/remove", KEY, body).await;
            assert!(
                removed.recorded().starts_with("committed"),
                "{}",
                removed.recorded()
            );
            assert_eq!(world.served.row("u-1").await.expect("a row").is_deleted, !stays);
        }
        world.end().await;
    }
}

mod authentik {
    use super::*;

    const KEY: (&str, &str) = ("authorization", "Bearer secret-1");

    fn user(pk: u64, name: &str) -> Value {
        json!({"pk": pk, "username": format!("u{pk}"), "name": name, "is_active": true, "last_login": null,
               "date_joined": MADE, "groups": [], "email": "ada@example.com", "uuid": "8b2d5a3e-1111-4c1a-9a37-000000000001"})
    }

    fn page(users: Value) -> Value {
        json!({"pagination": {"next": 0, "count": 3}, "results": users})
    }

    /// It answers at paths with a slash at their end, and redirects from all others.
    async fn world() -> Shaped {
        Shaped::by_file("authentik", &[("AUTHENTIK_TOKEN", "secret-1")], |shapes| {
            shapes.by("GET /api/v3/core/users/", |target| {
                let path = target.split('?').next().unwrap_or_default();
                match path.ends_with('/') {
                    true => (
                        404,
                        Vec::new(),
                        json!({"detail": "No User matches the given query."}),
                    ),
                    false => (
                        301,
                        vec![("location".to_owned(), format!("{path}/"))],
                        Value::Null,
                    ),
                }
            });
            let list = "GET /api/v3/core/users/?ordering=pk&page_size=100&page=";
            shapes.on(
                &format!("{list}1"),
                200,
                page(json!([user(1, "Ada"), user(2, "Bea")])),
            );
            shapes.on(&format!("{list}2"), 200, page(json!([user(3, "Cleo")])));
            shapes.on(&format!("{list}3"), 404, r#"{"detail":"Invalid page."}"#);
            shapes.on("GET /api/v3/core/users/2/", 200, user(2, "Bea"));
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ids_are_whole_numbers_and_behind_the_last_page_there_is_none() {
        let world = world().await;
        assert_done(&world.served.walk("backfill").await, 3);
        for (id, name) in [("1", "Ada"), ("2", "Bea"), ("3", "Cleo")] {
            let row = world.served.row(id).await.expect("a row");
            assert_eq!(row.name.as_deref(), Some(name));
        }
        assert_all_read(&world).await;
        world.end().await;
    }

    /// Sixty are deleted once the first page was read: the second is gone, and who stood there has moved up.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_moves_up_from_a_page_that_is_gone_is_met() {
        let world = world().await;
        let asked = AtomicUsize::new(0);
        world
            .shapes
            .by("GET /api/v3/core/users/?ordering=pk", move |target| {
                let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                let all: Vec<u64> = if is_first { 1..=150 } else { 61..=150 }.collect();
                let (_, number) = target.rsplit_once("&page=").expect("a page");
                let number: usize = number.parse().expect("a number");
                let Some(shown) = all.chunks(100).nth(number - 1) else {
                    return (404, Vec::new(), json!({"detail": "Invalid page."}));
                };
                let users: Vec<Value> = shown.iter().map(|pk| user(*pk, "Ada")).collect();
                let page = json!({"pagination": {"next": 0, "count": all.len()}, "results": users});
                (200, Vec::new(), page)
            });
        let run = world.served.walk("backfill").await;
        assert_eq!(run["state"], "done", "{run}");
        assert_eq!(world.served.count("id::int > 60").await, 90);
        world.end().await;
    }

    /// Only what the provider says of such a page is its end.
    #[tokio::test(flavor = "multi_thread")]
    async fn another_not_found_is_no_end_of_the_list() {
        let world = world().await;
        let list = "GET /api/v3/core/users/?ordering=pk&page_size=100&page=2";
        world.shapes.on(list, 404, "<h1>Not Found</h1>");
        let run = world.served.walk("backfill").await;
        assert_eq!(run["state"], "failed", "{run}");
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_number_names_a_user_wherever_it_stands() {
        let world = world().await;
        let read = ask(&world, "GET /api/v3/core/users/2/", KEY, Value::Null).await;
        assert!(read.recorded().starts_with("committed"), "{}", read.recorded());
        world.shapes.on("POST /api/v3/core/groups/g/add_user/", 204, "");
        world
            .shapes
            .on("GET /api/v3/core/users/2/", 200, user(2, "Bea of g"));
        let added = ask(
            &world,
            "POST /api/v3/core/groups/g/add_user/",
            KEY,
            json!({"pk": 2}),
        )
        .await;
        assert!(
            added.recorded().starts_with("committed; pos="),
            "{}",
            added.recorded()
        );
        assert_eq!(
            world.served.row("2").await.expect("a row").name.as_deref(),
            Some("Bea of g")
        );
        // Read with the slash that the provider wants.
        world.shapes.on("GET /api/v3/core/users/3/", 200, user(3, "Cleo"));
        let url = format!("http://{}/_usertap/users/3?ensure=1", world.served.listen());
        let ensured = http::get(&url, &[KEY]).await;
        assert_eq!(ensured.json()["name"], "Cleo");
        // What is no number is nobody's, and zeros before one are none of it.
        for (id, gone) in [("me", false), ("002", true)] {
            let on = format!("DELETE /api/v3/core/users/{id}/");
            world.shapes.on(&on, 204, "");
            ask(&world, &on, KEY, Value::Null).await;
            assert_eq!(world.served.row("2").await.expect("a row").is_deleted, gone);
        }
        assert_eq!(world.served.count("id NOT IN ('2', '3')").await, 0);
        world.end().await;
    }
}

mod scim {
    use super::*;

    const KEY: (&str, &str) = ("authorization", "Bearer secret-1");
    const NOBODY: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"404"}"#;

    fn user(name: &str) -> Value {
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "2819c223", "userName": "ada",
               "displayName": name, "emails": [{"value": "ada@example.com", "primary": true}],
               "meta": {"resourceType": "User", "created": MADE, "lastModified": MADE}})
    }

    async fn world(list: Value) -> Shaped {
        Shaped::by_file("scim", &[("SCIM_TOKEN", "secret-1")], |shapes| {
            shapes.on("GET /scim/v2/Users/", 404, NOBODY);
            shapes.on("GET /scim/v2/Users?", 200, &list);
        })
        .await
    }

    /// RFC 7644, 3.5.2: the whole resource, or 204 and nothing.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_that_is_answered_without_a_body_is_read() {
        let world = world(json!({})).await;
        world.shapes.on("GET /scim/v2/Users/2819c223", 200, user("Ada"));
        ask(&world, "GET /scim/v2/Users/2819c223", KEY, Value::Null).await;
        world
            .shapes
            .on("GET /scim/v2/Users/2819c223", 200, user("Ada Lovelace"));
        world.shapes.on("PATCH /scim/v2/Users/2819c223", 204, "");
        let change =
            json!({"Operations": [{"op": "replace", "path": "displayName", "value": "Ada Lovelace"}]});
        let changed = ask(&world, "PATCH /scim/v2/Users/2819c223", KEY, change).await;
        assert!(
            changed.recorded().starts_with("committed; pos="),
            "{}",
            changed.recorded()
        );
        let row = world.served.row("2819c223").await.expect("a row");
        assert_eq!(row.name.as_deref(), Some("Ada Lovelace"));
        assert_all_read(&world).await;
        world.end().await;
    }

    /// RFC 7644, 3.4.2: `Resources` is there where there are any.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_list_of_nobody_may_be_left_out() {
        let nobody =
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 0});
        let world = world(nobody).await;
        assert_done(&world.served.walk("backfill").await, 0);
        assert_all_read(&world).await;
        world.end().await;
    }

    /// RFC 7644, 3.9: every answer that shows a user may be asked for a part of it; `.search` asks in its body (3.4.3).
    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_was_asked_for_erases_nothing() {
        let world = world(json!({})).await;
        let part = json!({"id": "2819c223", "userName": "ada"});
        let found = json!({"totalResults": 1, "Resources": [part]});
        let asked = "?attributes=userName";
        let writes = [
            (format!("POST /scim/v2/Users{asked}"), 201, &part),
            (format!("PUT /scim/v2/Users/2819c223{asked}"), 200, &part),
            (format!("PATCH /scim/v2/Users/2819c223{asked}"), 200, &part),
            ("POST /scim/v2/Users/.search".to_owned(), 200, &found),
        ];
        for (at, (on, status, answer)) in writes.iter().enumerate() {
            let whole = user(&format!("Ada {at}"));
            world.shapes.on("GET /scim/v2/Users/2819c223", 200, &whole);
            world.shapes.on(on, *status, answer);
            ask(&world, on, KEY, json!({"attributes": ["userName"]})).await;
            eventually(on, async || {
                let row = world.served.row("2819c223").await?;
                assert_ne!(row.raw, part, "{on}");
                (row.raw == whole).then_some(())
            })
            .await;
        }
        assert_all_read(&world).await;
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_no_list_at_all_is_not_a_list_of_nobody() {
        let world = world(json!({"detail": "maintenance"})).await;
        let run = world.served.walk("backfill").await;
        assert_eq!(run["state"], "failed", "{run}");
        world.end().await;
    }
}

mod fusionauth {
    use super::*;

    const KEY: (&str, &str) = ("authorization", "secret-1");
    const ID: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";
    const SECRET: &str = "0123456789abcdef0123";

    fn user(active: bool) -> Value {
        json!({"active": active, "id": ID, "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace",
               "insertInstant": 1_704_164_645_678_i64, "lastUpdateInstant": 1_704_164_645_678_i64, "registrations": [],
               "memberships": [], "twoFactor": {"methods": []}, "tenantId": "f24aca2b-ce4a-4dad-951a-c9d690e71415"})
    }

    fn with_name(name: &str) -> Value {
        let mut named = user(true);
        named["firstName"] = name.into();
        named
    }

    const SETTINGS: [(&str, &str); 2] = [
        ("FUSIONAUTH_API_KEY", "secret-1"),
        ("USERTAP_WEBHOOK_SECRET", SECRET),
    ];

    async fn world() -> Shaped {
        Shaped::by_file("fusionauth", &SETTINGS, has_ada).await
    }

    fn has_ada(shapes: &Shapes) {
        shapes.on("GET /api/user/", 404, "");
        shapes.on(&format!("GET /api/user/{ID}"), 200, json!({"user": user(true)}));
        shapes.by("GET /api/user/search?", |target| {
            let page = match target.contains("nextResults=next") {
                true => json!({"total": 1}),
                false => json!({"total": 1, "users": [user(true)], "nextResults": "next"}),
            };
            (200, Vec::new(), page)
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_deactivated_stays_and_who_is_deleted_goes() {
        let world = world().await;
        assert_done(&world.served.walk("backfill").await, 1);
        let at = format!("/api/user/{ID}");
        world.shapes.on(&format!("DELETE {at}"), 200, "");
        world
            .shapes
            .on(&format!("GET {at}"), 200, json!({"user": user(false)}));
        ask(&world, &format!("DELETE {at}"), KEY, Value::Null).await;
        let row = world.served.row(ID).await.expect("a row");
        assert_eq!((row.is_deleted, &row.raw["active"]), (false, &json!(false)));
        ask(&world, &format!("DELETE {at}?hardDelete=true"), KEY, Value::Null).await;
        assert!(world.served.row(ID).await.expect("a row").is_deleted);
        assert_all_read(&world).await;
        world.end().await;
    }

    /// One key may open several tenants, and each knows its own users alone.
    #[tokio::test(flavor = "multi_thread")]
    async fn another_tenants_not_found_deletes_nobody_and_neither_does_a_page_before_it() {
        let world = world().await;
        let read = format!("/api/user/{ID}");
        let seen = ask(&world, &format!("GET {read}"), KEY, Value::Null).await;
        assert!(seen.recorded().starts_with("committed"), "{}", seen.recorded());
        world.shapes.on(&format!("GET {read}"), 404, "<h1>Not Found</h1>");
        let page = ask(&world, &format!("GET {read}?again=1"), KEY, Value::Null).await;
        assert_eq!(page.recorded(), "none; no-user");
        world.shapes.on(&format!("GET {read}"), 404, "");
        let other = ("x-fusionauth-tenantid", "1b2d5a3e-1111-4c1a-9a37-00000000000f");
        let foreign = world
            .served
            .ask(Method::GET, &read, &[KEY, other], &Value::Null)
            .await;
        assert_eq!(foreign.recorded(), "none; foreign-tenant");
        assert!(!world.served.row(ID).await.expect("a row").is_deleted);
        let gone = ask(&world, &format!("GET {read}?again=2"), KEY, Value::Null).await;
        assert!(gone.recorded().starts_with("committed"), "{}", gone.recorded());
        assert!(world.served.row(ID).await.expect("a row").is_deleted);
        world.end().await;
    }

    /// What comes before its change is kept says nothing that a read could find.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_counts_once_its_change_is_kept() {
        let world = world().await;
        let url = format!("http://{}/_usertap/webhooks", world.served.listen());
        let send = async |id: &str, kind: &str| {
            let event = json!({"event": {"id": id, "type": kind, "createInstant": 1, "user": {"id": ID}}});
            let reply = http::post(&url, &[("x-webhook-secret", SECRET)], &event).await;
            reply.json()["webhook"].clone()
        };
        assert_eq!(send("e-1", "user.create").await, "ignored");
        assert!(world.served.row(ID).await.is_none());
        assert_eq!(send("e-2", "user.create.complete").await, "hint");
        eventually("a row", async || world.served.row(ID).await).await;
        world.end().await;
    }

    /// All that come are another tenant's: rather a setting that is wrong than a tenant that is quiet.
    #[tokio::test(flavor = "multi_thread")]
    async fn events_of_another_tenant_alone_are_a_problem_until_one_of_ours_comes() {
        const OURS: &str = "f24aca2b-ce4a-4dad-951a-c9d690e71415";
        let kind = "type = \"/event/type\"";
        let named = format!("{kind}\ntenant = {{ tenant = \"/event/tenantId\" }}");
        let settings = [SETTINGS.as_slice(), &[("FUSIONAUTH_TENANT_ID", OURS)]].concat();
        let files = ("fusionauth", "fusionauth-tenants");
        let world = Shaped::by_changed_file(files, (kind, &named), &settings, has_ada).await;
        let url = format!("http://{}/_usertap/webhooks", world.served.listen());
        let send = async |id: &str, tenant: &str| {
            let event = json!({"event": {"id": id, "type": "user.update.complete", "createInstant": 1, "tenantId": tenant,
                                         "user": user(true)}});
            let reply = http::post(&url, &[("x-webhook-secret", SECRET)], &event).await;
            reply.json()["webhook"].clone()
        };
        for event in 0..20 {
            assert_all_read(&world).await;
            assert_eq!(send(&format!("e-{event}"), "their-tenant").await, "foreign");
            let named = json!({"user": with_name(&format!("Ada {event}"))});
            let at = format!("PUT /api/user/{ID}");
            world.shapes.on(&at, 200, &named);
            let tenant = ("x-fusionauth-tenantid", OURS);
            let changed = world
                .served
                .ask(Method::PUT, &format!("/api/user/{ID}"), &[KEY, tenant], &named)
                .await;
            assert!(
                changed.recorded().starts_with("committed"),
                "{}",
                changed.recorded()
            );
        }
        let problems = world.served.status().await["problems"].clone();
        assert_eq!(problems[0]["word"], "webhooks-foreign", "{problems}");
        assert_eq!(send("e-ours", OURS).await, "hint");
        assert_eq!(send("e-20", "their-tenant").await, "foreign");
        assert_all_read(&world).await;
        world.end().await;
    }
}

mod zitadel {
    use super::*;

    const KEY: (&str, &str) = ("authorization", "Bearer secret-1");
    const NOBODY: &str = r#"{"code":5,"message":"User could not be found (QUERY-Dfbg2)","details":[]}"#;

    fn user(id: &str) -> Value {
        json!({"userId": id, "state": "USER_STATE_ACTIVE", "username": id, "preferredLoginName": id,
               "details": {"sequence": "2", "changeDate": MADE, "creationDate": MADE, "resourceOwner": "1"},
               "human": {"profile": {"givenName": "Ada", "familyName": "Lovelace", "displayName": "Ada Lovelace"},
                         "email": {"email": "ada@example.com", "isVerified": true}}})
    }

    async fn world() -> Shaped {
        Shaped::by_file("zitadel", &[("ZITADEL_TOKEN", "secret-1")], |shapes| {
            shapes.on("GET /v2/users/", 404, NOBODY);
            shapes.by_body("POST /v2/users", |body| {
                let details = json!({"totalResults": "3", "timestamp": MADE});
                let at = body["query"]["offset"].as_u64().unwrap_or_default() as usize;
                let all = ["101", "102", "103"].map(user);
                match all.get(at..).filter(|rest| !rest.is_empty()) {
                    Some(rest) => json!({"details": details, "result": rest}),
                    None => json!({"details": details}),
                }
            });
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_count_may_be_a_text_and_a_code_a_number() {
        let world = world().await;
        let run = world.served.walk("backfill").await;
        assert_done(&run, 3);
        assert_eq!(run["total"], 3, "{run}");
        let row = world.served.row("101").await.expect("a row");
        assert_eq!(row.name.as_deref(), Some("Ada Lovelace"));
        // Anybody's not-found is none of this provider's.
        world.shapes.on(
            "GET /v2/users/101",
            404,
            r#"{"code":12,"message":"Not Implemented"}"#,
        );
        ask(&world, "GET /v2/users/101", KEY, Value::Null).await;
        assert!(!world.served.row("101").await.expect("a row").is_deleted);
        world.shapes.on("GET /v2/users/101", 404, NOBODY);
        ask(&world, "GET /v2/users/101", KEY, Value::Null).await;
        assert!(world.served.row("101").await.expect("a row").is_deleted);
        assert_all_read(&world).await;
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_is_made_is_read_by_the_id_alone() {
        let world = world().await;
        world.shapes.on(
            "POST /v2/users/human",
            201,
            json!({"userId": "104", "details": {"sequence": "1"}}),
        );
        world
            .shapes
            .on("GET /v2/users/104", 200, json!({"user": user("104")}));
        let made = ask(&world, "POST /v2/users/human", KEY, json!({"profile": {}})).await;
        assert!(
            made.recorded().starts_with("committed; pos="),
            "{}",
            made.recorded()
        );
        world
            .shapes
            .on("DELETE /v2/users/104", 200, json!({"details": {"sequence": "9"}}));
        ask(&world, "DELETE /v2/users/104", KEY, Value::Null).await;
        assert!(world.served.row("104").await.expect("a row").is_deleted);
        world.end().await;
    }
}

mod appwrite {
    use super::*;

    const KEY: (&str, &str) = ("x-appwrite-key", "secret-1");

    fn user(id: &str) -> Value {
        json!({"$id": id, "$createdAt": "2024-01-02T03:04:05.678+00:00", "$updatedAt": "2024-01-02T03:04:05.678+00:00",
               "name": "Ada", "email": "ada@example.com", "password": "$argon2id$v=19$secret", "hash": "argon2",
               "hashOptions": {"memoryCost": 65536}, "labels": [], "prefs": {}, "accessedAt": "2024-01-02T03:04:05.678+00:00"})
    }

    fn stored(id: &str) -> Value {
        let mut user = user(id);
        let fields = user.as_object_mut().expect("an object");
        fields.retain(|name, _| !["password", "hash", "hashOptions"].contains(&name.as_str()));
        user
    }

    /// It is asked for whoever comes behind a user by JSON in the query; a user who is gone has no place.
    async fn world() -> Shaped {
        let settings = [("APPWRITE_PROJECT_ID", "shop"), ("APPWRITE_API_KEY", "secret-1")];
        Shaped::by_file("appwrite", &settings, |shapes| {
            let failed = |kind: &str| json!({"message": "no", "code": 404, "type": kind, "version": "1.7.4"});
            shapes.on("GET /v1/users/", 404, failed("user_not_found"));
            shapes.by("GET /v1/users?", move |target| {
                let (_, query) = target.split_once('?').expect("a query");
                let mut query = url::form_urlencoded::parse(query.as_bytes());
                let after = query.find(|(name, _)| name == "queries[2]");
                let after: Option<Value> = after.map(|(_, text)| serde_json::from_str(&text).expect("JSON"));
                let users = match after.as_ref().map(|after| &after["values"][0]) {
                    None => json!([user("one"), user("gone")]),
                    Some(id) if id == "one" => json!([user("two")]),
                    Some(id) if id == "two" => json!([]),
                    Some(_) => return (400, Vec::new(), failed("general_cursor_not_found")),
                };
                (200, Vec::new(), json!({"total": 3, "users": users}))
            });
        })
        .await
    }

    /// A list shows what its queries select.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_in_a_list_is_no_user() {
        let world = world().await;
        let of = async |on: &str| {
            let (method, target) = on.split_once(' ').expect("a method and a target");
            let shop = ("x-appwrite-project", "shop");
            let method = method.parse().expect("a method");
            world.served.ask(method, target, &[KEY, shop], &Value::Null).await
        };
        world.shapes.on("GET /v1/users/one", 200, user("one"));
        let part = json!({"$id": "one", "name": "Ada"});
        let listed = json!({"total": 1, "users": [part]});
        world.shapes.on("GET /v1/users?queries=select", 200, listed);
        let reply = of("GET /v1/users?queries=select").await;
        assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
        eventually("a row of the whole", async || {
            let row = world.served.row("one").await?;
            assert_ne!(row.raw, part);
            (row.raw == stored("one")).then_some(())
        })
        .await;
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cursor_stands_within_a_text_and_what_is_lost_is_walked_around() {
        let world = world().await;
        let run = world.served.walk("backfill").await;
        assert_eq!(run["state"], "done", "{run}");
        for id in ["one", "two"] {
            assert_eq!(world.served.row(id).await.expect("a row").raw, stored(id));
        }
        assert_all_read(&world).await;
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_hash_of_a_password_is_kept() {
        let world = world().await;
        world.shapes.on("POST /v1/users", 201, user("three"));
        let shop = ("x-appwrite-project", "shop");
        let body = json!({"userId": "unique()", "email": "ada@example.com"});
        let made = world
            .served
            .ask(Method::POST, "/v1/users", &[KEY, shop], &body)
            .await;
        assert!(made.recorded().starts_with("committed"), "{}", made.recorded());
        assert_eq!(
            world.served.row("three").await.expect("a row").raw,
            stored("three")
        );
        // Another project's leaves no trace.
        world
            .shapes
            .on("GET /v1/users/three", 404, r#"{"type":"user_not_found"}"#);
        let other = ("x-appwrite-project", "other");
        let foreign = world
            .served
            .ask(Method::GET, "/v1/users/three", &[KEY, other], &Value::Null)
            .await;
        assert_eq!(foreign.recorded(), "none; foreign-tenant");
        assert!(!world.served.row("three").await.expect("a row").is_deleted);
        world.end().await;
    }
}
