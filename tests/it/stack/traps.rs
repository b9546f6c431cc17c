//! What the provider does that a recorder could fall for.

use http::Method;
use serde_json::{Value, json};
use usertap::sandbox::OauthAccount;
use uuid::Uuid;

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::stack::{Caller, Setup, Stack};

fn id(reply: &Reply, field: &str) -> Uuid {
    reply.json()[field]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_comes_as_a_200_is_never_recorded() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, before) = (stack.server(0), stack.position().await);
    let raw = server.clone().without("override-error-status");
    let nobody = format!("/users/{}", Uuid::new_v4());
    let (path, wrong) = (format!("/users/{user}"), json!({ "no_such_field": 1 }));
    for caller in [&server, &server.clone().newer(), &raw] {
        let missing = stack.get(caller, &nobody).await;
        assert_eq!(missing.effective_status(), 404);
        let refused = stack.patch(caller, &path, wrong.clone()).await;
        assert_eq!(
            (refused.effective_status(), refused.recorded()),
            (400, "none; no-user")
        );
        let refused = stack.post(caller, "/users", wrong.clone()).await;
        assert_eq!(
            (refused.effective_status(), refused.recorded()),
            (400, "none; no-user")
        );
    }
    assert_eq!(
        stack.get(&server, &nobody).await.status,
        200,
        "the provider's word is not touched"
    );
    assert_eq!(
        (
            stack.position().await,
            stack.count("SELECT count(*) FROM usertap.user_state").await
        ),
        (before, 1)
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usertap_names_itself_where_newer_sdks_ask_for_other_urls() {
    for (settings, told) in [
        (vec![], None),
        (
            vec![("USERTAP_PUBLIC_URL", "https://auth.example/")],
            Some("https://auth.example"),
        ),
    ] {
        let stack = Stack::with(Setup {
            settings,
            ..Setup::default()
        })
        .await;
        for caller in [stack.browser(0), stack.browser(0).newer()] {
            let reply = stack.get(&caller, "/internal/backend-urls").await;
            match told {
                Some(url) => assert_eq!(reply.json(), json!({ "urls": [url] })),
                None => assert_eq!(reply.status, 404),
            }
        }
        assert!(stack.control().log().is_empty(), "the provider was not asked");
        stack.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_ends_because_its_cursor_is_gone_deletes_nobody() {
    let stack = Stack::new().await;
    let (first, second) = (
        stack.known_user(json!({ "display_name": "First" })).await,
        stack.known_user(json!({ "display_name": "Second" })).await,
    );
    let page = stack.get(&stack.server(0), "/users?limit=1").await;
    assert_eq!(page.json()["pagination"]["next_cursor"], json!(second));
    stack.control().delete(0, second);
    let rest = stack
        .get(&stack.server(0), &format!("/users?limit=1&cursor={second}"))
        .await;
    assert_eq!(
        (rest.json()["items"].clone(), rest.recorded()),
        (json!([]), "none; no-user")
    );
    assert!(!stack.row(second).await.expect("a row").is_deleted);
    let gone = stack.get(&stack.server(0), &format!("/users/{second}")).await;
    stack.is_recorded(&gone, second).await;
    assert!(
        stack.row(second).await.expect("a row").is_deleted,
        "its own 404 does"
    );
    assert!(!stack.row(first).await.expect("a row").is_deleted);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sees_is_compared_and_never_written() {
    let stack = Stack::new().await;
    let user = stack
        .known_user(json!({ "display_name": "Ada", "server_metadata": { "plan": "pro" } }))
        .await;
    let (me, reads) = (stack.signed_in(0, user), || {
        stack.control().count(&Method::GET, "/users/{id}")
    });
    let before = reads();
    for _ in 0..3 {
        let seen = stack.get(&me, "/users/me").await;
        assert!(seen.json().get("server_metadata").is_none());
        stack.is_recorded(&seen, user).await;
    }
    assert_eq!(reads(), before, "what agrees needs no read");
    stack
        .control()
        .edit(0, user, json!({ "display_name": "Countess" }));
    let seen = stack.get(&me, "/users/me").await;
    stack.is_recorded(&seen, user).await;
    assert_eq!(reads(), before + 1, "what differs needs one");
    assert_eq!(
        stack.row(user).await.expect("a row").raw["server_metadata"]["plan"],
        "pro"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_that_comes_after_the_answer_reaches_the_row() {
    let stack = Stack::new().await;
    stack.control().set_personal_teams(0, true);
    let made = stack
        .post(&stack.server(0), "/users", json!({ "display_name": "Ada" }))
        .await;
    let user = id(&made, "id");
    assert!(made.recorded().starts_with("committed"));
    assert_eq!(made.json()["selected_team_id"], Value::Null);
    assert!(stack.row(user).await.is_some());
    eventually("the team", || async {
        let row = stack.row(user).await.expect("a row");
        row.raw["selected_team_id"].is_string().then_some(())
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_user_who_signs_up_keeps_its_row() {
    let stack = Stack::new().await;
    let stranger = stack.browser(0).with("allow-anonymous-user", "true");
    let anonymous = stack.post(&stranger, "/auth/anonymous/sign-up", json!({})).await;
    let user = id(&anonymous, "user_id");
    stack.is_recorded(&anonymous, user).await;
    let before = stack.row(user).await.expect("a row");
    assert_eq!(before.raw["is_anonymous"], json!(true));
    let token = anonymous.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let signing = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let signed_up = stack
        .post(
            &stranger.with("access-token", token),
            "/auth/password/sign-up",
            signing,
        )
        .await;
    assert_eq!(id(&signed_up, "user_id"), user);
    stack.is_recorded(&signed_up, user).await;
    let after = stack.row(user).await.expect("a row");
    assert_eq!(
        (after.email.as_deref(), &after.raw["is_anonymous"]),
        (Some("ada@example.com"), &json!(false))
    );
    assert!(
        after.created_at > before.created_at,
        "the provider counts from the sign-up"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_sign_up_can_hide_that_it_happened() {
    let stack = Stack::new().await;
    let user = stack
        .known_user(json!({ "is_anonymous": true, "totp_secret_base64": "c2VjcmV0" }))
        .await;
    let signing = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let reply = stack
        .post(&stack.signed_in(0, user), "/auth/password/sign-up", signing)
        .await;
    assert_eq!(
        reply.header("x-stack-known-error"),
        Some("MULTI_FACTOR_AUTHENTICATION_REQUIRED")
    );
    stack.is_recorded(&reply, user).await;
    assert_eq!(
        stack.row(user).await.expect("a row").raw["is_anonymous"],
        json!(false)
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_last_activity_nor_the_order_of_keys_is_a_change() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let before = stack.position().await;
    for _ in 0..4 {
        stack.control().refresh_token(0, user).expect("a user");
        let reply = stack.get(&stack.server(0), &format!("/users/{user}")).await;
        assert_eq!(reply.recorded(), "committed; unchanged");
        let list = stack.get(&stack.server(0), "/users").await;
        assert_eq!(list.recorded(), "committed; unchanged");
    }
    assert_eq!(stack.position().await, before);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_sent_to_the_providers_own_host_to_sign_in() {
    let stack = Stack::new().await;
    let query = format!(
        "client_id={}&redirect_uri=http%3A%2F%2Flocalhost%2Fcb&state=s%2B1&login_hint=ada",
        stack.setting(0, "STACK_PROJECT_ID")
    );
    let browser = Caller::default();
    for prefix in ["/api/v1", "/api/latest"] {
        let path = format!("/auth/oauth/authorize/github?{query}");
        let reply = stack.get(&browser.clone().under(prefix), &path).await;
        let expected = format!("http://{}{prefix}{path}", stack.sandbox.addr());
        assert_eq!(
            (reply.status.as_u16(), reply.header("location")),
            (307, Some(expected.as_str()))
        );
    }
    assert!(stack.control().log().is_empty());
    let path = format!("/auth/oauth/authorize/github?{query}&stack_response_mode=json");
    let fetched = stack.get(&browser, &path).await;
    assert!(fetched.json()["location"].is_string() && fetched.header("set-cookie").is_none());
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_of_a_code_is_the_first_sight_of_an_oauth_user() {
    let stack = Stack::new().await;
    let account = OauthAccount {
        provider: "github".into(),
        account_id: "ada".into(),
        email: Some("ada@example.com".into()),
    };
    let code = stack.control().oauth_code(0, account).expect("a code");
    let user = stack.control().ids(0)[0];
    assert_eq!(stack.row(user).await, None);
    let form = format!(
        "grant_type=authorization_code&code={code}&client_id={}&client_secret=__stack_public_client__",
        stack.setting(0, "STACK_PROJECT_ID")
    );
    let library = Caller::default().form();
    let reply = stack
        .send(&library, Method::POST, "/auth/oauth/token", form)
        .await
        .expect("an answer");
    assert_eq!(reply.json()["is_new_user"], json!(true));
    stack.is_recorded(&reply, user).await;
    assert_eq!(
        stack.row(user).await.expect("a row").raw["oauth_providers"][0]["account_id"],
        "ada"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_delete_proves_that_the_user_is_gone() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let twice = stack.known_user(json!({ "display_name": "Twice" })).await;
    let elsewhere = stack.known_user(json!({ "display_name": "Elsewhere" })).await;
    stack.control().delete(0, elsewhere);
    let path = format!("/users/{twice}");
    let first = stack.delete(&server, &path).await;
    stack.is_recorded(&first, twice).await;
    let deleted_at = format!("SELECT deleted_at::text FROM neon_identity.users_sync WHERE id = '{twice}'");
    let when: String = stack
        .client
        .query_one(&deleted_at, &[])
        .await
        .expect("a row")
        .get(0);
    for (user, path) in [(twice, path), (elsewhere, format!("/users/{elsewhere}"))] {
        let reply = stack.delete(&server, &path).await;
        assert_eq!(reply.effective_status(), 404);
        stack.is_recorded(&reply, user).await;
        assert!(stack.row(user).await.expect("a row").is_deleted);
    }
    let still: String = stack
        .client
        .query_one(&deleted_at, &[])
        .await
        .expect("a row")
        .get(0);
    assert_eq!(when, still);
    stack.end().await;
}

/// Anybody can add the header; it must not switch recording off.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_the_provider_passes_over_is_recorded() {
    let stack = Stack::new().await;
    for to in ["foo", "websocket"] {
        let server = stack.server(0).raw("connection", "Upgrade").raw("upgrade", to);
        let created = stack
            .post(&server, "/users", json!({ "display_name": "Ada" }))
            .await;
        assert_eq!(created.status, 201);
        let user = id(&created, "id");
        stack.is_recorded(&created, user).await;
        let path = format!("/users/{user}");
        let deleted = stack.delete(&server, &path).await;
        stack.is_recorded(&deleted, user).await;
        assert!(stack.row(user).await.expect("a row").is_deleted);
    }
    assert_eq!(stack.status().await["traffic"]["upgraded"], json!(0));
    stack.end().await;
}

/// Only `committed` means that a row is there, if only one that says deleted.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_was_is_not_committed() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let path = format!("/users/{}", Uuid::new_v4());
    let gone = stack.known_user(json!({ "display_name": "Gone" })).await;
    stack.delete(&server, &format!("/users/{gone}")).await;
    for method in [Method::GET, Method::GET, Method::DELETE, Method::PATCH] {
        let nobody = stack.ask(&server, method.clone(), &path, &json!({})).await;
        assert_eq!(
            (nobody.effective_status(), nobody.recorded()),
            (404, "none; no-user")
        );
        let deleted = stack
            .ask(&server, method, &format!("/users/{gone}"), &json!({}))
            .await;
        assert_eq!(
            (deleted.effective_status(), deleted.recorded()),
            (404, "committed; unchanged")
        );
    }
    assert_eq!(
        stack.count("SELECT count(*) FROM neon_identity.users_sync").await,
        1
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_has_one_spelling() {
    let stack = Stack::new().await;
    let user = stack.user(json!({ "display_name": "Ada" }));
    let path = format!("/users/{}", user.to_string().to_uppercase());
    let reply = stack.get(&stack.server(0), &path).await;
    stack.is_recorded(&reply, user).await;
    let deleted = stack.delete(&stack.server(0), &path).await;
    stack.is_recorded(&deleted, user).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_deleted_says_nothing_of_its_users() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack.provider_is_gone();
    let deleted = stack.delete(&stack.admin(0), "/internal/projects/current").await;
    assert_eq!(deleted.recorded(), "none; no-user");
    let before = stack.position().await;
    let read = stack.get(&stack.server(0), &format!("/users/{user}")).await;
    assert_eq!((read.effective_status(), read.recorded()), (400, "none; no-user"));
    assert_eq!(stack.position().await, before);
    assert!(!stack.row(user).await.expect("a row").is_deleted);
    stack.end().await;
}
