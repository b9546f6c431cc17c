//! Writes without an answer are looked up for those whom the provider knows, and for nobody else.

use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use usertap::sandbox::{Action, Canned, Fault, Gate};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::stack::{Caller, Setup, Stack};

/// Everything that an exchange could leave behind.
async fn traces(stack: &Stack) -> (i64, i64, usize) {
    stack.settled().await;
    (
        stack.position().await,
        stack.count("SELECT count(*) FROM usertap.user_state").await,
        stack.control().log().len(),
    )
}

async fn failed(stack: &Stack) -> Value {
    stack.status().await["traffic"]["failed"].clone()
}

/// Says that more is coming, and leaves or stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_never_whole_is_no_doubt() {
    let stack = Stack::with(Setup::set(&[("USERTAP_TIMEOUT", "2s")])).await;
    let before = traces(&stack).await;
    let (project, key) = (
        stack.setting(0, "STACK_PROJECT_ID"),
        stack.setting(0, "STACK_SECRET_SERVER_KEY"),
    );
    let mut ended = 0;
    for secret in [String::new(), format!("x-stack-secret-server-key: {key}\r\n")] {
        for leaves in [true, false] {
            let mut socket = TcpStream::connect(stack.serving().listen)
                .await
                .expect("a connection");
            let request = format!(
                "PATCH /api/v1/users/{} HTTP/1.1\r\nhost: x\r\nx-stack-project-id: {project}\r\n\
                 x-stack-access-type: server\r\n{secret}content-type: application/json\r\ncontent-length: 10\r\n\r\n{{",
                Uuid::new_v4()
            );
            socket.write_all(request.as_bytes()).await.expect("sent");
            if leaves {
                drop(socket);
            }
            ended += 1;
            eventually("it ends", || async {
                (failed(&stack).await == json!(ended)).then_some(())
            })
            .await;
        }
    }
    let after = traces(&stack).await;
    assert_eq!((after.0, after.1), (before.0, before.1));
    stack.end().await;
}

/// Whoever was just made is read once more, for nobody in particular: while the provider wants less, later. The
/// next write's answer waits for a read of the same user.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_behind_a_read_that_nobody_waited_for() {
    let stack = Stack::with(Setup::set(&[("USERTAP_SYNC_TIMEOUT", "5s")])).await;
    let (server, report) = (stack.server(0), "/reports/monthly");
    let refused = Canned::new(429, "{}").header("retry-after", "15");
    stack.control().fault(Fault::on(report, Action::Reject(refused)));
    assert_eq!(stack.get(&server, report).await.status, 429);
    let made = stack
        .post(&server, "/users", json!({ "display_name": "Ada" }))
        .await;
    let ada: Uuid = made.json()["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an id");
    let channel = json!({ "user_id": ada, "type": "email", "value": "ada@example.com" });
    let added = stack.post(&server, "/contact-channels", channel).await;
    stack.is_recorded(&added, ada).await;
    stack.end().await;
}

/// They have their places to themselves, and all of them are taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_for_a_place_among_reads_that_nobody_waited_for() {
    const PLACES: usize = 32;
    let mut setup = Setup::users(PLACES + 8);
    setup.settings = vec![("USERTAP_SYNC_TIMEOUT", "5s")];
    let stack = Stack::with(setup).await;
    stack.walk_begins("backfill").await;
    stack.walk_ends("backfill").await;
    let (server, gate) = (stack.server(0), Gate::new());
    for _ in 0..PLACES {
        let held = Fault::on("/users/", Action::HoldBefore(gate.clone())).method(Method::GET);
        stack.control().fault(held);
    }
    let ada = stack.control().ids(0)[0];
    stack
        .sql(&format!(
            "UPDATE usertap.user_state SET doubt = position WHERE id <> '{ada}'"
        ))
        .await;
    eventually("every place is taken", || async {
        (stack.control().faults_left() == 0).then_some(())
    })
    .await;
    let channel = json!({ "user_id": ada, "type": "email", "value": "ada@example.com" });
    let added = stack.post(&server, "/contact-channels", channel).await;
    stack.is_recorded(&added, ada).await;
    gate.release();
    stack.note();
    stack.end().await;
}

