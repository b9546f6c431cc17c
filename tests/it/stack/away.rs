//! The database goes away and comes back: apps notice nothing but a word in a header, and once it
//! is back the rows are there, in order.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::relay::Relay;
use crate::support::stack::{Caller, Setup, Stack};

const JOURNALED: &str = "journaled; database-away";
/// Much shorter than the `SYNC_TIMEOUT` of these stacks: what comes within it did not wait for that.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn relayed(settings: &[(&'static str, &'static str)]) -> Stack {
    Stack::with(Setup {
        relayed: true,
        settings: settings.to_vec(),
        ..Setup::default()
    })
    .await
}

fn wire(stack: &Stack) -> &Relay {
    stack.relay.as_ref().expect("a relayed stack")
}

async fn at_once(stack: &Stack, caller: &Caller, method: Method, path: &str, body: Value) -> Reply {
    let asked = stack.ask(caller, method, path, &body);
    timeout(AT_ONCE, asked)
        .await
        .expect("an answer that does not wait for the database")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_leave_journaled_at_once_and_the_rows_follow_in_order() {
    let stack = relayed(&[]).await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "0" })).await;
    let gone = stack.known_user(json!({ "display_name": "Gone" })).await;
    let path = format!("/users/{user}");
    wire(&stack).close();
    for n in 1..=5 {
        let name = json!({ "display_name": n.to_string() });
        let reply = at_once(&stack, &server, Method::PATCH, &path, name).await;
        assert_eq!((reply.status.as_u16(), reply.recorded()), (200, JOURNALED));
    }
    let deleted = at_once(
        &stack,
        &server,
        Method::DELETE,
        &format!("/users/{gone}"),
        json!({}),
    )
    .await;
    assert_eq!((deleted.effective_status(), deleted.recorded()), (200, JOURNALED));
    let made = at_once(
        &stack,
        &server,
        Method::POST,
        "/users",
        json!({ "display_name": "Made" }),
    )
    .await;
    assert_eq!(made.recorded(), JOURNALED);
    let new = json!({ "email": "new@example.com", "password": "correct horse battery" });
    let signed_up = at_once(
        &stack,
        &stack.browser(0),
        Method::POST,
        "/auth/password/sign-up",
        new,
    )
    .await;
    assert_eq!(
        (signed_up.effective_status(), signed_up.recorded()),
        (200, JOURNALED)
    );
    degraded(&stack).await;
    wire(&stack).open();
    stack.settled().await;
    assert!(stack.row(gone).await.expect("a row").is_deleted);
    // What came while nothing could be committed may be read once instead of being told one by one.
    let names = names(&stack, user).await;
    assert!(
        names.is_sorted() && names.first().is_some_and(|name| name == "0"),
        "{names:?}"
    );
    assert_eq!(names.last().map(String::as_str), Some("5"));
    let after = stack.patch(&server, &path, json!({ "display_name": "6" })).await;
    stack.is_recorded(&after, user).await;
    recovered(&stack).await;
    stack.end().await;
}

