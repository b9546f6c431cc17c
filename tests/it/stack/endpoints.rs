//! Every endpoint of the provider that touches users, called through the proxy in both
//! generations of headers, once for users that usertap knows and once for users that it has never
//! seen: right after the answer the row is what the provider has.

mod fixture;

use http::Method;
use serde_json::json;
use usertap::sandbox::Options;
use uuid::Uuid;

use crate::support::http::Reply;
use crate::support::stack::{Setup, Stack};
use fixture::Fixture;

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Server,
    /// A server that passes on a user's token.
    ServerFor,
    Admin,
    Browser,
    /// A browser in which the user is signed in.
    Me,
    /// A browser that has only the refresh token.
    Refresh,
    /// An OAuth library: a form and no headers.
    Form,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    /// The user's row stands as the provider has the user.
    Row,
    /// So does the row of a new user, whose id stands there in the answer, or in a token there.
    New(&'static str),
    /// The row is marked as deleted.
    Gone,
    /// Nothing is noted: nobody is named, or nothing of a user can have changed.
    Nothing,
}

use By::*;
use Then::*;

/// One endpoint. In paths and bodies `$name` stands for a value of the fixture.
#[derive(Clone, Copy)]
struct Endpoint {
    on: &'static str,
    by: By,
    body: &'static str,
    then: Then,
    /// Done at the provider beforehand, past the proxy; their answers are `$first(/pointer)`.
    first: &'static [(&'static str, By, &'static str)],
}

const fn on(on: &'static str, by: By, body: &'static str, then: Then) -> Endpoint {
    Endpoint {
        on,
        by,
        body,
        then,
        first: &[],
    }
}

impl Endpoint {
    const fn first(self, first: &'static [(&'static str, By, &'static str)]) -> Endpoint {
        Endpoint { first, ..self }
    }
}

