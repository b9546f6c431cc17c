//! Somebody drops the users' table or renames it: the start, the status, the doctor and `usertap migrate`
//! say so, with a way back, which is gone here to its end.

use serde_json::{Value, json};

use super::commands::checks;
use super::{Server, World, id_of, recorded};
use crate::support::eventually;

impl World {
    /// What the doctor finds wrong with the table.
    async fn doctor_on_the_table(&self) -> String {
        let ended = self.start(&["doctor", "--json"]).ended().await.with_code(1);
        let table = checks(&ended)
            .into_iter()
            .find(|(what, ok, _)| what == "table" && !ok);
        table.expect("something is wrong with the table").2
    }

    /// Columns, constraints, triggers and comment of the table.
    async fn shape(&self) -> String {
        let sql = "SELECT concat_ws(E'\n', obj_description(t, 'pg_class'), r.relreplident::text,
                (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull), E'\n' ORDER BY attnum)
                 FROM pg_attribute WHERE attrelid = t AND attnum > 0),
                (SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), E'\n' ORDER BY conname)
                 FROM pg_constraint WHERE conrelid = t),
                (SELECT string_agg(tgenabled::text || ' ' || pg_get_triggerdef(oid), E'\n' ORDER BY tgname)
                 FROM pg_trigger WHERE tgrelid = t AND NOT tgisinternal))
            FROM (SELECT 'neon_identity.users_sync'::regclass::oid AS t) AS t JOIN pg_class r ON r.oid = t";
        self.client.query_one(sql, &[]).await.expect("a shape").get(0)
    }
}

const DROPS: &str = "DROP TABLE neon_identity.users_sync CASCADE";
const REFERENCES: &str = "CREATE TABLE todos (user_id uuid REFERENCES neon_identity.users_sync (id))";

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_named_everywhere_and_comes_back() {
    let world = World::with_users(300).await;
    let server = world.serve().await;
    world.backfill().await;
    let ada = server.known(&world, "Ada").await;
    let shape = world.shape().await;
    world.sql(&format!("{REFERENCES}; {DROPS}")).await;
    // Before anybody asks for anything.
    server
        .names(&["users_sync is gone", "usertap migrate", "usertap backfill"])
        .await;
    eventually("it is degraded", || async {
        server.readyz().await.contains("degraded").then_some(())
    })
    .await;
    // What was known is not, and nobody is told otherwise.
    let read = server.get(&world, &format!("/users/{ada}")).await;
    let created = server.create(&world, "New").await;
    assert_eq!(
        (recorded(&read), recorded(&created)),
        ("journaled".into(), "journaled".into())
    );
    let found = world.doctor_on_the_table().await;
    assert!(
        found.contains("is gone") && found.contains("usertap migrate"),
        "{found}"
    );
    server.stop().await;
    let server = world.serve().await;
    server.names(&["users_sync is gone"]).await;
    let ended = world.start(&["migrate"]).ended().await.with_code(0);
    let said = ended.stdout.join("\n");
    assert!(
        said.contains("made anew") && said.contains("usertap backfill"),
        "{said}"
    );
    assert_eq!(world.shape().await, shape);
    world.backfill().await;
    world.eventually_named(id_of(&created), "New").await;
    world.owes_nothing().await;
    world.assert_all_there().await;
    server.has_no_problem().await;
    let read = server.get(&world, &format!("/users/{ada}")).await;
    assert_eq!(recorded(&read), "committed");
    world.start(&["doctor"]).ended().await.with_code(0);
    world
        .sql(&format!(
            "ALTER TABLE todos ADD FOREIGN KEY (user_id) REFERENCES neon_identity.users_sync (id);
             INSERT INTO todos VALUES ('{ada}')"
        ))
        .await;
    server.stop().await;
}

/// Nobody reads or writes anything: what serves learns of it by itself, and the users come back without a walk.
#[tokio::test(flavor = "multi_thread")]
async fn users_come_back_to_a_table_made_anew_without_a_walk() {
    let world = World::with_users(20).await;
    let server = world.serve().await;
    world.backfill().await;
    let ada = server.known(&world, "Ada").await;
    let gone = server.known(&world, "Gone").await;
    let path = format!("/users/{gone}");
    server
        .ask(&world, ::http::Method::DELETE, &path, &json!({}))
        .await;
    world.sql(DROPS).await;
    world.start(&["migrate"]).ended().await.with_code(0);
    world.eventually_named(ada, "Ada").await;
    world.owes_nothing().await;
    eventually("all changes by hand are told", || async {
        let noted = world.count("SELECT count(*) FROM usertap.sql_changes").await;
        (noted == 0 && world.owed().await == 0).then_some(())
    })
    .await;
    world.assert_all_there().await;
    // Of whom the provider knows nothing any more, consumers are told that the row is gone.
    let purged = "SELECT count(*) FROM usertap.changes WHERE type = 'user.purged' AND id = '{id}'";
    assert_eq!(world.count(&purged.replace("{id}", &gone.to_string())).await, 1);
    server.stop().await;
}

