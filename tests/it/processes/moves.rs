//! The database moves to another server, as the README says: by a dump, and by logical replication.

use std::path::{Path, PathBuf};
use std::process::Command;

use ::http::Method;
use secrecy::ExposeSecret;
use tokio_postgres::types::PgLsn;
use usertap::db::embedded::Embedded;
use uuid::Uuid;

use super::failover::{changes, head};
use super::{Server, World, recorded};
use crate::feed::publication::{connection, publisher};
use crate::readme::text::{blocks, file};
use crate::support::eventually;
use crate::support::http;
use crate::support::postgres;
use crate::support::process::Folder;
use crate::support::standby::program_of;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dump_brings_goes_on_and_what_it_lacks_is_told_and_mended() {
    let (old, new) = (postgres::apart().await, postgres::apart().await);
    let Some(tools) = tools(&old) else { return };
    let mut world = World::with_users(0).await.in_server(&old).await;
    let server = world.serve().await;
    let users = Users::of(&server, &world).await;
    moved(&tools, "pg_dump \"$OLD\"", &old, &new);
    let read = head(&server).await;
    let renamed = server.renames(&world, users.ada, "Grace").await;
    assert_eq!(recorded(&renamed), "committed");
    let cid = server.known(&world, "Cid").await;
    let lost = head(&server).await;
    server.stop().await;

    world = world.in_server(&new).await;
    let server = world.serve().await;
    server.names(&["commits-lost", "usertap reconcile"]).await;
    world.start(&["reconcile"]).ended().await.with_code(0);
    users.have_come(&server, &world, &read).await;
    assert_eq!(world.name(cid).await.as_deref(), Some("Cid"));
    let lost = changes(&server, &lost).await;
    assert_eq!(lost.status, 410, "{}", lost.text());
    server.has_no_problem().await;
    server.stop().await;
}

