//! Who keeps Postgres from clearing away old versions of usertap's rows, as the operator hears of it.
//!
//! Each in a server of its own: how old a snapshot is counts by all transactions of a server, and it is as old as the
//! oldest writer there.

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Server, World};
use crate::feed::publication::server_with;
use crate::support::eventually;
use crate::support::postgres;
use crate::support::process::Folder;
use crate::support::standby::Pair;

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

/// As hosts hand databases out: usertap's role sees little of what others do.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_role_that_keeps_them_is_named_too() {
    let postgres = postgres::apart().await;
    let world = World::with_users(0).await.in_server(&postgres).await;
    let world = world.owned_plainly().await;
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
    let postgres = postgres::apart().await;
    let world = World::with_users(0).await.in_server(&postgres).await;
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

/// While it is at work, every snapshot in usertap's database is as old as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_in_another_database_that_keeps_them_is_named_too() {
    let postgres = postgres::apart().await;
    let world = World::with_users(0).await.in_server(&postgres).await;
    let server = world.serve().await;
    world.sql("CREATE DATABASE theirs").await;
    let writer = postgres::client(&postgres.url("theirs")).await;
    let begin = "SET application_name = 'a report'; BEGIN; CREATE TABLE half_made ()";
    writer.batch_execute(begin).await.expect("a transaction");
    leaves_old_versions(&world).await;
    let theirs = [
        "versions-held",
        "(application a report in the database theirs, idle in transaction, for ",
        "pg_terminate_backend(",
    ];
    server.names(&theirs).await;
    // No younger one of this database is taken for the culprit.
    let dump = postgres::client(&world.url).await;
    dump.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .await
        .expect("a snapshot");
    transactions_pass(&world).await;
    server.names(&theirs).await;
    drop(dump);
    drop(writer);
    server.has_no_problem().await;
    server.stop().await;
}

/// One that nobody remembers outlives every session.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_keeps_them_is_named_too() {
    let folder = Folder::new();
    let postgres = server_with(folder.path(), "max_prepared_transactions", "5").await;
    let world = World::with_users(0).await.in_server(&postgres).await;
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
    let world = World::with_users(0).await.in_server(&pair.primary).await;
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
