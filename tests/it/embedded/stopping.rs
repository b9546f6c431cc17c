//! What a server's end and its start are to survive: signals to all at once.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use usertap::clock;
use usertap::sandbox::{Action, Fault, Gate};

use super::support::*;
use crate::processes::{Server, World};
use crate::support::eventually;

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
