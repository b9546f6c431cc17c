//! What the demo does, for each provider that can be stood in for: an app's calls, and what they show.

use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::sandbox::Plays;

pub struct Story {
    /// Before the paths of all calls.
    pub base: &'static str,
    pub calls: Vec<Call>,
    /// How the provider's SDK is pointed at the proxy, before its address and behind it.
    pub sdk: (&'static str, &'static str),
}

pub struct Call {
    pub says: &'static str,
    pub by: By,
    pub method: Method,
    /// `{first}` is the user whom the first call made.
    pub path: &'static str,
    pub body: Value,
}

/// Who calls, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Server,
    /// A browser, through the proxy too.
    Client,
    /// Past the proxy: only a webhook tells of it.
    Elsewhere,
}

impl Story {
    pub fn of(plays: Plays) -> Story {
        match plays {
            Plays::StackAuth => stack_auth(),
            Plays::Clerk => clerk(),
        }
    }

    /// Something happens of which only webhooks tell.
    pub fn needs_webhooks(&self) -> bool {
        self.calls.iter().any(|call| call.by == By::Elsewhere)
    }
}

/// The headers by which the provider knows the caller.
pub fn headers(plays: Plays, by: By, settings: &[(String, String)]) -> Vec<(HeaderName, HeaderValue)> {
    let of = |name: &str| {
        settings
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let headers = match (plays, by) {
        (Plays::Clerk, _) => {
            let key = of("CLERK_SECRET_KEY").map(|key| format!("Bearer {key}"));
            vec![("authorization", key)]
        }
        (Plays::StackAuth, By::Server | By::Elsewhere) => vec![
            ("x-stack-project-id", of("STACK_PROJECT_ID")),
            ("x-stack-access-type", Some("server".into())),
            ("x-stack-secret-server-key", of("STACK_SECRET_SERVER_KEY")),
        ],
        (Plays::StackAuth, By::Client) => vec![
            ("x-stack-project-id", of("STACK_PROJECT_ID")),
            ("x-stack-access-type", Some("client".into())),
            (
                "x-stack-publishable-client-key",
                of("STACK_PUBLISHABLE_CLIENT_KEY"),
            ),
        ],
    };
    let all = headers
        .into_iter()
        .chain([("content-type", Some("application/json".into()))]);
    let header = |(name, value): (&'static str, Option<String>)| {
        let value = HeaderValue::try_from(value?).ok()?;
        Some((HeaderName::from_static(name), value))
    };
    all.filter_map(header).collect()
}

fn call(says: &'static str, by: By, method: Method, path: &'static str, body: Value) -> Call {
    Call {
        says,
        by,
        method,
        path,
        body,
    }
}

const CREATES: &str = "The app creates a user: the row is there before the answer";
const RENAMES: &str = "The app renames her";
const DELETES: &str = "The app deletes the first user";

fn stack_auth() -> Story {
    Story {
        base: "/api/v1",
        calls: vec![
            call(
                CREATES,
                By::Server,
                Method::POST,
                "/users",
                json!({ "display_name": "Ada Lovelace", "primary_email": "ada@example.com" }),
            ),
            call(
                RENAMES,
                By::Server,
                Method::PATCH,
                "/users/{first}",
                json!({ "display_name": "Countess Lovelace" }),
            ),
            call(
                "Somebody signs up in a browser: the answer carries only an id, the row is there all the same",
                By::Client,
                Method::POST,
                "/auth/password/sign-up",
                json!({ "email": "grace@example.com", "password": "correct horse battery" }),
            ),
            call(DELETES, By::Server, Method::DELETE, "/users/{first}", json!({})),
        ],
        sdk: ("new StackServerApp({ baseUrl: \"", "\", … })"),
    }
}

fn clerk() -> Story {
    Story {
        base: "/v1",
        calls: vec![
            call(
                CREATES,
                By::Server,
                Method::POST,
                "/users",
                json!({ "email_address": ["ada@example.com"], "first_name": "Ada", "last_name": "Lovelace" }),
            ),
            call(
                RENAMES,
                By::Server,
                Method::PATCH,
                "/users/{first}",
                json!({ "first_name": "Countess" }),
            ),
            call(
                "Somebody signs up at Clerk itself, which no proxy sees: its webhook brings the row",
                By::Elsewhere,
                Method::POST,
                "/users",
                json!({ "email_address": ["grace@example.com"], "first_name": "Grace" }),
            ),
            call(DELETES, By::Server, Method::DELETE, "/users/{first}", json!({})),
        ],
        sdk: ("createClerkClient({ apiUrl: \"", "\", … })"),
    }
}
