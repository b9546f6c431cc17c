//! Large and compressed answers, and what usertap answers itself: `/_usertap/…` and the admin side.

use std::io::Read;

use ::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Fault, Gate, Options};
use uuid::Uuid;

use crate::support::stack::{Caller, Setup, Stack};
use crate::support::{eventually, http};

async fn with_users(users: usize, settings: &[(&'static str, &'static str)]) -> Stack {
    let sandbox = Options {
        users,
        ..Options::default()
    };
    Stack::with(Setup {
        sandbox,
        settings: settings.to_vec(),
        ..Setup::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_six_thousand_streams_and_every_row_stands_at_its_end() {
    const MANY: usize = 6_000;
    let stack = with_users(MANY, &[("USERTAP_RECORD_BUFFER", "256KiB")]).await;
    for again in [false, true] {
        let list = stack.get(&stack.server(0), "/users?include_anonymous=true").await;
        assert_eq!(
            stack.count("SELECT count(*) FROM neon_identity.users_sync").await,
            MANY as i64
        );
        assert_eq!(
            list.json()["items"].as_array().map(Vec::len),
            Some(MANY),
            "again: {again}"
        );
        assert_eq!(list.recorded(), "none; streamed");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_too_large_hides_nobody_in_a_list_that_streams() {
    const MANY: usize = 300;
    let stack = with_users(MANY, &[("USERTAP_RECORD_BUFFER", "64KiB")]).await;
    let large = stack.control().ids(0)[20];
    let metadata = json!({ "client_metadata": { "large": "x".repeat(100 << 10) } });
    assert!(stack.control().edit(0, large, metadata));
    let list = stack.get(&stack.server(0), "/users?include_anonymous=true").await;
    assert_eq!(list.json()["items"].as_array().map(Vec::len), Some(MANY));
    assert_eq!(list.recorded(), "none; streamed");
    let rows = "SELECT count(*) FROM neon_identity.users_sync";
    assert_eq!(stack.count(rows).await, MANY as i64);
    stack.agrees(large).await.expect("read before the list's end");
    assert_eq!(stack.status().await["traffic"]["malformed"], json!(0));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_is_recorded_and_not_touched() {
    let stack = with_users(20, &[]).await;
    stack.control().fault(Fault::on("/users?", Action::Gzip));
    let list = stack.get(&stack.server(0), "/users?include_anonymous=true").await;
    assert_eq!(list.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    let unpacked = flate2::read::GzDecoder::new(list.body.as_ref()).read_to_string(&mut text);
    unpacked.expect("gzip");
    let items: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(items["items"].as_array().map(Vec::len), Some(20));
    assert!(list.recorded().starts_with("committed; pos="));
    for id in stack.control().ids(0) {
        stack.agrees(id).await.expect("a row");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_came_another_way_is_fetched_when_the_app_asks() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let user = stack.user(json!({ "display_name": "Ada", "primary_email": "ada@example.com" }));
    let path = format!("/_usertap/users/{user}");
    assert_eq!(
        stack.own(&server, &path).await.status,
        404,
        "nobody asked for it to be fetched"
    );
    let fetched = stack.own(&server, &format!("{path}?ensure=1")).await;
    assert_eq!(fetched.status, 200);
    stack.is_recorded(&fetched, user).await;
    assert!(
        fetched.recorded().starts_with("committed; pos="),
        "{}",
        fetched.recorded()
    );
    let row = fetched.json();
    assert_eq!(
        (&row["id"], &row["name"], &row["email"]),
        (&json!(user), &json!("Ada"), &json!("ada@example.com"))
    );
    assert_eq!(
        (&row["deleted_at"], &row["raw_json"]["id"]),
        (&Value::Null, &json!(user))
    );
    for known in [path.clone(), format!("{path}?ensure=1")] {
        let again = stack.own(&server, &known).await;
        assert_eq!(
            (again.json(), again.recorded()),
            (row.clone(), "committed; unchanged")
        );
        assert_eq!(again.header("x-usertap-cache"), Some("bypass; own-answer"));
    }
    stack.control().delete(0, user);
    stack.get(&server, &format!("/users/{user}")).await;
    let deleted = stack.own(&server, &format!("{path}?ensure=1")).await;
    assert_eq!(deleted.status, 200);
    assert!(deleted.json()["deleted_at"].is_string());
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_told_as_it_stands_whatever_its_numbers() {
    let stack = Stack::new().await;
    let (user, server) = (stack.user(json!({ "display_name": "Ada" })), stack.server(0));
    let whole = stack.control().server_view(0, user).expect("a user").to_string();
    for odd in ["12345678901234567890123", "[1.10, 0.12345678901234567891]"] {
        let told = whole.replace(
            "\"server_metadata\":null",
            &format!("\"server_metadata\":{{\"odd\":{odd}}}"),
        );
        let told = Action::Body(told.into());
        stack
            .control()
            .fault(Fault::on("/users/", told).method(Method::GET));
        let fresh = server.clone().raw("cache-control", "max-age=0");
        let read = stack.get(&fresh, &format!("/users/{user}")).await;
        assert!(
            read.recorded().starts_with("committed; pos="),
            "{}",
            read.recorded()
        );
        let row = "SELECT raw_json::text FROM neon_identity.users_sync";
        let row: String = stack.client.query_one(row, &[]).await.expect("a row").get(0);
        assert!(row.contains(odd), "{row}");
        let own = stack.own(&server, &format!("/_usertap/users/{user}")).await;
        let listed = http::get(&stack.admin_url(&format!("/v1/users/{user}")), &[]).await;
        for told in [own, listed] {
            assert_eq!(told.status, 200);
            assert!(told.text().contains(&row), "{odd}: {}", told.text());
        }
    }
    let fresh = server.clone().raw("cache-control", "max-age=0");
    stack.get(&fresh, &format!("/users/{user}")).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_nowhere_is_not_found_and_leaves_nothing() {
    let stack = Stack::new().await;
    let before = stack.position().await;
    for id in [
        Uuid::new_v4().to_string(),
        "me".into(),
        "junk".into(),
        "a%2Fb".into(),
    ] {
        let reply = stack
            .own(&stack.server(0), &format!("/_usertap/users/{id}?ensure=1"))
            .await;
        assert_eq!(reply.status, 404, "{id}");
    }
    assert_eq!(stack.position().await, before);
    assert_eq!(stack.control().log().len(), 1, "only an id is asked for");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_very_server_key_nothing_is_shown_and_nothing_is_read() {
    let stack = Stack::with(Setup::projects(2)).await;
    let known = stack.known_user(json!({ "display_name": "Ada" })).await;
    let unknown = stack.user(json!({ "display_name": "Grace" }));
    stack.unseen(unknown);
    stack.control().forget_traffic();
    let other_key = stack.setting(1, "STACK_SECRET_SERVER_KEY");
    let callers = [
        Caller::default(),
        stack.browser(0),
        stack.signed_in(0, known),
        stack.admin(0),
        stack.server(1),
        stack.server(0).with("secret-server-key", other_key),
        stack.server(0).with("secret-server-key", ""),
        stack.server(0).without("project-id"),
        stack.server(0).with("access-type", "client"),
        stack
            .server(0)
            .raw("x-hexclave-project-id", stack.setting(1, "STACK_PROJECT_ID")),
    ];
    for (n, caller) in callers.iter().enumerate() {
        for id in [known.to_string(), unknown.to_string(), "junk".to_owned()] {
            let reply = stack.own(caller, &format!("/_usertap/users/{id}?ensure=1")).await;
            assert_eq!(reply.status, 401, "caller {n}, {id}");
            assert!(!reply.text().contains("Ada"));
        }
    }
    assert!(stack.control().log().is_empty(), "the provider was asked nothing");
    let newer = stack
        .own(&stack.server(0).newer(), &format!("/_usertap/users/{known}"))
        .await;
    assert_eq!(newer.status, 200);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ensure_completes_a_skeleton() {
    let stack = Stack::with(Setup::set(&[("USERTAP_SYNC_TIMEOUT", "2s")])).await;
    let gate = Gate::new();
    stack
        .control()
        .fault(Fault::on("/users/", Action::HoldBefore(gate.clone())).method(Method::GET));
    let new = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let signed_up = stack.post(&stack.browser(0), "/auth/password/sign-up", new).await;
    assert_eq!(signed_up.recorded(), "none; reread-late");
    let user: Uuid = signed_up.json()["user_id"]
        .as_str()
        .expect("a user")
        .parse()
        .expect("an id");
    let path = format!("/_usertap/users/{user}");
    assert_eq!(
        stack.own(&stack.server(0), &path).await.json()["raw_json"],
        json!({ "id": user })
    );
    let whole = stack.own(&stack.server(0), &format!("{path}?ensure=1")).await;
    assert_eq!(whole.json()["email"], "ada@example.com");
    stack.is_recorded(&whole, user).await;
    gate.release();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_only_stands_in_is_not_told_as_committed() {
    let stack = Stack::new().await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CHECK (name <> 'Refused')")
        .await;
    let user = stack.user(json!({ "display_name": "Refused" }));
    let path = format!("/_usertap/users/{user}?ensure=1");
    for _ in 0..2 {
        let stands_in = stack.own(&stack.server(0), &path).await;
        assert_eq!(
            (stands_in.status.as_u16(), &stands_in.json()["raw_json"]),
            (200, &json!({ "id": user }))
        );
        assert_eq!(stands_in.recorded(), "none; set-aside");
    }
    let fine = json!({ "display_name": "Fine" });
    let mended = stack
        .patch(&stack.server(0), &format!("/users/{user}"), fine)
        .await;
    stack.is_recorded(&mended, user).await;
    let row = stack.own(&stack.server(0), &path).await;
    assert_eq!(row.recorded(), "committed; unchanged");
    stack.end().await;
}

/// In a word, and when it is worth another try.
#[tokio::test(flavor = "multi_thread")]
async fn why_a_row_cannot_be_shown_is_told() {
    let stack = Stack::with(Setup {
        settings: vec![("USERTAP_TIMEOUT", "2s")],
        ..Setup::relayed()
    })
    .await;
    let known = stack.known_user(json!({ "display_name": "Ada" })).await;
    let missing = stack.user(json!({ "display_name": "Bea" }));
    let server = stack.server(0);
    let asked = async |user: Uuid| {
        let path = format!("/_usertap/users/{user}?ensure=1");
        let got = stack.own(&server, &path).await;
        let words = ["x-usertap-error", "retry-after"].map(|name| got.header(name).map(str::to_owned));
        (got.status.as_u16(), words)
    };
    let told = |status: u16, word: &str| (status, [word, "1"].map(|word| Some(word.to_owned())));
    let gate = Gate::new();
    stack
        .control()
        .fault(Fault::on("/users/", Action::HoldBefore(gate.clone())));
    assert_eq!(asked(missing).await, told(504, "upstream-timeout"));
    gate.release();
    let relay = stack.relay.as_ref().expect("a relay");
    relay.close();
    assert_eq!(asked(known).await, told(503, "database-away"));
    relay.open();
    eventually("the database is back", async || {
        (asked(known).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(asked(missing).await.0, 200);
    let other = stack.user(json!({ "display_name": "Cleo" }));
    stack.kill_provider();
    eventually("nobody is there any more", async || {
        (asked(other).await == told(502, "upstream-unreachable")).then_some(())
    })
    .await;
    assert_eq!(asked(known).await.0, 200);
    stack.unseen(other);
    stack.provider_is_gone();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_the_same_missing_user_get_it() {
    let stack = Stack::new().await;
    let user = stack.user(json!({ "display_name": "Ada" }));
    let path = format!("/_usertap/users/{user}?ensure=1");
    let server = stack.server(0);
    for reply in join_all((0..16).map(|_| stack.own(&server, &path))).await {
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["name"]),
            (200, &json!("Ada"))
        );
    }
    assert_eq!(
        stack.control().count(&Method::GET, "/users/{id}"),
        1,
        "one read for all"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_token_and_tells_no_data() {
    let stack = with_users(1, &[]).await;
    for path in ["/_usertap/healthz", "/_usertap/readyz"] {
        let reply = stack.own(&Caller::default(), path).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.json().as_object().map(|fields| fields.len())
            ),
            (200, Some(1))
        );
    }
    for (method, status) in [(Method::HEAD, 200), (Method::POST, 405)] {
        let url = format!("http://{}/_usertap/readyz", stack.serving().listen);
        let reply = http::request(method.clone(), &url, &[], "").await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, status, "{method}");
        let allowed = reply.header("allow");
        assert_eq!(allowed, (status == 405).then_some("GET, HEAD"));
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(&stack.admin_url(path), &[]).await.status, 200);
    }
    assert_eq!(
        stack.own(&Caller::default(), "/_usertap/nothing").await.status,
        404
    );
    assert!(stack.control().log().is_empty());
    stack.get(&stack.server(0), "/users?include_anonymous=true").await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_side_answers_its_own_names_and_pages_alone() {
    let stack = Stack::with(Setup::set(&[(
        "USERTAP_ADMIN_TOKEN",
        "a-long-enough-admin-token",
    )]))
    .await;
    let (url, bearer) = (
        stack.admin_url("/v1/status"),
        ("authorization", "Bearer a-long-enough-admin-token"),
    );
    for (headers, status) in [
        (vec![bearer], 200),
        (vec![], 401),
        (vec![("authorization", "Bearer another")], 401),
        (vec![bearer, ("host", "evil.example")], 403),
        (vec![bearer, ("origin", "http://evil.example")], 403),
        (vec![bearer, ("origin", "null")], 403),
    ] {
        let reply = http::get(&url, &headers).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(status == 200 || !reply.text().contains("tenant"));
    }
    let (backfill, page) = (stack.admin_url("/v1/backfill"), ("origin", "http://evil.example"));
    assert_eq!(
        http::post(&backfill, &[bearer, page], &json!({})).await.status,
        403
    );
    assert_eq!(stack.count("SELECT count(*) FROM usertap.backfill").await, 0);
    let shown = http::get(&url, &[bearer]).await.text();
    for name in ["STACK_SECRET_SERVER_KEY", "USERTAP_ADMIN_TOKEN", "DATABASE_URL"] {
        assert!(!shown.contains(&stack.setting(0, name)), "{name} is a secret");
    }
    stack.end().await;
}
