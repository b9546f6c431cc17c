//! What pages say is so: nothing that only a database that is away could know, no walk that failed, no
//! promise that the settings do not keep.

use ::http::Method;
use serde_json::json;
use usertap::sandbox::{Action, Fault};

use super::browser::{Browser, leads_to};
use crate::support::eventually;
use crate::support::stack::{Setup, Stack};

/// What the overview says of something.
#[track_caller]
fn said_of(page: &str, what: &str) -> String {
    let (_, rest) = page
        .split_once(&format!(">{what}</dt>"))
        .unwrap_or_else(|| panic!("no {what} in {page}"));
    rest.split_once("</dd>").expect("its end").0.to_owned()
}

async fn walked(stack: &Stack, kind: &str, state: &str) {
    let sql = format!("SELECT count(*) FROM usertap.backfill WHERE kind = '{kind}' AND state = '{state}'");
    eventually(state, || async { (stack.count(&sql).await == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_alone_knows_is_not_known_while_it_is_away() {
    let stack = Stack::with(Setup::relayed()).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let mut browser = Browser::at(&stack);
    browser.page("/").await;
    for kind in ["backfill", "reconcile"] {
        leads_to(&browser.post(&format!("/{kind}"), &[]).await);
        walked(&stack, kind, "done").await;
    }
    let slot = [("name", "mailer"), ("since", "oldest")];
    leads_to(&browser.post("/feed/slots", &slot).await);
    let page = browser.page("/").await;
    assert!(!page.contains("not known"), "{page}");

    stack.relay.as_ref().expect("a relay").close();
    // What keeps the recorder from it is the same cause, and not a second problem.
    let change = json!({ "display_name": "Countess" });
    let written = stack
        .patch(&stack.server(0), &format!("/users/{user}"), change)
        .await;
    assert!(
        written.recorded().starts_with("journaled"),
        "{}",
        written.recorded()
    );
    let page = browser.page("/").await;
    for false_now in [
        "Users whom nobody has asked for yet",
        "Start the backfill",
        "never",
        "No slots",
        "problems</h2>",
    ] {
        assert!(!page.contains(false_now), "{false_now} in {page}");
    }
    assert!(page.contains("One problem"), "{page}");
    for what in [
        "At most as old as",
        "Everyone looked at",
        "Drift found",
        "Users",
        "Head",
    ] {
        assert!(said_of(&page, what).contains("not known"), "{what} in {page}");
    }
    let page = browser.page(&format!("/users/{user}")).await;
    for false_now in ["no row yet", "differ", "Record what the provider says", ">null<"] {
        assert!(!page.contains(false_now), "{false_now} in {page}");
    }
    assert!(
        page.contains("is not known while the database does not answer"),
        "{page}"
    );

    stack.relay.as_ref().expect("a relay").open();
    eventually("the row is there", || async { stack.agrees(user).await.ok() }).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_failed_has_looked_at_nobody() {
    let stack = Stack::new().await;
    for _ in 0..10 {
        let html = Action::Body("<!doctype html><title>Welcome</title>".into());
        stack.control().fault(Fault::on("/users?", html));
    }
    let mut browser = Browser::at(&stack);
    browser.page("/").await;
    leads_to(&browser.post("/backfill", &[]).await);
    walked(&stack, "backfill", "failed").await;
    let page = browser.page("/").await;
    assert!(said_of(&page, "Everyone looked at").contains("never"), "{page}");
    stack.control().forget_faults();
    leads_to(&browser.post("/backfill", &[]).await);
    walked(&stack, "backfill", "done").await;
    let page = browser.page("/").await;
    assert!(said_of(&page, "Everyone looked at").contains(" ago"), "{page}");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_wait_for_the_commit_it_is_not_promised() {
    let stack = Stack::with(Setup::set(&[("USERTAP_SYNC", "async")])).await;
    let mut browser = Browser::at(&stack);
    for (path, promise) in [
        ("/", "fresh at once"),
        ("/setup", "before your app has the answer"),
    ] {
        let page = browser.page(path).await;
        assert!(!page.contains(promise), "{path}: {page}");
    }
    let page = browser.page("/").await;
    assert!(
        page.contains("All is well") && !page.contains("before they are told"),
        "{page}"
    );
    assert!(page.contains("With SYNC=async apps do not wait"), "{page}");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_row_was_removed_is_not_yet_to_come() {
    let stack = Stack::with(Setup::set(&[("USERTAP_DELETED", "purge")])).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{user}");
    stack
        .ask(&stack.server(0), Method::DELETE, &path, &json!({}))
        .await;
    let page = Browser::at(&stack).page(&path).await;
    assert!(
        !page.contains("no row yet") && !page.contains("It comes with the next answer"),
        "{page}"
    );
    assert!(
        page.contains("the user was deleted, and the row was removed with it"),
        "{page}"
    );
    assert!(!page.contains("Read and record"), "nothing would come of it");
    stack.end().await;
}
