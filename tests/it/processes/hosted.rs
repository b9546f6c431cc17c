//! What hosts put before a database: poolers, standbys, failovers. Refused by name with the remedy, or
//! recovered from.

use std::path::{Path, PathBuf};

use ::http::Method;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Reachable, Server, World, id_of, recorded};
use crate::support::process::{Process, Settings, setting};
use crate::support::standby::durable;
use crate::support::{eventually, eventually_or, free_port, http, postgres};

/// The pooler, where it is installed.
pub fn pgbouncer() -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join("pgbouncer"));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: no pgbouncer is installed (apt-get install pgbouncer)");
    }
    found
}

/// A pooler before the world's database, and its URL.
async fn pooled(world: &World, program: &Path, mode: &str) -> (Process, String) {
    pooled_at(world, program, mode, 8, free_port()).await
}

pub async fn pooled_at(
    world: &World,
    program: &Path,
    mode: &str,
    size: usize,
    port: u16,
) -> (Process, String) {
    let mut url: url::Url = world.url.expose_secret().parse().expect("a URL");
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={} user={user} password={password}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\nunix_socket_dir =\n\
         ignore_startup_parameters = extra_float_digits\n",
        url.port().expect("a port"),
    );
    let folder = std::env::temp_dir().join(format!("usertap-pooler-{port}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, settings).expect("a file");
    let file = file.display().to_string();
    let program = program.display().to_string();
    // It refuses to run as root.
    let args: Vec<&str> = match nix::unistd::geteuid().is_root() {
        true => vec!["-u", "nobody", &file],
        false => vec![&file],
    };
    let pooler = Process::run(&program, world.folder.path(), &args, &Vec::new());
    eventually("the pooler listens", || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let _ = std::fs::remove_dir_all(folder);
    url.set_port(Some(port)).expect("a port");
    (pooler, url.into())
}

/// From 1.21 on it knows prepared statements.
async fn knows_statements(program: &Path) -> bool {
    let output = std::process::Command::new(program)
        .arg("--version")
        .output()
        .expect("a version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let minor = text
        .split_whitespace()
        .nth(1)
        .and_then(|version| version.split('.').nth(1)?.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 21)
}

#[tokio::test]
async fn a_transaction_pooler_is_refused_by_name_or_works() {
    let Some(program) = pgbouncer() else { return };
    let world = World::with_users(0).await;
    let (_pooler, url) = pooled(&world, &program, "transaction").await;
    let direct = setting("DATABASE_DIRECT_URL", world.url.expose_secret());
    let through: Settings = vec![setting("DATABASE_URL", &url), direct];
    if knows_statements(&program).await {
        let alone = world.start_with(&["serve"], &through[..1]).ended().await;
        alone.failed_saying(&["transaction pooler", "DATABASE_DIRECT_URL"]);
        let server = Server::of(world.start_with(&["serve"], &through)).await;
        assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
        server.stop().await;
        return;
    }
    for settings in [&through[..], &through[..1]] {
        let refused = world.start_with(&["serve"], settings).ended().await;
        refused.failed_saying(&["loses prepared statements", "max_prepared_statements"]);
    }
    let doctor = world.start_with(&["doctor"], &through).ended().await.with_code(1);
    let said = doctor.stdout.join("\n");
    assert!(said.contains("loses prepared statements"), "{said}");
    let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'usertap'";
    assert_eq!(world.count(there).await, 0, "nothing was made");
}

#[tokio::test]
async fn a_session_pooler_works() {
    let Some(program) = pgbouncer() else { return };
    let world = World::with_users(0).await;
    let (_pooler, url) = pooled(&world, &program, "session").await;
    let direct = setting("DATABASE_DIRECT_URL", world.url.expose_secret());
    let server = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url), direct])).await;
    let ada = server.known(&world, "Ada").await;
    assert_eq!(world.name(ada).await.as_deref(), Some("Ada"));
    assert_eq!(server.status().await["problems"], json!([]));
    server.stop().await;
}

/// Two that usertap needs at once wait for each other where there is one.
#[tokio::test]
async fn a_transaction_pooler_may_have_a_single_connection() {
    let Some(program) = pgbouncer() else { return };
    let world = World::with_users(3).await;
    let (_pooler, url) = pooled_at(&world, &program, "transaction", 1, free_port()).await;
    let direct = setting("DATABASE_DIRECT_URL", world.url.expose_secret());
    let through: Settings = vec![setting("DATABASE_URL", &url), direct];
    if !knows_statements(&program).await {
        let refused = world.start_with(&["serve"], &through).ended().await;
        refused.failed_saying(&["loses prepared statements", "max_prepared_statements"]);
        return;
    }
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    let backfill = world.start_with(&["backfill"], &through).ended().await;
    backfill.with_code(0);
    world.assert_all_there().await;
    server.stop().await;
}

