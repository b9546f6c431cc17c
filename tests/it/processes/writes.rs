//! A write whose answer nobody lived to record: `kill -9` between the provider's answer and the commit.

use ::http::Method;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use usertap::sandbox::{Action, Fault, Gate};
use uuid::Uuid;

use super::{PAGE, Server, World, recorded, through_a_relay};
use crate::support::eventually;
use crate::support::http;
use crate::support::postgres;
use crate::support::process::setting;

/// Longer than a test: nothing goes into the journal, no answer leaves before its commit.
const PATIENT: (&str, &str) = ("USERTAP_SYNC_TIMEOUT", "60s");

impl World {
    fn notes(&self) -> Vec<u8> {
        let folder = self.folder.path().join(".usertap/journal/writes");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let segments = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "segment"));
        segments
            .flat_map(|entry| std::fs::read(entry.path()).unwrap())
            .collect()
    }

    fn names(&self) -> Vec<Value> {
        let users = self.control().users(0);
        users.iter().map(|user| user["display_name"].clone()).collect()
    }

    /// What the provider has done.
    async fn provider_has(&self, name: &str) {
        eventually("the provider has carried it out", || async {
            self.names().contains(&json!(name)).then_some(())
        })
        .await;
    }

    async fn is_there(&self, id: Uuid, name: &str) {
        eventually("the new user has a row", || async {
            (self.name(id).await.as_deref() == Some(name)).then_some(())
        })
        .await;
    }

    async fn is_the_providers(&self, id: Uuid) {
        let view = self.control().server_view(0, id).expect("a user");
        eventually("the row is the provider's", || async {
            (json!(self.name(id).await) == view["display_name"]).then_some(())
        })
        .await;
        self.assert_all_there().await;
    }
}

/// Nobody else commits to the users' table.
async fn lock(client: &mut tokio_postgres::Client) -> Transaction<'_> {
    let locked = client.transaction().await.unwrap();
    let lock = "LOCK TABLE neon_identity.users_sync IN ACCESS EXCLUSIVE MODE";
    locked.batch_execute(lock).await.unwrap();
    locked
}

/// Asks and is killed once the provider has carried it out.
async fn killed_after(world: &World, server: Server, method: Method, path: &str, name: &str) {
    let body = json!({ "display_name": name });
    tokio::select! {
        reply = server.ask(world, method, path, &body) => panic!("answered: {}", recorded(&reply)),
        () = world.provider_has(name) => {}
    }
    server.process.killed().await;
}

#[tokio::test]
async fn a_kill_before_the_commit_of_an_update_leaves_the_row_as_the_provider_has_it() {
    let world = World::with_users(3).await.and(PATIENT.0, PATIENT.1);
    world.backfill().await;
    let server = world.serve().await;
    let id = world.control().ids(0)[1];
    let mut client = postgres::client(&world.url).await;
    let locked = lock(&mut client).await;
    killed_after(&world, server, Method::PATCH, &format!("/users/{id}"), "Changed").await;
    locked.rollback().await.unwrap();
    assert_ne!(world.name(id).await.as_deref(), Some("Changed"));
    let server = world.serve().await;
    world.is_the_providers(id).await;
    server.stop().await;
}

#[tokio::test]
async fn a_kill_before_the_answer_of_an_update_does_too() {
    let world = World::with_users(1).await;
    world.backfill().await;
    let server = world.serve().await;
    let (id, gate) = (world.control().ids(0)[0], Gate::new());
    let path = format!("/users/{id}");
    world
        .control()
        .fault(Fault::on(&path, Action::HoldAfter(gate.clone())).method(Method::PATCH));
    killed_after(&world, server, Method::PATCH, &path, "Changed").await;
    let server = world.serve().await;
    world.is_the_providers(id).await;
    gate.release();
    server.stop().await;
}

/// In the order in which a write meets them.
const STEPS: [&str; 7] = [
    "intents.synced",
    "exchange.answered",
    "writer.begun",
    "writer.rows",
    "writer.numbered",
    "writer.committed",
    "exchange.leaving",
];

