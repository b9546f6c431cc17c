//! What the provider, the network and strangers get wrong: the app gets what came, no row is
//! harmed, and what may have happened is looked up.

use http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault, Gate};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::stack::{Setup, Stack};

const NO_USER: &[&str] = &[
    "",
    "<html>Bad gateway</html>",
    r#"{"id":"3520c449-3f36-4657-a5"#,
    "[1,2,3]",
    "null",
    r#"{"id":null,"display_name":"Nobody"}"#,
    r#"{"id":"not-a-uuid","server_metadata":null}"#,
    "\u{feff}\u{0}\u{1}",
];

#[tokio::test(flavor = "multi_thread")]
async fn junk_in_the_place_of_a_user_reaches_the_app_and_harms_no_row() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{user}"));
    let before = stack.position().await;
    for junk in NO_USER {
        for target in [path.as_str(), "/users?limit=7"] {
            stack
                .control()
                .fault(Fault::on(target, Action::Body((*junk).into())));
            let reply = stack.get(&server, target).await;
            assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, *junk));
            assert_eq!(reply.recorded(), "none; malformed", "{junk:?} at {target}");
        }
    }
    assert_eq!(stack.position().await, before);
    assert_eq!(
        stack.status().await["traffic"]["malformed"],
        json!(2 * NO_USER.len())
    );
    stack.end().await;
}

/// The write happened, and its answer does not say what it came to.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_an_unreadable_answer_is_looked_up() {
    let stack = Stack::with(Setup::set(&[("USERTAP_RECORD_BUFFER", "8KiB")])).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{user}"));
    let oversized = format!(r#"{{"id":"{user}","padding":"{}"}}"#, "x".repeat(64 << 10));
    let bodies = NO_USER.iter().copied().chain([oversized.as_str()]);
    for (n, junk) in bodies.enumerate() {
        stack
            .control()
            .fault(Fault::on(&path, Action::Body(junk.to_owned().into())));
        let reply = stack
            .patch(&server, &path, json!({ "display_name": format!("Name {n}") }))
            .await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, junk));
        stack.is_recorded(&reply, user).await;
    }
    stack.end().await;
}

