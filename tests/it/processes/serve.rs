//! A serving process through outages, stops and kills.

use ::http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::net::TcpStream;
use usertap::sandbox::{Action, Fault, Gate};

use super::{Reachable, Server, World, id_of, recorded, through_a_relay};
use crate::support::eventually;
use crate::support::process::{Process, setting};

/// In this folder, and it takes a user.
async fn with_an_embedded_postgres(world: &World, folder: &Reachable) -> Server {
    let embedded = [
        setting("DATABASE_URL", "embedded"),
        setting("USERTAP_DATA_DIR", folder.0.display()),
    ];
    let server = Server::of(world.start_with(&["serve"], &embedded)).await;
    assert_eq!(recorded(&server.create(world, "Ada").await), "committed");
    server
}

#[tokio::test]
async fn an_embedded_postgres_that_was_killed_is_started_again() {
    let (world, folder) = (World::with_users(0).await, Reachable::new());
    let server = with_an_embedded_postgres(&world, &folder).await;
    let versions = std::fs::read_dir(&folder.0).expect("a folder").flatten();
    let pids =
        versions.filter_map(|entry| std::fs::read_to_string(entry.path().join("data/postmaster.pid")).ok());
    let pid: Vec<i32> = pids
        .filter_map(|text| text.lines().next()?.parse().ok())
        .collect();
    kill(Pid::from_raw(pid[0]), Signal::SIGKILL).expect("it runs");
    eventually("it takes what is seen again", || async {
        (recorded(&server.create(&world, "Grace").await) == "committed").then_some(())
    })
    .await;
    server.stop().await;
}

/// In a container whose first process this is, whatever still runs then is killed.
#[tokio::test]
async fn an_embedded_postgres_has_ended_before_the_process_has() {
    let (world, folder) = (World::with_users(0).await, Reachable::new());
    let server = with_an_embedded_postgres(&world, &folder).await;
    let running = || {
        let versions = std::fs::read_dir(&folder.0).expect("a folder").flatten();
        versions
            .filter(|entry| entry.path().join("data/postmaster.pid").exists())
            .count()
    };
    assert_eq!(running(), 1);
    server.stop().await;
    assert_eq!(running(), 0);
}

