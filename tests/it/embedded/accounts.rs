//! As whom a server runs whom root starts, and what that account can make root do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::unistd::User;
use usertap::db::embedded::{Embedded, Search};

use super::support::*;
use crate::processes::World;
use crate::support::process::Process;

/// For `setpriv`.
const AS_NOBODY: [&str; 5] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    env!("CARGO_BIN_EXE_usertap"),
    "migrate",
];

/// Of whoever acts as the server's account: it may do in the folder what it likes.
#[test]
fn root_follows_no_link_of_the_servers_account() {
    if !is_root() {
        return;
    }
    let dir = Temp::new();
    let victim = dir.path().join("victim");
    let is_harmed = || {
        let found = fs::metadata(&victim).unwrap();
        fs::read(&victim).unwrap() != b"root's own" || found.uid() != 0 || mode(&victim) != 0o644
    };
    let folder = at_rest(&dir);
    let harmful = ["server.log", "port", "password", "start.lock", "users"]
        .into_iter()
        .filter(|name| {
            let (at, kept) = (folder.join(name), folder.join("kept"));
            let _ = fs::remove_file(&victim);
            fs::write(&victim, "root's own").unwrap();
            fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
            fs::rename(&at, &kept).unwrap();
            symlink(&victim, &at).unwrap();
            let started = Embedded::durable(&Search::from_os(), dir.path());
            let is_harmed = is_harmed();
            drop(started.map(ended));
            fs::rename(&kept, &at).unwrap();
            is_harmed
        });
    assert_eq!(harmful.collect::<Vec<_>>(), [""; 0]);
    assert_eq!(sql(&durable(&dir), "select 1"), ["1"]);
}

#[test]
fn a_lock_that_is_a_second_name_of_roots_file_is_refused() {
    if !is_root() {
        return;
    }
    let dir = Temp::new();
    let (lock, other) = (at_rest(&dir).join("start.lock"), dir.path().join("other"));
    fs::remove_file(&lock).unwrap();
    fs::write(&other, "").unwrap();
    fs::hard_link(&other, &lock).unwrap();
    let error = Embedded::durable(&Search::from_os(), dir.path()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("start.lock") && said.contains("remove it"),
        "{said}"
    );
}

#[tokio::test]
async fn an_ordinary_users_server_stays_its_own_whatever_root_runs_there() {
    if !is_root() {
        return;
    }
    let (world, dir) = (World::with_users(0).await, Temp::new());
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let settings = [world.settings(), embedded_in(&dir)].concat();
    let usertap = env!("CARGO_BIN_EXE_usertap");
    for (program, args) in [
        ("setpriv", &AS_NOBODY[..]),
        (usertap, &["doctor"]),
        (usertap, &["migrate"]),
        ("setpriv", &AS_NOBODY),
    ] {
        let process = Process::run(program, world.folder.path(), args, &settings);
        process.ended().await.with_code(0);
        let folder = folder_in(&dir);
        assert_eq!(fs::metadata(&folder).unwrap().uid(), NOBODY, "after {args:?}");
        wait("the server to end", || processes_of(dir.path()).is_empty());
    }
}

#[tokio::test]
async fn data_that_cannot_be_looked_at_get_no_empty_database_beside_them() {
    if !is_root() {
        return;
    }
    let (world, dir) = (World::with_users(0).await, Temp::new());
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let closed = dir.path().join("postgres-1");
    fs::create_dir_all(closed.join("data")).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let settings = [world.settings(), embedded_in(&dir)].concat();
    let process = Process::run("setpriv", world.folder.path(), &AS_NOBODY, &settings);
    let ended = process.ended().await;
    ended.failed_saying(&["postgres-1", "Permission denied", "permissions"]);
    assert_eq!(folder_in(&dir), closed);
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
}

#[test]
fn data_decide_as_whom_roots_server_runs() {
    if !is_root() {
        return;
    }
    let Some(other) = User::from_name("daemon").unwrap() else {
        return eprintln!("there is no account `daemon` here");
    };
    let dir = Temp::new();
    let first = durable(&dir);
    sql(&first, "create table kept (n int); insert into kept values (42)");
    let folder = ended(first);
    for uid in [other.uid.as_raw(), super::UNKNOWN] {
        belongs_to(&folder, uid);
        let again = durable(&dir);
        assert_eq!(sql(&again, "select n from kept"), ["42"], "as {uid}");
        ended(again);
        assert_eq!(fs::metadata(folder.join("server.log")).unwrap().uid(), uid);
    }
}

#[test]
fn data_that_nobody_may_run_name_whose_they_are_and_the_remedy() {
    if !is_root() {
        return;
    }
    let dir = Temp::new();
    let folder = at_rest(&dir);
    let refused = || {
        let started = Embedded::durable(&Search::from_os(), dir.path());
        started.unwrap_err().to_string()
    };
    belongs_to(&folder, 0);
    let of_root = refused();
    assert!(
        of_root.contains("root") && of_root.contains("chown -R"),
        "{of_root}"
    );
    belongs_to(&folder.join("data"), NOBODY);
    chown(&folder, Some(super::UNKNOWN), None).unwrap();
    let of_two = refused();
    for part in ["user id 4242424", "nobody", "chown -R nobody"] {
        assert!(of_two.contains(part), "{part} in\n{of_two}");
    }
}

/// As services often run.
#[test]
fn files_that_are_nobody_elses_by_default_keep_no_server_from_its_account() {
    if !is_root() {
        return;
    }
    let dir = Temp::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let fresh = dir.path().join("fresh");
    let mut holder = Holder::start_masked(fresh.to_str().unwrap());
    let relocated = Temp(holder.folder.parent().unwrap().to_path_buf());
    assert_eq!(relocated.path().parent(), Some(Path::new("/var/lib/usertap")));
    assert_eq!(query(&holder.url, "select 1").unwrap(), ["1"]);
    holder.kill();
    wait("the server to end", || is_gone(holder.port, &holder.folder));
}
