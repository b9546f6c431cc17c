//! `usertap backfill` alone: everyone, once, whatever happens on the way.

use ::http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault, Options};

use super::{PAGE, World, rate, through_a_relay};
use crate::support::eventually;
use crate::support::http;
use crate::support::process::setting;

const KEYS: [&str; 8] = [
    "balanced",
    "fetched",
    "inserted",
    "older",
    "resumed",
    "set_aside",
    "unchanged",
    "updated",
];

#[track_caller]
fn assert_account(account: &Value, expected: &[(&str, i64)]) {
    assert_eq!(account["balanced"], true, "{account}");
    for key in KEYS.iter().filter(|key| **key != "balanced") {
        let count = expected
            .iter()
            .find(|(name, _)| name == key)
            .map_or(0, |(_, count)| *count);
        assert_eq!(account[key], count, "{key} in {account}");
    }
}

#[tokio::test]
async fn everyone_is_copied_and_a_second_walk_writes_nothing() {
    let world = World::with_users(450).await;
    let account = world.backfill().await;
    let mut keys: Vec<&str> = account.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, KEYS);
    assert_account(&account, &[("fetched", 450), ("inserted", 450)]);
    let users = world.control().users(0);
    assert!(users.iter().any(|user| user["is_anonymous"] == true));
    assert!(users.iter().any(|user| user["is_restricted"] == true));
    world.assert_all_there().await;

    let written = "SELECT max(xmin::text::bigint) + (SELECT count(*) FROM usertap.changes)
                   FROM neon_identity.users_sync";
    let before = world.count(written).await;
    assert_account(&world.backfill().await, &[("fetched", 450), ("unchanged", 450)]);
    assert_eq!(world.count(written).await, before);
}

#[tokio::test]
async fn without_json_the_account_is_a_sentence() {
    let world = World::with_users(3).await;
    let output = world.start(&["backfill"]).ended().await.with_code(0);
    assert_eq!(
        output.stdout,
        ["3 users fetched: 3 inserted, 0 updated, 0 unchanged, 0 older, 0 set aside; the account balances"]
    );
}

#[tokio::test]
async fn an_empty_project_is_no_failure() {
    let world = World::with_users(0).await;
    assert_account(&world.backfill().await, &[]);
}

#[tokio::test]
async fn changes_behind_its_back_are_updated_and_absence_deletes_nobody() {
    let world = World::with_users(20).await;
    world.backfill().await;
    let ids = world.control().ids(0);
    assert!(
        world
            .control()
            .edit(0, ids[1], json!({ "display_name": "Someone Else" }))
    );
    assert!(world.control().delete(0, ids[2]));
    let new = world
        .control()
        .create(0, json!({ "display_name": "New" }))
        .unwrap();
    let expected = [
        ("fetched", 20),
        ("updated", 1),
        ("unchanged", 18),
        ("inserted", 1),
    ];
    assert_account(&world.backfill().await, &expected);
    assert_eq!(world.name(ids[1]).await.as_deref(), Some("Someone Else"));
    assert_eq!(world.name(new).await.as_deref(), Some("New"));
    let gone = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{}' AND deleted_at IS NULL",
        ids[2]
    );
    assert_eq!(world.count(&gone).await, 1);
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_where_it_stopped() {
    let world = World::with_users(5 * PAGE).await;
    let gate = world.hold_page_at(3 * PAGE);
    let process = world.start(&["backfill"]);
    gate.reached().await;
    world.fetched(600).await;
    process.killed().await;
    world.control().forget_traffic();
    let account = world.backfill().await;
    assert_account(&account, &[("fetched", 1000), ("inserted", 1000), ("resumed", 1)]);
    assert_eq!(world.pages(), 2, "the fourth page and the fifth");
    world.assert_all_there().await;
    assert_account(&world.backfill().await, &[("fetched", 1000), ("unchanged", 1000)]);
}

#[tokio::test]
async fn stopped_in_the_middle_it_says_so_and_goes_on_at_once() {
    let world = World::with_users(3 * PAGE).await;
    let gate = world.hold_page_at(2 * PAGE);
    let process = world.start(&["backfill"]);
    gate.reached().await;
    process
        .terminated()
        .await
        .failed_saying(&["goes on where it stopped"]);
    assert_eq!(world.count("SELECT count(*) FROM usertap.instances").await, 0);
    world.control().forget_traffic();
    let account = world.backfill().await;
    assert_account(&account, &[("fetched", 600), ("inserted", 600), ("resumed", 1)]);
    assert_eq!(world.pages(), 1);
}