#[tokio::test]
async fn a_pooler_of_single_statements_is_refused_by_name() {
    let Some(program) = pgbouncer() else { return };
    let world = World::with_users(0).await;
    let (_pooler, url) = pooled(&world, &program, "statement").await;
    let direct = setting("DATABASE_DIRECT_URL", world.url.expose_secret());
    let through: Settings = vec![setting("DATABASE_URL", &url), direct];
    let refused = world.start_with(&["serve"], &through).ended().await;
    refused.failed_saying(&["statement mode", "pool_mode"]);
}

/// What lies idle here is what the recorder waits for there.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_has_few_connections_gives_one_to_the_recorder() {
    let Some(program) = pgbouncer() else { return };
    // A silent database is asked again as soon as an answer may wait, and each time after twice as long.
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
    let port = free_port();
    let (pooler, url) = pooled_at(&world, &program, "session", 6, port).await;
    let direct = setting("DATABASE_DIRECT_URL", world.url.expose_secret());
    let server = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url), direct])).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    pooler.killed().await;
    assert_eq!(recorded(&server.create(&world, "Grace").await), "journaled");
    let (_pooler, _) = pooled_at(&world, &program, "session", 6, port).await;
    // Each read at once is one connection more, and all that there are.
    let users = format!("http://{}/v1/users", server.admin);
    join_all((0..6).map(|_| http::get(&users, &[]))).await;
    eventually_or("what waited is written", async || match world.rows().await {
        2 => Ok(()),
        _ => Err(server.process.output()),
    })
    .await;
    server.stop().await;
}

/// At that level every statement can fail for what others do meanwhile. Whoever runs at it leaves locks of
/// what it has read, as long as another who does is not done.
#[tokio::test]
async fn a_database_that_makes_transactions_serializable_makes_none_of_ours_so() {
    let world = World::with_users(0).await;
    let url: url::Url = world.url.expose_secret().parse().expect("a URL");
    let database = url.path().trim_start_matches('/').to_owned();
    let level = format!("ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'");
    world
        .client
        .batch_execute(&level)
        .await
        .expect("a superuser's statement");
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let begun = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1";
    world.client.batch_execute(begun).await.expect("a transaction");
    let path = format!("/users/{ada}");
    let renamed = json!({ "display_name": "Grace" });
    let renamed = server.ask(&world, Method::PATCH, &path, &renamed).await;
    assert_eq!(recorded(&renamed), "committed");
    let feed = format!(
        "http://{}/v1/changes?since=oldest&origin=proxy.write",
        server.admin
    );
    assert_eq!(http::get(&feed, &[]).await.status, 200);
    let left = "SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(world.count(left).await, 0);
    world.client.batch_execute("ROLLBACK").await.expect("an end");
    server.stop().await;
}

