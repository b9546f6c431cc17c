//! What was told while the database was away survives `kill -9`, and is there once it is back.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ::http::Method;
use serde_json::json;

use super::{Server, World, id_of, recorded, through_a_relay};
use crate::support::process::{Process, setting};
use crate::support::relay::Relay;
use crate::support::{eventually, now};

impl World {
    fn segments(&self) -> Vec<PathBuf> {
        self.segments_at(".usertap")
    }

    fn segments_at(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.folder.path().join(folder).join("journal");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "segment"))
            .collect()
    }

    async fn serve_through_a_relay(&self) -> (Relay, [(String, String); 1], Server) {
        let (relay, url) = through_a_relay(self).await;
        relay.open();
        let through = [setting("DATABASE_URL", &url)];
        let server = Server::of(self.start_with(&["serve"], &through)).await;
        (relay, through, server)
    }

    /// A process told of a change and of somebody new while the database was away, and was killed.
    async fn leaves_a_journal(&self, new: &str) -> (Relay, [(String, String); 1], [uuid::Uuid; 2]) {
        let (relay, through, server) = self.serve_through_a_relay().await;
        let ada = server.known(self, "Ada").await;
        relay.close();
        assert_eq!(server.rename(self, ada, "Ada L").await, "journaled");
        let new = server.known(self, new).await;
        server.process.killed().await;
        (relay, through, [ada, new])
    }

    /// Nothing waits in the journal, no read is owed, and the table is the provider's.
    pub(super) async fn comes_to_rest(&self, server: &Server) {
        self.comes_to_rest_at(".usertap", server).await;
    }

    /// The same of a process with another folder.
    pub(super) async fn comes_to_rest_at(&self, folder: &str, server: &Server) {
        eventually("the journal is drained and nothing is owed", || async {
            let status = server.status().await;
            let waits =
                status["recorder"]["waiting"].as_u64() != Some(0) || !self.segments_at(folder).is_empty();
            (!waits && self.owed().await == 0).then_some(())
        })
        .await;
        self.assert_all_there().await;
    }
}

impl Server {
    async fn rename(&self, world: &World, id: uuid::Uuid, name: &str) -> String {
        let body = json!({ "display_name": name });
        let reply = self
            .ask(world, Method::PATCH, &format!("/users/{id}"), &body)
            .await;
        recorded(&reply)
    }
}