/// Where it is, how it is said, and that what is said to be run does it.
async fn comes_back(moves: &str, said: &str) {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    world.sql(moves).await;
    server.names(&[said, "ALTER TABLE"]).await;
    let found = world.doctor_on_the_table().await;
    assert!(found.contains(said), "{found}");
    world.start(&["migrate"]).ended().await.failed_saying(&[said]);
    let renamed = server.renames(&world, ada, "Grace").await;
    assert_eq!(recorded(&renamed), "journaled");
    let (_, way_back) = found.split_once(" run ").expect("what is to be run");
    world.sql(way_back).await;
    world.eventually_named(ada, "Grace").await;
    server.has_no_problem().await;
    world.start(&["migrate"]).ended().await.with_code(0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_is_given_its_name_back() {
    comes_back(
        "ALTER TABLE neon_identity.users_sync RENAME TO \"Users two\"",
        "is gone: it is called neon_identity.",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_another_schema_is_given_its_own_back() {
    comes_back(
        "ALTER TABLE neon_identity.users_sync RENAME TO people; ALTER TABLE neon_identity.people SET SCHEMA public",
        "is called public.people now",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_schema_was_renamed_is_given_its_own_back() {
    comes_back(
        "ALTER SCHEMA neon_identity RENAME TO auth",
        "is called auth.users_sync now",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_another_type_are_named_and_recovered_from() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    server.known(&world, "Ada").await;
    world
        .sql("ALTER TABLE neon_identity.users_sync ALTER COLUMN id TYPE text")
        .await;
    let grace = server.create(&world, "Grace").await;
    server.names(&["users_sync.id is of another type"]).await;
    world
        .sql("ALTER TABLE neon_identity.users_sync ALTER COLUMN id TYPE uuid USING id::uuid")
        .await;
    world.eventually_named(id_of(&grace), "Grace").await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_a_walk_is_told_what_it_waits_for() {
    let world = World::with_users(3).await;
    let server = world.serve().await;
    world
        .sql("ALTER TABLE neon_identity.users_sync RENAME TO people")
        .await;
    let following = world.start(&["backfill"]);
    following
        .line("nothing is recorded: the table neon_identity.users_sync is gone: it is called neon_identity.people now")
        .await;
    world
        .sql("ALTER TABLE neon_identity.people RENAME TO users_sync")
        .await;
    following.ended().await.with_code(0);
    world.assert_all_there().await;
    assert_eq!(server.status().await["backfill"]["error"], Value::Null);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_table_says_so_and_serves() {
    let world = World::with_users(0).await;
    world.serve().await.stop().await;
    world.sql(DROPS).await;
    let process = world.start(&["serve"]);
    process.line("users_sync is gone").await;
    let server = Server::of(process).await;
    let created = server.create(&world, "Ada").await;
    assert_eq!(recorded(&created), "journaled");
    let ended = server.stop().await;
    assert!(ended.log().contains("usertap migrate"));
    world.start(&["migrate"]).ended().await.with_code(0);
    let server = world.serve().await;
    world.eventually_named(id_of(&created), "Ada").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_made_anew_is_named_and_recorded_into_after_a_restart() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    recorded(&server.create(&world, "Ada").await);
    world.sql("DROP SCHEMA neon_identity, usertap CASCADE").await;
    let created = server.create(&world, "Bob").await;
    assert_eq!(recorded(&created), "journaled");
    server
        .names(&["database-unfit", "is not migrated", "restart usertap"])
        .await;
    server.stop().await;
    let server = world.serve().await;
    world.eventually_named(id_of(&created), "Bob").await;
    server.has_no_problem().await;
    world.sql("TRUNCATE usertap.meta").await;
    server
        .names(&["database-unfit", "meta", "is empty", "drop the schemas"])
        .await;
    server.stop().await;
}