#[tokio::test]
async fn a_lost_cursor_is_walked_around() {
    let world = World::with_users(5 * PAGE).await;
    let ids = world.control().ids(0);
    let gate = world.hold_page_at(2 * PAGE);
    let process = world.start(&["backfill", "--json"]);
    gate.reached().await;
    // The place itself, and those from which the walk would go on.
    for id in &ids[2 * PAGE - 3..=2 * PAGE] {
        assert!(world.control().delete(0, *id));
    }
    gate.release();
    let account = process.ended().await.with_code(0).json();
    assert_eq!(account["balanced"], true, "{account}");
    assert_eq!(account["inserted"], 999, "all but the user at the lost place");
    world.assert_all_there().await;
    assert_eq!(world.rows().await, 999);
}

#[tokio::test]
async fn users_who_come_during_the_walk_are_met() {
    let world = World::with_users(2 * PAGE).await;
    let gate = world.hold_page_at(PAGE);
    let process = world.start(&["backfill", "--json"]);
    gate.reached().await;
    let new = world
        .control()
        .create(0, json!({ "display_name": "Late" }))
        .unwrap();
    gate.release();
    let account = process.ended().await.with_code(0).json();
    assert_account(&account, &[("fetched", 401), ("inserted", 401)]);
    assert_eq!(world.name(new).await.as_deref(), Some("Late"));
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_tried_again() {
    let world = World::with_users(7 * PAGE).await;
    let canned = |status| Canned::new(status, "{}");
    for (page, action) in [
        Action::Reject(canned(429).header("retry-after", "1")),
        Action::Reject(canned(429)),
        Action::Reject(canned(500)),
        Action::Cut(1000),
        Action::Drop,
        Action::Body("{\"items\": [{\"id\": \"".into()),
    ]
    .into_iter()
    .enumerate()
    {
        world.on_page_at((page + 1) * PAGE, action);
    }
    let account = world.backfill().await;
    assert_eq!(world.control().faults_left(), 0);
    assert_account(&account, &[("fetched", 1400), ("inserted", 1400)]);
    world.assert_all_there().await;
}

#[tokio::test]
async fn a_key_that_is_no_longer_right_is_one_clear_error() {
    let world = World::with_users(3).await;
    world.backfill().await;
    let wrong = [setting("STACK_SECRET_SERVER_KEY", "ssk_wrong_one")];
    let ended = world.start_with(&["backfill", "--json"], &wrong).ended().await;
    let output = ended.failed_saying(&["the provider refuses the key", "correct"]);
    assert!(!output.log().contains("ssk_wrong_one"));
    let told = output.json();
    assert_eq!(told["fetched"], 0);
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("the provider refuses the key"), "{error}");
    assert_account(&world.backfill().await, &[("fetched", 3), ("unchanged", 3)]);
    let walks = "SELECT count(*) FROM usertap.backfill";
    assert_eq!(
        world.count(walks).await,
        2,
        "the one that failed was taken up again"
    );
}

