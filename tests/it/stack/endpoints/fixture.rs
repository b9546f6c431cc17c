//! One user with everything that an endpoint may ask for, and the values that stand for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use usertap::sandbox::OauthAccount;
use uuid::Uuid;

use super::table::By;
use crate::support::http::Reply;
use crate::support::stack::{Caller, Stack};

const PASSWORD: &str = "correct horse battery";

pub struct Fixture<'s> {
    stack: &'s Stack,
    pub user: Uuid,
    values: BTreeMap<&'static str, String>,
    /// Of the last preparation.
    first: Value,
}

impl<'s> Fixture<'s> {
    /// Everything is made at the provider, past the proxy.
    pub async fn new(stack: &'s Stack) -> Fixture<'s> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let email = format!("user-{n}@example.com");
        let user = stack.user(json!({
            "display_name": format!("User {n}"), "primary_email": email, "primary_email_auth_enabled": true,
            "password": PASSWORD,
        }));
        let mut fixture = Fixture {
            stack,
            user,
            values: BTreeMap::new(),
            first: Value::Null,
        };
        fixture.set("n", n.to_string());
        fixture.set("user", user.to_string());
        fixture.set("email", email);
        fixture.set("fresh", format!("fresh-{n}@example.com"));
        fixture.set("password", PASSWORD.to_owned());
        fixture.set("project", stack.setting(0, "STACK_PROJECT_ID"));
        fixture.set("public", stack.setting(0, "STACK_PUBLISHABLE_CLIENT_KEY"));
        fixture.fill_in().await;
        fixture
    }

    async fn fill_in(&mut self) {
        let made = r#"{"display_name":"Team","creator_user_id":"$user"}"#;
        self.make("team", "POST /teams", made).await;
        self.make("other", "POST /teams", r#"{"display_name":"Other"}"#)
            .await;
        self.prepare(
            "PATCH /users/$user",
            By::Server,
            r#"{"selected_team_id":"$team"}"#,
        )
        .await;
        self.prepare("GET /contact-channels?user_id=$user", By::Server, "")
            .await;
        self.set("primary", self.first_answer("/items/0/id"));
        let channel = r#"{"user_id":"$user","type":"email","value":"second-$n@example.com"}"#;
        self.make("channel", "POST /contact-channels", channel).await;
        let account = r#"{"user_id":"$user","provider_config_id":"github","account_id":"gh-$n"}"#;
        self.make("account", "POST /oauth-providers", account).await;
        let refresh = self.stack.control().refresh_token(0, self.user);
        self.set("refresh", refresh.expect("a user"));
        self.prepare("POST /auth/sessions/current/refresh", By::Refresh, "{}")
            .await;
        self.set("access", self.first_answer("/access_token"));
    }

    async fn make(&mut self, name: &'static str, on: &str, body: &str) {
        self.prepare(on, By::Server, body).await;
        self.set(name, self.first_answer("/id"));
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.values.insert(name, value);
    }

    fn first_answer(&self, pointer: &str) -> String {
        let found = self.first.pointer(pointer).and_then(Value::as_str);
        found
            .unwrap_or_else(|| panic!("{pointer} in {}", self.first))
            .to_owned()
    }

    /// At the provider, past the proxy.
    pub async fn prepare(&mut self, on: &str, by: By, body: &str) {
        let (method, path, body) = self.request(on, body);
        let caller = self.caller(by);
        let sent = caller.send(self.stack.sandbox.addr(), method, &path, body);
        let reply = sent.await.expect("an answer");
        let asks_for_second_factor =
            reply.header("x-stack-known-error") == Some("MULTI_FACTOR_AUTHENTICATION_REQUIRED");
        assert!(
            reply.effective_status() < 400 || asks_for_second_factor,
            "{on}: {}",
            reply.text()
        );
        self.first = reply.json();
    }

    /// Through the proxy.
    pub async fn call(&self, on: &str, by: By, body: &str, newer: bool) -> Reply {
        let (method, path, body) = self.request(on, body);
        let caller = self.caller(by);
        let caller = if newer {
            caller.newer().under("/api/latest")
        } else {
            caller
        };
        self.stack
            .send(&caller, method, &path, body)
            .await
            .expect("an answer")
    }

    fn request(&self, on: &str, body: &str) -> (Method, String, String) {
        let (method, path) = on.split_once(' ').expect("a method and a path");
        (
            method.parse().expect("a method"),
            self.filled(path),
            self.filled(body),
        )
    }

    fn caller(&self, by: By) -> Caller {
        let (stack, value) = (self.stack, |name| {
            self.values.get(name).cloned().unwrap_or_default()
        });
        let me = |caller: Caller| {
            caller
                .with("access-token", value("access"))
                .with("allow-restricted-user", "true")
        };
        match by {
            By::Server => stack.server(0),
            By::ServerFor => me(stack.server(0)),
            By::Admin => stack.admin(0),
            By::Browser => stack.browser(0),
            By::Me => me(stack.browser(0)),
            By::Refresh => stack.browser(0).with("refresh-token", value("refresh")),
            By::Form => Caller::default().form(),
        }
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        while let Some((before, after)) = text.split_once("$first(") {
            let (pointer, rest) = after.split_once(')').expect("a closing parenthesis");
            text = format!("{before}{}{rest}", self.first_answer(pointer));
        }
        for (name, mailbox) in [("$code(fresh)", "fresh"), ("$code", "email")] {
            if text.contains(name) {
                let code = self.stack.control().code(0, &self.values[mailbox]);
                text = text.replace(name, &code.expect("a code was mailed"));
            }
        }
        if text.contains("$oauth") {
            text = text.replace("$oauth", &self.oauth_code());
        }
        // Longer names first: one may begin with another.
        for (name, value) in self.values.iter().rev() {
            text = text.replace(&format!("${name}"), value);
        }
        text
    }

    fn oauth_code(&self) -> String {
        let n = &self.values["n"];
        let account = OauthAccount {
            provider: "github".to_owned(),
            account_id: format!("new-{n}"),
            email: Some(format!("new-{n}@example.com")),
        };
        self.stack.control().oauth_code(0, account).expect("a code")
    }
}

/// The user that an answer names: by its id, or in a token.
pub fn named(reply: &Reply, at: &str) -> Uuid {
    let answer = reply.json();
    let text = answer
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{at} in {answer}"));
    if let Ok(id) = text.parse() {
        return id;
    }
    let claims = text.split('.').nth(1).expect("a token");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("a token");
    let claims: Value = serde_json::from_slice(&claims).expect("a token");
    claims["sub"].as_str().expect("a user").parse().expect("an id")
}