#[tokio::test(flavor = "multi_thread")]
async fn wherever_an_update_is_cut_off_the_row_is_as_the_provider_has_it() {
    let all = futures_util::stream::iter(STEPS.map(cut_off_at)).buffer_unordered(2);
    all.collect::<Vec<()>>().await;
}

async fn cut_off_at(step: &str) {
    let world = World::with_users(1).await;
    world.backfill().await;
    let armed = [setting("FAILPOINTS", format!("{step}=1"))];
    let server = Server::of(world.start_with(&["serve"], &armed)).await;
    let id = world.control().ids(0)[0];
    let url = format!("http://{}/api/v1/users/{id}", server.listen);
    let headers = world.server_headers();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .chain([("content-type", "application/json")])
        .collect();
    let body = json!({ "display_name": "Changed" }).to_string();
    let answered = http::request(Method::PATCH, &url, &headers, body).await;
    assert!(answered.is_err(), "{step}: {answered:?}");
    let ended = server.process.ended().await;
    assert_eq!(ended.code, None, "{step}: {:#?}", ended.output);
    let is_done = step != "intents.synced";
    assert_eq!(world.names().contains(&json!("Changed")), is_done, "{step}");
    let server = world.serve().await;
    world.is_the_providers(id).await;
    world.comes_to_rest(&server).await;
    assert_eq!(server.status().await["problems"], json!([]), "{step}");
    server.stop().await;
}

#[tokio::test]
async fn a_kill_before_the_commit_of_a_create_is_followed_by_a_look_at_the_newest() {
    let world = World::with_users(250).await.and(PATIENT.0, PATIENT.1);
    let server = world.serve().await;
    // The recorder has connected, and there is a row to compare with.
    server.known(&world, "Known").await;
    let mut client = postgres::client(&world.url).await;
    let locked = lock(&mut client).await;
    killed_after(&world, server, Method::POST, "/users", "New").await;
    locked.rollback().await.unwrap();
    let new = *world.control().ids(0).last().unwrap();
    assert_eq!(world.name(new).await, None);
    world.control().forget_traffic();
    let server = world.serve().await;
    world.is_there(new, "New").await;
    assert_eq!(world.count("SELECT count(*) FROM usertap.backfill").await, 0);
    assert!(world.pages() <= 2, "{} pages", world.pages());
    server.stop().await;
}

#[tokio::test]
async fn a_create_whose_answer_never_came_is_found_without_a_restart() {
    let world = World::with_users(5).await;
    let server = world.serve().await;
    world
        .control()
        .fault(Fault::on("/users", Action::PerformThenDrop).method(Method::POST));
    assert_eq!(server.create(&world, "Unnamed").await.status.as_u16(), 502);
    let new = *world.control().ids(0).last().unwrap();
    world.is_there(new, "Unnamed").await;
    server.stop().await;
}

/// With the database away, what is found waits in the journal, and in memory only until too much does.
#[tokio::test]
async fn creates_whose_answers_never_came_are_found_after_much_has_waited_for_the_database() {
    let world = World::with_users(3)
        .await
        .and("FAILPOINTS", "carried-out=100ms")
        .and("USERTAP_SYNC_TIMEOUT", "200ms");
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let through = [setting("DATABASE_URL", &url)];
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    let ids = world.control().ids(0);
    for id in &ids {
        server.get(&world, &format!("/users/{id}")).await;
    }
    world.owes_nothing().await;
    relay.close();
    let change = async |id: Uuid, note: String| {
        let body = json!({ "server_metadata": { "note": note } });
        let reply = server
            .ask(&world, Method::PATCH, &format!("/users/{id}"), &body)
            .await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    };
    // Each lane of the writer has something: what comes then waits.
    for id in &ids {
        change(*id, "small".into()).await;
    }
    let journaled = async || server.status().await["recorder"]["journal"]["waiting"].as_u64();
    let before = journaled().await;
    server.lose_a_create(&world, "First").await;
    eventually("what was found of it waits", || async {
        (journaled().await > before).then_some(())
    })
    .await;
    for _ in 0..12 {
        change(ids[0], "x".repeat(1_000_000)).await;
    }
    let log = || server.process.output().log();
    eventually("it is known that nobody waits for that any more", || async {
        log().contains("waits in the journal").then_some(())
    })
    .await;
    relay.open();
    server.has_no_problem().await;
    server.lose_a_create(&world, "Second").await;
    for (id, name) in world.control().ids(0)[3..].iter().zip(["First", "Second"]) {
        world.is_there(*id, name).await;
    }
    eventually("the writes have ended", || async {
        (server.status().await["recorder"]["writes"]["open"] == 0).then_some(())
    })
    .await;
    server.stop().await;
}