/// Killed as a machine is that loses its power: what was not yet written to its log is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_commits_without_waiting_for_its_disk_keeps_what_an_answer_called_committed() {
    let folder = Reachable::new();
    let database = durable(&folder.0).await;
    let mut world = World::with_users(0).await.in_server(&database).await;
    for hurried in [
        "ALTER SYSTEM SET synchronous_commit = off",
        "ALTER SYSTEM SET wal_writer_delay = '10s'",
        "SELECT pg_reload_conf()",
    ] {
        world
            .client
            .batch_execute(hurried)
            .await
            .expect("a superuser's statement");
    }
    postgres::shows(&world.url, "synchronous_commit", "off").await;
    let server = world.serve().await;
    server.known(&world, "Ada").await;
    world
        .client
        .batch_execute("CHECKPOINT")
        .await
        .expect("a superuser's statement");
    let reply = server.create(&world, "Grace").await;
    let pid = std::fs::read_to_string(database.folder().join("data/postmaster.pid")).expect("it runs");
    let pid = pid
        .lines()
        .next()
        .and_then(|pid| pid.parse().ok())
        .expect("a number");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    server.process.killed().await;
    assert_eq!(recorded(&reply), "committed");
    drop(database);
    let database = durable(&folder.0).await;
    world.client = postgres::client(&database.url("postgres")).await;
    assert_eq!(world.name(id_of(&reply)).await.as_deref(), Some("Grace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_is_gone_is_named_and_recovered_from() {
    let folder = Reachable::new();
    let database = durable(&folder.0).await;
    let world = World::with_users(0).await.in_server(&database).await;
    let world = world.and("USERTAP_SYNC_TIMEOUT", "2s");
    let server = world.serve().await;
    server.known(&world, "Ada").await;
    world.commits_wait_for("nobody").await;
    // A server takes a setting in when it comes to it.
    let first = eventually("a commit waits", async || {
        server.create(&world, "One").await;
        world.commits_that_wait().await.into_iter().next()
    })
    .await;
    // Also where nobody else comes.
    server.names(&["synchronous standby"]).await;
    let waiting = world.commits_that_wait().await;
    assert!(waiting.contains(&first), "given up before it was named");
    // The status answers, though what waits is in the midst of a statement on connections like its own.
    eventually("it is named", || async {
        server.create(&world, "Grace").await;
        server.is_named(&["synchronous standby"]).await.then_some(())
    })
    .await;
    world.commits_wait_for("").await;
    server.has_no_problem().await;
    eventually("all is written", || async {
        (world.rows().await == i64::try_from(world.control().users(0).len()).unwrap()).then_some(())
    })
    .await;
    server.stop().await;
}

/// The row says what the answer said, and so does every answer after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_never_acknowledged_ends_what_is_kept() {
    let folder = Reachable::new();
    let database = durable(&folder.0).await;
    let world = World::with_users(1).await.in_server(&database).await;
    let world = world.and("USERTAP_CACHE_TTL", "10m");
    let server = world.serve().await;
    let id = world.control().ids(0)[0];
    let path = format!("/users/{id}");
    server.get(&world, &path).await;
    world.owes_nothing().await;
    let kept = server.get(&world, &path).await;
    assert_eq!(kept.header("x-usertap-cache"), Some("hit; fresh"));
    world.commits_wait_for("nobody").await;
    // The server takes it in when it comes to it; usertap writes each second that it lives.
    eventually("it counts", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        (world.count(waiting).await > 0).then_some(())
    })
    .await;
    let name = "Ada after all";
    assert!(world.control().edit(0, id, json!({ "display_name": name })));
    let unacknowledged = async {
        let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE wait_event = 'SyncRep' AND NOT query ILIKE 'commit%'";
        // What says that usertap lives may wait in front of it.
        let (waiting, _) = eventually("a commit waits", || async {
            let waiting = world.commits_that_wait().await.into_iter().next();
            if waiting.is_none() {
                world.count(others).await;
            }
            waiting
        })
        .await;
        let end = format!("SELECT count(*) FROM pg_terminate_backend({waiting}, 10000) AS ended WHERE ended");
        assert_eq!(world.count(&end).await, 1);
        world.commits_wait_for("").await;
    };
    let (listing, ()) = tokio::join!(server.get(&world, "/users?limit=100"), unacknowledged);
    assert_eq!(recorded(&listing), "committed");
    assert_eq!(world.name(id).await.as_deref(), Some(name));
    let then = server.get(&world, &path).await;
    let by = then.header("x-usertap-cache");
    assert_eq!(then.json()["display_name"], json!(name), "{by:?}");
    server.stop().await;
}

impl World {
    async fn commits_wait_for(&self, standby: &str) {
        for statement in [
            format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"),
            "SELECT pg_reload_conf()".into(),
        ] {
            self.client.batch_execute(&statement).await.expect("a setting");
        }
    }

    /// The processes of the server that are at them, and since when.
    async fn commits_that_wait(&self) -> Vec<(i32, String)> {
        let commits = "SELECT pid, query_start::text FROM pg_stat_activity
            WHERE wait_event = 'SyncRep' AND query ILIKE 'commit%'";
        let waiting = self.client.query(commits, &[]).await.expect("a query");
        waiting.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn read_only(&self, on: bool) {
        let url: url::Url = self.url.expose_secret().parse().expect("a URL");
        let database = url.path().trim_start_matches('/').to_owned();
        let set = if on {
            "SET default_transaction_read_only = on"
        } else {
            "RESET default_transaction_read_only"
        };
        let ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.client
            .batch_execute(&format!("ALTER DATABASE {database} {set}; {ends}"))
            .await
            .expect("a superuser's statement");
    }
}

#[tokio::test]
async fn a_standby_is_named_at_the_start_and_by_the_doctor() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    server.stop().await;
    world.read_only(true).await;
    let fresh = setting("USERTAP_DATA_DIR", world.folder.path().join("fresh").display());
    let first = world.start_with(&["serve"], &[fresh]).ended().await;
    first.failed_saying(&["read-only", "point DATABASE_URL at the primary"]);
    let doctor = world
        .start(&["doctor"])
        .ended()
        .await
        .with_code(1)
        .stdout
        .join("\n");
    assert!(
        doctor.contains("read-only") && doctor.contains("primary"),
        "{doctor}"
    );
    // One that has served starts, forwards, and records once the failover is over.
    let server = world.serve().await;
    let journaled = server.create(&world, "Grace").await;
    assert_eq!(
        (journaled.status.as_u16(), recorded(&journaled).as_str()),
        (201, "journaled")
    );
    server.names(&["read-only"]).await;
    world.read_only(false).await;
    eventually("it is written", || async {
        (world.rows().await == 2).then_some(())
    })
    .await;
    assert_eq!(recorded(&server.create(&world, "Emmy").await), "committed");
    world.assert_all_there().await;
    server.stop().await;
}
