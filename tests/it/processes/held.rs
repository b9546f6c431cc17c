//! Users whom another transaction holds for long, as the operator hears of them.

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::sync::Mutex;
use usertap::user::IdType;
use uuid::Uuid;

use super::{PAGE, Server, World};
use crate::feed::publication::server_with;
use crate::support::eventually;
use crate::support::postgres::{self, names};
use crate::support::process::Folder;
use crate::support::standby::Pair;

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
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("the walk waits", || async {
        (world.count(waits).await > 0).then_some(())
    })
    .await;
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

/// Every commit passes over what Postgres may not clear away of the one row that has the last position.
async fn leaves_old_versions(world: &World) {
    let many = "ALTER TABLE usertap.meta ADD COLUMN wide text DEFAULT repeat('x', 1600);
                DO $$ BEGIN
                    FOR n IN 1..4500 LOOP
                        BEGIN UPDATE usertap.meta SET floor = floor; EXCEPTION WHEN division_by_zero THEN END;
                    END LOOP;
                END $$";
    world.sql(many).await;
    transactions_pass(world).await;
}

async fn transactions_pass(world: &World) {
    let many = "CREATE TEMPORARY TABLE passing (n int);
                DO $$ BEGIN
                    FOR n IN 1..30000 LOOP
                        BEGIN INSERT INTO passing VALUES (n); EXCEPTION WHEN division_by_zero THEN END;
                    END LOOP;
                END $$;
                DROP TABLE passing";
    world.sql(many).await;
}

/// How old a snapshot is counts by all transactions of a server, and tests share one.
static PASSING: Mutex<()> = Mutex::const_new(());

