//! What changes a user, and what of it the answers tell.

use std::time::Duration;

use ::http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{OauthAccount, Options};
use uuid::Uuid;

use super::{Bench, Headers, borrowed, code};
use crate::support::http;

async fn empty() -> Bench {
    Bench::new(Options::default()).await
}

fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

fn view(bench: &Bench, user: Uuid) -> Value {
    bench.control().server_view(0, user).unwrap()
}

/// Somebody who has signed up, and the headers of a client that is signed in.
async fn somebody(bench: &Bench) -> (Uuid, Headers) {
    let signed_up = bench.sign_up("somebody@example.com").await;
    (
        id(&signed_up["user_id"]),
        bench.client(0, signed_up["access_token"].as_str()),
    )
}

#[tokio::test]
async fn what_is_written_is_stored_as_the_provider_stores_it() {
    let bench = empty().await;
    let body = json!({ "display_name": "", "primary_email": "Mixed@Example.COM", "primary_email_auth_enabled": true });
    let user = bench.post("/users", &bench.server(0), body.clone()).await.json();
    assert_eq!(
        (&user["display_name"], &user["primary_email"]),
        (&Value::Null, &json!("mixed@example.com"))
    );
    let upper = user["id"].as_str().unwrap().to_uppercase();
    assert_eq!(
        bench
            .get(&format!("/users/{upper}"), &bench.server(0))
            .await
            .json(),
        user
    );
    let again = bench.post("/users", &bench.server(0), body).await;
    assert_eq!(
        (again.status.as_u16(), code(&again).as_str()),
        (409, "USER_EMAIL_ALREADY_EXISTS")
    );
    let unknown = bench
        .post("/users", &bench.server(0), json!({ "nickname": "x" }))
        .await;
    assert_eq!(code(&unknown), "SCHEMA_ERROR");
    let mut json = bench.server(0);
    json.push(("content-type", "application/json".to_owned()));
    let broken = http::request(Method::POST, &bench.url("/users"), &borrowed(&json), "{")
        .await
        .unwrap();
    assert_eq!(code(&broken), "BODY_PARSING_ERROR");
}

#[tokio::test]
async fn key_order_is_not_to_be_relied_on() {
    let bench = Bench::with_users(1).await;
    let path = format!("/users/{}", bench.control().ids(0)[0]);
    let (one, other) = (
        bench.get(&path, &bench.server(0)).await,
        bench.get(&path, &bench.server(0)).await,
    );
    assert_eq!(one.json(), other.json());
    assert_ne!(one.body, other.body);
}

#[tokio::test]
async fn a_deleted_user_is_gone_with_its_sessions() {
    let bench = empty().await;
    let signed_up = bench.sign_up("gone@example.com").await;
    let path = format!("/users/{}", signed_up["user_id"].as_str().unwrap());
    assert_eq!(
        bench.delete(&path, &bench.server(0)).await.json(),
        json!({ "success": true })
    );
    let again = bench.delete(&path, &bench.server(0)).await;
    assert_eq!(
        (again.status.as_u16(), code(&again).as_str()),
        (404, "USER_NOT_FOUND")
    );
    let refreshed = refresh(&bench, signed_up["refresh_token"].as_str().unwrap()).await;
    assert_eq!(code(&refreshed), "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED");
}

async fn token(bench: &Bench, grant: &str) -> http::Reply {
    let body = format!(
        "{grant}&client_id={}&client_secret={}",
        bench.setting(0, "STACK_PROJECT_ID"),
        bench.setting(0, "STACK_PUBLISHABLE_CLIENT_KEY")
    );
    let form = [("content-type", "application/x-www-form-urlencoded;charset=UTF-8")];
    http::request(Method::POST, &bench.url("/auth/oauth/token"), &form, body)
        .await
        .unwrap()
}

async fn refresh(bench: &Bench, refresh_token: &str) -> http::Reply {
    token(
        bench,
        &format!("grant_type=refresh_token&refresh_token={refresh_token}"),
    )
    .await
}