/// As the README has them.
const ASKED: [&str; 3] = [
    "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'",
    "SELECT pg_current_wal_lsn()",
    "SELECT confirmed_flush_lsn FROM pg_replication_slots",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_logical_replication_brings_goes_on() {
    let folder = Folder::new();
    let (old, new) = (publisher(folder.path()).await, postgres::apart().await);
    let Some(tools) = tools(&old) else { return };
    let mut world = World::with_users(0).await.in_server(&old).await;
    let server = world.serve().await;
    let users = Users::of(&server, &world).await;
    let read = head(&server).await;

    moved(&tools, "pg_dump --schema-only", &old, &new);
    let subscriber = postgres::client(&new.url("postgres")).await;
    let readme = file("README.md");
    assert!(ASKED.iter().all(|asked| readme.contains(asked)));
    let recipe = blocks(&readme, "postgresql")
        .into_iter()
        .find(|block| block.contains("PUBLICATION moving"));
    let recipe = recipe.expect("a subscription in the README");
    let (publish, subscribe) = recipe.split_once("-- on the new server\n").expect("two parts");
    world.sql(publish).await;
    let subscribe = subscribe.replace(
        "host=… dbname=… user=… password=…",
        &connection(&old.url("postgres")),
    );
    subscriber
        .batch_execute(&subscribe)
        .await
        .expect("a subscription");
    // Somebody goes on working by hand, too.
    let by_hand = "UPDATE neon_identity.users_sync SET name = 'By hand' WHERE name = 'Bea'";
    world.sql(by_hand).await;
    let renamed = server.renames(&world, users.ada, "Grace").await;
    assert_eq!(recorded(&renamed), "committed");
    eventually("the provider's name is back", || async {
        (world.name(users.bea).await.as_deref() == Some("Bea")).then_some(())
    })
    .await;
    let [copied, last, has_come] = ASKED;
    eventually("every table is copied", || async {
        let row = subscriber.query_one(copied, &[]).await.expect("a query");
        (row.get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    server.stop().await;
    let last = world.client.query_one(last, &[]).await.expect("a query");
    let last: PgLsn = last.get(0);
    eventually("all has come", || async {
        let row = world.client.query_one(has_come, &[]).await.expect("a query");
        (row.get::<_, PgLsn>(0) >= last).then_some(())
    })
    .await;
    subscriber
        .batch_execute("DROP SUBSCRIPTION moving")
        .await
        .expect("an end");

    world = world.in_server(&new).await;
    assert_eq!(world.count("SELECT count(*) FROM usertap.sql_changes").await, 0);
    let server = world.serve().await;
    users.have_come(&server, &world, &read).await;
    goes(&server, &world, users.bea).await;
    let unasked = "SELECT count(*) FROM usertap.unasked_deletions";
    assert_eq!(world.count(unasked).await, GONE + 1, "those there, and one here");
    world.sql(&by_hand.replace("Bea", "Grace")).await;
    eventually("the provider's name is back", || async {
        (world.name(users.ada).await.as_deref() == Some("Grace")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    let log = server.stop().await.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(
        matches!(warnings[..], [one] if one.contains("a new epoch begins")),
        "{warnings:#?}"
    );
}

/// More than a row that is refused is tried.
const GONE: i64 = 5;

/// Two who stay and some who were deleted at the provider.
struct Users {
    ada: Uuid,
    bea: Uuid,
    gone: Vec<Uuid>,
}

impl Users {
    async fn of(server: &Server, world: &World) -> Users {
        let mut users = Users {
            ada: server.known(world, "Ada").await,
            bea: server.known(world, "Bea").await,
            gone: Vec::new(),
        };
        for _ in 0..GONE {
            let gone = server.known(world, "Gone").await;
            goes(server, world, gone).await;
            users.gone.push(gone);
        }
        let refer = format!(
            "CREATE TABLE public.orders (of uuid REFERENCES neon_identity.users_sync, number int PRIMARY KEY);
             INSERT INTO public.orders VALUES ('{}', 1)",
            users.ada
        );
        world.sql(&refer).await;
        let slot = format!("http://{}/v1/slots/mailer", server.admin);
        let made = http::request(Method::PUT, &slot, &[], "").await;
        assert_eq!(made.expect("an answer").status, 201);
        users
    }

    /// Rows, the feed from where a consumer stood, its slot, the references.
    async fn have_come(&self, server: &Server, world: &World, read: &str) {
        eventually("the newest name is there", || async {
            (world.name(self.ada).await.as_deref() == Some("Grace")).then_some(())
        })
        .await;
        assert_eq!(world.name(self.bea).await.as_deref(), Some("Bea"));
        for gone in &self.gone {
            assert!(world.is_deleted(*gone).await);
        }
        let told = changes(server, read).await;
        assert_eq!(told.status, 200, "{}", told.text());
        assert!(told.text().contains(&self.ada.to_string()), "{}", told.text());
        let slot = format!("http://{}/v1/slots/mailer", server.admin);
        assert_eq!(http::get(&slot, &[]).await.json()["status"], "reserved");
        let refers = format!("INSERT INTO public.orders VALUES ('{}', 2)", self.bea);
        world.sql(&refers).await;
        let nobody = format!("INSERT INTO public.orders VALUES ('{}', 3)", Uuid::new_v4());
        assert!(world.client.batch_execute(&nobody).await.is_err());
    }
}

/// Deleted at the provider, as a read of an app's finds.
async fn goes(server: &Server, world: &World, id: Uuid) {
    assert!(world.control().delete(0, id));
    assert_eq!(server.get(world, &format!("/users/{id}")).await.status, 404);
    eventually("the deletion is recorded", || async {
        world.is_deleted(id).await.then_some(())
    })
    .await;
}

/// Where `pg_dump` and `psql` are; tests with them are left out where they are not.
fn tools(server: &Embedded) -> Option<PathBuf> {
    let folder = program_of(server).parent().map(PathBuf::from)?;
    let found = folder.join("pg_dump").exists() && folder.join("psql").exists();
    if !found {
        eprintln!("left out: there is no pg_dump in {}", folder.display());
    }
    found.then_some(folder)
}

/// Runs the README's command that begins so, from the old server to the new one.
fn moved(tools: &Path, begins: &str, old: &Embedded, new: &Embedded) {
    let readme = file("README.md");
    let mut commands = blocks(&readme, "shell").into_iter();
    let command = commands.find(|command| command.starts_with(begins));
    let command = command.expect("a command in the README");
    let [old, new] = [old, new].map(|server| server.url("postgres").expose_secret().to_owned());
    let ran = Command::new("sh")
        .args(["-c", &format!("PATH={}:$PATH\n{command}", tools.display())])
        .envs([("OLD", old), ("NEW", new)])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.is_empty(), "{said}");
}
