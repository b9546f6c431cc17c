//! A server key that the provider refuses is named, though nothing walks over the users.

use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault};

use crate::support::stack::{Setup, Stack};
use crate::support::{eventually, http};

async fn problems(stack: &Stack) -> Vec<Value> {
    let status = stack.status().await;
    let problems = status["problems"].as_array().cloned().expect("problems");
    assert_eq!(status["healthy"], problems.is_empty(), "{status}");
    problems.iter().map(|problem| problem["word"].clone()).collect()
}

async fn readiness(stack: &Stack) -> String {
    http::get(&stack.admin_url("/readyz"), &[]).await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_named_by_the_start_and_keeps_sign_ups_from_being_re_read() {
    let mut stack = Stack::with(Setup::set(&[("USERTAP_SYNC_TIMEOUT", "2s")])).await;
    let right = stack.setting(0, "STACK_SECRET_SERVER_KEY");
    stack.restart_with("STACK_SECRET_SERVER_KEY", "ssk_wrong").await;
    eventually("the start has asked", || async {
        (problems(&stack).await == ["key-refused"]).then_some(())
    })
    .await;
    let new = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let signed_up = stack.post(&stack.browser(0), "/auth/password/sign-up", new).await;
    assert_eq!(signed_up.recorded(), "none; reread-late");
    assert_eq!(problems(&stack).await, ["key-refused"]);
    assert_eq!(readiness(&stack).await, "degraded");
    stack.restart_with("STACK_SECRET_SERVER_KEY", &right).await;
    stack.settled().await;
    assert_eq!(problems(&stack).await, [] as [Value; 0]);
    stack.end().await;
}

/// The provider says so in a 200.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_goes_with_the_next_request_that_is_answered() {
    let stack = Stack::new().await;
    for status in [401, 403] {
        let refusal = Canned::new(200, r#"{"code":"INVALID_SECRET_SERVER_KEY","error":"no"}"#)
            .header("x-stack-actual-status", &status.to_string());
        let fault = Fault::on("/users/", Action::Reject(refusal));
        stack.control().fault(fault);
        let user = stack.user(json!({ "display_name": "Ada" }));
        let ensured = format!("/_usertap/users/{user}?ensure=1");
        let unread = stack.own(&stack.server(0), &ensured).await;
        assert!(unread.status.is_server_error(), "{status}: {}", unread.text());
        assert_eq!(problems(&stack).await, ["key-refused"]);
        let what = stack.status().await["problems"][0]["what"].to_string();
        assert!(what.contains(&status.to_string()), "{what}");
        assert_eq!(stack.own(&stack.server(0), &ensured).await.status, 200);
        assert_eq!(problems(&stack).await, [] as [Value; 0]);
        assert_eq!(readiness(&stack).await, "ready");
    }
    stack.end().await;
}

/// Whoever it was stolen by has it still.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_refuses_opens_no_row() {
    let mut stack = Stack::with(Setup::set(&[
        ("USERTAP_STALE_IF_ERROR", "1h"),
        ("USERTAP_TIMEOUT", "2s"),
    ]))
    .await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack.restart_with("STACK_SECRET_SERVER_KEY", "ssk_revoked").await;
    eventually("the start has asked", || async {
        (problems(&stack).await == ["key-refused"]).then_some(())
    })
    .await;
    let revoked = stack.server(0).with("secret-server-key", "ssk_revoked");
    let own = format!("/_usertap/users/{ada}");
    let opens_nothing = async |when: &str| {
        for path in [own.clone(), format!("{own}?ensure=1")] {
            let got = stack.own(&revoked, &path).await;
            let said = (got.status.as_u16(), got.header("x-usertap-error"));
            assert_eq!(said, (401, Some("server-key")), "{when}: {}", got.text());
        }
    };
    opens_nothing("while the provider refuses it").await;
    stack.kill_provider();
    let read = stack.get(&revoked, &format!("/users/{ada}")).await;
    assert!(
        matches!(read.status.as_u16(), 502 | 503),
        "{}: {}",
        read.header("x-usertap-cache").unwrap_or_default(),
        read.text()
    );
    opens_nothing("while nobody answers").await;
    stack.provider_is_gone();
    stack.end().await;
}