#[tokio::test]
async fn a_list_that_is_not_the_providers_is_one_clear_error() {
    let world = World::with_users(3).await;
    for _ in 0..10 {
        let html = Action::Body("<!doctype html><title>Welcome</title>".into());
        world.control().fault(Fault::on("/users?", html));
    }
    let ended = world.start(&["backfill"]).ended().await;
    ended.failed_saying(&["is UPSTREAM the provider's API?"]);
    assert_eq!(world.rows().await, 0);
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_one_clear_error() {
    let world = World::with_users(3).await;
    let dead = [
        setting("USERTAP_UPSTREAM", "http://127.0.0.1:9"),
        setting("USERTAP_TIMEOUT", "1s"),
    ];
    let ended = world.start_with(&["backfill"], &dead).ended().await;
    ended.failed_saying(&["cannot be reached: the connection was refused", "check UPSTREAM"]);
}

/// The first page as the provider answers it.
async fn first_page(world: &World) -> Value {
    let headers = world.server_headers();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let url = format!(
        "http://{}/api/v1/users?limit=200&include_anonymous=true",
        world.sandbox.addr()
    );
    http::get(&url, &headers).await.json()
}

#[tokio::test]
async fn a_user_whom_the_database_refuses_and_one_who_is_malformed_are_set_aside_and_counted() {
    let world = World::with_users(10).await;
    let mut page = first_page(&world).await;
    page["items"][3]["display_name"] = json!("Nu\u{0}l");
    page["items"][4]["id"] = json!(7);
    world
        .control()
        .fault(Fault::on("/users?", Action::Body(page.to_string().into())).method(Method::GET));
    let output = world.start(&["backfill", "--json"]).ended().await.with_code(0);
    assert_account(
        &output.json(),
        &[("fetched", 10), ("inserted", 8), ("set_aside", 2)],
    );
    let id = world.control().ids(0)[3];
    let skeleton = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{id}' AND raw_json = '{{\"id\": \"{id}\"}}'"
    );
    assert_eq!(world.count(&skeleton).await, 1, "so that foreign keys hold");
    assert_eq!(world.rows().await, 9);
    assert_eq!(world.count("SELECT count(*) FROM usertap.set_aside").await, 1);
}

#[tokio::test]
async fn within_the_limit_it_earns_no_429() {
    let world = World::new(Options {
        users: 16 * PAGE,
        rate: Some(rate(5, 1)),
        ..Options::default()
    })
    .await
    .and("USERTAP_RATE", "5/1s");
    let account = world.backfill().await;
    assert_account(&account, &[("fetched", 3200), ("inserted", 3200)]);
    assert_eq!(world.control().limited(), 0);
}

#[tokio::test]
async fn what_was_asked_before_the_database_was_bound_counts_as_well() {
    let world = World::new(Options {
        users: 3,
        rate: Some(rate(1, 3)),
        ..Options::default()
    })
    .await
    .and("USERTAP_RATE", "1/3s");
    assert_account(&world.backfill().await, &[("fetched", 3), ("inserted", 3)]);
    assert_eq!(world.control().limited(), 0);
}

#[tokio::test]
async fn a_limit_that_is_not_known_is_found_and_everyone_is_copied() {
    let world = World::new(Options {
        users: 4 * PAGE,
        // Few enough for any machine to ask for more.
        rate: Some(rate(1, 2)),
        ..Options::default()
    })
    .await;
    assert_account(&world.backfill().await, &[("fetched", 800), ("inserted", 800)]);
    assert!(world.control().limited() > 0);
}

#[tokio::test]
async fn two_at_once_are_one_walk() {
    let world = World::with_users(4 * PAGE).await;
    let gate = world.hold_page_at(PAGE);
    let one = world.start(&["backfill", "--json"]);
    gate.reached().await;
    let other = world.start(&["backfill", "--json"]);
    other.line("it walks, this follows").await;
    gate.release();
    let (one, other) = (one.ended().await.with_code(0), other.ended().await.with_code(0));
    assert_account(&one.json(), &[("fetched", 800), ("inserted", 800)]);
    assert_eq!(one.json(), other.json());
    assert_eq!(world.pages(), 4);
}

#[tokio::test]
async fn one_that_is_frozen_while_another_takes_over_counts_no_page_twice() {
    let world = World::with_users(4 * PAGE).await;
    let gate = world.hold_page_at(2 * PAGE);
    let frozen = world.start(&["backfill", "--json"]);
    gate.reached().await;
    world.fetched(400).await;
    frozen.signal(Signal::SIGSTOP);
    frozen.stands_still().await;
    let account = world.backfill().await;
    assert_account(&account, &[("fetched", 800), ("inserted", 800), ("resumed", 1)]);
    gate.release();
    frozen.signal(Signal::SIGCONT);
    assert_eq!(frozen.ended().await.with_code(0).json(), account);
    assert_eq!(world.count("SELECT fetched FROM usertap.backfill").await, 800);
}

#[tokio::test]
async fn whoever_follows_hears_what_holds_the_walk_up() {
    let world = World::with_users(3 * PAGE).await.and("USERTAP_TIMEOUT", "60s");
    let server = world.serve().await;
    let gate = world.hold_page_at(2 * PAGE);
    let process = world.start(&["backfill"]);
    gate.reached().await;
    process.line("still trying").await;
    process
        .terminated()
        .await
        .failed_saying(&["the walk goes on in the usertap that serves"]);
    gate.release();
    let done =
        "SELECT count(*) FROM usertap.backfill WHERE state = 'done' AND error IS NULL AND fetched = 600";
    eventually("the walk is done, and nothing holds it up", || async {
        (world.count(done).await == 1).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_database_is_waited_out() {
    let world = World::with_users(4 * PAGE).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let gate = world.hold_page_at(2 * PAGE);
    let through = [setting("DATABASE_URL", &url)];
    let process = world.start_with(&["backfill", "--json"], &through);
    gate.reached().await;
    world.fetched(400).await;
    relay.close();
    gate.release();
    process.line("nothing is recorded until").await;
    relay.open();
    let account = process.ended().await.with_code(0).json();
    assert_account(
        &account,
        &[
            ("fetched", 800),
            ("inserted", 800),
            ("resumed", account["resumed"].as_i64().unwrap()),
        ],
    );
    world.assert_all_there().await;
}