const USERS: &[Endpoint] = &[
    on("GET /users?include_anonymous=true", Server, "", Row),
    on("GET /users?limit=1000&query=$user", Admin, "", Row),
    on("GET /users?team_id=$team", Server, "", Row),
    on("POST /users", Server, r#"{"display_name":"New"}"#, New("/id")),
    on("POST /users", Admin, r#"{"display_name":"New"}"#, New("/id")),
    on("GET /users/$user", Server, "", Row),
    on("GET /users/$user", Admin, "", Row),
    on("PATCH /users/$user", Server, r#"{"display_name":"Changed","server_metadata":{"a":[1]}}"#, Row),
    on("PATCH /users/$user", Admin, r#"{"primary_email":"$fresh"}"#, Row),
    on("PATCH /users/$user", Server, r#"{"restricted_by_admin":true}"#, Row),
    on("DELETE /users/$user", Server, "{}", Gone),
    on("DELETE /users/$user", Admin, "{}", Gone),
    on("GET /users/me", Me, "", Row),
    on("GET /users/me", ServerFor, "", Row),
    on("PATCH /users/me", Me, r#"{"display_name":"Mine","client_metadata":{"x":1}}"#, Row),
    on("PATCH /users/me", ServerFor, r#"{"server_metadata":{"y":2}}"#, Row),
    on("PATCH /users/me", Me, r#"{"selected_team_id":null}"#, Row),
    on("DELETE /users/me", Me, "{}", Gone),
];

const AUTHENTICATION: &[Endpoint] = &[
    on("POST /auth/password/sign-up", Browser, r#"{"email":"$fresh","password":"long enough"}"#, New("/user_id")),
    on("POST /auth/password/sign-in", Browser, r#"{"email":"$email","password":"$password"}"#, Row),
    on("POST /auth/password/set", Me, r#"{"password":"long enough"}"#, Row)
        .first(&[("PATCH /users/$user", Server, r#"{"password":null}"#)]),
    on("POST /auth/password/update", Me, r#"{"old_password":"$password","new_password":"long enough"}"#, Row),
    on("POST /auth/password/send-reset-code", Browser, r#"{"email":"$email"}"#, Nothing),
    on("POST /auth/password/reset", Browser, r#"{"code":"$code","password":"long enough"}"#, Nothing)
        .first(&[("POST /auth/password/send-reset-code", Browser, r#"{"email":"$email"}"#)]),
    on("POST /auth/password/reset", Me, r#"{"code":"$code","password":"long enough"}"#, Row)
        .first(&[("POST /auth/password/send-reset-code", Browser, r#"{"email":"$email"}"#)]),
    on("POST /auth/otp/send-sign-in-code", Browser, r#"{"email":"$email"}"#, Nothing),
    on("POST /auth/otp/sign-in", Browser, r#"{"code":"$code"}"#, Row)
        .first(&[("POST /auth/otp/send-sign-in-code", Browser, r#"{"email":"$email"}"#)]),
    on("POST /auth/otp/sign-in", Browser, r#"{"code":"$code(fresh)"}"#, New("/user_id"))
        .first(&[("POST /auth/otp/send-sign-in-code", Browser, r#"{"email":"$fresh"}"#)]),
    on("POST /auth/passkey/initiate-passkey-registration", Me, "{}", Nothing),
    on("POST /auth/passkey/register", Me, "{}", Row),
    on("POST /auth/passkey/sign-in", Browser, r#"{"authentication_response":{"response":{"userHandle":"$user"}}}"#, Row)
        .first(&[("POST /auth/passkey/register", Me, "{}")]),
    on("POST /auth/mfa/sign-in", Browser, r#"{"type":"totp","totp":"123456","code":"$first(/details/attempt_code)"}"#, Row)
        .first(&[
            ("PATCH /users/$user", Server, r#"{"totp_secret_base64":"c2VjcmV0"}"#),
            ("POST /auth/password/sign-in", Browser, r#"{"email":"$email","password":"$password"}"#),
        ]),
    on("POST /auth/anonymous/sign-up", Browser, "{}", New("/user_id")),
    on("POST /auth/oauth/callback/apple/native", Browser, r#"{"id_token":"somebody-$n"}"#, New("/user_id")),
    on("POST /auth/oauth/token", Form,
        "grant_type=refresh_token&refresh_token=$refresh&client_id=$project&client_secret=$public", Row),
    on("POST /auth/oauth/token", Form,
        "grant_type=refresh_token&refresh_token=$refresh&client_id=$project%23main&client_secret=__stack_public_client__", Row),
    on("POST /auth/oauth/token", Form,
        "grant_type=authorization_code&code=$oauth&client_id=$project&client_secret=$public", New("/access_token")),
    on("GET /auth/oauth/callback/github?pkce=true&client_id=$project&redirect_uri=http://localhost/&account=$user", Form,
        "", Nothing),
    on("POST /auth/oauth/callback/github?pkce=true&client_id=$project&redirect_uri=http://localhost/&account=$user", Form,
        "", Nothing),
    on("GET /auth/sessions?user_id=$user", Server, "", Row),
    on("POST /auth/sessions", Server, r#"{"user_id":"$user"}"#, Row),
    on("DELETE /auth/sessions/$first(/items/0/id)?user_id=$user", Server, "{}", Row)
        .first(&[("GET /auth/sessions?user_id=$user", Server, "")]),
    on("DELETE /auth/sessions/current", Me, "{}", Row),
    on("POST /auth/sessions/current/refresh", Refresh, "{}", Row),
    on("POST /auth/cli", Browser, "{}", Nothing),
    on("POST /auth/cli/poll", Browser, r#"{"polling_code":"$first(/polling_code)"}"#, Nothing)
        .first(&[("POST /auth/cli", Browser, "{}")]),
    on("POST /auth/cli/complete", Browser, r#"{"login_code":"$first(/login_code)","refresh_token":"$refresh"}"#, Nothing)
        .first(&[("POST /auth/cli", Browser, "{}")]),
];

const ADDRESSES_AND_ACCOUNTS: &[Endpoint] = &[
    on("GET /contact-channels?user_id=$user", Server, "", Row),
    on("GET /contact-channels/$user/$channel", Server, "", Row),
    on("POST /contact-channels", Server, r#"{"user_id":"$user","type":"email","value":"$fresh","is_primary":true}"#, Row),
    on("POST /contact-channels", Me, r#"{"user_id":"me","type":"email","value":"$fresh","is_primary":true}"#, Row),
    on("PATCH /contact-channels/$user/$channel", Server, r#"{"is_primary":true,"is_verified":true}"#, Row),
    on("PATCH /contact-channels/me/$channel", Me, r#"{"is_primary":true}"#, Row),
    on("DELETE /contact-channels/$user/$primary", Server, "{}", Row),
    on("DELETE /contact-channels/me/$primary", Me, "{}", Row),
    on("POST /contact-channels/send-verification-code", Me, "{}", Nothing),
    on("POST /contact-channels/$user/$primary/send-verification-code", Server, "{}", Nothing),
    on("POST /contact-channels/verify", Browser, r#"{"code":"$code"}"#, Nothing)
        .first(&[("POST /contact-channels/$user/$primary/send-verification-code", Server, "{}")]),
    on("POST /contact-channels/verify", Me, r#"{"code":"$code"}"#, Row)
        .first(&[("POST /contact-channels/$user/$primary/send-verification-code", Server, "{}")]),
    on("GET /oauth-providers?user_id=$user", Server, "", Row),
    on("GET /oauth-providers/$user/$account", Server, "", Row),
    on("POST /oauth-providers", Server, r#"{"user_id":"$user","provider_config_id":"google","account_id":"g-$n"}"#, Row),
    on("PATCH /oauth-providers/$user/$account", Server, r#"{"email":"$fresh"}"#, Row),
    on("PATCH /oauth-providers/me/$account", Me, r#"{"allow_sign_in":false}"#, Row),
    on("DELETE /oauth-providers/$user/$account", Server, "{}", Row),
    on("GET /connected-accounts/$user", Server, "", Row),
    on("POST /connected-accounts/$user/github/access-token", Server, "{}", Row),
    on("POST /connected-accounts/me/github/$account/access-token", Me, "{}", Row),
];

const TEAMS: &[Endpoint] = &[
    on("POST /team-memberships/$other/$user", Server, "{}", Row),
    on("DELETE /team-memberships/$team/$user", Server, "{}", Row),
    on("DELETE /team-memberships/$team/me", Me, "{}", Row),
    on("PATCH /teams/$team", Server, r#"{"display_name":"Renamed"}"#, Nothing),
    on("PATCH /teams/$team", Me, r#"{"display_name":"Renamed"}"#, Nothing),
    on("DELETE /teams/$team", Server, "{}", Nothing),
    on("POST /teams", Me, r#"{"display_name":"Mine"}"#, Nothing),
    on("POST /team-invitations/accept", Me, r#"{"code":"$code(fresh)"}"#, Row)
        .first(&[("POST /team-invitations/send-code", Server, r#"{"team_id":"$other","email":"$fresh"}"#)]),
    on("POST /team-invitations/$first(/id)/accept", Me, "{}", Row)
        .first(&[("POST /team-invitations/send-code", Server, r#"{"team_id":"$other","email":"$fresh"}"#)]),
    on("GET /team-member-profiles?team_id=$team", Server, "", Row),
    on("GET /team-member-profiles?team_id=$team", Me, "", Row),
    on("GET /team-member-profiles/$team/$user", Server, "", Row),
    on("GET /team-member-profiles/$team/me", Me, "", Row),
];

const PROJECT: &[Endpoint] = &[
    on("PATCH /internal/projects/current", Admin, r#"{"config":{"require_email_verification":true}}"#, Nothing),
    on("PATCH /internal/config/override/project", Admin,
        r#"{"config_override_string":"{\"onboarding.requireEmailVerification\":false}"}"#, Nothing),
    on("PATCH /integrations/neon/projects/current", Admin, r#"{"config":{"require_email_verification":true}}"#, Nothing),
];

/// Those that tell nobody anything are made good by a list, and the end of the stack looks at it.
async fn all(endpoints: &[Endpoint]) {
    let stack = Stack::with(Setup {
        sandbox: Options {
            users: 3,
            ..Options::default()
        },
        ..Setup::default()
    })
    .await;
    stack.control().set_client_user_deletion(0, true);
    for newer in [false, true] {
        for endpoint in endpoints {
            for known in [false, true] {
                one(&stack, endpoint, newer, known).await;
            }
        }
    }
    let everybody = stack.get(&stack.server(0), "/users?include_anonymous=true").await;
    assert!(everybody.recorded().starts_with("committed"));
    stack.end().await;
}

async fn one(stack: &Stack, endpoint: &Endpoint, newer: bool, known: bool) {
    let mut fixture = Fixture::new(stack).await;
    for (on, by, body) in endpoint.first {
        fixture.prepare(on, *by, body).await;
    }
    if known {
        let read = stack.get(&stack.server(0), &format!("/users/{}", fixture.user)).await;
        stack.is_recorded(&read, fixture.user).await;
    }
    if endpoint.then == Nothing {
        stack.settled().await;
    }
    let before = stack.position().await;
    let reply = fixture.call(endpoint.on, endpoint.by, endpoint.body, newer).await;
    let what = format!("{} (known: {known}, newer: {newer}): {}", endpoint.on, reply.recorded());
    assert!(reply.effective_status() < 400, "{what}: {}", reply.text());
    let right = match endpoint.then {
        Row => committed(stack, &reply, fixture.user).await,
        New(at) => committed(stack, &reply, fixture::named(&reply, at)).await,
        Gone => gone(stack, &reply, fixture.user).await,
        Nothing => nothing(stack, &reply, before).await,
    };
    right.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
}

async fn committed(stack: &Stack, reply: &Reply, user: Uuid) -> Result<(), String> {
    stack.agrees(user).await?;
    match reply.recorded().starts_with("committed") {
        true => Ok(()),
        false => Err("the answer does not say so".to_owned()),
    }
}

async fn gone(stack: &Stack, reply: &Reply, user: Uuid) -> Result<(), String> {
    committed(stack, reply, user).await?;
    let known = stack.count(&format!("SELECT count(*) FROM usertap.user_state WHERE id = '{user}'"));
    match (stack.control().server_view(0, user), known.await) {
        (None, 1) => {
            // Somebody whom nobody had told of leaves a tombstone alone.
            if stack.row(user).await.is_none() {
                stack.unseen(user);
            }
            Ok(())
        }
        (there, states) => Err(format!("{there:?} and {states} states")),
    }
}

async fn nothing(stack: &Stack, reply: &Reply, before: i64) -> Result<(), String> {
    match (reply.recorded().starts_with("none; "), stack.position().await) {
        (true, after) if after == before => Ok(()),
        (_, after) => Err(format!("something was noted: position {before} became {after}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users() {
    all(USERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authentication() {
    all(AUTHENTICATION).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_accounts() {
    all(ADDRESSES_AND_ACCOUNTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teams() {
    all(TEAMS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn project() {
    all(PROJECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_prefix_leads_to_the_same_rows() {
    let stack = Stack::new().await;
    for prefix in [
        "/api/v1",
        "/api/latest",
        "/api/v2beta1",
        "/api/v2beta2",
        "/api/v2beta3",
        "/api/v2beta4",
        "/api/v2beta5",
    ] {
        for server in [stack.server(0), stack.server(0).newer()] {
            let server = server.under(prefix);
            let made = stack.post(&server, "/users", json!({ "display_name": prefix })).await;
            let id = fixture::named(&made, "/id");
            stack.is_recorded(&made, id).await;
            let path = format!("/users/{id}");
            let changed = stack.patch(&server, &path, json!({ "display_name": "Changed" })).await;
            stack.is_recorded(&changed, id).await;
            let deleted = stack.delete(&server, &path).await;
            stack.is_recorded(&deleted, id).await;
        }
    }
    let none = stack.server(0).under("/api/v2");
    let reply = stack.ask(&none, Method::GET, "/users", &json!(null)).await;
    assert_eq!(reply.recorded(), "none; unmatched");
    stack.end().await;
}
