//! Every row of what is known of Stack Auth's endpoints that touch users.

use super::*;
use Credential::{Client, OwnServer, Server};
use usertap::provider::Intended;

/// The whole user as servers see it, cut down to what extraction looks at.
fn whole(id: &str) -> String {
    json!({"id": id, "display_name": "Ada", "primary_email": null, "server_metadata": null,
           "signed_up_at_millis": 1, "last_active_at_millis": 2})
    .to_string()
}

struct Row {
    on: &'static str,
    who: Credential,
    caller: Option<&'static str>,
    request: &'static str,
    answer: String,
    tells: &'static str,
    writes: bool,
}

fn row(on: &'static str, who: Credential, answer: impl Into<String>, tells: &'static str) -> Row {
    let writes = !on.starts_with("GET");
    Row {
        on,
        who,
        caller: None,
        request: "",
        answer: answer.into(),
        tells,
        writes,
    }
}

impl Row {
    fn by(self, caller: &'static str) -> Row {
        Row {
            caller: Some(caller),
            ..self
        }
    }

    fn asking(self, request: &'static str) -> Row {
        Row { request, ..self }
    }

    fn reads(self) -> Row {
        Row {
            writes: false,
            ..self
        }
    }

    fn check(&self, provider: &Provider, prefix: &str) {
        let (method, path) = self.on.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = format!("{prefix}{}", path.replace("ADA", &ADA.to_uppercase()));
        let exchange = Exchange {
            method,
            path: &path,
            query: Some(&query.replace("ADA", ADA)),
            headers: shown(self.who, self.caller),
            request: &self.request.replace("ADA", ADA).replace("PROJECT", PROJECT),
            status: 200,
            answered: HeaderMap::new(),
            answer: &self.answer,
        };
        let matched = exchange
            .matched(provider)
            .unwrap_or_else(|| panic!("{} has no route", self.on));
        assert_eq!(matched.route.writes, self.writes, "{}", self.on);
        let told = exchange.told(provider, &tenant(provider));
        assert_eq!(
            (words(&told).as_str(), told.malformed),
            (self.tells, 0),
            "{} {:?}",
            self.on,
            self.who
        );
    }
}

