//! Users whom another transaction holds for long, as the operator hears of them.

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use usertap::user::IdType;
use uuid::Uuid;

use super::{PAGE, World};
use crate::support::eventually;
use crate::support::postgres::{self, names};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_held_for_long_is_named_until_it_is_over() {
    let world = World::with_users(0)
        .await
        .and("FAILPOINTS", "held-long=100ms")
        .and("USERTAP_SYNC_TIMEOUT", "2s");
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

/// The walk goes on fetching meanwhile, and what it has is in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_waits_for_one_user_holds_up_no_app() {
    let world = World::with_users(8 * PAGE).await;
    world.backfill().await;
    let ids = world.control().ids(0);
    for id in &ids {
        let renamed = json!({ "display_name": "Someone Else" });
        assert!(world.control().edit(0, *id, renamed));
    }
    let mut holder = postgres::client(&world.url).await;
    let held = holder.transaction().await.expect("a transaction");
    let lock = format!(
        "SELECT FROM neon_identity.users_sync WHERE id = '{}' FOR UPDATE",
        ids[0]
    );
    held.batch_execute(&lock).await.expect("a lock");
    let server = world.serve().await;
    let walk = world.start(&["backfill", "--json"]);
    eventually("the walk waits", || world.waits_for_a_lock()).await;
    for name in ["One", "Two", "Three", "Four"] {
        let created = server.create(&world, name).await;
        assert!(
            created.recorded().starts_with("committed"),
            "{}",
            created.recorded()
        );
    }
    held.rollback().await.expect("an end");
    let account = walk.ended().await.with_code(0).json();
    assert_eq!(
        (&account["balanced"], &account["older"]),
        (&json!(true), &json!(0)),
        "{account}"
    );
    // A walk that has waited too long, on a busy machine, leaves that row for later.
    eventually("who was held is written", || async {
        (world.name(ids[0]).await.as_deref() == Some("Someone Else")).then_some(())
    })
    .await;
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
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
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