impl Server {
    /// The provider makes this user, and its answer never comes.
    async fn lose_a_create(&self, world: &World, name: &str) {
        let lost = Fault::on("/users", Action::PerformThenDrop).method(Method::POST);
        world.control().fault(lost);
        assert_eq!(self.create(world, name).await.status.as_u16(), 502);
    }
}

#[tokio::test]
async fn notes_hold_ids_alone_and_end_with_their_writes() {
    let world = World::with_users(1).await.and(PATIENT.0, PATIENT.1);
    world.backfill().await;
    let server = world.serve().await;
    let id = world.control().ids(0)[0];
    let mut client = postgres::client(&world.url).await;
    let locked = lock(&mut client).await;
    let (path, body) = (
        format!("/users/{id}"),
        json!({ "display_name": "Not for the disk" }),
    );
    let mut asking = Box::pin(server.ask(&world, Method::PATCH, &path, &body));
    tokio::select! {
        reply = &mut asking => panic!("answered: {}", recorded(&reply)),
        () = world.provider_has("Not for the disk") => {}
    }
    let notes = String::from_utf8_lossy(&world.notes()).into_owned();
    assert!(notes.contains(&id.to_string()));
    let key = world
        .settings()
        .into_iter()
        .find(|(name, _)| name == "STACK_SECRET_SERVER_KEY");
    for secret in ["Not for the disk", key.unwrap().1.as_str()] {
        assert!(!notes.contains(secret));
    }
    assert_eq!(server.status().await["recorder"]["writes"]["open"], 1);
    locked.rollback().await.unwrap();
    assert_eq!(recorded(&asking.await), "committed");
    eventually("the write has ended", || async {
        (server.status().await["recorder"]["writes"]["open"] == 0).then_some(())
    })
    .await;
    let unnoted = &server.status().await["recorder"]["writes"]["unnoted"];
    assert_eq!(unnoted, 0);
    server.stop().await;
    assert!(world.notes().is_empty());
}

#[tokio::test]
async fn writes_flow_where_nothing_can_be_noted_and_the_status_says_so() {
    let world = World::with_users(0).await;
    let journal = world.folder.path().join(".usertap/journal");
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::write(journal.join("writes"), "in the way").unwrap();
    let server = world.serve().await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    server.names(&["writes are forwarded without a note"]).await;
    std::fs::remove_file(journal.join("writes")).unwrap();
    server.has_no_problem().await;
    let before = server.status().await["recorder"]["writes"]["unnoted"].clone();
    assert_eq!(recorded(&server.create(&world, "Grace").await), "committed");
    assert_eq!(server.status().await["recorder"]["writes"]["unnoted"], before);
    server.stop().await;
}

