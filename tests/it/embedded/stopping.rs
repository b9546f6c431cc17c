//! What a server's end and its start are to survive: signals to all at once, a crash that takes long to mend, a power cut.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use usertap::clock;
use usertap::db::embedded::{Embedded, Search};
use usertap::sandbox::{Action, Fault, Gate};

use super::support::*;
use crate::processes::{Server, World};
use crate::support::eventually;
use crate::support::process::setting;
use crate::support::standby::program_of;

#[test]
fn a_server_ends_though_its_folder_takes_no_word_of_it() {
    let dir = Temp::new();
    let closing = at_rest(&dir).join("closing");
    let _ = fs::remove_file(&closing);
    fs::create_dir(&closing).unwrap();
    ended(durable(&dir));
}

/// As systemd stops a service.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_tells_every_process_starts_no_server_again() {
    let (world, dir) = (World::with_users(1).await, Temp::new());
    let server = Server::of(world.start_with(&["serve"], &embedded_in(&dir))).await;
    let path = format!("/users/{}", world.control().ids(0)[0]);
    let gate = Gate::new();
    world
        .control()
        .fault(Fault::on(&path, Action::HoldBefore(gate.clone())));
    let postmaster = postmaster(&folder_in(&dir));
    let told = async {
        gate.reached().await;
        let watchdog = watchdog_of(postmaster);
        assert_eq!(watchdog.len(), 2);
        for pid in watchdog.into_iter().chain([postmaster]) {
            kill(pid, Signal::SIGTERM).unwrap();
        }
        server.process.signal(Signal::SIGTERM);
        // It looks for its server every second.
        let looked = clock::now() + Duration::from_secs(3);
        eventually("it would have seen", || async {
            (clock::now() >= looked).then_some(())
        })
        .await;
        gate.release();
    };
    let (reply, ()) = tokio::join!(server.get(&world, &path), told);
    assert_eq!(reply.status.as_u16(), 200);
    let log = server.process.ended().await.with_code(0).log();
    assert!(!log.contains("started again"), "{log}");
    wait("no process to be left", || processes_of(dir.path()).is_empty());
}

#[tokio::test]
async fn a_server_that_takes_long_to_recover_is_waited_for() {
    let (world, dir) = (World::with_users(0).await, Temp::new());
    let first = durable(&dir);
    let real = program_of(&first);
    ended(first);
    let mut settings = embedded_in(&dir);
    settings.push(setting("USERTAP_PG_BIN", recovering(&dir, &real).display()));
    settings.push(setting("FAILPOINTS", "postgres-up=1000ms"));
    let migrate = world.start_with(&["migrate"], &settings);
    migrate.line("still recovers").await;
    fs::write(dir.path().join("recovered"), "").unwrap();
    migrate.ended().await.with_code(0);
}

/// Programs whose server is not ready before there is a file `recovered` in the folder.
fn recovering(dir: &Temp, real: &Path) -> PathBuf {
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(real.with_file_name("initdb"), bin.join("initdb")).unwrap();
    let (dir, real, program) = (dir.path().display(), real.display(), bin.join("postgres"));
    let script = format!(
        r#"#!/bin/sh
        if [ "$1" = -D ]; then
            printf '%s\n' $$ "$2" 1 0 '' 127.0.0.1 '' starting >"$2/postmaster.pid"
            until [ -e {dir}/recovered ]; do [ -e {dir} ] || exit 1; sleep 0.1; done
        fi
        exec {real} "$@"
        "#
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

/// As a power cut can leave it.
#[test]
fn a_lost_password_is_told_with_the_way_out() {
    let dir = Temp::new();
    let password = at_rest(&dir).join("password");
    File::options()
        .write(true)
        .truncate(true)
        .open(&password)
        .unwrap();
    let error = Embedded::durable(&Search::from_os(), dir.path()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains(password.to_str().unwrap()), "{said}");
    assert!(processes_of(dir.path()).is_empty(), "none is started in vain");

    // The way out, as it stands there.
    let command = said.split('`').nth(1).expect("a command").replace("NEW", "n3w");
    let owner = fs::metadata(&password).unwrap();
    let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
    let mut shell = match is_root() {
        true => Command::new("setpriv"),
        false => Command::new("env"),
    };
    if is_root() {
        shell.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
    }
    let mended = shell
        .args(["sh", "-c", &command])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(mended.status.success(), "{mended:?}");
    assert_eq!(sql(&durable(&dir), "select 1"), ["1"]);
}
