//! Processes that hold a server, and what can be seen of one from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use secrecy::ExposeSecret;
use tokio_postgres::NoTls;
use usertap::clock;
use usertap::db::embedded::{Embedded, Search};

use crate::support::process::{Settings, setting};

pub(super) const HOLD: &str = "USERTAP_TEST_HOLD";
pub(super) const EPHEMERAL: &str = "ephemeral";
pub(super) const NOBODY: u32 = 65_534;
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn holder(what: &str) -> Child {
    held_by(&mut Command::new(std::env::current_exe().unwrap()), what)
}

fn held_by(program: &mut Command, what: &str) -> Child {
    program
        .args(["--ignored", "--exact", "embedded::hold", "--nocapture"])
        .env(HOLD, what)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Another process that holds a server.
pub(super) struct Holder {
    process: Child,
    pub(super) port: u16,
    pub(super) folder: PathBuf,
    pub(super) url: String,
}

impl Holder {
    pub(super) fn start(what: &str) -> Holder {
        Holder::of(holder(what))
    }

    /// Whose files are nobody else's unless it says so.
    pub(super) fn start_masked(what: &str) -> Holder {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"umask 077; exec "$0" "$@""#]);
        Holder::of(held_by(shell.arg(std::env::current_exe().unwrap()), what))
    }

    fn of(mut process: Child) -> Holder {
        let lines = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let line = lines
            .into_iter()
            .find(|line| line.starts_with("holds "))
            .expect("the child holds a server");
        let mut words = line.split(' ').skip(1);
        let mut word = || words.next().unwrap().to_string();
        Holder {
            process,
            port: word().parse().unwrap(),
            folder: word().into(),
            url: word(),
        }
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn durable(dir: &Temp) -> Embedded {
    Embedded::durable(&Search::from_os(), dir.path()).unwrap()
}

/// The first column of each row, of the last statement that has any; empty where it fails.
pub(super) fn sql(server: &Embedded, statements: &str) -> Vec<String> {
    query(server.url("postgres").expose_secret(), statements).unwrap_or_default()
}

pub(super) fn query(url: &str, statements: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let answer = async {
            let messages = client.simple_query(statements).await;
            drop(client);
            messages
        };
        let (messages, _) = tokio::join!(answer, connection);
        let rows = messages?.into_iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_string()),
            _ => None,
        });
        Ok(rows.collect())
    })
}

/// Root alone runs a server as another account.
pub(super) fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("only root's server runs as another account");
    }
    is_root
}

pub(super) fn belongs_to(path: &Path, uid: u32) {
    let owner = format!("{uid}:{uid}");
    let status = Command::new("chown").args(["-R", &owner]).arg(path).status();
    assert!(status.unwrap().success());
}

/// The settings of one in this data folder.
pub(super) fn embedded_in(dir: &Temp) -> Settings {
    vec![
        setting("DATABASE_URL", "embedded"),
        setting("USERTAP_DATA_DIR", dir.path().display()),
    ]
}

/// The folder of the one server of a data folder.
pub(super) fn folder_in(dir: &Temp) -> PathBuf {
    let entries = dir.path().read_dir().unwrap().flatten();
    let mut servers = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("postgres-"));
    servers.next().expect("a server's folder").path()
}

/// Starts the server once and ends it; its folder.
pub(super) fn at_rest(dir: &Temp) -> PathBuf {
    ended(durable(dir))
}

pub(super) fn ended(server: Embedded) -> PathBuf {
    let (port, folder) = (server.port(), server.folder().to_path_buf());
    drop(server);
    wait("the server to end", || is_gone(port, &folder));
    folder
}

pub(super) fn is_gone(port: u16, folder: &Path) -> bool {
    !connects(port) && !folder.join("data/postmaster.pid").exists()
}

pub(super) fn connects(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

pub(super) fn postmaster(folder: &Path) -> Pid {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
}

/// The processes of the server's group except the server: the shells that watch it.
pub(super) fn watchdog_of(server: Pid) -> Vec<Pid> {
    let output = Command::new("ps")
        .args(["-eo", "pid=,pgid=,stat=,comm="])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let number = server.to_string();
    let group = rows.iter().find(|row| row[0] == number).expect("the server runs")[1];
    let of_group = rows.iter().filter(|row| {
        row[1] == group && row[0] != number && !row[2].starts_with('Z') && row[3] != "postgres"
    });
    of_group
        .map(|row| Pid::from_raw(row[0].parse().unwrap()))
        .collect()
}

/// Whose command line names the folder.
pub(super) fn processes_of(folder: &Path) -> Vec<String> {
    let output = Command::new("ps").args(["-ww", "-eo", "args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.contains(folder.to_str().unwrap()))
        .map(String::from)
        .collect()
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(super) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = clock::now() + DEADLINE;
    while !done() {
        assert!(clock::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A folder of the test's own, removed with it.
pub(super) struct Temp(pub(super) PathBuf);

impl Temp {
    pub(super) fn new() -> Temp {
        let dir = std::env::temp_dir().join(format!("usertap-test-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Temp(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temp {
    /// Only once its servers have ended: one whose files vanish while it stops is slow to.
    fn drop(&mut self) {
        let end = clock::now() + DEADLINE;
        while !processes_of(&self.0).is_empty() && clock::now() < end {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}
