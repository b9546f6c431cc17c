//! Logical replication: a second Postgres subscribes as the README says, and has the same rows.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use usertap::db::embedded::Embedded;
use usertap::db::{migrate, publication, users_table};
use usertap::user::IdType;

use crate::readme::text::{blocks, file};
use crate::support::eventually;
use crate::support::postgres;
use crate::support::process::{Folder, Process};
use crate::support::stack::{Setup, Stack};
use crate::support::standby::durable;

pub async fn publisher(folder: &Path) -> Embedded {
    server_with(folder, "wal_level", "logical").await
}

/// Some settings take a restart.
pub async fn server_with(folder: &Path, setting: &str, value: &str) -> Embedded {
    let first = durable(folder).await;
    let client = postgres::client(&first.url("postgres")).await;
    let set = format!("ALTER SYSTEM SET {setting} = '{value}'");
    client.batch_execute(&set).await.expect("a setting");
    drop((client, first));
    eventually("a server that is set so", || async {
        let server = durable(folder).await;
        let client = postgres::client(&server.url("postgres")).await;
        let shown = client.query_one(&format!("SHOW {setting}"), &[]).await.ok()?;
        (shown.get::<_, &str>(0) == value).then_some(server)
    })
    .await
}

/// As a subscription has it.
pub fn connection(url: &SecretString) -> String {
    let url: url::Url = url.expose_secret().parse().expect("a URL");
    let password = url.password().expect("a password");
    let (port, name) = (url.port().expect("a port"), url.path().trim_start_matches('/'));
    format!(
        "host=127.0.0.1 port={port} dbname={name} user={} password={password}",
        url.username()
    )
}

const ROWS: &str =
    "SELECT coalesce(jsonb_agg(to_jsonb(u) ORDER BY u.id), '[]')::text FROM neon_identity.users_sync u";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_postgres_has_the_same_rows() {
    let folder = Folder::new();
    let server = publisher(folder.path()).await;
    let admin = postgres::client(&server.url("postgres")).await;
    admin
        .batch_execute("CREATE DATABASE published")
        .await
        .expect("a database");
    let setup = Setup {
        database: Some(server.url("published")),
        ..Setup::default()
    };
    let stack = Stack::with(setup).await;
    let ids = [
        stack.known_user(json!({ "display_name": "Ada" })).await,
        stack.known_user(json!({})).await,
    ];

    let command = "usertap migrate --publication usertap";
    assert!(file("README.md").contains(command));
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    for _ in 0..2 {
        let made = Process::start(folder.path(), &args, &stack.all_settings())
            .ended()
            .await
            .with_code(0);
        assert_eq!(made.stdout.len(), 3, "{made:?}");
    }

    let second = postgres::empty().await;
    let subscriber = postgres::client(&second).await;
    let subscribe = blocks(&file("README.md"), "postgresql")
        .into_iter()
        .find(|block| block.contains("CREATE TABLE"))
        .expect("a subscriber in the README");
    let written = "host=… dbname=… user=… password=…";
    assert!(subscribe.contains(written));
    let subscribe = subscribe.replace(written, &connection(&server.url("published")));
    // Apart, as a subscription is not made within a transaction.
    for statement in subscribe.split_inclusive(";\n") {
        subscriber
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{error:?} in {statement}"));
    }
    let changes = format!(
        "CREATE SCHEMA usertap; CREATE TABLE usertap.changes (
             position bigint PRIMARY KEY, nonce integer, id text, type text, changed text[], name text, email text,
             created_at timestamptz, updated_at timestamptz, deleted_at timestamptz, raw jsonb, before jsonb,
             blank boolean, origin text, route text, request_id text, committed_at timestamptz);
         CREATE SUBSCRIPTION feed CONNECTION '{}' PUBLICATION usertap_changes",
        connection(&server.url("published"))
    );
    for statement in changes.split(";\n") {
        subscriber
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
    }

    let server_key = stack.server(0);
    stack
        .patch(
            &server_key,
            &format!("/users/{}", ids[0]),
            json!({ "display_name": "Grace" }),
        )
        .await;
    stack.delete(&server_key, &format!("/users/{}", ids[1])).await;
    stack.known_user(json!({ "display_name": "new" })).await;
    stack.settled().await;
    let same = |query: &'static str| {
        let (publisher, subscriber) = (&stack.client, &subscriber);
        async move {
            eventually("the subscriber has the same", || async {
                let here: String = publisher.query_one(query, &[]).await.expect("rows").get(0);
                let there: String = subscriber.query_one(query, &[]).await.expect("rows").get(0);
                (here == there).then_some(here)
            })
            .await
        }
    };
    assert!(same(ROWS).await.contains("Grace"));
    let told = "SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.position), '[]')::text FROM (
                    SELECT position, nonce, id, type, changed, name, raw, origin FROM usertap.changes) c";
    assert!(same(told).await.contains("user.deleted"));
    // Both slots go, or the publisher's server keeps its log for them.
    for name in ["usertap", "feed"] {
        subscriber
            .batch_execute(&format!("DROP SUBSCRIPTION {name}"))
            .await
            .expect("an end");
    }
    stack.end().await;
}

