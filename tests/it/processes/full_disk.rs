//! A disk that is really full: a small file system of its own beneath `DATA_DIR`.

use std::path::PathBuf;
use std::process::Command;

use ::http::Method;
use serde_json::json;

use super::{Server, World, recorded, through_a_relay};
use crate::support::eventually;
use crate::support::process::{Process, Settings, setting};

/// Room for the journal and the notes of writes, and not for much more.
const MOUNTS: &str = "mount -t tmpfs -o size=40m none \"$0\" && exec \"$@\"";

/// Whether this user may mount in a namespace of its own.
fn may_mount() -> bool {
    let mut unshare = Command::new("unshare");
    let tried = unshare
        .args(["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// A `serve` whose folder is the small file system, and that folder as this process sees it.
async fn serve(world: &World, also: &Settings) -> (Server, PathBuf) {
    let disk = world.folder.path().join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let disk = disk.display().to_string();
    let settings: Settings = world.settings().into_iter().chain(also.iter().cloned()).collect();
    let settings: Settings = settings
        .into_iter()
        .chain([setting("USERTAP_DATA_DIR", &disk)])
        .collect();
    let args = [
        "-Urm",
        "sh",
        "-c",
        MOUNTS,
        &disk,
        env!("CARGO_BIN_EXE_usertap"),
        "serve",
    ];
    let process = Process::run("unshare", world.folder.path(), &args, &settings);
    let inside = PathBuf::from(format!("/proc/{}/root{disk}", process.pid()));
    (Server::of(process).await, inside)
}

#[tokio::test]
async fn a_full_disk_is_told_traffic_flows_and_it_mends_itself() {
    if !may_mount() {
        println!("SKIPPED: this user may not mount a small file system (unshare -Urm)");
        return;
    }
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let (server, disk) = serve(&world, &vec![setting("DATABASE_URL", &url)]).await;
    let ada = server.known(&world, "Ada").await;
    let filler = disk.join("filler");
    // It ends by itself: there is no more room.
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    relay.close();
    let queued = server.create(&world, "Grace").await;
    assert_eq!(
        (queued.status.as_u16(), recorded(&queued).as_str()),
        (201, "queued")
    );
    let renamed = json!({ "display_name": "Ada L" });
    let path = format!("/users/{ada}");
    let renamed = server.ask(&world, Method::PATCH, &path, &renamed).await;
    assert_eq!(
        (renamed.status.as_u16(), recorded(&renamed).as_str()),
        (200, "queued")
    );
    server.names(&["no storage space", "make room"]).await;
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    eventually("what waits is journaled", || async {
        let recorder = server.status().await["recorder"].clone();
        let journal = &recorder["journal"];
        (journal["trouble"].is_null() && journal["waiting"] == recorder["waiting"]).then_some(())
    })
    .await;
    assert_eq!(recorded(&server.create(&world, "Emmy").await), "journaled");
    relay.open();
    eventually("it is drained", || async {
        let status = server.status().await;
        (status["recorder"]["waiting"] == 0 && status["problems"] == json!([])).then_some(())
    })
    .await;
    // The provider's answer to a new user is not its last word: a read of Ada was owed, and an app's
    // change that crosses it is followed by another.
    world.owes_nothing().await;
    world.assert_all_there().await;
    server.stop().await;
}

/// Nothing waits any more, and still somebody looks whether there is room again.
#[tokio::test]
async fn a_disk_freed_after_the_outage_is_noticed_while_the_database_is_well() {
    if !may_mount() {
        println!("SKIPPED: this user may not mount a small file system (unshare -Urm)");
        return;
    }
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let (server, disk) = serve(&world, &vec![setting("DATABASE_URL", &url)]).await;
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    relay.close();
    assert_eq!(recorded(&server.create(&world, "Ada").await), "queued");
    server.names(&["no storage space", ".segment"]).await;
    server.names(&["database-away", "`queued`"]).await;
    relay.open();
    eventually("the database is back", || async {
        let status = server.status().await;
        (status["recorder"]["waiting"] == 0).then_some(())
    })
    .await;
    assert_eq!(recorded(&server.create(&world, "Grace").await), "committed");
    server.names(&["no storage space"]).await;
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    server.has_no_problem().await;
    server.stop().await;
}