/// It has no connection that could break, and nothing is asked on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_beside_a_database_that_stands_still_waits_for_it_once() {
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let through = [setting("DATABASE_URL", &url)];
    Server::of(world.start_with(&["serve"], &through))
        .await
        .stop()
        .await;
    relay.freeze();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    let first = server.create(&world, "first").await;
    assert_eq!(recorded(&first), "journaled");
    let mut took = Vec::new();
    for _ in 0..8 {
        let began = now();
        assert_eq!(recorded(&server.create(&world, "next").await), "journaled");
        took.push(began.elapsed());
    }
    // On a busy machine some take as long for other reasons.
    let waited = took
        .iter()
        .filter(|took| **took >= Duration::from_secs(2))
        .count();
    assert!(waited <= 3, "answers that wait for a connection: {took:?}");
    relay.open();
    eventually("the rows come", || async {
        (world.rows().await == 9).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_told_survives_kills_during_an_outage() {
    let world = World::with_users(0).await;
    let (relay, through, server) = world.serve_through_a_relay().await;
    let known = server.known(&world, "Known").await;
    let gone = server.known(&world, "Gone").await;
    relay.close();
    assert_eq!(server.rename(&world, known, "1").await, "journaled");
    let first = server.create(&world, "First").await;
    assert_eq!(recorded(&first), "journaled");
    server.process.killed().await;
    // It starts without the database, goes on where it was, and is killed again.
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    eventually("it knows that the database is away", || async {
        server.readyz().await.contains("degraded").then_some(())
    })
    .await;
    assert_eq!(server.rename(&world, known, "2").await, "journaled");
    assert_eq!(server.rename(&world, id_of(&first), "Firstly").await, "journaled");
    let path = format!("/users/{gone}");
    assert_eq!(
        recorded(&server.ask(&world, Method::DELETE, &path, &json!({})).await),
        "journaled"
    );
    let waiting = server.status().await["recorder"].clone();
    let waiting = waiting["journal"]["waiting"].as_u64().unwrap();
    // And what it read again by itself.
    assert!(waiting >= 5, "{waiting}");
    server.process.killed().await;
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    world.comes_to_rest(&server).await;
    assert_eq!(world.name(known).await.as_deref(), Some("2"));
    let deleted = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{gone}' AND deleted_at IS NOT NULL"
    );
    assert_eq!(world.count(&deleted).await, 1);
    assert_eq!(server.rename(&world, known, "3").await, "committed");
    assert_eq!(server.status().await["problems"], json!([]));
    server.stop().await;
}

/// Committed, and killed before the journal knows: it comes again, behind what others have written since.
#[tokio::test]
async fn what_comes_again_from_the_journal_takes_nothing_back() {
    let world = World::with_users(0).await;
    let (relay, through, [ada, grace]) = world.leaves_a_journal("Grace").await;
    relay.open();
    let killed = [&through[..], &[setting("FAILPOINTS", "writer.committed=1")]].concat();
    let ended = world.start_with(&["serve"], &killed).ended().await;
    assert_eq!(ended.code, None, "{:#?}", ended.output);
    assert!(!world.segments().is_empty(), "it waits to come again");
    let folder = world.folder.path().join("other");
    let other = [setting("USERTAP_DATA_DIR", folder.display())];
    let other = Server::of(world.start_with(&["serve"], &other)).await;
    assert_eq!(other.rename(&world, ada, "Countess").await, "committed");
    let path = format!("/users/{grace}");
    let gone = other.ask(&world, Method::DELETE, &path, &json!({})).await;
    assert_eq!(recorded(&gone), "committed");
    other.stop().await;
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    world.comes_to_rest(&server).await;
    let told =
        format!("SELECT string_agg(name, ', ' ORDER BY position) FROM usertap.changes WHERE id = '{ada}'");
    let told: String = world.client.query_one(&told, &[]).await.unwrap().get(0);
    assert_eq!(told, "Ada, Ada L, Countess");
    let raised =
        format!("SELECT count(*) FROM neon_identity.users_sync WHERE id = '{grace}' AND deleted_at IS NULL");
    assert_eq!(world.count(&raised).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_while_the_database_is_away_leaves_what_waits_to_the_journal() {
    what_waits_is_left_to_the_journal(Relay::close).await;
}

/// Its connections are there, and nothing comes on them.
#[tokio::test]
async fn a_stop_while_the_database_stands_still_leaves_what_waits_to_the_journal() {
    what_waits_is_left_to_the_journal(Relay::silence).await;
}

/// Well before `DRAIN` is over; what waits behind the same user's first change is left with it.
async fn what_waits_is_left_to_the_journal(without: impl FnOnce(&Relay)) {
    let world = World::with_users(0)
        .await
        .and("USERTAP_DRAIN", "25s")
        .and("USERTAP_SYNC_TIMEOUT", "2s");
    let (relay, through, server) = world.serve_through_a_relay().await;
    let ada = server.known(&world, "Ada").await;
    without(&relay);
    for name in ["1", "2"] {
        assert_eq!(server.rename(&world, ada, name).await, "journaled");
    }
    let log = server.stop().await.log();
    assert!(log.contains("what is left waits in the journal"), "{log}");
    assert!(!log.contains("DRAIN"), "{log}");
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    world.comes_to_rest(&server).await;
    assert_eq!(world.name(ada).await.as_deref(), Some("2"));
    server.stop().await;
}

#[tokio::test]
async fn a_commit_that_hangs_is_journaled_and_survives_a_kill() {
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
    let (relay, through, server) = world.serve_through_a_relay().await;
    eventually("one is committed in time", || async {
        (recorded(&server.create(&world, "Ada").await) == "committed").then_some(())
    })
    .await;
    relay.silence();
    // The first hangs in its transaction, the second waits behind it.
    for name in ["Grace", "Emmy"] {
        assert_eq!(recorded(&server.create(&world, name).await), "journaled");
    }
    server.process.killed().await;
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    world.comes_to_rest(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn it_is_its_owners_alone_holds_no_key_and_goes_once_drained() {
    let world = World::with_users(0).await;
    let (relay, _, server) = world.serve_through_a_relay().await;
    relay.close();
    let sign_up = json!({ "email": "new@example.com", "password": "correct horse battery" });
    let signed_up = server
        .ask_as_client(&world, "/auth/password/sign-up", &sign_up)
        .await;
    assert_eq!(recorded(&signed_up), "journaled");
    server.create(&world, "Ada").await;
    let secrets = [
        signed_up.json()["access_token"].clone(),
        signed_up.json()["refresh_token"].clone(),
        json!("correct horse battery"),
        json!(
            world
                .settings()
                .iter()
                .find(|(name, _)| name == "STACK_SECRET_SERVER_KEY")
                .unwrap()
                .1
        ),
    ];
    for path in world.segments() {
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(text.contains("Ada"));
        for secret in &secrets {
            assert!(!text.contains(secret.as_str().unwrap()));
        }
    }
    relay.open();
    world.comes_to_rest(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told_and_traffic_flows() {
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let data = world.folder.path().join(".usertap");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("journal"), "in the way").unwrap();
    let server = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url)])).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    relay.close();
    let queued = server.create(&world, "Grace").await;
    assert_eq!(
        (queued.status.as_u16(), recorded(&queued).as_str()),
        (201, "queued")
    );
    server.names(&["journal in DATA_DIR cannot be written"]).await;
    // Mended while it runs: what waits in memory goes there.
    std::fs::remove_file(data.join("journal")).unwrap();
    eventually("it is journaled", || async {
        let journal = server.status().await["recorder"]["journal"].clone();
        (journal["waiting"].as_u64() > Some(0)).then_some(())
    })
    .await;
    assert_eq!(recorded(&server.create(&world, "Emmy").await), "journaled");
    // Removed while it runs: what is in memory too is written anew.
    std::fs::remove_dir_all(data.join("journal")).unwrap();
    assert_eq!(recorded(&server.create(&world, "Mary").await), "journaled");
    server.process.killed().await;
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url)])).await;
    world.comes_to_rest(&server).await;
    server.stop().await;
}