#[tokio::test]
async fn a_refresh_moves_the_time_of_last_activity() {
    let bench = empty().await;
    let user = bench.control().create(0, json!({})).unwrap();
    let refresh_token = bench.control().refresh_token(0, user).unwrap();
    let before = view(&bench, user)["last_active_at_millis"].as_i64().unwrap();
    while usertap::clock::wall().timestamp_millis() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(refresh(&bench, &refresh_token).await.status, 200);
    assert!(view(&bench, user)["last_active_at_millis"].as_i64().unwrap() > before);
}

#[tokio::test]
async fn an_anonymous_user_who_signs_up_keeps_the_id_and_signs_up_now() {
    let bench = empty().await;
    let anonymous = bench
        .post("/auth/anonymous/sign-up", &bench.client(0, None), json!({}))
        .await
        .json();
    let user = id(&anonymous["user_id"]);
    let before = view(&bench, user);
    assert_eq!(before["restricted_reason"], json!({ "type": "anonymous" }));
    let as_anonymous = bench.client(0, anonymous["access_token"].as_str());
    let signed_up_at = before["signed_up_at_millis"].as_i64().unwrap();
    while usertap::clock::wall().timestamp_millis() == signed_up_at {
        tokio::task::yield_now().await;
    }
    let body = json!({ "email": "real@example.com", "password": "correct horse battery" });
    let signed_up = bench
        .post("/auth/password/sign-up", &as_anonymous, body)
        .await
        .json();
    assert_eq!(id(&signed_up["user_id"]), user);
    let after = view(&bench, user);
    assert_eq!(
        (&after["is_anonymous"], &after["is_restricted"]),
        (&json!(false), &json!(false))
    );
    assert!(after["signed_up_at_millis"].as_i64().unwrap() > signed_up_at);
}

#[tokio::test]
async fn a_mailed_code_signs_up_once() {
    let bench = empty().await;
    let client = bench.client(0, None);
    bench
        .post(
            "/auth/otp/send-sign-in-code",
            &client,
            json!({ "email": "otp@example.com" }),
        )
        .await;
    let mailed = bench.control().code(0, "otp@example.com").unwrap();
    let signed_in = bench
        .post("/auth/otp/sign-in", &client, json!({ "code": mailed }))
        .await
        .json();
    assert_eq!(signed_in["is_new_user"], true);
    let user = view(&bench, id(&signed_in["user_id"]));
    assert_eq!(
        (&user["otp_auth_enabled"], &user["primary_email_verified"]),
        (&json!(true), &json!(true))
    );
    let again = bench
        .post("/auth/otp/sign-in", &client, json!({ "code": mailed }))
        .await;
    assert_eq!(
        (again.status.as_u16(), code(&again).as_str()),
        (409, "VERIFICATION_CODE_ALREADY_USED")
    );
}

#[tokio::test]
async fn passwords_and_passkeys_change_users_that_no_answer_shows() {
    let bench = empty().await;
    let user = bench.control().create(
        0,
        json!({ "primary_email": "p@example.com", "primary_email_auth_enabled": true }),
    );
    let user = user.unwrap();
    let token = bench
        .control()
        .access_token(0, user, Duration::from_secs(60))
        .unwrap();
    let client = bench.client(0, Some(&token));
    let success = json!({ "success": true });
    let set = bench
        .post(
            "/auth/password/set",
            &client,
            json!({ "password": "first password" }),
        )
        .await;
    assert_eq!(
        (set.json(), &view(&bench, user)["has_password"]),
        (success.clone(), &json!(true))
    );
    let change = json!({ "old_password": "first password", "new_password": "second password" });
    assert_eq!(
        bench.post("/auth/password/update", &client, change).await.json(),
        success
    );
    bench
        .post(
            "/auth/password/send-reset-code",
            &client,
            json!({ "email": "p@example.com" }),
        )
        .await;
    let mailed = bench.control().code(0, "p@example.com").unwrap();
    let reset = json!({ "code": mailed, "password": "third password" });
    assert_eq!(
        bench.post("/auth/password/reset", &client, reset).await.json(),
        success
    );
    let sign_in = json!({ "email": "p@example.com", "password": "third password" });
    assert_eq!(
        bench
            .post("/auth/password/sign-in", &client, sign_in)
            .await
            .status,
        200
    );
    assert_eq!(
        bench
            .post("/auth/passkey/register", &client, json!({}))
            .await
            .status,
        200
    );
    assert_eq!(view(&bench, user)["passkey_auth_enabled"], true);
}

