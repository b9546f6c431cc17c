//! Keys, tokens, projects, limits.

use std::collections::BTreeSet;
use std::time::Duration;

use ::http::Method;
use serde_json::{Value, json};
use usertap::config::Rate;
use usertap::sandbox::Options;
use uuid::Uuid;

use super::{Bench, borrowed, code};
use crate::support::http;

async fn two_projects() -> Bench {
    Bench::new(Options {
        users: 10,
        projects: 2,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn a_project_knows_nothing_of_anothers_users_keys_and_tokens() {
    let bench = two_projects().await;
    let id = bench.control().ids(0)[0];
    assert_eq!(
        bench
            .get("/users?include_anonymous=true", &bench.server(1))
            .await
            .json()["items"],
        json!([])
    );
    let elsewhere = bench.delete(&format!("/users/{id}"), &bench.server(1)).await;
    assert_eq!(
        (elsewhere.status.as_u16(), code(&elsewhere).as_str()),
        (404, "USER_NOT_FOUND")
    );
    assert!(bench.control().server_view(0, id).is_some());
    let token = bench
        .control()
        .access_token(0, id, Duration::from_secs(60))
        .unwrap();
    let foreign = bench.get("/users/me", &bench.client(1, Some(&token))).await;
    assert_eq!(
        (foreign.status.as_u16(), code(&foreign).as_str()),
        (401, "INVALID_PROJECT_FOR_ACCESS_TOKEN")
    );
    let mut wrong_key = bench.server(0);
    wrong_key[2].1 = bench.setting(1, "STACK_SECRET_SERVER_KEY");
    let refused = bench.get(&format!("/users/{id}"), &wrong_key).await;
    assert_eq!(
        (refused.status.as_u16(), code(&refused).as_str()),
        (401, "INVALID_SECRET_SERVER_KEY")
    );
}

#[tokio::test]
async fn who_asks_wrongly_is_told_so_as_the_provider_does() {
    let bench = two_projects().await;
    let server = bench.server(0);
    let user = bench.control().ids(0)[0];
    let with = |name: &'static str, value: &str| {
        let mut headers = server.clone();
        headers.retain(|(other, _)| *other != name);
        headers.push((name, value.to_owned()));
        headers
    };
    let stranger = Uuid::from_u128(1).to_string();
    for (headers, status, wanted) in [
        (vec![], 400, "ACCESS_TYPE_REQUIRED"),
        (server[1..].to_vec(), 400, "PROJECT_KEY_WITHOUT_ACCESS_TYPE"),
        (server[..1].to_vec(), 400, "ACCESS_TYPE_WITHOUT_PROJECT_ID"),
        (with("x-stack-access-type", "root"), 400, "INVALID_ACCESS_TYPE"),
        (
            with("x-stack-project-id", &stranger),
            400,
            "CURRENT_PROJECT_NOT_FOUND",
        ),
        (with("x-stack-branch-id", "dev"), 400, "BRANCH_DOES_NOT_EXIST"),
        (bench.client(0, None), 401, "INSUFFICIENT_ACCESS_TYPE"),
        (bench.client(0, Some("junk")), 401, "UNPARSABLE_ACCESS_TOKEN"),
    ] {
        let reply = bench.get(&format!("/users/{user}"), &headers).await;
        assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (status, wanted));
    }
    assert_eq!(
        bench
            .get(&format!("/users/{user}"), &with("x-stack-branch-id", "main"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_token_expires_and_outlives_its_user() {
    let bench = two_projects().await;
    let user = bench.control().ids(0)[0];
    let expired = bench.control().access_token(0, user, Duration::ZERO).unwrap();
    let reply = bench.get("/users/me", &bench.client(0, Some(&expired))).await;
    assert_eq!(
        (reply.status.as_u16(), code(&reply).as_str()),
        (401, "ACCESS_TOKEN_EXPIRED")
    );
    let token = bench
        .control()
        .access_token(0, user, Duration::from_secs(60))
        .unwrap();
    assert!(bench.control().delete(0, user));
    let reply = bench.get("/users/me", &bench.client(0, Some(&token))).await;
    assert_eq!(
        (reply.status.as_u16(), code(&reply).as_str()),
        (400, "CANNOT_GET_OWN_USER_WITHOUT_USER")
    );
}

#[tokio::test]
async fn a_client_sees_less_than_a_server() {
    let bench = two_projects().await;
    let signed_up = bench.sign_up("view@example.com").await;
    let (id, token) = (
        signed_up["user_id"].as_str().unwrap(),
        signed_up["access_token"].as_str().unwrap(),
    );
    let server = bench.server(0);
    let team = bench
        .post("/teams", &server, json!({ "display_name": "T" }))
        .await
        .json()["id"]
        .clone();
    let team = team.as_str().unwrap();
    assert_eq!(
        bench
            .post(&format!("/team-memberships/{team}/{id}"), &server, json!({}))
            .await
            .status,
        201
    );
    let selected = bench
        .patch(
            &format!("/users/{id}"),
            &server,
            json!({ "selected_team_id": team }),
        )
        .await;
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let (whole, part) = (
        selected.json(),
        bench.get("/users/me", &bench.client(0, Some(token))).await.json(),
    );
    let lacks: Vec<_> = keys(&whole).difference(&keys(&part)).cloned().collect();
    assert_eq!(
        lacks,
        [
            "country_code",
            "last_active_at_millis",
            "primary_email_auth_enabled",
            "restricted_by_admin_private_details",
            "risk_scores",
            "server_metadata",
        ]
    );
    let (whole_team, part_team) = (keys(&whole["selected_team"]), keys(&part["selected_team"]));
    let lacks: Vec<_> = whole_team.difference(&part_team).cloned().collect();
    assert_eq!(lacks, ["created_at_millis", "server_metadata"]);
    assert_eq!(keys(&whole).len(), 27);
}

#[tokio::test]
async fn beyond_the_rate_is_429_with_a_time_to_come_back_for_that_project_only() {
    let rate = Rate {
        requests: 3,
        per: Duration::from_secs(3600),
    };
    let bench = Bench::new(Options {
        rate: Some(rate),
        projects: 2,
        ..Options::default()
    })
    .await;
    let mut asking = bench.server(0);
    asking.push(("x-stack-override-error-status", "true".to_owned()));
    for _ in 0..3 {
        assert_eq!(bench.get("/users", &asking).await.status, 200);
    }
    let reply = bench.get("/users", &asking).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-stack-actual-status")),
        (429, None)
    );
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert!(
        reply.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("Artificial development rate limit")
    );
    assert_eq!(bench.get("/users", &bench.server(1)).await.status, 200);
    assert_eq!(
        (
            bench.control().limited(),
            bench.control().count(&Method::GET, "/users")
        ),
        (1, 5)
    );
}

#[tokio::test]
async fn latency_is_added_to_every_answer() {
    let latency = Duration::from_millis(150);
    let bench = Bench::new(Options {
        latency,
        ..Options::default()
    })
    .await;
    let start = usertap::clock::now();
    assert_eq!(bench.get("/users", &bench.server(0)).await.status, 200);
    assert!(start.elapsed() >= latency);
}

#[tokio::test]
async fn a_browser_may_ask_from_anywhere() {
    let bench = two_projects().await;
    let options = http::request(Method::OPTIONS, &bench.url("/users"), &[], "")
        .await
        .unwrap();
    assert_eq!(
        (
            options.status.as_u16(),
            options.header("access-control-allow-origin")
        ),
        (200, Some("*"))
    );
    let refused = bench.get("/users", &vec![]).await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    assert!(
        refused
            .header("access-control-expose-headers")
            .unwrap()
            .contains("x-stack-known-error")
    );
}

#[tokio::test]
async fn what_is_not_its_own_to_override_keeps_its_status() {
    let bench = two_projects().await;
    let mut asking = bench.server(0);
    asking.push(("x-stack-override-error-status", "true".to_owned()));
    let put = http::request(Method::PUT, &bench.url("/users"), &borrowed(&asking), "")
        .await
        .unwrap();
    assert_eq!(
        (put.status.as_u16(), put.header("x-stack-actual-status")),
        (405, None)
    );
    let nul = bench
        .post("/users", &asking, json!({ "server_metadata": { "a": "\0" } }))
        .await;
    assert_eq!(
        (nul.status.as_u16(), nul.header("content-type")),
        (500, Some("text/plain; charset=utf-8"))
    );
    let missing = bench.get("/nothing/here", &asking).await;
    assert_eq!((missing.status.as_u16(), missing.effective_status()), (200, 404));
    let v2 = bench.url("/users").replace("/v1/", "/v2/");
    assert_eq!(http::get(&v2, &borrowed(&bench.server(0))).await.status, 404);
    let beta = bench.url("/users").replace("/v1/", "/v2beta3/");
    assert_eq!(http::get(&beta, &borrowed(&bench.server(0))).await.status, 200);
}

#[tokio::test]
async fn what_needs_no_key() {
    let bench = two_projects().await;
    let upstream = bench.setting(0, "USERTAP_UPSTREAM");
    assert_eq!(
        http::get(&format!("{upstream}/health"), &[]).await.json(),
        json!({ "status": "ok" })
    );
    assert_eq!(http::get(&format!("{upstream}/api/v1"), &[]).await.status, 200);
    let urls = bench.get("/internal/backend-urls", &vec![]).await.json();
    assert_eq!(urls, json!({ "urls": [upstream] }));
    let id = bench.setting(0, "STACK_PROJECT_ID");
    let keys = bench
        .get(&format!("/projects/{id}/.well-known/jwks.json"), &vec![])
        .await
        .json();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
}