/// A folder that could not be read at the start is looked at again while the database is well, and what
/// is found in it late is taken in.
#[tokio::test]
async fn a_folder_mended_while_the_database_is_well_gives_what_it_holds() {
    let world = World::with_users(0).await;
    let (relay, through, [ada, grace]) = world.leaves_a_journal("Grace").await;
    let data = world.folder.path().join(".usertap");
    let (journal, kept, aside) = (data.join("journal"), data.join("kept"), data.join("aside"));
    std::fs::rename(&journal, &kept).unwrap();
    std::fs::write(&journal, "in the way").unwrap();
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    server.names(&["journal in DATA_DIR cannot be written"]).await;
    assert_eq!(recorded(&server.create(&world, "Emmy").await), "committed");
    // At once, as usertap would make a folder where there is none.
    std::os::unix::fs::symlink(&kept, &aside).unwrap();
    std::fs::rename(&aside, &journal).unwrap();
    eventually("what it holds is written", || async {
        let names = (world.name(ada).await, world.name(grace).await);
        (names == (Some("Ada L".to_owned()), Some("Grace".to_owned()))).then_some(())
    })
    .await;
    server.has_no_problem().await;
    world.comes_to_rest(&server).await;
    server.stop().await;
}

/// What cannot be read costs itself alone: the rest is read, and in an outage answers leave `journaled`.
#[tokio::test]
async fn a_stray_entry_in_the_journal_shuts_nothing_off() {
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let journal = world.folder.path().join(".usertap").join("journal");
    std::fs::create_dir_all(journal.join("0000000000000001.segment")).unwrap();
    std::fs::write(journal.join("ab.segment"), "not the journal's").unwrap();
    let server = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url)])).await;
    server.names(&["journal-damaged", "usertap reconcile"]).await;
    relay.close();
    assert_eq!(recorded(&server.create(&world, "Ada").await), "journaled");
    server.names(&["database-away", "`journaled`"]).await;
    relay.open();
    eventually("it is drained", || async {
        let status = server.status().await;
        (status["recorder"]["waiting"] == 0).then_some(())
    })
    .await;
    world.assert_all_there().await;
    server.stop().await;
}

