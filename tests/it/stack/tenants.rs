//! Only the exchanges of our own tenant leave a trace: not even a stranger who knows our users'
//! ids, and has a project of his own at the same provider, can plant, change or delete a row.

use http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault};
use uuid::Uuid;

use crate::support::stack::{Caller, Setup, Stack};

async fn two_projects() -> Stack {
    Stack::with(Setup::projects(2)).await
}

/// What an exchange could leave behind.
#[derive(Debug, PartialEq)]
struct Traces {
    position: i64,
    states: i64,
    /// Requests that the provider got.
    asked: usize,
}

async fn traces(stack: &Stack) -> Traces {
    stack.settled().await;
    Traces {
        position: stack.position().await,
        states: stack.count("SELECT count(*) FROM usertap.user_state").await,
        asked: stack.control().log().len(),
    }
}

struct Attempt<'a> {
    by: Caller,
    method: Method,
    path: &'a str,
    body: Value,
}

fn attempt<'a>(by: &Caller, method: Method, path: &'a str, body: Value) -> Attempt<'a> {
    Attempt {
        by: by.clone(),
        method,
        path,
        body,
    }
}

/// Each reaches the provider once and leaves nothing.
async fn leave_no_trace(stack: &Stack, attempts: Vec<Attempt<'_>>) {
    let before = traces(stack).await;
    let many = attempts.len();
    for Attempt {
        by,
        method,
        path,
        body,
    } in attempts
    {
        let reply = stack.ask(&by, method.clone(), path, &body).await;
        assert!(
            reply.recorded().starts_with("none; "),
            "{method} {path}: {}",
            reply.recorded()
        );
    }
    let expected = Traces {
        asked: before.asked + many,
        ..before
    };
    assert_eq!(traces(stack).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_project_leaves_no_trace() {
    let stack = two_projects().await;
    let ours = stack.known_user(json!({ "display_name": "Ours" })).await;
    let theirs = stack
        .control()
        .create(1, json!({ "display_name": "Theirs" }))
        .expect("a user");
    let (our_path, their_path) = (format!("/users/{ours}"), format!("/users/{theirs}"));
    let channels = format!("/contact-channels?user_id={ours}");
    for server in [
        stack.server(1),
        stack.admin(1),
        stack.server(1).newer(),
        stack.server(1).under("/api/latest"),
    ] {
        let name = json!({ "display_name": "Planted" });
        leave_no_trace(
            &stack,
            vec![
                attempt(&server, Method::POST, "/users", name.clone()),
                attempt(&server, Method::GET, "/users", Value::Null),
                attempt(&server, Method::GET, &their_path, Value::Null),
                attempt(&server, Method::PATCH, &their_path, name.clone()),
                attempt(&server, Method::GET, &our_path, Value::Null),
                attempt(&server, Method::PATCH, &our_path, name),
                attempt(&server, Method::DELETE, &our_path, json!({})),
                attempt(&server, Method::GET, &channels, Value::Null),
            ],
        )
        .await;
    }
    leave_no_trace(
        &stack,
        vec![attempt(&stack.server(1), Method::DELETE, &their_path, json!({}))],
    )
    .await;
    stack.agrees(ours).await.expect("untouched");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_foreign_project_sign_up_unseen() {
    let stack = two_projects().await;
    stack.control().set_client_user_deletion(1, true);
    let browser = stack.browser(1);
    let new = json!({ "email": "eve@example.com", "password": "correct horse battery" });
    leave_no_trace(
        &stack,
        vec![
            attempt(&browser, Method::POST, "/auth/password/sign-up", new.clone()),
            attempt(&browser, Method::POST, "/auth/password/sign-in", new),
            attempt(&browser, Method::POST, "/auth/anonymous/sign-up", json!({})),
        ],
    )
    .await;
    let me = stack.signed_in(1, stack.control().ids(1)[0]);
    leave_no_trace(
        &stack,
        vec![
            attempt(&me, Method::GET, "/users/me", Value::Null),
            attempt(&me, Method::PATCH, "/users/me", json!({ "display_name": "Eve" })),
            attempt(&me, Method::DELETE, "/users/me", json!({})),
        ],
    )
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_foreign_project_open_nothing_here() {
    let stack = two_projects().await;
    let ours = stack.known_user(json!({ "display_name": "Ours" })).await;
    let theirs = stack
        .control()
        .create(1, json!({ "display_name": "Theirs" }))
        .expect("a user");
    let token = stack
        .control()
        .access_token(1, theirs, std::time::Duration::from_secs(600))
        .expect("a token");
    let mixed = stack.browser(0).with("access-token", token.clone());
    let with_key = stack.server(0).with("access-token", token);
    let channel = format!("/contact-channels?user_id={theirs}");
    leave_no_trace(
        &stack,
        vec![
            attempt(&mixed, Method::GET, "/users/me", Value::Null),
            attempt(&mixed, Method::DELETE, "/users/me", json!({})),
            attempt(
                &mixed,
                Method::POST,
                "/auth/password/set",
                json!({ "password": "long enough" }),
            ),
            attempt(&with_key, Method::GET, "/users/me", Value::Null),
            attempt(&with_key, Method::GET, &channel, Value::Null),
        ],
    )
    .await;
    oauth_forms(&stack, theirs).await;
    stack.agrees(ours).await.expect("untouched");
    stack.end().await;
}

/// The form says whose it is; headers that say otherwise make it nobody's.
async fn oauth_forms(stack: &Stack, theirs: Uuid) {
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&client_id={}&client_secret={}",
        stack.control().refresh_token(1, theirs).expect("a user"),
        stack.setting(1, "STACK_PROJECT_ID"),
        stack.setting(1, "STACK_PUBLISHABLE_CLIENT_KEY"),
    );
    let before = traces(stack).await;
    for library in [Caller::default(), stack.browser(0), stack.server(0)] {
        let sent = stack
            .send(&library.form(), Method::POST, "/auth/oauth/token", form.clone())
            .await;
        let reply = sent.expect("an answer");
        assert!(reply.json()["access_token"].is_string(), "{}", reply.text());
        assert_eq!(reply.recorded(), "none; foreign-tenant");
    }
    let after = traces(stack).await;
    assert_eq!(
        (after.position, after.states, after.asked),
        (before.position, before.states, before.asked + 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_given_twice_is_nobodys() {
    let stack = two_projects().await;
    let ours = stack.known_user(json!({ "display_name": "Ours" })).await;
    let (a, b) = (
        stack.setting(0, "STACK_PROJECT_ID"),
        stack.setting(1, "STACK_PROJECT_ID"),
    );
    let (server, foreign) = (stack.server(0), stack.server(1));
    let callers = [
        server.clone().raw("x-stack-project-id", b.clone()),
        foreign.clone().raw("x-stack-project-id", a.clone()),
        server.clone().raw("x-hexclave-project-id", b.clone()),
        foreign.clone().raw("x-hexclave-project-id", a.clone()),
        server.clone().newer().raw("x-stack-project-id", b.clone()),
        server.clone().with("project-id", format!("{a}, {b}")),
        server.clone().with("project-id", format!("{b},{a}")),
        server.clone().with("branch-id", "other"),
        server
            .clone()
            .raw("x-stack-branch-id", "main")
            .raw("x-hexclave-branch-id", "other"),
        server.clone().without("project-id"),
    ];
    let path = format!("/users/{ours}");
    let all = callers.iter().flat_map(|caller| {
        [
            attempt(caller, Method::GET, &path, Value::Null),
            attempt(caller, Method::GET, "/users", Value::Null),
        ]
    });
    leave_no_trace(&stack, all.collect()).await;
    // One of them the provider takes for ours, the other for the stranger's: it deletes nobody here
    // and usertap believes neither.
    let two_faced = foreign.raw("x-hexclave-project-id", a);
    leave_no_trace(
        &stack,
        vec![attempt(&two_faced, Method::DELETE, &path, json!({}))],
    )
    .await;
    stack.agrees(ours).await.expect("untouched");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_the_provider_refuses_cause_nothing() {
    let stack = two_projects().await;
    let ours = stack.known_user(json!({ "display_name": "Ours" })).await;
    let path = format!("/users/{ours}");
    let expired = stack
        .control()
        .access_token(0, ours, std::time::Duration::ZERO)
        .expect("a token");
    let callers = [
        stack.server(0).with("secret-server-key", "ssk_junk"),
        stack
            .server(0)
            .with("secret-server-key", stack.setting(1, "STACK_SECRET_SERVER_KEY")),
        stack.server(0).without("secret-server-key"),
        stack.server(0).without("access-type"),
        stack.server(0).with("access-type", "client"),
        stack.admin(0).with("super-secret-admin-key", "sak_junk"),
        stack.browser(0).with("publishable-client-key", "pck_junk"),
        stack.browser(0),
        stack.browser(0).with("access-token", "junk"),
        stack.browser(0).with("access-token", expired),
        Caller::default(),
    ];
    for caller in callers {
        let nobody = format!("/users/{}", Uuid::new_v4());
        leave_no_trace(
            &stack,
            vec![
                attempt(&caller, Method::GET, &path, Value::Null),
                attempt(&caller, Method::GET, &nobody, Value::Null),
                attempt(&caller, Method::GET, "/users", Value::Null),
                attempt(&caller, Method::POST, "/users", json!({ "display_name": "Junk" })),
                attempt(&caller, Method::PATCH, &path, json!({ "display_name": "Junk" })),
                attempt(&caller, Method::DELETE, &path, json!({})),
                attempt(&caller, Method::GET, "/users/me", Value::Null),
                attempt(&caller, Method::DELETE, "/users/me", json!({})),
            ],
        )
        .await;
    }
    stack.agrees(ours).await.expect("untouched");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_is_evidence_only_with_the_tenants_own_server_key() {
    let stack = two_projects().await;
    let ours = stack.known_user(json!({ "display_name": "Ours" })).await;
    let path = format!("/users/{ours}");
    let not_found = || {
        let body = r#"{"code":"USER_NOT_FOUND","error":"User not found."}"#;
        let canned = Canned::new(200, body).header("x-stack-actual-status", "404");
        Action::Reject(canned.header("x-stack-known-error", "USER_NOT_FOUND"))
    };
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        stack.control().fault(Fault::on(&path, not_found()));
        leave_no_trace(
            &stack,
            vec![attempt(&stack.signed_in(0, ours), method, &path, json!({}))],
        )
        .await;
        stack.control().fault(Fault::on(&path, not_found()));
        // One server key of several may see less than ours does: usertap looks for itself.
        let admin = stack.get(&stack.admin(0), &path).await;
        assert_eq!(admin.effective_status(), 404);
        stack.is_recorded(&admin, ours).await;
        assert!(!stack.row(ours).await.expect("a row").is_deleted);
    }
    let wrong_code = Canned::new(404, r#"{"code":"TEAM_NOT_FOUND","error":"?"}"#);
    stack
        .control()
        .fault(Fault::on(&path, Action::Reject(wrong_code)));
    leave_no_trace(
        &stack,
        vec![attempt(&stack.server(0), Method::GET, &path, Value::Null)],
    )
    .await;
    let edge = Canned::new(404, "<html>no such host</html>");
    stack.control().fault(Fault::on(&path, Action::Reject(edge)));
    leave_no_trace(
        &stack,
        vec![attempt(&stack.server(0), Method::GET, &path, Value::Null)],
    )
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_one_tenant() {
    let stack = two_projects().await;
    let refusal = stack.refused_start_of(1).await;
    for project in [0, 1] {
        let id = stack.setting(project, "STACK_PROJECT_ID");
        assert!(refusal.contains(&id), "{refusal}");
    }
    stack.known_user(json!({ "display_name": "Still served" })).await;
    stack.end().await;
}
