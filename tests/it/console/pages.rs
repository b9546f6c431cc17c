//! What pages show: names as text, outages with their remedy, what differs.

use serde_json::json;

use super::browser::{Browser, leads_to};
use crate::support::eventually;
use crate::support::lines::Lines;
use crate::support::stack::{Setup, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_never_more_than_a_text() {
    let stack = Stack::new().await;
    let name = "<script>alert('\"&')</script>";
    let user = stack
        .known_user(json!({ "display_name": name, "server_metadata": { "<b>": "</textarea><i>" } }))
        .await;
    let mut browser = Browser::at(&stack);
    let encoded = "%3Cscript%3Ealert%28%27%22";
    for path in [
        "/users".to_owned(),
        "/users?view=all".to_owned(),
        "/users?view=beside".to_owned(),
        format!("/users?q={encoded}"),
        format!("/users/{user}"),
        format!("/users/{user}/edit"),
        format!("/users/{user}/delete"),
        "/feed".to_owned(),
        format!("/feed?id={user}&type=%3Ci%3E"),
    ] {
        let page = browser.page(&path).await;
        assert!(page.contains("&lt;script&gt;"), "{path} shows the name");
        for raw in ["<script>alert", "<b>", "<i>", "</textarea><i"] {
            assert!(!page.contains(raw), "{path} has {raw}");
        }
    }
    let page = browser
        .page("/users/new?to=%3Ci%3E&said=%3Ci%3E&recorded=%3Ci%3E")
        .await;
    assert!(!page.contains("<i>"));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_away_every_page_says_so() {
    let stack = Stack::with(Setup::relayed()).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let mut browser = Browser::at(&stack);
    browser.page("/").await;
    stack.relay.as_ref().expect("a relay").close();
    for path in [
        "/users",
        "/users?view=all",
        "/users?view=beside",
        "/users?q=ada",
        "/feed",
        &format!("/users/{user}"),
    ] {
        let page = browser.page(path).await;
        assert!(page.contains("The database does not give this"), "{path}");
        assert!(page.contains("DATABASE_URL"), "{path} names the remedy");
    }
    let page = browser.page("/").await;
    assert!(page.contains("problem") && page.contains("Remedy"));
    let started = browser.post("/backfill", &[]).await;
    assert_eq!(started.status, 200);
    assert!(started.text().contains("Not started"));
    // Users are made and changed all the same.
    let form = [("display_name", "Countess"), ("step", "do")];
    let path = format!("/users/{user}/edit");
    assert!(
        browser.page(&path).await.contains("Ada"),
        "the provider knows her"
    );
    let done = leads_to(&browser.post(&path, &form).await);
    assert!(done.contains("said=edited&recorded=journaled"), "{done}");
    stack.relay.as_ref().expect("a relay").open();
    eventually("the row is there", || async { stack.agrees(user).await.ok() }).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_shown_with_its_remedy_and_the_rows_all_the_same() {
    let stack = Stack::with(Setup::set(&[("USERTAP_TIMEOUT", "3s")])).await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let mut browser = Browser::at(&stack);
    assert!(browser.page("/").await.contains("All is well"));
    stack.kill_provider();
    let page = browser.page(&format!("/users/{user}")).await;
    assert!(page.contains("Ada") && page.contains("The provider does not say"));
    assert!(
        browser
            .page("/users?view=beside")
            .await
            .contains("list cannot be read")
    );
    let form = [("display_name", "Countess"), ("step", "do")];
    let failed = browser.post(&format!("/users/{user}/edit"), &form).await;
    assert_eq!(failed.status, 502);
    assert!(failed.text().contains("Not done"));
    stack.provider_is_gone();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_beside_what_the_provider_says_and_looking_changes_nothing() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let mut browser = Browser::at(&stack);
    let path = format!("/users/{user}");
    assert!(browser.page(&path).await.contains("The same in every field"));
    assert!(
        stack
            .control()
            .edit(0, user, json!({ "display_name": "Countess" }))
    );
    let page = browser.page(&path).await;
    assert!(page.contains("1 field differs") && page.contains("Countess"));
    let row = stack.row(user).await.expect("a row");
    assert_eq!(row.name.as_deref(), Some("Ada"), "a look records nothing");
    assert!(browser.page("/users?view=beside").await.contains("differs"));
    assert_eq!(
        leads_to(&browser.post(&format!("{path}/read"), &[]).await),
        format!("{path}?said=read")
    );
    stack.agrees(user).await.expect("it is taken over");
    assert!(browser.page(&path).await.contains("The same in every field"));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_row_can_be_read_and_recorded() {
    let stack = Stack::new().await;
    let user = stack.user(json!({ "display_name": "Unseen" }));
    let mut browser = Browser::at(&stack);
    let page = browser.page(&format!("/users/{user}")).await;
    assert!(page.contains("no row yet") && page.contains("Unseen"));
    leads_to(&browser.post(&format!("/users/{user}/read"), &[]).await);
    stack.agrees(user).await.expect("the row is there");
    let nobody = browser.get(&format!("/users/{}", uuid::Uuid::new_v4())).await;
    assert_eq!(nobody.status, 404);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_hear_of_every_change_or_of_one_users() {
    let stack = Stack::new().await;
    let (one, other) = (
        stack.known_user(json!({ "display_name": "One" })).await,
        stack.known_user(json!({ "display_name": "Other" })).await,
    );
    let mut all = Lines::open(&stack.admin_url("/live"), &[]).await;
    let mut ones = Lines::open(&stack.admin_url(&format!("/live?id={one}")), &[]).await;
    let rename = json!({ "display_name": "Renamed" });
    let renamed = async |user| {
        let path = format!("/users/{user}");
        stack.patch(&stack.server(0), &path, rename.clone()).await
    };
    renamed(other).await;
    let others = pulse(&mut all).await;
    renamed(one).await;
    assert!(
        pulse(&mut ones).await > others,
        "it heard of the other user's change"
    );
    stack.end().await;
}

/// The next position that is told of.
async fn pulse(lines: &mut Lines) -> String {
    loop {
        let line = lines.next().await.expect("the stream goes on");
        if let Some(pos) = line.strip_prefix("data: ") {
            return pos.to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_are_started_and_slots_kept_from_their_pages() {
    let stack = Stack::with(Setup::users(3)).await;
    let mut browser = Browser::at(&stack);
    browser.page("/").await;
    assert_eq!(leads_to(&browser.post("/backfill", &[]).await), "/?said=backfill");
    eventually("it is done", || async {
        let done = "SELECT count(*) FROM usertap.backfill WHERE state = 'done'";
        (stack.count(done).await == 1).then_some(())
    })
    .await;
    let page = browser.page("/").await;
    assert!(page.contains("<strong>3</strong> new"), "its account is shown");
    assert_eq!(
        leads_to(&browser.post("/reconcile", &[("yes", "1")]).await),
        "/?said=reconcile"
    );
    let lifted = "SELECT count(*) FROM usertap.backfill WHERE kind = 'reconcile' AND lifted";
    assert_eq!(stack.count(lifted).await, 1);

    let made = browser
        .post("/feed/slots", &[("name", "mailer"), ("since", "oldest")])
        .await;
    assert_eq!(leads_to(&made), "/feed?said=made");
    assert_eq!(
        browser.post("/feed/slots", &[("name", "no name")]).await.status,
        400
    );
    assert!(browser.page("/feed").await.contains("3 changes"));
    assert!(
        browser
            .page("/feed/slots/mailer?act=advance")
            .await
            .contains("will never be given")
    );
    let path = "/feed/slots/mailer";
    assert_eq!(
        leads_to(&browser.post(path, &[("act", "advance")]).await),
        "/feed?said=advanced"
    );
    assert_eq!(
        stack
            .count("SELECT count(*) FROM usertap.slots WHERE position > 0")
            .await,
        1
    );
    assert_eq!(
        leads_to(&browser.post(path, &[("act", "delete")]).await),
        "/feed?said=deleted"
    );
    assert_eq!(stack.count("SELECT count(*) FROM usertap.slots").await, 0);
    assert_eq!(leads_to(&browser.get(path).await), "/feed", "it is gone");
    stack.note();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_are_held_back_are_asked_about_and_go_with_a_yes_alone() {
    let stack = Stack::with(Setup::users(30)).await;
    stack.walk_begins("backfill").await;
    stack.walk_ends("backfill").await;
    stack.note();
    for user in stack.control().ids(0).into_iter().take(15) {
        assert!(stack.control().delete(0, user));
    }
    let mut browser = Browser::at(&stack);
    browser.page("/").await;
    leads_to(&browser.post("/reconcile", &[]).await);
    stack.walk_ends("reconcile").await;
    let deleted = "SELECT count(*) FROM neon_identity.users_sync WHERE deleted_at IS NOT NULL";
    assert_eq!(stack.count(deleted).await, 10);
    let page = browser.page("/").await;
    assert!(page.contains("5 deletions are held back"), "{page}");
    let page = browser.page("/reconcile").await;
    assert!(page.contains("<strong>5 users</strong>"), "{page}");
    leads_to(&browser.post("/reconcile", &[("yes", "1")]).await);
    eventually("all who are gone are deleted", || async {
        (stack.count(deleted).await == 15).then_some(())
    })
    .await;
    stack.walk_ends("reconcile").await;
    let page = browser.page("/reconcile").await;
    assert!(page.contains("Nothing is held back at the moment"), "{page}");
    stack.end().await;
}

/// The newest first, and however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_on_one_of_the_pages() {
    const USERS: usize = 120;
    let stack = Stack::with(Setup::users(USERS)).await;
    stack.walk_begins("backfill").await;
    stack.walk_ends("backfill").await;
    let mut browser = Browser::at(&stack);
    for first in ["/feed", "/feed?type=user.created"] {
        let (mut next, mut shown) = (Some(first.to_owned()), Vec::new());
        while let Some(path) = next {
            let page = browser.page(&path).await;
            let positions = page.split("<tr id=\"c-").skip(1);
            shown.extend(positions.filter_map(|row| Some(row.split_once('"')?.0.to_owned())));
            assert!(shown.len() <= USERS, "{first}: {shown:?}");
            let older = page.split_once("rel=\"next\" href=\"");
            next = older.and_then(|(_, link)| Some(link.split_once('"')?.0.replace("&amp;", "&")));
        }
        assert_eq!(shown.len(), USERS, "{first}");
        assert!(
            shown.is_sorted_by(|newer, older| newer > older),
            "{first}: {shown:?}"
        );
    }
    stack.note();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_tried_is_neither_shown_nor_kept() {
    let stack = Stack::with(Setup::projects(2)).await;
    let mut browser = Browser::at(&stack);
    browser.page("/connect").await;
    let (project, key) = (
        stack.setting(0, "STACK_PROJECT_ID"),
        stack.setting(0, "STACK_SECRET_SERVER_KEY"),
    );
    let upstream = stack.setting(0, "USERTAP_UPSTREAM");
    let other = uuid::Uuid::new_v4().to_string();
    let (their_project, their_key) = (
        stack.setting(1, "STACK_PROJECT_ID"),
        stack.setting(1, "STACK_SECRET_SERVER_KEY"),
    );
    for (project, key, answer) in [
        (
            their_project.as_str(),
            their_key.as_str(),
            "A database belongs to one tenant for good",
        ),
        (
            project.as_str(),
            key.as_str(),
            "This is the tenant that this usertap serves",
        ),
        (&project, "ssk_of_nobody", "does not take this key"),
        (&other, &key, "does not take this key"),
        (&project, "", "is needed"),
    ] {
        let fields = [
            ("provider", "stack-auth"),
            ("address", upstream.as_str()),
            ("STACK_PROJECT_ID", project),
            ("STACK_SECRET_SERVER_KEY", key),
        ];
        let reply = browser.post("/connect", &fields).await;
        let page = reply.text();
        assert!(page.contains(answer), "{answer} in {page}");
        assert!(key.is_empty() || !page.contains(key), "the key is shown");
    }
    assert!(browser.page("/setup").await.contains("no secret set"));
    for path in ["/", "/setup", "/connect"] {
        let page = browser.page(path).await;
        for name in ["STACK_SECRET_SERVER_KEY", "DATABASE_URL"] {
            assert!(!page.contains(&stack.setting(0, name)), "{path} shows {name}");
        }
    }
    stack.end().await;
}