#[tokio::test]
async fn a_second_factor_stands_between_a_password_and_tokens() {
    let bench = empty().await;
    let (user, client) = somebody(&bench).await;
    bench
        .patch("/users/me", &client, json!({ "totp_secret_base64": "c2VjcmV0" }))
        .await;
    assert_eq!(view(&bench, user)["requires_totp_mfa"], true);
    let sign_in = json!({ "email": "somebody@example.com", "password": "correct horse battery" });
    let asked = bench.post("/auth/password/sign-in", &client, sign_in).await;
    assert_eq!(
        (asked.status.as_u16(), code(&asked).as_str()),
        (400, "MULTI_FACTOR_AUTHENTICATION_REQUIRED")
    );
    let attempt = &asked.json()["details"]["attempt_code"];
    let second = json!({ "type": "totp", "totp": "123456", "code": attempt });
    let signed_in = bench.post("/auth/mfa/sign-in", &client, second).await.json();
    assert_eq!(id(&signed_in["user_id"]), user);
}

#[tokio::test]
async fn an_oauth_user_first_shows_in_an_exchanged_code() {
    let bench = empty().await;
    let account = OauthAccount {
        provider: "github".to_owned(),
        account_id: "42".to_owned(),
        email: Some("octo@example.com".to_owned()),
    };
    for is_new in [true, false] {
        let code = bench.control().oauth_code(0, account.clone()).unwrap();
        let exchanged = token(&bench, &format!("grant_type=authorization_code&code={code}"))
            .await
            .json();
        assert_eq!(exchanged["is_new_user"], is_new);
        let client = bench.client(0, exchanged["access_token"].as_str());
        let me = bench.get("/users/me", &client).await.json();
        let wanted = json!([{ "id": "github", "account_id": "42", "email": "octo@example.com" }]);
        assert_eq!(me["oauth_providers"], wanted);
    }
    assert_eq!(bench.control().ids(0).len(), 1);
}

async fn authorize(bench: &Bench, more: &str) -> http::Reply {
    let path = format!(
        "/auth/oauth/authorize/github?client_id={}&redirect_uri=http%3A%2F%2Fapp.example%2Fback&state=s1{more}",
        bench.setting(0, "STACK_PROJECT_ID")
    );
    bench.get(&path, &vec![]).await
}

#[tokio::test]
async fn a_browsers_way_back_demands_the_cookie_of_its_way_out() {
    let bench = empty().await;
    let out = authorize(&bench, "").await;
    let (back, cookie) = (out.header("location").unwrap(), out.header("set-cookie").unwrap());
    assert!(out.status == 307 && cookie.contains("Secure") && cookie.contains("HttpOnly"));
    let without = http::get(back, &[]).await;
    assert_eq!(without.status, 400);
    assert!(without.text().starts_with("Inner OAuth cookie not found"));
    let with = http::get(back, &[("cookie", cookie)]).await;
    assert_eq!(with.status, 307);
    assert!(
        with.header("location")
            .unwrap()
            .starts_with("http://app.example/back?code=")
    );
    let fetched = authorize(&bench, "&stack_response_mode=json").await;
    assert_eq!(
        (fetched.status.as_u16(), fetched.header("set-cookie")),
        (200, None)
    );
    let location = fetched.json()["location"].as_str().unwrap().to_owned();
    assert_eq!(http::get(&location, &[]).await.status, 307);
}

