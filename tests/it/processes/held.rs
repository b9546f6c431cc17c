//! Users whom another transaction holds for long, as the operator hears of them.

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use usertap::user::IdType;
use uuid::Uuid;

use super::World;
use crate::support::eventually;
use crate::support::postgres::{self, names};

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

/// Any role that may connect can take the lock under which positions are given out.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_lock_of_positions_is_named_until_it_is_over() {
    named_while_it_holds_positions(false).await;
}

/// Each of its statements is a transaction of its own.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_lock_of_positions_and_does_other_things_is_named_too() {
    named_while_it_holds_positions(true).await;
}

async fn named_while_it_holds_positions(is_busy: bool) {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let lock = names(IdType::Uuid).position_lock();
    let role = format!("stranger_{}", Uuid::new_v4().simple());
    world
        .sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
        .await;
    let mut url: url::Url = world.url.expose_secret().parse().expect("a URL");
    url.set_username(&role).expect("a name");
    url.set_password(Some(&role)).expect("a password");
    let holder = postgres::client(&SecretString::from(url.to_string())).await;
    let hold = format!("SET application_name = 'a report'; SELECT pg_advisory_lock({lock})");
    holder.batch_execute(&hold).await.expect("a lock");
    let pid: i32 = holder
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a query")
        .get(0);
    let is_named = async {
        let renamed = json!({ "display_name": "Grace" });
        let path = format!("/users/{ada}");
        let reply = server.ask(&world, Method::PATCH, &path, &renamed).await;
        assert!(reply.recorded().starts_with("journaled"), "{}", reply.recorded());
        let terminate = format!("pg_terminate_backend({pid})");
        server
            .names(&["not-recording", &role, "a report", &terminate])
            .await;
    };
    let is_at_work = async {
        if !is_busy {
            std::future::pending::<()>().await;
        }
        loop {
            holder
                .batch_execute("SELECT pg_sleep(0.01)")
                .await
                .expect("a statement");
        }
    };
    tokio::select! {
        () = is_named => {}
        () = is_at_work => {}
    }
    drop(holder);
    eventually("it is written", || async {
        (world.name(ada).await.as_deref() == Some("Grace")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
    eventually("its session is over", || async {
        let drop = format!("DROP ROLE {role}");
        world.client.batch_execute(&drop).await.is_ok().then_some(())
    })
    .await;
}
