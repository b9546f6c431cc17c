//! The embedded Postgres on this machine: one server per folder, ended with its last user, data kept.

mod accounts;
mod fetching;
mod stopping;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use secrecy::ExposeSecret;
use usertap::clock;
use usertap::db::embedded::{Embedded, Search};

use support::*;

/// Nobody's user id.
const UNKNOWN: u32 = 4_242_424;

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
    assert_eq!(mode(&server.password_file()), 0o600);
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
fn its_address_and_its_passwords_file_are_enough_to_reach_it() {
    let dir = Temp::new();
    let server = durable(&dir);
    let password = fs::read_to_string(server.password_file()).unwrap();
    assert!(!server.address().contains(&password), "the address may be logged");
    let url = server.address().replace("@", &format!(":{password}@"));
    assert_eq!(query(&url, "select current_user").unwrap(), ["usertap"]);
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
    for after in [100, 700] {
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
    wait("it to be gone", || crashed.has_ended());
    let again = durable(&dir);
    assert_eq!(again.port(), crashed.port(), "whoever used it finds it again");
    drop(again);
    assert_eq!(
        sql(&crashed, "select n from kept"),
        ["1"],
        "and counts as its user"
    );
    assert!(!crashed.has_ended());
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

/// Root's, whose data lie elsewhere: an empty database in their place would look like a loss.
#[test]
fn data_that_lie_elsewhere_are_found_again_from_a_folder_that_was_moved_or_opened() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("only root's server runs as another account");
    }
    let parent = Temp::new();
    let closed = |folder: &Path, mode| fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    closed(parent.path(), 0o700);
    let of = |folder: &str| Temp(parent.path().join(folder));
    let (one, two, copy) = (of("one"), of("two"), of("copy"));
    let server = durable(&one);
    let elsewhere = Temp(server.folder().parent().unwrap().to_path_buf());
    let is_kept = |server: &Embedded| sql(server, "select n from kept") == ["42"];
    sql(&server, "create table kept (n int); insert into kept values (42)");

    fs::rename(one.path(), two.path()).unwrap();
    assert!(is_kept(&durable(&two)), "moved");
    closed(parent.path(), 0o755);
    assert!(is_kept(&durable(&two)), "moved and opened");
    assert!(Embedded::is_there(two.path()));
    // Whoever works on a copy must not write into the first.
    fs::create_dir(copy.path()).unwrap();
    fs::copy(two.path().join("embedded"), copy.path().join("embedded")).unwrap();
    assert!(!Embedded::is_there(copy.path()));
    let other = durable(&copy);
    assert!(!other.is_relocated() && !is_kept(&other), "copied");
    drop((server, other));

    // Its own data lie in the copy: closed again, it has no other.
    closed(parent.path(), 0o700);
    let closed_off = Embedded::durable(&Search::from_os(), copy.path()).expect_err("nobody reaches it");
    assert!(closed_off.to_string().contains("chmod o+x"), "{closed_off}");
    drop(elsewhere);
}

#[test]
fn an_account_without_a_name_is_told_that_postgres_wants_one() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("only root can be somebody whom nobody knows");
    }
    let dir = Temp::new();
    chown(dir.path(), Some(UNKNOWN), Some(UNKNOWN)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", &UNKNOWN.to_string(), "--clear-groups"])
        .args([env!("CARGO_BIN_EXE_usertap"), "migrate"])
        .current_dir(dir.path())
        .envs([
            ("DATABASE_URL", "embedded"),
            ("STACK_PROJECT_ID", "3c2a4b9e-0000-4000-8000-000000000001"),
        ])
        .env("STACK_SECRET_SERVER_KEY", "ssk_1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["user id 4242424 has none", "/etc/passwd", "DATABASE_URL"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
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