#[tokio::test]
async fn contact_channels_change_the_primary_address() {
    let bench = empty().await;
    let (user, client) = somebody(&bench).await;
    let server = bench.server(0);
    let body =
        json!({ "user_id": user, "type": "email", "value": "other@example.com", "used_for_auth": false });
    let channel = bench.post("/contact-channels", &client, body).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/contact-channels/{user}/{channel}");
    bench
        .post(&format!("{path}/send-verification-code"), &client, json!({}))
        .await;
    let mailed = bench.control().code(0, "other@example.com").unwrap();
    let verified = bench
        .post("/contact-channels/verify", &client, json!({ "code": mailed }))
        .await;
    assert_eq!(verified.json(), json!({ "success": true }));
    bench.patch(&path, &server, json!({ "is_primary": true })).await;
    let changed = view(&bench, user);
    assert_eq!(
        (&changed["primary_email"], &changed["primary_email_verified"]),
        (&json!("other@example.com"), &json!(true))
    );
    let listed = bench.get("/contact-channels?user_id=me", &client).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert_eq!(bench.delete(&path, &client).await.status, 200);
    assert_eq!(view(&bench, user)["primary_email"], Value::Null);
}

#[tokio::test]
async fn a_new_users_answer_is_older_than_its_personal_team() {
    let bench = empty().await;
    bench.control().set_personal_teams(0, true);
    let created = bench
        .post("/users", &bench.server(0), json!({ "display_name": "Ada" }))
        .await
        .json();
    assert_eq!(created["selected_team_id"], Value::Null);
    assert_eq!(
        view(&bench, id(&created["id"]))["selected_team"]["display_name"],
        "Ada's Team"
    );
}

#[tokio::test]
async fn teams_show_in_the_users_that_selected_them() {
    let bench = empty().await;
    let (user, client) = somebody(&bench).await;
    let team = bench
        .post("/teams", &client, json!({ "display_name": "One" }))
        .await
        .json();
    let path = format!("/teams/{}", team["id"].as_str().unwrap());
    bench
        .patch("/users/me", &client, json!({ "selected_team_id": team["id"] }))
        .await;
    bench
        .patch(&path, &client, json!({ "display_name": "Two" }))
        .await;
    assert_eq!(view(&bench, user)["selected_team"]["display_name"], "Two");
    let profiles = format!("/team-member-profiles?team_id={}", team["id"].as_str().unwrap());
    let with_users = bench.get(&profiles, &bench.server(0)).await.json();
    assert_eq!(with_users["items"][0]["user"], view(&bench, user));
    let without = bench.get(&profiles, &client).await.json();
    assert_eq!(without["items"][0].get("user"), None);
    bench.delete(&path, &client).await;
    assert_eq!(view(&bench, user)["selected_team_id"], Value::Null);
}

#[tokio::test]
async fn an_invitation_makes_a_member_who_has_selected_nothing() {
    let bench = empty().await;
    let (user, client) = somebody(&bench).await;
    let team = bench
        .post("/teams", &bench.server(0), json!({ "display_name": "T" }))
        .await
        .json();
    let invitation =
        json!({ "team_id": team["id"], "email": "somebody@example.com", "callback_url": "http://x" });
    bench
        .post("/team-invitations/send-code", &bench.server(0), invitation)
        .await;
    let mailed = bench.control().code(0, "somebody@example.com").unwrap();
    let accepted = bench
        .post("/team-invitations/accept", &client, json!({ "code": mailed }))
        .await;
    assert_eq!(accepted.status, 200);
    let members = bench
        .get(
            &format!("/users?team_id={}", team["id"].as_str().unwrap()),
            &bench.server(0),
        )
        .await;
    assert_eq!(id(&members.json()["items"][0]["id"]), user);
    assert_eq!(view(&bench, user)["selected_team_id"], Value::Null);
}