/// Neither a failing provider nor a broken wire makes a stranger believed.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_cause_no_doubt_whatever_the_provider_answers() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (path, nobody) = (format!("/users/{user}"), format!("/users/{}", Uuid::new_v4()));
    let junk = stack.server(0).with("secret-server-key", "ssk_junk");
    let forged = stack.browser(0).with("access-token", forged(&stack, user));
    let signed_in = stack.signed_in(0, user);
    let me = stack.get(&signed_in, "/users/me").await;
    assert!(me.recorded().starts_with("committed"));
    let attempts: [(&Caller, &str); 7] = [
        (&junk, &path),
        (&junk, &nobody),
        (
            &Caller::default().with("project-id", stack.setting(0, "STACK_PROJECT_ID")),
            &nobody,
        ),
        (&forged, "/users/me"),
        (&forged, &path),
        // Known, but it writes to nobody else.
        (&signed_in, &nobody),
        (&stack.admin(0).with("super-secret-admin-key", "sak_junk"), &path),
    ];
    for (caller, path) in attempts {
        for action in [
            Action::Reject(Canned::new(500, "oops")),
            Action::Reject(Canned::new(503, "")),
            Action::Drop,
        ] {
            let before = traces(&stack).await;
            stack.control().fault(Fault::on(path, action));
            let reply = stack.patch(caller, path, json!({ "display_name": "Junk" })).await;
            assert!(reply.status.is_server_error(), "{path}");
            assert!(
                reply.recorded().starts_with("none; "),
                "{path}: {}",
                reply.recorded()
            );
            assert_eq!(traces(&stack).await, (before.0, before.1, before.2 + 1), "{path}");
        }
    }
    stack.agrees(user).await.expect("untouched");
    stack.end().await;
}

/// Unsigned, as anybody can make one who knows a user's id.
fn forged(stack: &Stack, user: Uuid) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let project = stack.setting(0, "STACK_PROJECT_ID");
    let claims = json!({"sub": user, "project_id": project, "branch_id": "main", "aud": project});
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{payload}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#))
}

/// Whom the provider has taken lately, or given a token itself, is looked up.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_of_somebody_known_is_looked_up() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let read = stack.signed_in(0, user);
    assert!(
        stack
            .get(&read, "/users/me")
            .await
            .recorded()
            .starts_with("committed")
    );
    let credentials = json!({ "email": "bea@example.com", "password": "correct horse battery" });
    let signed_up = stack
        .post(&stack.browser(0), "/auth/password/sign-up", credentials)
        .await;
    let bea: Uuid = signed_up.json()["user_id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let token = signed_up.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let fresh = stack.browser(0).with("access-token", token);
    let admin = stack.admin(0);
    let ada = format!("/users/{user}");
    assert!(stack.get(&admin, &ada).await.recorded().starts_with("committed"));
    for (n, (caller, who, path)) in [
        (&read, user, "/users/me"),
        (&fresh, bea, "/users/me"),
        (&admin, user, ada.as_str()),
        (&stack.server(0), bea, &format!("/users/{bea}")),
    ]
    .into_iter()
    .enumerate()
    {
        stack.control().fault(Fault::on(path, Action::PerformThenDrop));
        let name = format!("Name {n}");
        let reply = stack.patch(caller, path, json!({ "display_name": name })).await;
        assert_eq!(reply.status, 502);
        eventually("the row follows", || async {
            let row = stack.row(who).await?;
            (row.raw["display_name"] == json!(name)).then_some(())
        })
        .await;
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_about_nobody_leaves_no_state_behind() {
    let stack = Stack::new().await;
    let path = format!("/users/{}", Uuid::new_v4());
    stack.control().fault(Fault::on(&path, Action::Drop));
    let reply = stack
        .ask(
            &stack.server(0),
            Method::PATCH,
            &path,
            &json!({ "display_name": "Nobody" }),
        )
        .await;
    assert_eq!(reply.status, 502);
    eventually("it is looked up", || async {
        (stack.control().log().len() == 2).then_some(())
    })
    .await;
    stack.settled().await;
    assert_eq!(stack.count("SELECT count(*) FROM usertap.user_state").await, 0);
    stack.end().await;
}

/// With what the provider says instead, for as long as it says nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_read_is_named_until_a_read_tells_something() {
    let stack = Stack::with(Setup::set(&[("USERTAP_SYNC_TIMEOUT", "1s")])).await;
    let (ada, server) = (stack.known_user(json!({})).await, stack.server(0));
    let path = format!("/users/{ada}");
    for _ in 0..20 {
        let unclear = Action::Reject(Canned::new(418, "{}"));
        stack
            .control()
            .fault(Fault::on(&path, unclear).method(Method::GET));
    }
    let is_named = async || {
        let problems = stack.status().await["problems"].to_string();
        problems.contains(&format!("a read of user {ada}")) && problems.contains("418")
    };
    // Its answer waits for a read, which begins however often the last ones have failed.
    let add = async |name: usize| {
        let channel = json!({ "user_id": ada, "type": "email", "value": format!("{name}@example.com") });
        stack.post(&server, "/contact-channels", channel).await
    };
    let mut added = 0;
    assert!(!is_named().await);
    while !is_named().await {
        assert_eq!(add(added).await.recorded(), "none; reread-late");
        added += 1;
    }
    stack.control().forget_faults();
    let read = add(added).await;
    stack.is_recorded(&read, ada).await;
    assert!(!is_named().await);
    stack.end().await;
}
