//! A restored backup, and databases of before the feed.

use ::http::Method;
use serde_json::json;
use usertap::db::migrate;
use usertap::user::IdType;

use super::{get, head, list, page, text};
use crate::support::lines::Lines;
use crate::support::postgres;
use crate::support::stack::Stack;
use crate::support::{eventually, http};

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_found_out() {
    let mut stack = Stack::new().await;
    // Nothing was ever dropped: who stands before the first change has taken nothing that could be lost.
    let from_the_first = json!({ "since": "oldest" });
    http::send(
        Method::PUT,
        &stack.admin_url("/v1/slots/first"),
        &[],
        &from_the_first,
    )
    .await;
    let id = stack.known_user(json!({ "display_name": "0" })).await;
    let (server, path) = (stack.server(0), format!("/users/{id}"));
    stack.settled().await;
    let shared = head(&stack).await;
    stack.back_up().await;
    // A history that is lost, and as long a one in its place.
    stack
        .patch(&server, &path, json!({ "display_name": "lost" }))
        .await;
    stack.settled().await;
    let lost = head(&stack).await;
    stack.restore().await;
    let beyond = get(&stack, &format!("/v1/changes?since={lost}")).await;
    assert_eq!(
        (beyond.status.as_u16(), text(&beyond.json()["head"])),
        (410, shared.clone())
    );
    for name in ["1", "2", "3"] {
        stack.patch(&server, &path, json!({ "display_name": name })).await;
        stack.settled().await;
    }
    assert!(head(&stack).await[..16] > lost[..16]);
    for query in ["", "&wait=10s", "&type=user.updated"] {
        let gone = get(&stack, &format!("/v1/changes?since={lost}{query}")).await;
        assert_eq!(gone.status, 410, "{query}");
    }
    let stream = [("accept", "application/x-ndjson")];
    let gone = http::get(&stack.admin_url(&format!("/v1/changes?since={lost}")), &stream).await;
    assert_eq!(gone.status, 410);
    // What both histories share is good, and everything after it is there.
    let rest = page(&stack, &format!("/v1/changes?since={shared}")).await;
    assert_eq!(list(&rest).last().unwrap()["after"]["name"], "3");
    let slots = page(&stack, "/v1/slots").await;
    assert_eq!(slots["slots"][0]["status"], "reserved", "{slots}");
    let all = page(&stack, "/v1/slots/first/changes").await;
    assert_eq!(list(&all).last().unwrap()["after"]["name"], "3");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_lost_history_ends() {
    let mut stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "0" })).await;
    stack.settled().await;
    stack.back_up().await;
    stack
        .patch(
            &stack.server(0),
            &format!("/users/{id}"),
            json!({ "display_name": "lost" }),
        )
        .await;
    stack.settled().await;
    let mut lines = Lines::ndjson(&stack.admin_url("/v1/changes?since=oldest")).await;
    while lines.event().await["after"]["name"] != "lost" {}
    stack.restore_beneath().await;
    let server = stack.server(0);
    stack
        .patch(
            &server,
            &format!("/users/{id}"),
            json!({ "display_name": "in its place" }),
        )
        .await;
    while let Some(object) = lines.object().await {
        assert_eq!(
            object["type"], "bookmark",
            "an event of the other history: {object}"
        );
    }
    stack.end().await;
}