async fn names(stack: &Stack, user: Uuid) -> Vec<String> {
    let sql = "SELECT name FROM usertap.changes WHERE id = $1 ORDER BY position";
    let rows = stack
        .client
        .query(sql, &[&user.to_string()])
        .await
        .expect("a query");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn degraded(stack: &Stack) {
    assert_eq!(
        stack.own(&Caller::default(), "/_usertap/healthz").await.status,
        200
    );
    let ready = stack.own(&Caller::default(), "/_usertap/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["status"]),
        (200, &json!("degraded"))
    );
    let status = stack.status().await;
    assert_eq!(
        (&status["healthy"], &status["database"]["answers"]),
        (&json!(false), &json!(false))
    );
}

async fn recovered(stack: &Stack) {
    eventually("it is ready again", || async {
        let ready = stack.own(&Caller::default(), "/_usertap/readyz").await;
        (ready.json()["status"] == "ready").then_some(())
    })
    .await;
    assert_eq!(stack.status().await["problems"], json!([]));
}

/// What came in was nothing new, so nothing is ever committed for it.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_what_is_known_end_the_trouble_as_well() {
    let mut stack = relayed(&[]).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let other = stack.known_user(json!({ "display_name": "Grace" })).await;
    stack.restart().await;
    wire(&stack).close();
    let path = format!("/users/{user}");
    let away = at_once(&stack, &stack.server(0), Method::GET, &path, Value::Null).await;
    assert_eq!(away.recorded(), JOURNALED);
    wire(&stack).open();
    recovered(&stack).await;
    let back = stack.get(&stack.server(0), &format!("/users/{other}")).await;
    stack.is_recorded(&back, other).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_holds_an_answer_no_longer_than_the_timeout() {
    let stack = relayed(&[("USERTAP_SYNC_TIMEOUT", "3s")]).await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    wire(&stack).silence();
    let path = format!("/users/{user}");
    let reply = at_once(
        &stack,
        &server,
        Method::PATCH,
        &path,
        json!({ "display_name": "Countess" }),
    )
    .await;
    assert_eq!((reply.status.as_u16(), reply.recorded()), (200, JOURNALED));
    wire(&stack).open();
    eventually("the row", || async { stack.agrees(user).await.ok() }).await;
    stack.end().await;
}

/// A monitor waits for seconds only, and this is when it has to be told.
#[tokio::test(flavor = "multi_thread")]
async fn once_a_database_is_known_to_say_nothing_the_status_says_so_soon() {
    let stack = relayed(&[]).await;
    wire(&stack).silence();
    let status = eventually("a status within four seconds", || async {
        timeout(Duration::from_secs(4), stack.status()).await.ok()
    })
    .await;
    assert_eq!(status["problems"][0]["word"], "database-away", "{status}");
    wire(&stack).open();
    eventually("it is healthy again", || async {
        (stack.status().await["problems"] == json!([])).then_some(())
    })
    .await;
    stack.end().await;
}

const PATIENT: (&str, &str) = ("USERTAP_SYNC_TIMEOUT", "5s");

/// Once it is known to say nothing nobody waits for it any more, until it is heard again.
async fn is_waited_for_once(hush: impl Fn(&Relay)) {
    let stack = relayed(&[PATIENT]).await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "0" })).await;
    let path = format!("/users/{user}");
    hush(wire(&stack));
    let first = at_once(
        &stack,
        &server,
        Method::PATCH,
        &path,
        json!({ "display_name": "1" }),
    )
    .await;
    assert_eq!((first.status.as_u16(), first.recorded()), (200, JOURNALED));
    says_nothing(&stack).await;
    // Each of them would wait five seconds.
    let following = timeout(AT_ONCE, async {
        for n in 2..=9 {
            let name = json!({ "display_name": n.to_string() });
            let reply = stack.ask(&server, Method::PATCH, &path, &name).await;
            assert_eq!((reply.status.as_u16(), reply.recorded()), (200, JOURNALED));
        }
        let made = stack
            .ask(
                &server,
                Method::POST,
                "/users",
                &json!({ "display_name": "Made" }),
            )
            .await;
        assert_eq!(made.recorded(), JOURNALED);
    });
    following
        .await
        .expect("answers that do not wait for a database known to say nothing");
    wire(&stack).open();
    stack.settled().await;
    let names = names(&stack, user).await;
    assert!(
        names.is_sorted() && names.first().is_some_and(|name| name == "0"),
        "{names:?}"
    );
    assert_eq!(names.last().map(String::as_str), Some("9"));
    recovered(&stack).await;
    let after = stack.patch(&server, &path, json!({ "display_name": "A" })).await;
    stack.is_recorded(&after, user).await;
    stack.end().await;
}

async fn says_nothing(stack: &Stack) {
    eventually("it is known to say nothing", || async {
        let figures = stack.serving().station.recorder.figures();
        figures.trouble.is_some().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_is_waited_for_once() {
    is_waited_for_once(Relay::freeze).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_connections_carry_nothing_is_waited_for_once() {
    is_waited_for_once(Relay::silence).await;
}

/// Nothing ever breaks them: only that nothing is heard on them tells, while the database answers others.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_carry_nothing_any_more_are_made_anew() {
    let stack = relayed(&[PATIENT]).await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{user}");
    // A commit that is under way may take longer.
    stack.settled().await;
    wire(&stack).forget();
    let reply = at_once(
        &stack,
        &server,
        Method::PATCH,
        &path,
        json!({ "display_name": "Countess" }),
    )
    .await;
    assert_eq!(reply.status.as_u16(), 200);
    eventually("the row", || async { stack.agrees(user).await.ok() }).await;
    let after = stack
        .patch(&server, &path, json!({ "display_name": "Lovelace" }))
        .await;
    stack.is_recorded(&after, user).await;
    recovered(&stack).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ends_are_made_anew_unnoticed() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "0" })).await;
    for n in 1..=5 {
        stack
            .sql(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        let name = json!({ "display_name": n.to_string() });
        let reply = stack.patch(&server, &format!("/users/{user}"), name).await;
        stack.is_recorded(&reply, user).await;
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_for_a_while_stops_nothing() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync RENAME TO elsewhere")
        .await;
    let path = format!("/users/{user}");
    let reply = at_once(
        &stack,
        &server,
        Method::PATCH,
        &path,
        json!({ "display_name": "Countess" }),
    )
    .await;
    assert_eq!((reply.status.as_u16(), reply.recorded()), (200, JOURNALED));
    eventually("the status says what is to be done", || async {
        let problems = stack.status().await["problems"].to_string();
        problems
            .contains("give it its name back: run ALTER TABLE")
            .then_some(())
    })
    .await;
    stack
        .sql("ALTER TABLE neon_identity.elsewhere RENAME TO users_sync")
        .await;
    eventually("the row", || async { stack.agrees(user).await.ok() }).await;
    stack.end().await;
}
