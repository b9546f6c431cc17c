//! What is left of somebody who was purged: an id, a position, and that they are gone.

use serde_json::json;

use crate::support::eventually;
use crate::support::stack::{Setup, Stack};

/// Everything that holds this text anywhere in usertap's tables or the users' own.
async fn traces(stack: &Stack, text: &str) -> Vec<String> {
    let tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables
                  WHERE table_schema IN ('usertap', 'neon_identity')";
    let mut found = Vec::new();
    for table in stack.client.query(tables, &[]).await.expect("tables") {
        let table: String = table.get(0);
        let rows = format!("SELECT count(*) FROM {table} t WHERE t::text ILIKE '%{text}%'");
        if stack.count(&rows).await > 0 {
            found.push(table);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_known_of_them_is_left() {
    let stack = Stack::with(Setup::set(&[("USERTAP_DELETED", "purge")])).await;
    let planted = |name: &str| json!({ "display_name": format!("Planted {name}"), "primary_email": format!("planted.{name}@example.com") });
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CONSTRAINT planted CHECK (name <> 'Planted refused')")
        .await;
    let (server, mut users) = (stack.server(0), Vec::new());
    for name in ["read", "changed", "by-hand"] {
        users.push(stack.known_user(planted(name)).await);
    }
    let refused = stack.user(planted("refused"));
    assert_eq!(
        stack.get(&server, &format!("/users/{refused}")).await.recorded(),
        "none; set-aside"
    );
    stack
        .patch(&server, &format!("/users/{}", users[1]), planted("changed-twice"))
        .await;
    let by_hand = format!(
        "UPDATE neon_identity.users_sync SET name = 'Planted hand' WHERE id = '{}'",
        users[2]
    );
    stack.sql(&by_hand).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync DROP CONSTRAINT planted")
        .await;
    users.push(refused);
    for user in &users {
        let path = format!("/users/{user}");
        stack.delete(&server, &path).await;
    }
    stack.settled().await;
    eventually("the rows are gone", || async {
        (stack.count("SELECT count(*) FROM neon_identity.users_sync").await == 0).then_some(())
    })
    .await;
    assert_eq!(traces(&stack, "planted").await, [""; 0]);
    // A hash of when somebody was last there tells it to whoever tries all times.
    let known = "SELECT count(*) FROM usertap.user_state WHERE standing = 'purged'";
    assert_eq!(stack.count(known).await, users.len() as i64);
    let more =
        format!("{known} AND num_nonnulls(version, content, volatile, volatile_at, doubt, refused) > 0");
    assert_eq!(
        stack.count(&more).await,
        0,
        "a tombstone holds more than an id and a position"
    );
    stack.end().await;
}
