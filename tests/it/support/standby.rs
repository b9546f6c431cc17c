//! Two real servers: one that is written to, and a standby that streams from it and can take over.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{User, geteuid};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Client;
use usertap::db::embedded::{Embedded, Search};
use usertap::tasks::Tasks;

use super::{eventually, free_port, postgres};

/// Both are gone with it.
pub struct Pair {
    pub primary: Embedded,
    pub standby: Standby,
    _folder: Folder,
}

/// A server that ends with this.
pub struct Standby {
    process: Child,
    pub port: u16,
    url: url::Url,
}

struct Folder(PathBuf);

impl Pair {
    /// The standby has got all that there is.
    pub async fn start() -> Pair {
        let folder = Folder::new();
        let at = folder.0.join("primary");
        // At rest a cluster can simply be copied.
        let first = durable(&at).await;
        let (data, programs) = (first.folder().join("data"), program_of(&first));
        drop(first);
        eventually("the server has ended", || async {
            (!data.join("postmaster.pid").exists()).then_some(())
        })
        .await;
        let copy = folder.0.join("standby");
        copied(&data, &copy);
        let primary = durable(&at).await;
        let standby = Standby::start(&programs, &copy, &primary);
        let client = eventually("the standby answers", || async { standby.try_client().await }).await;
        let pair = Pair {
            primary,
            standby,
            _folder: folder,
        };
        pair.has_got_all(&client).await;
        pair
    }

    /// Everything that is committed so far.
    pub async fn has_got_all(&self, standby: &Client) {
        let primary = postgres::client(&self.primary.url("postgres")).await;
        let now = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await;
        let now: String = now.expect("a position").get(0);
        let replayed = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{now}', false)");
        eventually("the standby has got all", || async {
            let row = standby.query_one(&replayed, &[]).await.expect("an answer");
            row.get::<_, bool>(0).then_some(())
        })
        .await;
    }
}

impl Standby {
    fn start(program: &Path, data: &Path, primary: &Embedded) -> Standby {
        let of_primary: url::Url = primary.url("postgres").expose_secret().parse().expect("a URL");
        let (user, password) = (of_primary.username(), of_primary.password().unwrap_or_default());
        let from = format!(
            "\nprimary_conninfo = 'host=127.0.0.1 port={} user={user} password={password}'\n",
            primary.port()
        );
        let conf = data.join("postgresql.auto.conf");
        let before = fs::read_to_string(&conf).unwrap_or_default();
        fs::write(&conf, before + &from).expect("a setting");
        fs::write(data.join("standby.signal"), "").expect("a sign");
        give(&data.join("standby.signal"), 0o600);
        let port = free_port();
        let mut url = of_primary;
        url.set_port(Some(port)).expect("a port");
        let process = postgres_on(program, data, port);
        Standby { process, port, url }
    }

    pub fn url(&self) -> SecretString {
        self.url.to_string().into()
    }

    async fn try_client(&self) -> Option<Client> {
        let (client, connection) = tokio_postgres::connect(self.url.as_str(), tokio_postgres::NoTls)
            .await
            .ok()?;
        Tasks::default().spawn(connection);
        Some(client)
    }

    /// From here on it gets nothing.
    pub async fn falls_behind(&self) {
        let client = postgres::client(&self.url()).await;
        for statement in [
            "ALTER SYSTEM SET primary_conninfo = ''",
            "SELECT pg_reload_conf()",
        ] {
            client.batch_execute(statement).await.expect("a setting");
        }
        eventually("the stream has ended", || async {
            let streams = "SELECT count(*) FROM pg_stat_wal_receiver";
            let streams = client.query_one(streams, &[]).await.expect("an answer");
            (streams.get::<_, i64>(0) == 0).then_some(())
        })
        .await;
    }

    pub async fn takes_over(&self) {
        let client = postgres::client(&self.url()).await;
        let promoted = client.query_one("SELECT pg_promote(true, 60)", &[]).await;
        assert!(promoted.expect("an answer").get::<_, bool>(0), "it is promoted");
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("usertap-pair-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("a mode");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server as users have it: what it commits is on its disk.
pub async fn durable(at: &Path) -> Embedded {
    let at = at.to_path_buf();
    let started = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&at).expect("a folder");
        Embedded::durable(&Search::from_os(), &at)
    });
    started
        .await
        .expect("no panic")
        .expect("a Postgres for the tests")
}

/// The very program that runs.
pub fn program_of(server: &Embedded) -> PathBuf {
    let pid = fs::read_to_string(server.folder().join("data/postmaster.pid")).expect("a running server");
    let pid = pid.lines().next().expect("its number").to_owned();
    let ps = Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid])
        .output()
        .expect("ps");
    let line = String::from_utf8_lossy(&ps.stdout).into_owned();
    line.split(" -D ").next().expect("a program").trim().into()
}

fn copied(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .expect("cp");
    assert!(copied.success());
}

/// As Postgres' own account, where root runs the tests.
fn account() -> Option<User> {
    let known = |name| User::from_name(name).ok().flatten();
    geteuid()
        .is_root()
        .then(|| known("postgres").or_else(|| known("nobody")).expect("an account"))
}

pub fn give(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    if let Some(user) = account() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("an owner");
    }
}

fn postgres_on(program: &Path, data: &Path, port: u16) -> Child {
    let log = File::create(data.with_extension("log")).expect("a log");
    let mut postgres = Command::new(program);
    postgres.arg("-D").arg(data);
    for setting in [
        &*format!("port={port}"),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "hot_standby=on",
    ] {
        postgres.args(["-c", setting]);
    }
    if let Some(user) = account() {
        postgres.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    postgres
        .current_dir("/")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a standby")
}
