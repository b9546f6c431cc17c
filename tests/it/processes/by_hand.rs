//! Rows changed by SQL while others are locked.

use ::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::{Server, World};
use crate::support::{eventually, http, postgres};

impl Server {
    /// What the feed tells of a user by the word of SQL.
    async fn told_by_hand(&self, id: Uuid) -> usize {
        let url = format!("http://{}/v1/changes?since=oldest&origin=sql&id={id}", self.admin);
        let page = http::get(&url, &[]).await.json();
        page["changes"].as_array().expect("a page").len()
    }

    async fn tells_by_hand(&self, id: Uuid, times: usize) {
        eventually("the change by hand is told", || async {
            (self.told_by_hand(id).await == times).then_some(())
        })
        .await;
    }
}

/// What locks a user out of the feed.
const LOCKS: [&str; 2] = [
    "SELECT FROM neon_identity.users_sync WHERE id = '{id}' FOR UPDATE",
    "SELECT FROM usertap.user_state WHERE id = '{id}' FOR UPDATE",
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_locked_holds_up_nobody_elses_changes_and_is_named() {
    for lock in LOCKS {
        of_a_lock(lock).await;
    }
}

async fn of_a_lock(lock: &str) {
    let world = World::with_users(0).await.and("FAILPOINTS", "held-long=100ms");
    let server = world.serve().await;
    let locked = server.known(&world, "Locked").await;
    let free = server.known(&world, "Free").await;
    server.stop().await;
    // Noted while nobody listens, the locked one first.
    for (name, id) in [("Eve", locked), ("Eva", free), ("Evi", locked)] {
        let change = format!("UPDATE neon_identity.users_sync SET name = '{name}' WHERE id = '{id}'");
        world.client.batch_execute(&change).await.expect("a change");
    }
    let mut holder = postgres::client(&world.url).await;
    let held = holder.transaction().await.expect("a transaction");
    let lock = lock.replace("{id}", &locked.to_string());
    held.batch_execute(&lock).await.expect("a lock");
    let server = world.serve().await;
    server.tells_by_hand(free, 1).await;
    server.names(&["by-hand-waits", &locked.to_string()]).await;
    assert_eq!(server.told_by_hand(locked).await, 0);
    held.rollback().await.expect("an end");
    server.tells_by_hand(locked, 1).await;
    server.has_no_problem().await;
    for (name, id) in [("Locked", locked), ("Free", free)] {
        eventually("the provider's name is back", || async {
            (world.name(id).await.as_deref() == Some(name)).then_some(())
        })
        .await;
    }
    let renamed = json!({ "display_name": "Grace" });
    let path = format!("/users/{locked}");
    let reply = server.ask(&world, Method::PATCH, &path, &renamed).await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    server.stop().await;
}

/// As whoever restores the data of the table alone leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_are_not_as_they_were_made_are_named() {
    let world = World::with_users(0).await.and("FAILPOINTS", "held-long=100ms");
    let server = world.serve().await;
    for change in [
        "DISABLE TRIGGER ALL",
        "ENABLE TRIGGER ALL",
        "DISABLE TRIGGER usertap_update",
    ] {
        let changed = format!("ALTER TABLE neon_identity.users_sync {change}");
        world.sql(&changed).await;
        server.names(&["by-hand-unseen", "ENABLE ALWAYS TRIGGER"]).await;
        let mended = ["insert", "update", "delete", "truncate"];
        let mended = mended
            .map(|name| format!("ENABLE ALWAYS TRIGGER usertap_{name}"))
            .join(", ");
        world
            .sql(&format!("ALTER TABLE neon_identity.users_sync {mended}"))
            .await;
        server.has_no_problem().await;
    }
    server.stop().await;
}

/// So many changes that they take a while to be told, of users whom nobody has.
fn many(changes: i64) -> String {
    format!(
        "INSERT INTO usertap.sql_changes (id, raw_differs)
         SELECT gen_random_uuid()::text, true FROM generate_series(1, {changes})"
    )
}

impl World {
    async fn first_are_told(&self, of: i64) {
        eventually("the first are told", || async {
            let left = self.count("SELECT count(*) FROM usertap.sql_changes").await;
            (left < of).then_some(())
        })
        .await;
    }
}

/// What is remembered of users and of answers is no word of their rows then.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_gone_by_hand_is_there_before_the_answer_however_many_others_went() {
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "50s");
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let path = format!("/users/{ada}");
    assert_eq!(server.get(&world, &path).await.recorded(), "committed; unchanged");
    world
        .sql(&format!(
            "BEGIN; {}; DELETE FROM neon_identity.users_sync WHERE id = '{ada}'; COMMIT",
            many(30_000)
        ))
        .await;
    world.first_are_told(30_001).await;
    let read = server.get(&world, &path).await;
    assert!(read.recorded().starts_with("committed"), "{}", read.recorded());
    assert_eq!(world.name(ada).await.as_deref(), Some("Ada"));
    server.stop().await;
}

/// What is left of them stays noted.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_until_all_is_told() {
    let world = World::with_users(0).await.and("USERTAP_DRAIN", "8s");
    let server = world.serve().await;
    world.sql(&many(200_000)).await;
    world.first_are_told(200_000).await;
    let output = server.process.terminated().await.with_code(0);
    assert!(!output.log().contains("DRAIN"), "{}", output.log());
}
