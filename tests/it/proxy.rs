//! The proxy before a scripted provider and a real Postgres: what the app gets, and which rows
//! stand when it has got it.

mod failing;
mod odd;
mod others;
mod rig;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;
use usertap::config::{Rate, Sync};

use crate::support::eventually;
use rig::{Does, KEY, PROJECT, Rig};

fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// A whole user as a server sees it.
fn user(n: u32, name: &str) -> String {
    json!({
        "id": id(n), "display_name": name, "primary_email": null, "primary_email_verified": false,
        "primary_email_auth_enabled": false, "profile_image_url": null, "signed_up_at_millis": 1764000000000u64,
        "last_active_at_millis": 1764000000000u64, "client_metadata": null, "client_read_only_metadata": null,
        "server_metadata": null, "has_password": false, "otp_auth_enabled": false, "passkey_auth_enabled": false,
        "selected_team": null, "selected_team_id": null, "requires_totp_mfa": false, "is_anonymous": false,
        "oauth_providers": [], "auth_with_email": false,
    })
    .to_string()
}

fn list(users: std::ops::Range<u32>) -> String {
    let items: Vec<String> = users.map(|n| user(n, &format!("user {n}"))).collect();
    let items = items.join(",");
    format!(r#"{{"items":[{items}],"is_paginated":true,"pagination":{{"next_cursor":null}}}}"#)
}

fn path(n: u32) -> String {
    format!("/api/v1/users/{}", id(n))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_a_row_before_its_answer_and_arrives_byte_for_byte() {
    let rig = Rig::new().await;
    let odd = user(1, "Zo\u{eb}").replace(',', ", \n");
    rig.answers(200, odd.clone()).answers(200, odd.clone());
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(rig.name(&id(1)).await.as_deref(), Some("Zo\u{eb}"));
    assert!(
        got.recorded().starts_with("committed; pos="),
        "{}",
        got.recorded()
    );
    assert_eq!(got.body.as_deref(), Some(odd.as_bytes()));
    assert_eq!(
        rig.ask("GET", &path(1), "").await.recorded(),
        "committed; unchanged"
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_proxies_have_compressed_is_recorded_too() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let encoded: Bytes = gzip(&gzip(user(1, "Ada").as_bytes())).into();
    let rig = Rig::new().await;
    for headers in [
        &[("content-encoding", "gzip, gzip")][..],
        &[("content-encoding", "gzip"), ("content-encoding", "gzip")],
    ] {
        rig.does([Does::Answers(200, headers, encoded.clone())]);
        let got = rig.ask("GET", &path(1), "").await;
        assert!(got.recorded().starts_with("committed"), "{}", got.recorded());
        assert_eq!(got.body.as_ref(), Some(&encoded));
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_recorded_and_not_touched() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(user(1, "Ada").as_bytes()).expect("in memory");
    let encoded: Bytes = encoder.finish().expect("in memory").into();
    let rig = Rig::new().await;
    rig.does([Does::Answers(
        200,
        &[("content-encoding", "gzip")],
        encoded.clone(),
    )]);
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(
        (got.header("content-encoding"), got.body.as_ref()),
        ("gzip", Some(&encoded))
    );
    assert_eq!(rig.name(&id(1)).await.as_deref(), Some("Ada"));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_leave_no_trace() {
    let rig = Rig::new().await;
    let other = "99999999-f6a9-4d40-a23e-b1c2e3f5a2f4";
    for (headers, word) in [
        (
            &[("x-stack-project-id", other), ("x-stack-secret-server-key", KEY)][..],
            "none; foreign-tenant",
        ),
        (
            &[("x-stack-project-id", PROJECT), ("x-stack-project-id", other)][..],
            "none; foreign-tenant",
        ),
    ] {
        rig.answers(200, user(1, "planted"));
        let got = rig.ask_as("GET", &path(1), "", headers).await;
        assert_eq!((got.status.as_u16(), got.recorded()), (200, word));
    }
    rig.answers(200, "{}");
    assert_eq!(
        rig.ask("GET", "/api/v1/nobody-knows/this", "").await.recorded(),
        "none; unmatched"
    );
    assert_eq!(rig.rows().await, 0);
    let traffic = rig.traffic.snapshot();
    assert_eq!(
        (
            traffic.foreign,
            traffic.unmatched,
            traffic.recorded,
            traffic.forwarded
        ),
        (2, 1, 0, 3)
    );
    rig.end().await;
}

/// What an SDK does all day is no sign that the provider's API has moved on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_interest_is_not_counted_as_unknown() {
    let rig = Rig::new().await;
    let client = [("x-stack-project-id", PROJECT)];
    for (method, path) in [
        ("OPTIONS", "/api/v1/users"),
        ("OPTIONS", "/api/v1/nobody-knows/this"),
        ("GET", "/api/v1/projects/current"),
        ("GET", "/api/latest/teams?user_id=me"),
        ("POST", "/api/v1/analytics/events/batch"),
        ("POST", "/api/v1/session-replays/batch"),
        ("GET", "/health"),
        ("GET", "/api/v1/payments/items/user/1/2"),
    ] {
        rig.answers(200, "{}");
        let got = rig.ask_as(method, path, "", &client).await;
        assert_eq!(
            (got.status.as_u16(), got.recorded()),
            (200, "none; no-user"),
            "{method} {path}"
        );
    }
    for (method, path) in [
        ("POST", "/health"),
        ("GET", "/api/v3/teams"),
        ("GET", "/api/v1/healthy"),
    ] {
        rig.answers(200, "{}");
        let got = rig.ask_as(method, path, "", &client).await;
        assert_eq!(got.recorded(), "none; unmatched", "{method} {path}");
    }
    let traffic = rig.traffic.snapshot();
    assert_eq!(
        (traffic.unmatched, traffic.foreign, traffic.forwarded),
        (3, 0, 11)
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_200_is_no_user() {
    let rig = Rig::new().await;
    let headers = &[
        ("x-stack-actual-status", "401"),
        ("x-stack-known-error", "INVALID_SECRET_SERVER_KEY"),
    ];
    rig.does([Does::Answers(200, headers, user(1, "not this").into())]);
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(got.recorded(), "none; no-user");
    assert_eq!(rig.rows().await, 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_reaches_the_app_as_it_came_and_harms_nothing() {
    let rig = Rig::new().await;
    for junk in [
        "<html>",
        "",
        "{\"id\":",
        "[]",
        "{\"id\":\"not-an-id\"}",
        "\u{0}\u{ff}",
    ] {
        rig.answers(200, junk);
        let got = rig.ask("GET", &path(1), "").await;
        assert_eq!(
            (got.status.as_u16(), got.body.as_deref()),
            (200, Some(junk.as_bytes())),
            "{junk:?}"
        );
        assert_eq!(got.recorded(), "none; malformed", "{junk:?}");
    }
    assert_eq!(rig.rows().await, 0);
    assert_eq!(rig.traffic.snapshot().malformed, 6);
    rig.end().await;
}

/// Only the database may judge what is legal JSON.
#[tokio::test(flavor = "multi_thread")]
async fn legal_json_that_no_parser_here_takes_loses_nobody() {
    let rig = Rig::new().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let refused = [
        user(1, "Ada").replace("\"Ada\"", r#""\ud800""#),
        user(2, "Bea").replace("\"server_metadata\":null", r#""server_metadata":{"n":1e200000}"#),
        user(3, "Cid").replace("\"server_metadata\":null", &format!("\"server_metadata\":{deep}")),
    ];
    for (n, body) in (1..).zip(&refused) {
        rig.answers(200, body.clone());
        let got = rig.ask("GET", &path(n), "").await;
        assert_eq!(got.recorded(), "none; set-aside", "{n}");
        assert!(got.body.is_some_and(|got| got == body.as_bytes()));
        let raw = format!(
            "SELECT raw_json::text FROM neon_identity.users_sync WHERE id = '{}'",
            id(n)
        );
        let skeleton = rig.db.text(&raw).await.expect("a row to refer to");
        assert_eq!(skeleton, format!(r#"{{"id": "{}"}}"#, id(n)));
    }
    let taken = [
        user(4, "Dan").replace("\"server_metadata\":null", r#""server_metadata":{"n":1e400}"#),
        user(5, "Eve").replace(
            "\"server_metadata\":null",
            &format!("\"server_metadata\":{}0{}", "[".repeat(300), "]".repeat(300)),
        ),
    ];
    for (n, body) in (4..).zip(&taken) {
        for word in ["committed; pos=", "committed; unchanged"] {
            rig.answers(200, body.clone());
            let got = rig.ask("GET", &path(n), "").await;
            assert!(got.recorded().starts_with(word), "{}", got.recorded());
        }
    }
    assert_eq!(rig.name(&id(5)).await.as_deref(), Some("Eve"));
    let digits = "SELECT length(raw_json->'server_metadata'->>'n')::bigint FROM neon_identity.users_sync
                  WHERE name = 'Dan'";
    assert_eq!(rig.db.count(digits).await, 401);
    let listed = format!(
        r#"{{"items":[{},{}]}}"#,
        user(6, "Fay"),
        user(7, "Gus").replace("\"Gus\"", r#""\udc00""#)
    );
    rig.answers(200, listed);
    assert_eq!(
        rig.ask("GET", "/api/v1/users", "").await.recorded(),
        "none; set-aside"
    );
    assert_eq!(rig.name(&id(6)).await.as_deref(), Some("Fay"));
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.set_aside").await, 4);
    let halves = "SELECT count(*) FROM usertap.set_aside WHERE reason LIKE '%half a surrogate pair%'";
    assert_eq!(rig.db.count(halves).await, 2);
    let nul = "SELECT count(*) FROM usertap.set_aside WHERE reason LIKE '%U+0000%'";
    assert_eq!(rig.db.count(nul).await, 0);
    is_written_once_mended(rig).await;
}

/// Whoever was set aside is written once the provider shows them otherwise; nothing counts as malformed.
async fn is_written_once_mended(rig: Rig) {
    rig.answers(200, user(1, "Ada"));
    let mended = rig.ask("GET", &path(1), "").await;
    assert!(
        mended.recorded().starts_with("committed; pos="),
        "{}",
        mended.recorded()
    );
    assert_eq!(rig.traffic.snapshot().malformed, 0);
    rig.end().await;
}

/// Some programs write one before their JSON, of which it is no part.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_hides_nobody_and_reaches_the_app() {
    let rig = Rig::new().await;
    for (target, body, recorded) in [
        (path(1), user(1, "Ada"), "committed; pos="),
        ("/api/v1/users".to_owned(), list(2..4), "committed; pos="),
        (
            "/api/v1/users?limit=1000".to_owned(),
            list(4..1000),
            "none; streamed",
        ),
    ] {
        let body = format!("\u{feff}{body}");
        rig.answers(200, body.clone());
        let got = rig.ask("GET", &target, "").await;
        assert!(got.recorded().starts_with(recorded), "{}", got.recorded());
        assert_eq!(got.body.as_deref(), Some(body.as_bytes()));
    }
    assert_eq!(rig.rows().await, 999);
    let whole = "SELECT count(*) FROM neon_identity.users_sync WHERE raw_json->>'display_name' = name";
    assert_eq!(rig.db.count(whole).await, 999);
    assert_eq!(rig.traffic.snapshot().malformed, 0);
    rig.end().await;
}

/// It may name a field that is not to be kept, so what stands beside it is read all the same.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_surrogate_pair_in_a_key_loses_nobody() {
    let rig = Rig::new().await;
    let odd = |n, name| user(n, name).replace("{\"", "{\"\\ud800\":1,\"");
    rig.answers(200, odd(1, "Ada"));
    assert_eq!(rig.ask("GET", &path(1), "").await.recorded(), "none; set-aside");
    let listed = format!(
        r#"{{"\udc00":[],"items":[{},{}]}}"#,
        user(2, "Bea"),
        odd(3, "Cid")
    );
    rig.answers(200, listed);
    let got = rig.ask("GET", "/api/v1/users", "").await;
    assert_eq!(got.recorded(), "none; set-aside");
    assert_eq!(rig.name(&id(2)).await.as_deref(), Some("Bea"));
    let aside = "SELECT count(*) FROM usertap.set_aside";
    assert_eq!((rig.rows().await, rig.db.count(aside).await), (3, 2));
    is_written_once_mended(rig).await;
}

/// Postgres respells them: 1e2 comes back as 100.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_partial_view_agree_by_value() {
    let mut rig = Rig::new().await;
    let metadata = |n: &str| {
        format!(r#""client_metadata":{{"n":{n},"d":0.10,"big":1e400,"far":12345678901234567890.5}}"#)
    };
    let whole = user(1, "Ada").replace("\"client_metadata\":null", &metadata("1e2"));
    rig.answers(200, whole);
    assert!(
        rig.ask("GET", &path(1), "")
            .await
            .recorded()
            .starts_with("committed")
    );
    let client = [("x-stack-project-id", PROJECT)];
    for same in ["1e2", "100", "100.0"] {
        let partial = format!(r#"{{"id":"{}","display_name":"Ada",{}}}"#, id(1), metadata(same));
        rig.answers(200, partial);
        let got = rig.ask_as("GET", "/api/v1/users/me", "", &client).await;
        assert_eq!(got.recorded(), "committed; unchanged", "{same}");
    }
    assert!(rig.owed.try_recv().is_err(), "nothing differs");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_list_streams_and_its_rows_stand_when_it_ends() {
    let rig = Rig::new().await;
    let large = list(0..1000);
    assert!(large.len() > 4 * (64 << 10));
    rig.answers(200, large.clone());
    let got = rig.ask("GET", "/api/v1/users?limit=1000", "").await;
    assert_eq!(rig.rows().await, 1000);
    assert_eq!(
        (got.recorded(), got.body.as_deref()),
        ("none; streamed", Some(large.as_bytes()))
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_list_that_unfolds_from_gzip_is_recorded_too() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(list(0..1000).as_bytes()).expect("in memory");
    let encoded: Bytes = encoder.finish().expect("in memory").into();
    assert!(encoded.len() < 64 << 10);
    let rig = Rig::new().await;
    rig.does([Does::Answers(
        200,
        &[("content-encoding", "gzip")],
        encoded.clone(),
    )]);
    let got = rig.ask("GET", "/api/v1/users?limit=1000", "").await;
    assert_eq!((rig.rows().await, got.body), (1000, Some(encoded)));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_recorded_though_its_caller_hung_up() {
    let rig = Rig::new().await;
    let answer = Arc::new(Notify::new());
    rig.does([Does::Waits(answer.clone(), user(7, "Grace").into())]);
    {
        let path = path(7);
        let asked = rig.ask("PATCH", &path, r#"{"display_name":"Grace"}"#);
        let sent = eventually("the write reaches the provider", || async { rig.seen().pop() });
        tokio::select! {
            _ = asked => unreachable!("the provider waits"),
            _ = sent => {}
        }
    }
    answer.notify_one();
    let named = eventually("the row", || async { rig.name(&id(7)).await }).await;
    assert_eq!(named, "Grace");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_a_502_and_a_doubt() {
    let mut rig = Rig::new().await;
    rig.does([Does::HangsUp]);
    let got = rig.ask("PATCH", &path(3), "{}").await;
    assert_eq!(
        (got.status.as_u16(), got.header("x-usertap-error")),
        (502, "upstream-broken")
    );
    let owed = tokio::time::timeout(Duration::from_secs(20), rig.owed.recv()).await;
    assert!(
        owed.is_ok_and(|owed| owed.is_some()),
        "the user is to be read again"
    );
    assert_eq!((rig.traffic.snapshot().unanswered, rig.seen().len()), (1, 1));
    rig.end().await;
}

/// Not even where there is no body that would have to be sent again, as with Clerk's ban or a deletion.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_never_sent_twice() {
    let rig = Rig::new().await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let before = rig.seen().len();
        rig.does([Does::HangsUp, Does::HangsUp]);
        let got = rig.ask(method, &path(3), "").await;
        assert_eq!(
            (got.status.as_u16(), got.header("x-usertap-error")),
            (502, "upstream-broken"),
            "{method}"
        );
        assert_eq!(rig.seen().len() - before, 1, "{method}");
        rig.does_no_more();
    }
    rig.end().await;
}

/// A code is good for one time: whoever is sent twice is refused what was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_changes_somebody_is_a_write_and_never_sent_twice() {
    let rig = Rig::new().await;
    let server = [
        ("x-stack-project-id", PROJECT),
        ("x-stack-secret-server-key", KEY),
    ];
    let callback = "/auth/oauth/callback/google?code=c";
    for (headers, target, times) in [
        (&server[..], callback, 1),
        (&[], callback, 1),
        (&server, "/users?limit=1", 2),
    ] {
        let before = rig.seen().len();
        rig.does([Does::HangsUp, Does::HangsUp]);
        let got = rig.ask_as("GET", &format!("/api/v1{target}"), "", headers).await;
        assert_eq!(
            (got.status.as_u16(), got.header("x-usertap-error")),
            (502, "upstream-broken")
        );
        assert_eq!(rig.seen().len() - before, times, "{target}");
        rig.does_no_more();
    }
    rig.end().await;
}

/// The provider may carry it out after the process is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_raises_the_second_doubt_at_once() {
    let mut rig = Rig::new().await;
    rig.does([Does::HangsUp]);
    assert_eq!(rig.ask("PATCH", &path(3), "{}").await.status, 502);
    let first = rig.owed.recv().await.expect("the first");
    rig.tasks.stop();
    let second = tokio::time::timeout(Duration::from_secs(20), rig.owed.recv()).await;
    let second = second.expect("before the end").expect("the second");
    assert!(second.user == first.user && second.after > first.after);
    let doubt = "SELECT doubt FROM usertap.user_state";
    assert_eq!(rig.db.count(doubt).await, second.after.0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_paths_need_the_server_key_and_reach_no_provider() {
    let rig = Rig::new().await;
    let own = format!("/_usertap/users/{}?ensure=1", id(1));
    let key = [
        ("x-stack-project-id", PROJECT),
        ("x-stack-secret-server-key", KEY),
    ];
    assert_eq!(rig.ask_as("GET", &own, "", &key).await.status, 200);
    let wrong = [
        ("x-stack-project-id", PROJECT),
        ("x-stack-secret-server-key", "ssk_of_another"),
    ];
    for refused in [&wrong[..], &wrong[..1], &[]] {
        assert_eq!(rig.ask_as("GET", &own, "", refused).await.status, 401);
    }
    assert_eq!(rig.ask("GET", "/_usertap/users/me", "").await.status, 404);
    assert_eq!(
        rig.ask("GET", &format!("/_usertap/users/{}", id(1)), "")
            .await
            .status,
        404
    );
    assert_eq!(rig.ask_as("GET", "/_usertap/healthz", "", &[]).await.status, 200);
    let ready = rig.ask_as("GET", "/_usertap/readyz", "", &[]).await;
    assert_eq!(ready.body.as_deref(), Some(&br#"{"status":"degraded"}"#[..]));
    assert_eq!(rig.ask("GET", "/_usertap/nothing", "").await.status, 404);
    let errors = [
        (
            "GET",
            "/_usertap/nothing".to_owned(),
            &key[..],
            404,
            "no-such-path",
        ),
        ("POST", own.clone(), &key[..], 405, "method"),
        ("GET", own.clone(), &key[..1], 401, "server-key"),
        (
            "GET",
            format!("/_usertap/users/{}", id(1)),
            &key[..],
            404,
            "unknown-user",
        ),
        (
            "GET",
            "/api/v1/internal/backend-urls".to_owned(),
            &key[..],
            404,
            "no-public-url",
        ),
    ];
    for (method, path, headers, status, word) in errors {
        let got = rig.ask_as(method, &path, "", headers).await;
        assert_eq!(
            (got.status.as_u16(), got.header("x-usertap-error")),
            (status, word)
        );
        assert_eq!(got.header("access-control-allow-origin"), "*", "{word}");
        assert_eq!(got.header("x-stack-known-error"), "", "{word}");
        let body: serde_json::Value = serde_json::from_slice(&got.body.expect("a body")).expect("JSON");
        assert_eq!(body["usertap"], word);
        assert!(body["error"].is_string(), "{word}");
    }
    assert_eq!(rig.seen().len(), 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_breaks_off_for_the_app_and_harms_nothing() {
    let rig = Rig::new().await;
    let whole = user(1, "Ada");
    rig.does([Does::Breaks(whole.into())]);
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(
        (got.status.as_u16(), got.recorded(), got.body.as_ref()),
        (200, "none; truncated", None)
    );
    assert_eq!(rig.rows().await, 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_a_504_and_the_write_a_doubt() {
    let mut rig = Rig::with(|config| config.timeout = Duration::from_secs(2)).await;
    rig.does([Does::Waits(Arc::default(), "".into())]);
    let got = rig.ask("DELETE", &path(3), "{}").await;
    assert_eq!(
        (got.status.as_u16(), got.header("x-usertap-error")),
        (504, "upstream-timeout")
    );
    let owed = tokio::time::timeout(Duration::from_secs(20), rig.owed.recv()).await;
    assert!(
        owed.is_ok_and(|owed| owed.is_some()),
        "the user is to be read again"
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_limit_is_a_429_that_says_when_to_come_back() {
    let limit = Rate {
        requests: 1,
        per: Duration::from_secs(600),
    };
    let rig = Rig::with(|config| config.rate = vec![limit.into()]).await;
    rig.answers(200, user(1, "Ada"));
    assert_eq!(rig.ask("GET", &path(1), "").await.status, 200);
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(
        (got.status.as_u16(), got.header("x-usertap-error")),
        (429, "rate-limited")
    );
    let seconds: u64 = got.header("retry-after").parse().expect("whole seconds");
    assert!((590..=620).contains(&seconds), "{seconds}");
    assert_eq!(got.header("access-control-allow-origin"), "*");
    assert_eq!(rig.seen().len(), 1);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_provider_arrives_as_it_came_and_is_heeded() {
    let rig = Rig::new().await;
    let headers = &[("x-stack-actual-status", "429"), ("retry-after", "7")];
    rig.does([Does::Answers(200, headers, "slow down".into())]);
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(
        (got.status.as_u16(), got.body.as_deref()),
        (200, Some(&b"slow down"[..]))
    );
    assert_eq!(
        (got.header("retry-after"), got.header("x-usertap-error")),
        ("7", "")
    );
    let next = rig.ask("GET", &path(1), "").await;
    assert_eq!(
        (next.status.as_u16(), next.header("x-usertap-error")),
        (429, "rate-limited")
    );
    assert_eq!(
        rig.seen().len(),
        1,
        "the key was refused: nobody asks with it until then"
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asynchronously_the_row_comes_after_the_answer() {
    let rig = Rig::with(|config| config.sync = Sync::Async).await;
    rig.answers(200, user(1, "Ada"));
    assert_eq!(rig.ask("GET", &path(1), "").await.recorded(), "queued; async");
    eventually("the row", || async { rig.name(&id(1)).await }).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_path_of_the_public_url_is_taken_off() {
    let base = "https://app.example/auth/".parse().expect("a URL");
    let rig = Rig::with(|config| config.public_url = Some(base)).await;
    rig.answers(200, user(1, "Ada"));
    let got = rig.ask("GET", &format!("/auth{}", path(1)), "").await;
    assert!(got.recorded().starts_with("committed"));
    assert_eq!(rig.seen(), [format!("GET {}", path(1))]);
    assert_eq!(rig.ask("GET", "/auth/_usertap/healthz", "").await.status, 200);
    rig.end().await;
}