fn users() -> Vec<Row> {
    let ada = || whole(ADA);
    let me = json!({"id": ADA, "display_name": "Ada"}).to_string();
    let list = format!(r#"{{"items":[{},{}],"pagination":{{}}}}"#, whole(ADA), whole(BEA));
    vec![
        row("GET /users", Server, &*list, "whole 3520, whole d8d2"),
        row("GET /users?team_id=x", Server, &*list, "whole 3520, whole d8d2"),
        row("GET /users", Client, &*list, ""),
        row("POST /users", Server, ada(), "whole! 3520"),
        row("GET /users/ADA", OwnServer, ada(), "whole 3520"),
        row("GET /users/ADA/", Server, ada(), "whole 3520"),
        row("PATCH /users/ADA", Server, ada(), "whole 3520"),
        row("DELETE /users/ADA", Server, r#"{"success":true}"#, "deleted 3520"),
        row("GET /users/me", Client, &*me, "partial 3520").by(ADA),
        row("GET /users/me", Server, ada(), "whole 3520").by(ADA),
        // What lacks the server's fields is never written, whoever asked.
        row("GET /users/me", Server, &*me, "partial 3520").by(ADA),
        row("PATCH /users/me", Client, &*me, "touched 3520").by(ADA),
        row("PATCH /users/me", Server, ada(), "whole 3520").by(ADA),
        row("DELETE /users/me", Client, r#"{"success":true}"#, "deleted 3520").by(ADA),
        row("DELETE /users/me", Client, r#"{"success":true}"#, ""),
    ]
}

fn auth() -> Vec<Row> {
    let id = || json!({"user_id": ADA, "access_token": "x", "refresh_token": "y"}).to_string();
    let in_token = || json!({"access_token": token(ADA)}).to_string();
    let done = r#"{"success":true}"#;
    let client_id = "grant_type=refresh_token&client_id=PROJECT&client_secret=s";
    let by_code = "grant_type=authorization_code&client_id=PROJECT%23main&code=c";
    vec![
        row("POST /auth/password/sign-up", Client, id(), "touched 3520"),
        row("POST /auth/password/sign-in", Client, id(), "mentioned 3520"),
        row("POST /auth/password/set", Client, done, "touched 3520").by(ADA),
        row("POST /auth/password/update", Client, done, "mentioned 3520").by(ADA),
        row("POST /auth/password/reset", Client, done, ""),
        // Whom it touches only the request says.
        row("POST /auth/password/set", Client, "", ""),
        row("POST /auth/otp/sign-in", Client, id(), "touched 3520"),
        row("POST /auth/otp/send-sign-in-code", Client, done, "").reads(),
        row("POST /auth/password/send-reset-code", Client, done, "").reads(),
        row("POST /auth/passkey/register", Client, done, "touched 3520").by(ADA),
        row("POST /auth/passkey/sign-in", Client, id(), "mentioned 3520"),
        row("POST /auth/mfa/sign-in", Client, id(), "mentioned 3520"),
        row("POST /auth/anonymous/sign-up", Client, id(), "touched 3520"),
        row("GET /auth/oauth/authorize/github", Client, "", ""),
        row("POST /auth/oauth/callback/github", Client, "", ""),
        row(
            "POST /auth/oauth/callback/apple/native",
            Client,
            id(),
            "touched 3520",
        ),
        row("POST /auth/oauth/token", Client, in_token(), "mentioned 3520").asking(client_id),
        row("POST /auth/oauth/token", Client, in_token(), "touched 3520").asking(by_code),
        row("POST /auth/sessions", Server, id(), "mentioned 3520").asking(r#"{"user_id":"ADA"}"#),
        row("DELETE /auth/sessions/x", Client, done, "mentioned 3520").by(ADA),
        row("DELETE /auth/sessions/current", Client, done, "mentioned 3520").by(ADA),
        row(
            "POST /auth/sessions/current/refresh",
            Client,
            in_token(),
            "mentioned 3520",
        ),
        row("POST /auth/cli", Client, "{}", "").reads(),
        row("POST /auth/cli/poll", Client, "{}", "").reads(),
        row("POST /auth/cli/complete", Client, "{}", "").reads(),
    ]
}

fn others() -> Vec<Row> {
    let id = || json!({"user_id": ADA, "id": BEA}).to_string();
    let done = r#"{"success":true}"#;
    let profile = format!(r#"{{"team_id":"t","user_id":"{ADA}","user":{}}}"#, whole(ADA));
    let profiles = format!(r#"{{"items":[{profile}]}}"#);
    let named = json!({"items": [{"user_id": ADA}, {"user_id": BEA}]}).to_string();
    vec![
        row("POST /contact-channels", Client, id(), "touched 3520").asking(r#"{"user_id":"me"}"#),
        row("PATCH /contact-channels/ADA/c", Server, id(), "touched 3520"),
        row("PATCH /contact-channels/me/c", Client, id(), "touched 3520").by(ADA),
        row("DELETE /contact-channels/ADA/c", Server, done, "touched 3520"),
        row("DELETE /contact-channels/me/c", Client, done, "touched 3520").by(ADA),
        row("POST /contact-channels/verify", Client, done, ""),
        row("POST /contact-channels/verify", Client, done, "touched 3520").by(ADA),
        row("POST /contact-channels/send-verification-code", Client, done, "").reads(),
        row(
            "POST /contact-channels/ADA/c/send-verification-code",
            Server,
            done,
            "",
        )
        .reads(),
        row(
            "GET /contact-channels?user_id=me",
            Client,
            &*named,
            "mentioned 3520, mentioned d8d2",
        ),
        row("POST /oauth-providers", Server, id(), "touched 3520").asking(r#"{"user_id":"ADA"}"#),
        row("PATCH /oauth-providers/ADA/p", Server, id(), "touched 3520"),
        row("DELETE /oauth-providers/me/p", Client, done, "touched 3520").by(ADA),
        row(
            "GET /connected-accounts/ADA/google",
            Server,
            "{}",
            "mentioned 3520",
        ),
        row(
            "POST /connected-accounts/me/google/access-token",
            Client,
            "{}",
            "mentioned 3520",
        )
        .by(ADA)
        .reads(),
        row("POST /team-memberships/t/ADA", Server, id(), "mentioned 3520"),
        row("DELETE /team-memberships/t/ADA", Server, done, "touched 3520"),
        row("DELETE /team-memberships/t/me", Client, done, "touched 3520").by(ADA),
        row("PATCH /teams/t", Client, "{}", ""),
        row("DELETE /teams/t", Server, done, ""),
        row("POST /team-invitations/accept", Client, "{}", "mentioned 3520").by(ADA),
        row("POST /team-invitations/i/accept", Client, "{}", "mentioned 3520").by(ADA),
        row(
            "GET /team-member-profiles?team_id=t",
            Server,
            &*profiles,
            "whole 3520",
        ),
        row(
            "GET /team-member-profiles?team_id=t",
            Client,
            &*named,
            "mentioned 3520, mentioned d8d2",
        ),
        row("GET /team-member-profiles/t/ADA", Server, &*profile, "whole 3520"),
        row(
            "GET /team-member-profiles/t/me",
            Client,
            r#"{"team_id":"t"}"#,
            "mentioned 3520",
        )
        .by(ADA),
        row("PATCH /internal/projects/current", Server, "{}", ""),
        row("PATCH /internal/config/override/branch", Server, "{}", ""),
        row("PATCH /integrations/neon/projects/current", Server, "{}", ""),
        row("DELETE /internal/projects/current", Server, done, ""),
    ]
}

#[test]
fn every_row_tells_what_it_tells() {
    let provider = stack();
    let rows = users().into_iter().chain(auth()).chain(others());
    rows.for_each(|row| row.check(&provider, "/api/v1"));
}

#[test]
fn every_served_prefix_has_the_same_routes() {
    let provider = stack();
    for prefix in ["/api/latest", "/api/v2beta1", "/api/v2beta5", "/%61pi/v1"] {
        users().iter().for_each(|row| row.check(&provider, prefix));
    }
    for path in [
        "/api/v2/users",
        "/users",
        "/api/v1",
        "/api/v1//users",
        "/api/v1/users/x/y",
        "/API/v1/users",
    ] {
        assert!(provider.route(&Method::GET, path).is_none(), "{path}");
    }
}

#[test]
fn writes_that_name_nobody_are_known_as_such() {
    let provider = stack();
    let silent: Vec<&str> = provider
        .routes()
        .iter()
        .filter(|route| route.unnamed == usertap::provider::Unnamed::Somebody)
        .map(|route| &*route.name)
        .collect();
    for name in [
        "PATCH /teams/{id}",
        "DELETE /teams/{id}",
        "POST /auth/password/reset",
        "POST /contact-channels/verify",
        "PATCH /internal/projects/current",
        "PATCH /internal/config/override/{level}",
        "GET /auth/oauth/callback/{provider}",
    ] {
        assert!(silent.contains(&name), "{name} is not in {silent:?}");
    }
}

#[test]
fn bodies_with_passwords_are_not_asked_for() {
    let provider = stack();
    for route in provider
        .routes()
        .iter()
        .filter(|route| route.name.contains("password"))
    {
        assert!(!route.needs_request_body, "{}", route.name);
    }
}

fn failed(on: &str, who: Credential, status: u16, answered: &[(&str, &str)], answer: &str) -> String {
    let provider = stack();
    let (method, path) = on.split_once(' ').unwrap();
    let exchange = Exchange {
        method,
        path,
        query: None,
        headers: shown(who, Some(BEA)),
        request: "",
        status,
        answered: headers(answered),
        answer,
    };
    words(&exchange.told(&provider, &tenant(&provider)))
}

#[test]
fn only_the_providers_own_not_found_to_the_own_key_is_evidence() {
    let on = format!("GET /api/v1/users/{ADA}");
    let body = r#"{"code":"USER_NOT_FOUND","error":"User not found."}"#;
    let told = [
        ("x-stack-actual-status", "404"),
        ("x-stack-known-error", "USER_NOT_FOUND"),
    ];
    let newer = [
        ("x-hexclave-actual-status", "404"),
        ("x-hexclave-known-error", "USER_NOT_FOUND"),
    ];
    assert_eq!(failed(&on, OwnServer, 200, &told, body), "missing 3520");
    assert_eq!(failed(&on, OwnServer, 200, &newer, body), "missing 3520");
    assert_eq!(failed(&on, OwnServer, 404, &told[1..], body), "missing 3520");
    assert_eq!(failed(&on, OwnServer, 404, &[], body), "missing 3520");
    // What stands before the provider may have made another failure of it: that is not taken back.
    assert_eq!(failed(&on, OwnServer, 502, &told, body), "");
    assert_eq!(failed(&on, Server, 200, &told, body), "touched 3520");
    assert_eq!(failed(&on, Client, 200, &told, body), "");
    assert_eq!(failed(&on, OwnServer, 404, &[], "<html>gone</html>"), "");
    assert_eq!(
        failed(&on, OwnServer, 404, &[], r#"{"code":"PROJECT_NOT_FOUND"}"#),
        ""
    );
    assert_eq!(failed(&on, OwnServer, 404, &told[1..], r#"{"code":"OTHER"}"#), "");
    for status in ["401", "403", "400", "429"] {
        let answered = [("x-stack-actual-status", status), told[1]];
        assert_eq!(failed(&on, OwnServer, 200, &answered, body), "", "{status}");
    }
    let delete = format!("DELETE /api/v1/users/{ADA}");
    assert_eq!(failed(&delete, OwnServer, 200, &told, body), "missing 3520");
    assert_eq!(failed(&delete, Client, 200, &told, body), "");
    let channel = format!("DELETE /api/v1/contact-channels/{ADA}/c");
    assert_eq!(failed(&channel, OwnServer, 200, &told, body), "");
}

#[test]
fn a_deletion_counts_only_with_the_providers_own_answer_to_who_may_delete() {
    let provider = stack();
    let told = |on: &str, who: Credential, answer: &str| {
        let (method, path) = on.split_once(' ').unwrap();
        let exchange = Exchange {
            method,
            path,
            query: None,
            headers: shown(who, Some(BEA)),
            request: "{}",
            status: 200,
            answered: HeaderMap::new(),
            answer,
        };
        let told = exchange.told(&provider, &tenant(&provider));
        (words(&told), told.malformed)
    };
    let (other, me) = (format!("DELETE /api/v1/users/{ADA}"), "DELETE /api/v1/users/me");
    let done = r#"{"success":true}"#;
    for junk in [
        "",
        "<html>login</html>",
        "true",
        "[]",
        "{}",
        r#"{"success":false}"#,
        r#"{"success":"true"}"#,
        r#"{"success":tr"#,
        r#"{"result":{"success":true}}"#,
    ] {
        for who in [OwnServer, Server] {
            assert_eq!(told(&other, who, junk), (String::new(), 1), "{junk}");
        }
        assert_eq!(told(me, Client, junk), (String::new(), 1), "{junk}");
        assert_eq!(told(&other, Client, junk), (String::new(), 0), "{junk}");
    }
    assert_eq!(told(&other, OwnServer, done), ("deleted 3520".to_owned(), 0));
    assert_eq!(told(&other, Client, done), (String::new(), 0));
    assert_eq!(told(me, Client, done), ("deleted d8d2".to_owned(), 0));
}

#[test]
fn a_failure_that_may_hide_a_write_is_a_hint() {
    let hidden = [
        ("x-stack-actual-status", "400"),
        ("x-stack-known-error", "MULTI_FACTOR_AUTHENTICATION_REQUIRED"),
    ];
    let body = r#"{"code":"MULTI_FACTOR_AUTHENTICATION_REQUIRED"}"#;
    assert_eq!(
        failed("POST /api/v1/auth/password/sign-up", Client, 200, &hidden, body),
        "touched d8d2"
    );
    assert_eq!(
        failed("POST /api/v1/auth/otp/sign-in", Client, 200, &hidden, body),
        "touched d8d2"
    );
    let refused = [
        ("x-stack-actual-status", "400"),
        ("x-stack-known-error", "EMAIL_PASSWORD_MISMATCH"),
    ];
    assert_eq!(
        failed("POST /api/v1/auth/password/sign-up", Client, 200, &refused, "{}"),
        ""
    );
    let patch = format!("PATCH /api/v1/users/{ADA}");
    assert_eq!(failed(&patch, OwnServer, 502, &[], ""), "touched 3520");
    let read = format!("GET /api/v1/users/{ADA}");
    assert_eq!(failed(&read, OwnServer, 502, &[], ""), "");
}

#[test]
fn a_write_without_an_answer_touches_whom_it_names() {
    let provider = stack();
    let tenant = tenant(&provider);
    let unanswered = |on: &str, who, request: &str| {
        let (method, path) = on.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let matched = provider.route(&method, path).unwrap();
        let headers = shown(who, Some(BEA));
        let head = RequestHead {
            method: &method,
            path,
            query: None,
            headers: &headers,
        };
        let told = provider.unanswered(&RoutedRequest {
            tenant: &tenant,
            matched: &matched,
            credential: who,
            head,
            body: Some(request.as_bytes()),
        });
        told.iter().map(word).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        unanswered(&format!("DELETE /api/v1/users/{ADA}"), Server, ""),
        "touched 3520"
    );
    assert_eq!(unanswered("PATCH /api/v1/users/me", Client, "{}"), "touched d8d2");
    // A client changes nobody but itself.
    assert_eq!(unanswered(&format!("DELETE /api/v1/users/{ADA}"), Client, ""), "");
    let named = json!({"user_id": ADA}).to_string();
    assert_eq!(
        unanswered("POST /api/v1/contact-channels", Server, &named),
        "touched 3520"
    );
    assert_eq!(unanswered("POST /api/v1/users", Server, "{}"), "");
    assert_eq!(unanswered(&format!("GET /api/v1/users/{ADA}"), Server, ""), "");
}

#[test]
fn what_cannot_be_read_is_counted_and_harms_nothing() {
    let provider = stack();
    let tenant = tenant(&provider);
    let told = |on: &str, answer: &str| {
        let (method, path) = on.split_once(' ').unwrap();
        let exchange = Exchange {
            method,
            path,
            query: None,
            headers: shown(OwnServer, None),
            request: "",
            status: 200,
            answered: HeaderMap::new(),
            answer,
        };
        let told = exchange.told(&provider, &tenant);
        (words(&told), told.malformed)
    };
    let one = format!("GET /api/v1/users/{ADA}");
    let deep = format!(
        r#"{{"id":"{ADA}","server_metadata":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for junk in [
        "",
        "<html>",
        "[]",
        "{}",
        "null",
        r#"{"id":"me"}"#,
        r#"{"id":7}"#,
        &whole(ADA)[..40],
    ] {
        assert_eq!(told(&one, junk), (String::new(), 1));
    }
    // Legal JSON, and for the database to judge.
    let surrogate = whole(ADA).replace("\"Ada\"", r#""\ud800""#);
    let number = whole(ADA).replace("\"server_metadata\":null", r#""server_metadata":{"n":1e400}"#);
    let key = whole(ADA).replace("{\"", "{\"\\ud800\":1,\"");
    let marked = format!("\u{feff}{}", whole(ADA));
    for odd in [&deep, &surrogate, &number, &key, &marked] {
        assert_eq!(told(&one, odd), ("whole 3520".to_owned(), 0));
    }
    let mixed = format!(r#"{{"items":[{},7,{{}},{}]}}"#, whole(ADA), whole(BEA));
    assert_eq!(
        told("GET /api/v1/users", &mixed),
        ("whole 3520, whole d8d2".to_owned(), 2)
    );
    assert_eq!(told("GET /api/v1/users", r#"{"items":{}}"#), (String::new(), 1));
    // Somebody was made, and nothing says who.
    assert_eq!(told("POST /api/v1/users", ""), (String::new(), 1));
    assert_eq!(
        told("POST /api/v1/auth/password/sign-in", "oops"),
        (String::new(), 1)
    );
}

/// Nothing is noted of a write by which nothing moves that a row is held to.
#[test]
fn a_write_that_only_mentions_its_user_changes_nobody() {
    let provider = stack();
    let tenant = tenant(&provider);
    let about_to = |on: &str, who| {
        let (method, path) = on.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let headers = shown(who, Some(BEA));
        let head = RequestHead {
            method: &method,
            path,
            query: None,
            headers: &headers,
        };
        let request = RoutedRequest {
            tenant: &tenant,
            matched: &provider.route(&method, path).unwrap(),
            credential: who,
            head,
            body: None,
        };
        (provider.intended(&request), provider.may_change_anybody(&request))
    };
    let users = |text: &str| Intended::Users(vec![id(&provider, text)]);
    assert_eq!(
        about_to("POST /api/v1/auth/password/update", Client),
        (Intended::Nothing, false)
    );
    assert_eq!(
        about_to("POST /api/v1/auth/password/set", Client),
        (users(BEA), false)
    );
    let one = format!("PATCH /api/v1/users/{ADA}");
    assert_eq!(about_to(&one, Server), (users(ADA), false));
}