/// Short enough for a test, long enough for what comes before it on a slow machine.
const CARRIED_OUT: (&str, &str) = ("FAILPOINTS", "carried-out=6000ms");
/// Asks for a write whose connection breaks, and returns once what it may have changed was looked at.
async fn broken_off(world: &World, server: &Server, method: Method, path: &str, looked: &str) {
    let broken = Fault::on(path, Action::Drop).method(method.clone());
    world.control().fault(broken);
    world.control().forget_traffic();
    let body = json!({ "display_name": "Late" });
    assert_eq!(server.ask(world, method, path, &body).await.status.as_u16(), 502);
    eventually("it is looked at once", || async {
        (world.control().count(&Method::GET, looked) > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_update_that_is_carried_out_late_is_read_again() {
    let world = World::with_users(1).await.and(CARRIED_OUT.0, CARRIED_OUT.1);
    world.backfill().await;
    let server = world.serve().await;
    let id = world.control().ids(0)[0];
    let path = format!("/users/{id}");
    broken_off(&world, &server, Method::PATCH, &path, "/users/{id}").await;
    assert!(world.control().edit(0, id, json!({ "display_name": "Late" })));
    world.is_the_providers(id).await;
    server.stop().await;
}

/// The first look is done, and the second was not due.
#[tokio::test]
async fn an_update_that_is_carried_out_after_a_kill_is_read_again() {
    let world = World::with_users(1).await;
    world.backfill().await;
    let server = world.serve().await;
    let id = world.control().ids(0)[0];
    let path = format!("/users/{id}");
    broken_off(&world, &server, Method::PATCH, &path, "/users/{id}").await;
    world.owes_nothing().await;
    assert_eq!(server.status().await["recorder"]["writes"]["open"], 1);
    server.process.killed().await;
    assert!(world.control().edit(0, id, json!({ "display_name": "Late" })));
    let server = world.serve().await;
    world.is_the_providers(id).await;
    server.stop().await;
}

#[tokio::test]
async fn a_create_that_is_carried_out_late_is_found() {
    let world = World::with_users(3).await.and(CARRIED_OUT.0, CARRIED_OUT.1);
    world.backfill().await;
    let server = world.serve().await;
    broken_off(&world, &server, Method::POST, "/users", "/users").await;
    let new = world
        .control()
        .create(0, json!({ "display_name": "Late" }))
        .unwrap();
    world.is_there(new, "Late").await;
    server.stop().await;
}

/// Before a provider whose list cannot begin with the newest.
fn without_newest(world: World, edit: &dyn Fn(&str) -> String) -> World {
    let file = include_str!("../../../src/provider/builtin/stack-auth.toml");
    let without: Vec<&str> = file
        .lines()
        .filter(|line| !line.starts_with("newest = "))
        .collect();
    assert_eq!(without.len() + 1, file.lines().count());
    let provider = world.folder.path().join("without-newest.toml");
    std::fs::write(&provider, edit(&without.join("\n"))).unwrap();
    let provider = provider.display().to_string();
    world.and("USERTAP_PROVIDER", provider)
}

#[tokio::test]
async fn where_the_list_cannot_begin_with_the_newest_everyone_is_walked_by() {
    let world = World::with_users(5).await;
    let world = without_newest(world, &|file| file.to_owned());
    let server = world.serve().await;
    world
        .control()
        .fault(Fault::on("/users", Action::PerformThenDrop).method(Method::POST));
    assert_eq!(server.create(&world, "Unnamed").await.status.as_u16(), 502);
    let new = *world.control().ids(0).last().unwrap();
    world.is_there(new, "Unnamed").await;
    let walks = "SELECT count(*) FROM usertap.backfill WHERE kind = 'backfill'";
    assert!(world.count(walks).await > 0);
    server.stop().await;
}

/// The walk is beyond where the new user stands, and both looks at it find it under way.
#[tokio::test]
async fn a_create_behind_a_walk_under_way_is_found_by_the_next() {
    let world = World::with_users(3 * PAGE)
        .await
        .and("FAILPOINTS", "carried-out=100ms")
        .and("USERTAP_TIMEOUT", "60s");
    // The newest stand at the beginning.
    let world = without_newest(world, &|file| {
        assert_eq!(file.matches("desc = \"false\"").count(), 1);
        file.replace("desc = \"false\"", "desc = \"true\"")
    });
    let server = world.serve().await;
    let gate = world.hold_page_at(PAGE - 1);
    let url = format!("http://{}/v1/backfill", server.admin);
    assert_eq!(http::post(&url, &[], &json!({})).await.status.as_u16(), 202);
    gate.reached().await;
    world
        .control()
        .fault(Fault::on("/users", Action::PerformThenDrop).method(Method::POST));
    assert_eq!(server.create(&world, "Unnamed").await.status.as_u16(), 502);
    let new = *world.control().ids(0).last().unwrap();
    eventually("it is looked for at once, and again", || async {
        let log = server.process.output().log();
        (log.matches("everyone is looked through").count() >= 2).then_some(())
    })
    .await;
    assert_eq!(world.name(new).await, None);
    gate.release();
    world.is_there(new, "Unnamed").await;
    eventually("the write has ended", || async {
        (server.status().await["recorder"]["writes"]["open"] == 0).then_some(())
    })
    .await;
    server.stop().await;
}
