//! The provider's endpoints that touch users, in the order of the facts: who calls them with what,
//! and what must stand when the answer is there.

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
pub struct Endpoint {
    pub on: &'static str,
    pub by: By,
    pub body: &'static str,
    pub then: Then,
    /// Done at the provider beforehand, past the proxy; their answers are `$first(/pointer)`.
    pub first: &'static [(&'static str, By, &'static str)],
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

pub const USERS: &[Endpoint] = &[
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

pub const AUTHENTICATION: &[Endpoint] = &[
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

pub const ADDRESSES_AND_ACCOUNTS: &[Endpoint] = &[
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

pub const TEAMS: &[Endpoint] = &[
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

pub const PROJECT: &[Endpoint] = &[
    on("PATCH /internal/projects/current", Admin, r#"{"config":{"require_email_verification":true}}"#, Nothing),
    on("PATCH /internal/config/override/project", Admin,
        r#"{"config_override_string":"{\"onboarding.requireEmailVerification\":false}"}"#, Nothing),
    on("PATCH /integrations/neon/projects/current", Admin, r#"{"config":{"require_email_verification":true}}"#, Nothing),
];