#[tokio::test]
async fn linked_accounts_come_and_go_without_a_user_in_the_answer() {
    let bench = empty().await;
    let (user, client) = somebody(&bench).await;
    let body = json!({ "user_id": user, "provider_config_id": "google", "account_id": "g1", "email": "g@example.com" });
    let linked = bench
        .post("/oauth-providers", &bench.server(0), body)
        .await
        .json();
    let wanted = json!([{ "id": "google", "account_id": "g1", "email": "g@example.com" }]);
    assert_eq!(view(&bench, user)["oauth_providers"], wanted);
    let accounts = bench.get("/connected-accounts/me", &client).await.json();
    assert_eq!(accounts["items"][0]["provider"], "google");
    let path = format!("/oauth-providers/me/{}", linked["id"].as_str().unwrap());
    assert_eq!(bench.delete(&path, &client).await.status, 200);
    assert_eq!(view(&bench, user)["oauth_providers"], json!([]));
}

#[tokio::test]
async fn a_projects_settings_restrict_many_users_at_once() {
    let bench = Bench::with_users(30).await;
    let restricted = || {
        bench
            .control()
            .users(0)
            .iter()
            .filter(|user| user["is_restricted"] == true)
            .count()
    };
    let before = restricted();
    let config = json!({ "config_override_string": "{\"onboarding.requireEmailVerification\":true}" });
    let changed = bench
        .patch("/internal/config/override/environment", &bench.admin(), config)
        .await;
    assert_eq!(changed.status, 200);
    assert!(restricted() > before + 5);
    let back = json!({ "config": { "require_email_verification": false } });
    bench
        .patch("/internal/projects/current", &bench.admin(), back)
        .await;
    assert_eq!(restricted(), before);
    let gone = bench.delete("/internal/projects/current", &bench.admin()).await;
    assert_eq!((gone.status.as_u16(), bench.control().ids(0).len()), (200, 0));
    assert_eq!(
        code(&bench.get("/users", &bench.server(0)).await),
        "CURRENT_PROJECT_NOT_FOUND"
    );
}

#[tokio::test]
async fn users_delete_themselves_only_where_they_may() {
    let bench = empty().await;
    let (user, client) = somebody(&bench).await;
    let refused = bench.delete("/users/me", &client).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("x-stack-known-error")),
        (400, None)
    );
    bench.control().set_client_user_deletion(0, true);
    assert_eq!(bench.delete("/users/me", &client).await.status, 200);
    assert_eq!(bench.control().server_view(0, user), None);
}

#[tokio::test]
async fn a_terminal_signs_in_by_a_browser() {
    let bench = empty().await;
    let signed_up = bench.sign_up("cli@example.com").await;
    let client = bench.client(0, None);
    let started = bench.post("/auth/cli", &client, json!({})).await.json();
    let poll = json!({ "polling_code": started["polling_code"] });
    assert_eq!(
        bench.post("/auth/cli/poll", &client, poll.clone()).await.json()["status"],
        "waiting"
    );
    let complete =
        json!({ "login_code": started["login_code"], "refresh_token": signed_up["refresh_token"] });
    bench.post("/auth/cli/complete", &client, complete).await;
    let done = bench.post("/auth/cli/poll", &client, poll).await.json();
    assert_eq!(
        (&done["status"], &done["refresh_token"]),
        (&json!("success"), &signed_up["refresh_token"])
    );
}

#[tokio::test]
async fn a_server_opens_lists_and_ends_sessions() {
    let bench = empty().await;
    let user = bench.control().create(0, json!({})).unwrap();
    let server = bench.server(0);
    let opened = bench
        .post("/auth/sessions", &server, json!({ "user_id": user }))
        .await
        .json();
    let path = format!("/auth/sessions?user_id={user}");
    let sessions = bench.get(&path, &server).await.json();
    let session = sessions["items"][0]["id"].as_str().unwrap();
    let ended = bench
        .delete(&format!("/auth/sessions/{session}?user_id={user}"), &server)
        .await;
    assert_eq!(ended.status, 200);
    let refreshed = refresh(&bench, opened["refresh_token"].as_str().unwrap()).await;
    assert_eq!(
        (refreshed.status.as_u16(), code(&refreshed).as_str()),
        (401, "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED")
    );
}