#[tokio::test]
async fn a_part_that_panics_is_named_by_its_place_alone_and_a_restart_loses_nothing() {
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
    let panics = [setting("FAILPOINTS", "writer.numbered=panic")];
    let server = Server::of(world.start_with(&["serve"], &panics)).await;
    let ada = server.create(&world, "Ada").await;
    assert_eq!((ada.status.as_u16(), recorded(&ada).as_str()), (201, "journaled"));
    server.names(&["defect", "restart"]).await;
    let log = server.process.output().stderr.join("\n");
    assert!(
        log.contains("src/failpoint.rs:") && !log.contains("at a step where"),
        "{log}"
    );
    assert_eq!(recorded(&server.create(&world, "Bob").await), "committed");
    server.stop().await;
    let server = world.serve().await;
    eventually("the row comes", || async {
        (world.name(id_of(&ada)).await.as_deref() == Some("Ada")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test]
async fn a_folder_that_has_served_starts_with_a_database_that_refuses() {
    let world = World::with_users(0).await;
    let renames = |from: &str, to: &str| format!("ALTER TABLE usertap.meta RENAME COLUMN {from} TO {to}");
    world.serve().await.stop().await;
    world
        .client
        .batch_execute(&renames("id_type", "kind"))
        .await
        .unwrap();
    let server = world.serve().await;
    let reply = server.create(&world, "Ada").await;
    assert_eq!(
        (reply.status.as_u16(), recorded(&reply).as_str()),
        (201, "journaled")
    );
    server.names(&["not-recording", "its log says"]).await;
    world
        .client
        .batch_execute(&renames("kind", "id_type"))
        .await
        .unwrap();
    eventually("the row comes", || async {
        (world.name(id_of(&reply)).await.as_deref() == Some("Ada")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test]
async fn a_folder_that_has_served_starts_without_the_database() {
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    let through = [setting("DATABASE_URL", &url)];
    relay.open();
    Server::of(world.start_with(&["serve"], &through))
        .await
        .stop()
        .await;
    relay.close();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    eventually("it says that the database is away", || async {
        server.readyz().await.contains("degraded").then_some(())
    })
    .await;
    let reply = server.create(&world, "Ada").await;
    assert_eq!(
        (reply.status.as_u16(), recorded(&reply).as_str()),
        (201, "journaled")
    );
    assert_eq!(world.rows().await, 0);
    relay.open();
    eventually("the row comes", || async {
        (world.name(id_of(&reply)).await.as_deref() == Some("Ada")).then_some(())
    })
    .await;
    eventually("it is ready", || async {
        server.readyz().await.contains("\"ready\"").then_some(())
    })
    .await;
    let reply = server.create(&world, "Grace").await;
    assert_eq!(recorded(&reply), "committed");
    server.stop().await;
}

#[tokio::test]
async fn an_outage_while_serving_journals_and_ends() {
    let world = World::with_users(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url)])).await;
    assert_eq!(server.create(&world, "Ada").await.status, 201);
    relay.close();
    let reply = server.create(&world, "Grace").await;
    assert_eq!(
        (reply.status.as_u16(), recorded(&reply).as_str()),
        (201, "journaled")
    );
    eventually("it says so", || async {
        server.readyz().await.contains("degraded").then_some(())
    })
    .await;
    relay.open();
    eventually("the row comes", || async {
        (world.name(id_of(&reply)).await.as_deref() == Some("Grace")).then_some(())
    })
    .await;
    eventually("it is ready", || async {
        server.readyz().await.contains("\"ready\"").then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_stop_with_the_database_away_is_still_one() {
    let world = World::with_users(0).await.and("USERTAP_DRAIN", "2s");
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let through = [setting("DATABASE_URL", &url)];
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    relay.close();
    let grace = server.create(&world, "Grace").await;
    assert_eq!(recorded(&grace), "journaled");
    let output = server.stop().await;
    assert!(output.log().contains("waits in the journal"), "{}", output.log());
    // The same where the database was away from the start.
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    let emmy = server.create(&world, "Emmy").await;
    assert_eq!(recorded(&emmy), "journaled");
    server.stop().await;
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    for (reply, name) in [(grace, "Grace"), (emmy, "Emmy")] {
        eventually("the row comes", || async {
            (world.name(id_of(&reply)).await.as_deref() == Some(name)).then_some(())
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_that_is_under_way() {
    let world = World::with_users(0).await;
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let server = Server::of(world.start_heeding(&[])).await;
        let gate = Gate::new();
        let hold = Fault::on("/users", Action::HoldAfter(gate.clone())).method(Method::POST);
        world.control().fault(hold);
        let stopping = async {
            gate.reached().await;
            server.process.signal(signal);
            eventually("no new connection", || async {
                TcpStream::connect(&server.listen).await.is_err().then_some(())
            })
            .await;
            gate.release();
        };
        let (reply, ()) = tokio::join!(server.create(&world, "Ada"), stopping);
        assert_eq!(reply.status, 201);
        assert_eq!(recorded(&reply), "committed");
        assert_eq!(world.name(id_of(&reply)).await.as_deref(), Some("Ada"));
        let output = server.process.ended().await.with_code(0);
        assert!(output.log().contains("stopping"), "{}", output.log());
        assert!(!output.log().contains("WARN"), "{}", output.log());
        assert_eq!(world.count("SELECT count(*) FROM usertap.instances").await, 0);
    }
}

#[tokio::test]
async fn one_that_nohup_started_outlives_its_terminal() {
    let world = World::with_users(0).await;
    let args = [env!("CARGO_BIN_EXE_usertap"), "serve"];
    let server = Server::of(Process::run(
        "nohup",
        world.folder.path(),
        &args,
        &world.settings(),
    ))
    .await;
    let status = format!("/proc/{}/status", server.process.pid());
    let status = std::fs::read_to_string(status).expect("it runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
    assert_eq!(mask & 1, 1, "SIGHUP, the first, is still ignored");
    server.process.signal(Signal::SIGHUP);
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_the_drain() {
    let world = World::with_users(0).await.and("USERTAP_DRAIN", "500ms");
    let server = world.serve().await;
    let gate = Gate::new();
    world
        .control()
        .fault(Fault::on("/users", Action::HoldAfter(gate.clone())));
    let stopping = async {
        gate.reached().await;
        server.process.terminated().await.with_code(0)
    };
    let url = format!("http://{}/api/v1/users", server.listen);
    let asking = crate::support::http::request(Method::GET, &url, &[], "");
    let (_, output) = tokio::join!(asking, stopping);
    assert!(output.log().contains("DRAIN is over"), "{}", output.log());
}

#[tokio::test]
async fn whoever_waits_when_the_drain_is_over_is_told_to_come_back() {
    let world = World::with_users(0).await.and("USERTAP_DRAIN", "2s");
    let server = world.serve().await;
    let gate = Gate::new();
    world
        .control()
        .fault(Fault::on("/users", Action::HoldAfter(gate.clone())));
    let (asking, stopping) = (server.get(&world, "/users"), async {
        gate.reached().await;
        server.process.signal(Signal::SIGTERM);
    });
    let (told, ()) = tokio::join!(asking, stopping);
    assert_eq!(told.status, 503, "{}", told.text());
    assert_eq!(told.header("x-usertap-error"), Some("stopping"));
    assert_eq!(told.header("retry-after"), Some("1"));
    assert!(told.json()["error"].is_string(), "{}", told.text());
    let output = server.process.ended().await.with_code(0);
    assert!(output.log().contains("stopping"), "{}", output.log());
    gate.release();
}

#[tokio::test]
async fn reads_owed_by_a_killed_process_are_made_at_the_next_start() {
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
    let server = world.serve().await;
    let gate = Gate::new();
    world
        .control()
        .fault(Fault::on("/users/", Action::HoldBefore(gate.clone())).method(Method::GET));
    let sign_up = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let reply = server
        .ask_as_client(&world, "/auth/password/sign-up", &sign_up)
        .await;
    assert_eq!(reply.header("x-usertap-recorded"), Some("none; reread-late"));
    let skeleton = "SELECT count(*) FROM neon_identity.users_sync WHERE email IS NULL";
    assert_eq!(world.count(skeleton).await, 1, "the foreign key holds");
    server.process.killed().await;
    let server = world.serve().await;
    eventually("the row is whole", || async {
        let whole = "SELECT count(*) FROM neon_identity.users_sync WHERE email = 'ada@example.com'";
        (world.count(whole).await == 1).then_some(())
    })
    .await;
    world.owes_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let id = server.known(&world, "Ada").await;
    server.process.killed().await;
    assert_eq!(world.name(id).await.as_deref(), Some("Ada"));
    let server = world.serve().await;
    let patched = json!({ "display_name": "Countess" });
    let reply = server
        .ask(&world, Method::PATCH, &format!("/users/{id}"), &patched)
        .await;
    assert_eq!(recorded(&reply), "committed");
    assert_eq!(world.name(id).await.as_deref(), Some("Countess"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_owed_is_read_as_fast_as_the_limit_allows() {
    let world = World::with_users(300).await;
    world.backfill().await;
    let owe = "UPDATE usertap.user_state SET doubt = position";
    world.client.batch_execute(owe).await.unwrap();
    let limit = [setting("USERTAP_RATE", "1000/1s")];
    let server = Server::of(world.start_with(&["serve"], &limit)).await;
    // A look every five seconds for as many as there are places would take longer than this waits.
    world.owes_nothing().await;
    server.stop().await;
}
