//! Users whom another transaction holds for long, as the operator hears of them.

use http::Method;
use serde_json::json;

use super::World;
use crate::support::eventually;
use crate::support::postgres;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_held_for_long_is_named_until_it_is_over() {
    let world = World::with_users(0).await.and("FAILPOINTS", "held-long=100ms");
    let server = world.serve().await;
    let user = server.known(&world, "Ada").await;
    let mut holder = postgres::client(&world.url).await;
    let held = holder.transaction().await.expect("a transaction");
    let lock = format!("SELECT FROM neon_identity.users_sync WHERE id = '{user}' FOR UPDATE");
    held.batch_execute(&lock).await.expect("a lock");
    let renamed = json!({ "display_name": "Grace" });
    let path = format!("/users/{user}");
    let reply = server.ask(&world, Method::PATCH, &path, &renamed).await;
    assert!(reply.recorded().starts_with("journaled"), "{}", reply.recorded());
    server.names(&["rows-held", &user.to_string()]).await;
    let other = server.create(&world, "Other").await;
    assert!(other.recorded().starts_with("committed"), "{}", other.recorded());
    held.rollback().await.expect("an end");
    eventually("it is written", || async {
        (world.name(user).await.as_deref() == Some("Grace")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}
