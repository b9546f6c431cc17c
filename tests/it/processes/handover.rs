//! One walk, whoever is there to do it: `serve` and `backfill` side by side.

use serde_json::Value;

use super::{PAGE, Server, World};
use crate::support::process::setting;

/// Of a walk over four pages that another went on with.
fn is_of_both(account: &Value) {
    let fetched = (&account["fetched"], &account["inserted"]);
    assert_eq!(fetched, (&800.into(), &800.into()));
    let resumed = (&account["resumed"], &account["balanced"]);
    assert_eq!(resumed, (&1.into(), &true.into()));
}

#[tokio::test]
async fn beside_a_live_serve_the_walk_is_handed_to_it() {
    let world = World::with_users(2 * PAGE + 50).await;
    let server = world.serve().await;
    // It could not walk itself if it tried.
    let nowhere = [setting("USERTAP_UPSTREAM", "http://127.0.0.1:9")];
    let backfill = world.start_with(&["backfill", "--json"], &nowhere);
    let output = backfill.ended().await.with_code(0);
    let account = output.json();
    assert_eq!(
        (&account["fetched"], &account["inserted"]),
        (&450.into(), &450.into())
    );
    assert_eq!(account["balanced"], true);
    assert!(output.log().contains("this follows"), "{}", output.log());
    assert_eq!(world.pages(), 3);
    world.assert_all_there().await;
    server.stop().await;
}

#[tokio::test]
async fn a_walk_that_fails_in_serve_fails_the_command() {
    let world = World::with_users(3).await;
    world.backfill().await;
    let wrong = [setting("STACK_SECRET_SERVER_KEY", "ssk_wrong_one")];
    let server = Server::of(world.start_with(&["serve"], &wrong)).await;
    let ended = world.start(&["backfill"]).ended().await;
    ended.failed_saying(&["the provider refuses the key"]);
    server.stop().await;
}

#[tokio::test]
async fn when_the_serve_is_killed_the_walk_comes_back() {
    let world = World::with_users(4 * PAGE).await;
    let server = world.serve().await;
    let gate = world.hold_page_at(2 * PAGE);
    let backfill = world.start(&["backfill", "--json"]);
    gate.reached().await;
    world.fetched(400).await;
    server.process.killed().await;
    world.control().forget_traffic();
    let account = backfill.ended().await.with_code(0).json();
    is_of_both(&account);
    assert_eq!(world.pages(), 2);
    world.assert_all_there().await;
}

#[tokio::test]
async fn when_the_serve_is_stopped_the_walk_comes_back_at_once() {
    let world = World::with_users(4 * PAGE).await;
    let server = world.serve().await;
    let gate = world.hold_page_at(2 * PAGE);
    let backfill = world.start(&["backfill", "--json"]);
    gate.reached().await;
    server.stop().await;
    let account = backfill.ended().await.with_code(0).json();
    is_of_both(&account);
}

#[tokio::test]
async fn a_serve_that_starts_later_takes_the_walk() {
    let world = World::with_users(4 * PAGE).await;
    let gate = world.hold_page_at(2 * PAGE);
    let backfill = world.start(&["backfill", "--json"]);
    gate.reached().await;
    let server = world.serve().await;
    backfill.line("it walks, this follows").await;
    let output = backfill.ended().await.with_code(0);
    let account = output.json();
    is_of_both(&account);
    world.assert_all_there().await;
    let served = server.stop().await;
    assert!(served.log().contains("backfill done"), "{}", served.log());
    assert!(!output.log().contains("backfill done"), "{}", output.log());
}