/// Whoever stops it meanwhile need not look for what waits.
#[tokio::test]
async fn a_stop_while_the_database_is_away_says_nothing_of_an_empty_journal() {
    let world = World::with_users(0).await;
    let (relay, _, server) = world.serve_through_a_relay().await;
    relay.close();
    eventually("it knows that the database is away", || async {
        server.readyz().await.contains("degraded").then_some(())
    })
    .await;
    let output = server.stop().await;
    assert!(!output.log().contains("stopped before all"), "{}", output.log());
}

/// Its lock goes with it: whoever comes next must not find it free.
#[tokio::test]
async fn a_folder_that_was_removed_is_taken_again_before_anybody_else_has_it() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let folder = world.folder.path().join(".usertap");
    std::fs::remove_dir_all(&folder).unwrap();
    eventually("the lock is there again", || async {
        folder.join("journal/lock").exists().then_some(())
    })
    .await;
    let other = world.start(&["serve"]).ended().await;
    other.failed_saying(&["another usertap uses this DATA_DIR"]);
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test]
async fn another_process_and_another_tenant_are_refused() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    world
        .start(&["serve"])
        .ended()
        .await
        .failed_saying(&["another usertap uses this DATA_DIR"]);
    server.stop().await;
}

/// Another account wrote it, say: what the others hold is written, and so is that once it may be read.
#[tokio::test]
async fn a_file_that_may_not_be_read_holds_up_no_other() {
    let world = World::with_users(0).await;
    let (relay, through, [ada, emmy]) = world.leaves_a_journal("Emmy").await;
    let first = world.segments();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    let grace = server.known(&world, "Grace").await;
    server.process.killed().await;
    assert!(world.segments().len() > first.len());
    let may = |mode| {
        for path in &first {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    may(0o000);
    relay.open();
    let server = Server::of(world.without_roots_rights(&["serve"], &through)).await;
    eventually("what the other holds is written", || async {
        (world.name(grace).await.as_deref() == Some("Grace")).then_some(())
    })
    .await;
    server
        .names(&[
            "journal-unread",
            ".segment: permission denied",
            "usertap's account",
        ])
        .await;
    assert!(first.iter().all(|path| path.exists()));
    assert_eq!(server.rename(&world, ada, "Ada M").await, "committed");
    relay.close();
    assert_eq!(recorded(&server.create(&world, "Mary").await), "journaled");
    relay.open();
    may(0o600);
    eventually("what it holds is written", || async {
        (world.name(emmy).await.as_deref() == Some("Emmy")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    world.comes_to_rest(&server).await;
    assert_eq!(world.name(ada).await.as_deref(), Some("Ada M"));
    server.stop().await;
}

impl World {
    /// To whom what a file's mode says holds as well.
    fn without_roots_rights(&self, args: &[&str], also: &[(String, String)]) -> Process {
        if !nix::unistd::Uid::effective().is_root() {
            return self.start_with(args, also);
        }
        let settings: Vec<_> = self.settings().into_iter().chain(also.iter().cloned()).collect();
        let bound = [
            "--bounding-set=-dac_override,-dac_read_search",
            env!("CARGO_BIN_EXE_usertap"),
        ];
        Process::run("setpriv", self.folder.path(), &[&bound, args].concat(), &settings)
    }
}