/// The data alone, into tables that stay: no connection breaks, and the server is the same.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_restored_beneath_living_connections_is_found_out() {
    const TABLES: [&str; 4] = [
        "usertap.meta",
        "usertap.user_state",
        "usertap.changes",
        "neon_identity.users_sync",
    ];
    let stack = Stack::new().await;
    let (ada, bea) = (
        stack.known_user(json!({})).await,
        stack.known_user(json!({})).await,
    );
    stack.settled().await;
    let each = |what: &dyn Fn(&str, &str) -> String| {
        let name = |table: &str| table.split('.').next_back().expect("a name").to_owned();
        TABLES.map(|table| what(table, &name(table))).concat()
    };
    let saved = each(&|table, name| format!("CREATE TABLE saved.{name} AS TABLE {table};"));
    stack.sql(&format!("CREATE SCHEMA saved; {saved}")).await;
    let server = stack.server(0);
    let (to_ada, to_bea) = (format!("/users/{ada}"), format!("/users/{bea}"));
    for name in ["1", "2", "3"] {
        let lost = stack.patch(&server, &to_ada, json!({ "display_name": name }));
        stack.is_recorded(&lost.await, ada).await;
    }
    let lost = head(&stack).await;
    let put_back = each(&|table, name| format!("INSERT INTO {table} TABLE saved.{name};"));
    let tables = TABLES.join(", ");
    stack
        .sql(&format!(
            "BEGIN; SET LOCAL usertap.recorder = 'on'; TRUNCATE {tables}; {put_back} COMMIT"
        ))
        .await;
    let next = stack.patch(&server, &to_bea, json!({ "display_name": "next" }));
    stack.is_recorded(&next.await, bea).await;
    assert!(head(&stack).await[..16] > lost[..16], "a position was used twice");
    assert_eq!(stack.count("SELECT count(*) FROM usertap.epochs").await, 1);
    eventually("whoever was written since is read again", || async {
        stack.agrees(ada).await.ok()
    })
    .await;
    // Nor is it only found by whoever has something to write.
    stack.settled().await;
    stack.sql("UPDATE usertap.meta SET position = position - 1").await;
    eventually("it is found out again", || async {
        let epochs = stack.count("SELECT count(*) FROM usertap.epochs").await;
        (epochs == 2).then_some(())
    })
    .await;
    // Another installation's, which had fewer failovers.
    stack.settled().await;
    stack
        .sql(
            "UPDATE usertap.meta SET epoch = 1, history = gen_random_uuid(), made_at = made_at + interval '1 day';
             DELETE FROM usertap.epochs",
        )
        .await;
    eventually("it goes on beyond all that it knew", || async {
        let later = stack
            .count("SELECT count(*) FROM usertap.meta WHERE epoch > 3")
            .await;
        (later == 1).then_some(())
    })
    .await;
    stack
        .sql(&format!(
            "UPDATE neon_identity.users_sync SET name = 'Eve' WHERE id = '{ada}'"
        ))
        .await;
    eventually("the truth comes back", || async { stack.agrees(ada).await.ok() }).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_before_the_feed_is_brought_up() {
    let url = postgres::empty().await;
    let client = postgres::client(&url).await;
    let first = include_str!("../../../migrations/2026-11-23-000000_first/up.sql");
    let old = format!(
        "CREATE SCHEMA neon_identity; CREATE SCHEMA usertap; SET search_path = usertap;
         SELECT set_config('usertap.users_schema', 'neon_identity', false),
                set_config('usertap.state_schema', 'usertap', false), set_config('usertap.id_type', 'text', false);
         CREATE TABLE __diesel_schema_migrations (
             version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT now());
         INSERT INTO __diesel_schema_migrations VALUES ('20261123000000');
         {first};
         INSERT INTO neon_identity.users_sync (id, raw_json) VALUES ('old', '{{\"id\": \"old\"}}');
         CREATE TABLE public.todos (user_id text REFERENCES neon_identity.users_sync (id) ON DELETE CASCADE);
         INSERT INTO public.todos VALUES ('old');
         CREATE VIEW public.people AS SELECT * FROM neon_identity.users_sync;"
    );
    client
        .batch_execute(&old)
        .await
        .expect("the first version's schema");
    let database = postgres::database(&url, IdType::Text);
    let refused = migrate::check(&database).await.expect_err("an older version");
    assert!(refused.to_string().contains("usertap migrate"), "{refused}");
    for _ in 0..2 {
        migrate::run(&database)
            .await
            .expect("a migration, and nothing the second time");
    }
    migrate::check(&database)
        .await
        .expect("a database that is current");
    // What the app has built upon it is there, and holds.
    let built = "SELECT count(*) FROM public.people JOIN public.todos ON user_id = id";
    let built = client.query_one(built, &[]).await.expect("a view and a table");
    assert_eq!(built.get::<_, i64>(0), 1);
    let nobodys = client
        .execute("INSERT INTO public.todos VALUES ('nobody')", &[])
        .await;
    assert!(nobodys.is_err(), "the foreign key is gone");
    let before_the_last = "ALTER TABLE usertap.unasked_deletions DROP COLUMN key";
    client.batch_execute(before_the_last).await.expect("no key");
    let refused = migrate::check(&database).await.expect_err("an older version");
    assert!(refused.to_string().contains("usertap migrate"), "{refused}");
    let sql = "UPDATE neon_identity.users_sync SET name = 'x'";
    client.batch_execute(sql).await.expect("an update");
    let noted = client
        .query("SELECT id FROM usertap.sql_changes", &[])
        .await
        .expect("notes");
    assert_eq!(noted.len(), 1);
}