/// A login page in the place of the provider: it answers everything, and deletes nobody.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_deletion_deletes_nobody() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{user}");
    let nameless = stack.browser(0).without("publishable-client-key");
    for (caller, looked_up) in [
        (stack.server(0), true),
        (nameless, false),
        (stack.signed_in(0, user), false),
    ] {
        let page = Canned::new(200, "<html>login</html>").header("content-type", "text/html");
        stack.control().fault(Fault::on(&path, Action::Reject(page)));
        let before = stack.control().log().len();
        let reply = stack.delete(&caller, &path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (200, "<html>login</html>")
        );
        assert_eq!(stack.control().log().len() - before, 1 + usize::from(looked_up));
        match looked_up {
            true => stack.is_recorded(&reply, user).await,
            false => assert_eq!(reply.recorded(), "none; no-user"),
        }
        assert!(!stack.row(user).await.expect("a row").is_deleted);
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_harms_no_row() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{user}"));
    for target in [path.as_str(), "/users?limit=7"] {
        stack.control().fault(Fault::on(target, Action::Cut(40)));
        let cut = stack.send(&server, Method::GET, target, String::new()).await;
        assert!(cut.is_err(), "{cut:?}");
        stack.agrees(user).await.expect("untouched");
    }
    stack.control().fault(Fault::on(&path, Action::Cut(40)));
    let body = json!({ "display_name": "Countess" });
    assert_eq!(stack.patch(&server, &path, body).await.status, 502);
    eventually("the write is looked up", || async {
        stack.agrees(user).await.ok()
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_too_large_to_be_held_is_read_before_its_answer_ends() {
    let stack = Stack::with(Setup::set(&[("USERTAP_RECORD_BUFFER", "8KiB")])).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{user}"));
    for (n, caller, path) in [
        (1, &server, path.as_str()),
        (2, &stack.signed_in(0, user), "/users/me"),
    ] {
        let large = json!({ "large": "x".repeat(n * (64 << 10)) });
        stack.control().edit(0, user, json!({ "client_metadata": large }));
        let reply = stack.get(caller, path).await;
        assert_eq!(reply.json()["client_metadata"], large);
        stack.is_recorded(&reply, user).await;
    }
    let large = json!({ "display_name": "Bea", "server_metadata": { "large": "y".repeat(64 << 10) } });
    let created = stack.post(&server, "/users", large.clone()).await;
    assert_eq!(
        (created.status.as_u16(), created.recorded()),
        (201, "none; streamed")
    );
    assert_eq!(created.json()["server_metadata"], large["server_metadata"]);
    let bea: Uuid = created.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    stack.agrees(bea).await.expect("before the answer's end");
    assert_eq!(stack.status().await["traffic"]["malformed"], json!(0));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skeleton_stands_for_a_large_user_whose_read_is_late() {
    let stack = Stack::with(Setup::set(&[
        ("USERTAP_RECORD_BUFFER", "8KiB"),
        ("USERTAP_SYNC_TIMEOUT", "2s"),
    ]))
    .await;
    let gate = Gate::new();
    let held = Fault::on("/users/", Action::HoldBefore(gate.clone())).method(Method::GET);
    stack.control().fault(held);
    let large = json!({ "server_metadata": { "large": "y".repeat(64 << 10) } });
    let created = stack.post(&stack.server(0), "/users", large).await;
    let user: Uuid = created.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let row = stack.row(user).await.expect("a row to refer to");
    assert_eq!(row.raw, json!({ "id": user }));
    gate.release();
    eventually("the rest follows", || async { stack.agrees(user).await.ok() }).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_a_502_and_its_row_follows() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let gone = stack.known_user(json!({ "display_name": "Gone" })).await;
    let server = stack.server(0);
    for (id, method, body) in [
        (user, Method::PATCH, json!({ "display_name": "Countess" })),
        (gone, Method::DELETE, json!({})),
    ] {
        let path = format!("/users/{id}");
        stack.control().fault(Fault::on(&path, Action::PerformThenDrop));
        let reply = stack.ask(&server, method, &path, &body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-usertap-error")),
            (502, Some("upstream-broken"))
        );
        eventually("the row follows", || async { stack.agrees(id).await.ok() }).await;
    }
    assert!(stack.row(gone).await.expect("a row").is_deleted);
    stack.end().await;
}

/// Nobody is named: it is looked for among the newest.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_made_in_spite_of_a_server_error_is_found() {
    let stack = Stack::new().await;
    let oops = Action::PerformThen(Canned::new(500, "Something went wrong"));
    stack
        .control()
        .fault(Fault::on("/users", oops).method(Method::POST));
    let made = stack
        .post(&stack.server(0), "/users", json!({ "display_name": "Ada" }))
        .await;
    assert_eq!(made.status, 500);
    let ada = stack.control().ids(0)[0];
    eventually("the row is there", || async { stack.agrees(ada).await.ok() }).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_on_a_write_is_passed_on_and_looked_up() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{user}");
    let canned = Canned::new(500, "Something went wrong").header("x-stack-request-id", "7");
    stack
        .control()
        .fault(Fault::on(&path, Action::PerformThen(canned)));
    let reply = stack
        .patch(&stack.server(0), &path, json!({ "display_name": "Countess" }))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (500, "Something went wrong")
    );
    assert_eq!(reply.header("x-stack-request-id"), Some("7"));
    stack.is_recorded(&reply, user).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_is_a_502_in_its_own_shape() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack.kill_provider();
    let reads = stack.get(&stack.server(0), &format!("/users/{user}")).await;
    let signs_up = stack
        .post(&stack.browser(0), "/auth/anonymous/sign-up", json!({}))
        .await;
    for reply in [reads, signs_up] {
        assert_eq!(reply.status, 502);
        assert!(
            reply
                .header("x-usertap-error")
                .is_some_and(|word| word.starts_with("upstream-"))
        );
        assert!(reply.json()["error"].is_string());
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(
            reply.header("x-stack-known-error"),
            None,
            "an SDK would throw at a code it does not know"
        );
    }
    assert_eq!(stack.own(&stack.server(0), "/_usertap/healthz").await.status, 200);
    let row = stack
        .own(&stack.server(0), &format!("/_usertap/users/{user}?ensure=1"))
        .await;
    assert_eq!(
        row.json()["raw_json"]["display_name"],
        "Ada",
        "what is known needs no provider"
    );
    let unknown = stack
        .own(
            &stack.server(0),
            &format!("/_usertap/users/{}?ensure=1", Uuid::new_v4()),
        )
        .await;
    assert_eq!(unknown.status, 502);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_are_the_providers_business() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    for (method, path, body) in [
        (Method::GET, "/users/%00".to_owned(), String::new()),
        (Method::GET, "/users/..%2f..%2fadmin".to_owned(), String::new()),
        (Method::GET, format!("/users/{}", "a".repeat(5000)), String::new()),
        (
            Method::GET,
            "/users?limit=0&limit=%ff&cursor=".to_owned(),
            String::new(),
        ),
        (Method::POST, "/users".to_owned(), "{\"display_name\":".to_owned()),
        (Method::POST, "/contact-channels".to_owned(), "[".repeat(10_000)),
        (
            Method::POST,
            "/auth/sessions".to_owned(),
            r#"{"user_id":{"a":1}}"#.to_owned(),
        ),
        (Method::PATCH, "/users/me".to_owned(), "\u{0}".to_owned()),
    ] {
        let directly = server
            .send(stack.sandbox.addr(), method.clone(), &path, body.clone())
            .await;
        let directly = directly.expect("an answer");
        let reply = stack.send(&server, method, &path, body).await.expect("an answer");
        assert_eq!(
            (reply.status, reply.text()),
            (directly.status, directly.text()),
            "{path}"
        );
        assert!(
            reply.recorded().starts_with("none"),
            "{path}: {}",
            reply.recorded()
        );
    }
    assert_eq!(
        stack.get(&server, "/users?limit=2").await.json()["items"],
        Value::Array(vec![])
    );
    stack.end().await;
}