/// Another installation's table, subscribed to from usertap's own: no trigger sees what comes by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_writes_the_table_is_named() {
    let folder = Folder::new();
    let server = publisher(folder.path()).await;
    let other = postgres::client(&server.url("postgres")).await;
    let stack = Stack::new().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let table = format!(
        "CREATE SCHEMA neon_identity;
         CREATE TABLE neon_identity.users_sync (id uuid PRIMARY KEY, name text, raw_json jsonb NOT NULL);
         INSERT INTO neon_identity.users_sync VALUES ('{ada}', 'Ada', '{{}}');
         CREATE PUBLICATION others FOR TABLE neon_identity.users_sync"
    );
    other.batch_execute(&table).await.expect("a table");
    let subscribe = format!(
        "CREATE SUBSCRIPTION theirs CONNECTION '{}' PUBLICATION others WITH (copy_data = false)",
        connection(&server.url("postgres"))
    );
    stack
        .client
        .batch_execute(&subscribe)
        .await
        .expect("a subscription");
    let changed = format!("UPDATE neon_identity.users_sync SET name = 'Eve' WHERE id = '{ada}'");
    other.batch_execute(&changed).await.expect("a change");
    let name = format!("SELECT count(*) FROM neon_identity.users_sync WHERE id = '{ada}' AND name = 'Eve'");
    eventually("it has come", || async {
        (stack.count(&name).await == 1).then_some(())
    })
    .await;
    let problems = stack.status().await["problems"].to_string();
    for word in ["by-hand-unseen", "by theirs", "usertap reconcile"] {
        assert!(problems.contains(word), "{problems}");
    }
    stack
        .client
        .batch_execute("DROP SUBSCRIPTION theirs")
        .await
        .expect("an end");
    assert_eq!(stack.status().await["problems"], json!([]));
    stack.sql(&changed.replace("Eve", "Eva")).await;
    eventually("it is seen", || async {
        stack.agrees(ada).await.is_ok().then_some(())
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_publish_is_told_apart() {
    let stack = Stack::new().await;
    let folder = Folder::new();
    let args = ["migrate", "--publication", "usertap"];
    let ended = Process::start(folder.path(), &args, &stack.all_settings())
        .ended()
        .await;
    ended.failed_saying(&["wal_level", "logical"]);
    stack.end().await;
}

/// It went out of it when somebody dropped it, and nobody who subscribes is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_has_a_table_that_was_made_anew_again() {
    let folder = Folder::new();
    let server = publisher(folder.path()).await;
    let url = server.url("postgres");
    let admin = postgres::client(&url).await;
    let database = postgres::database(&url, IdType::Uuid);
    migrate::run(&database).await.expect("migrations");
    let published = async || publication::make(&database, "usertap").await;
    let both = published().await.expect("publications");
    let drop = "DROP TABLE neon_identity.users_sync";
    admin.batch_execute(drop).await.expect("a table less");
    assert!(users_table::make_anew(&database).await.expect("a table"));
    assert_eq!(published().await.expect("the same"), both);
    let tables =
        "SELECT string_agg(pubname || ' ' || tablename, ', ' ORDER BY pubname) FROM pg_publication_tables";
    let tables = admin.query_one(tables, &[]).await.expect("a query");
    assert_eq!(
        tables.get::<_, &str>(0),
        "usertap users_sync, usertap_changes changes"
    );
    let others = "ALTER PUBLICATION usertap SET TABLE neon_identity.users_sync, usertap.slots";
    admin.batch_execute(others).await.expect("another table");
    let refused = published().await.expect_err("others are the users' own");
    assert!(refused.to_string().contains("choose another name"), "{refused}");
}

/// As Debezium makes it where it is left to itself. What has no key cannot be deleted then.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_publishes_every_table_stops_nothing() {
    let stack = Stack::new().await;
    stack.sql("CREATE PUBLICATION everything FOR ALL TABLES").await;
    let id = stack.known_user(json!({})).await;
    stack.control().delete(0, id);
    stack.get(&stack.server(0), &format!("/users/{id}")).await;
    let counted = "SELECT count(*) FROM usertap.unasked_deletions";
    assert_eq!(stack.count(counted).await, 1);
    stack.sql("DELETE FROM usertap.unasked_deletions").await;
    let without = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'usertap'::regnamespace AND relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(stack.count(without).await, 0, "tables have no key");
    stack.end().await;
}