/// As hosts hand databases out: usertap's role sees little of what others do.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_role_that_keeps_them_is_named_too() {
    let _no_other_passes = PASSING.lock().await;
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let mut url: url::Url = world.url.expose_secret().parse().expect("a URL");
    let role = format!("stranger_{}", Uuid::new_v4().simple());
    world
        .sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
        .await;
    url.set_username(&role).expect("a name");
    url.set_password(Some(&role)).expect("a password");
    let holder = postgres::client(&SecretString::from(url.to_string())).await;
    let begin = "SET application_name = 'a report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    holder.batch_execute(begin).await.expect("a snapshot");
    leaves_old_versions(&world).await;
    server
        .names(&["versions-held", "(application a report", "pg_terminate_backend("])
        .await;
    drop(holder);
    server.has_no_problem().await;
    // What is left of it is large for ever, and a nightly dump that keeps little is nobody's trouble.
    let dump = postgres::client(&world.url).await;
    dump.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .await
        .expect("a snapshot");
    let few = "DO $$ BEGIN FOR n IN 1..2000 LOOP
                   BEGIN UPDATE usertap.meta SET floor = floor WHERE only_row; EXCEPTION WHEN division_by_zero THEN END;
               END LOOP; END $$";
    world.sql(few).await;
    server.has_no_problem().await;
    drop(dump);
    server.stop().await;
    eventually("its session is over", || async {
        let drop = format!("DROP ROLE {role}");
        world.client.batch_execute(&drop).await.is_ok().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_old_versions_from_being_cleared_away_is_named_until_it_is_over() {
    let _no_other_passes = PASSING.lock().await;
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let holder = postgres::client(&world.url).await;
    let begin = "SET application_name = 'a report';
                 BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'a secret' FROM pg_class LIMIT 1";
    holder.batch_execute(begin).await.expect("a snapshot");
    leaves_old_versions(&world).await;
    let pid: i32 = holder
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a query")
        .get(0);
    let process = format!("process {pid} (application a report, idle in transaction, for ");
    let terminate = format!("pg_terminate_backend({pid})");
    server.names(&["versions-held", &process, &terminate]).await;
    let status = server.status().await.to_string();
    assert!(!status.contains("a secret"), "{status}");
    let doctor = world.start(&["doctor"]).ended().await.with_code(1);
    let said = doctor.stdout.join("\n");
    assert!(
        said.contains("FAIL old versions: ") && said.contains(&terminate),
        "{said}"
    );
    drop(holder);
    server.has_no_problem().await;
    // As autovacuum does. The one row that is left stands behind all that was cleared away.
    world.sql("VACUUM ANALYZE usertap.meta").await;
    eventually("the last position is found at once", || async {
        finds_the_last_position(&world, &server).await.then_some(())
    })
    .await;
    server.stop().await;
}

/// Whether a position is given out without a look through the whole table.
async fn finds_the_last_position(world: &World, server: &Server) -> bool {
    let figures = async || {
        let sql =
            "SELECT seq_scan, n_tup_upd FROM pg_stat_user_tables WHERE relid = 'usertap.meta'::regclass";
        let row = world.client.query_one(sql, &[]).await.expect("figures");
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let (scans, updates) = figures().await;
    assert_eq!(server.create(world, "Ada").await.status, 201);
    let scanned = eventually("its figures are there", || async {
        let (scanned, updated) = figures().await;
        (updated > updates).then_some(scanned)
    });
    scanned.await == scans
}

/// One that nobody remembers outlives every session.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_keeps_them_is_named_too() {
    let folder = Folder::new();
    let postgres = server_with(folder.path(), "max_prepared_transactions", "5").await;
    let mut world = World::with_users(0).await;
    world.url = postgres.url("postgres");
    world.client = postgres::client(&world.url).await;
    let server = world.serve().await;
    world
        .sql("BEGIN; CREATE TABLE forgotten (); PREPARE TRANSACTION 'theirs'")
        .await;
    leaves_old_versions(&world).await;
    server
        .names(&[
            "versions-held",
            "prepared transaction theirs (for ",
            "ROLLBACK PREPARED 'theirs'",
        ])
        .await;
    world.sql("ROLLBACK PREPARED 'theirs'").await;
    server.has_no_problem().await;
    server.stop().await;
}

/// A standby that tells its primary what its queries need, by its stream alone and by a slot that outlives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_on_a_standby_that_keeps_them_is_named_too() {
    let pair = Pair::start().await;
    let mut world = World::with_users(0).await;
    world.url = pair.primary.url("postgres");
    world.client = postgres::client(&world.url).await;
    let server = world.serve().await;
    let standby = postgres::client(&pair.standby.url()).await;
    set(&standby, "hot_standby_feedback", "on").await;
    set(&standby, "wal_receiver_status_interval", "1").await;
    let report = postgres::client(&pair.standby.url()).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    report.batch_execute(begin).await.expect("a snapshot");
    told(
        &world,
        "SELECT count(*) FROM pg_stat_replication WHERE backend_xmin IS NOT NULL",
    )
    .await;
    leaves_old_versions(&world).await;
    server
        .names(&[
            "versions-held",
            "a query on the standby ",
            "hot_standby_feedback = off",
        ])
        .await;

    world
        .sql("SELECT pg_create_physical_replication_slot('of_a_standby')")
        .await;
    set(&standby, "primary_slot_name", "of_a_standby").await;
    told(
        &world,
        "SELECT count(*) FROM pg_replication_slots WHERE xmin IS NOT NULL",
    )
    .await;
    server
        .names(&[
            "versions-held",
            "the replication slot of_a_standby (in use)",
            "pg_drop_replication_slot('of_a_standby')",
        ])
        .await;
    drop(report);
    server.has_no_problem().await;
    server.stop().await;
}

async fn set(server: &tokio_postgres::Client, setting: &str, value: &str) {
    for statement in [
        format!("ALTER SYSTEM SET {setting} = '{value}'"),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        server.batch_execute(&statement).await.expect("a setting");
    }
}

/// The standby has told its primary.
async fn told(world: &World, sql: &str) {
    eventually("the standby has told", || async {
        (world.count(sql).await > 0).then_some(())
    })
    .await;
}
