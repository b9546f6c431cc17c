//! As whom a server runs whom root starts, and what that account can make root do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use usertap::db::embedded::{Embedded, Search};

use super::support::*;

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
