//! Several `serve` on one database: one limit, one walk, one truth.

use std::time::Duration;

use ::http::Method;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault, Options};
use uuid::Uuid;

use super::{PAGE, Server, World, rate, recorded, through_a_relay};
use crate::support::process::setting;
use crate::support::{eventually, now};

/// A kept answer may be so old that it shows nothing of what others did meanwhile.
const BEHIND: Duration = Duration::from_secs(1);

impl World {
    /// By a provider that takes fifty requests in five seconds.
    pub(super) async fn limited() -> World {
        let world = World::new(Options {
            users: 6,
            rate: Some(rate(50, 5)),
            ..Options::default()
        });
        // A little less than there is: on a busy machine requests arrive later than they leave.
        let world = world.await.and("USERTAP_RATE", "44/5s");
        world.and("USERTAP_CACHE_TTL", "0")
    }

    /// One more, with a folder of its own.
    pub(super) async fn replica(&self, name: &str) -> Server {
        self.replica_with(name, &[]).await
    }

    async fn replica_with(&self, name: &str, settings: &[(String, String)]) -> Server {
        let folder = self.folder.path().join(name);
        let folder = [setting("USERTAP_DATA_DIR", folder.display())];
        Server::of(self.start_with(&["serve"], &[&folder, settings].concat())).await
    }

    async fn replicas(&self) -> [Server; 2] {
        [self.replica("one").await, self.replica("other").await]
    }
}

impl Server {
    async fn read(&self, world: &World, id: Uuid) -> (String, Value) {
        let reply = self.get(world, &format!("/users/{id}")).await;
        let cached = reply.header("x-usertap-cache").unwrap_or_default().to_owned();
        (cached, reply.json()["display_name"].clone())
    }

    /// From a second after this call on, however often it is asked meanwhile.
    async fn shows_in_time(&self, world: &World, id: Uuid, name: &Value) {
        let written = now();
        loop {
            let asked = now();
            let (cached, seen) = self.read(world, id).await;
            if asked.duration_since(written) >= BEHIND {
                return assert_eq!(&seen, name, "{cached}");
            }
        }
    }

    async fn share(&self) -> f64 {
        self.status().await["budget"]["share"].as_f64().expect("a share")
    }
}

/// Six users one after another.
pub(super) async fn reading(world: &World, server: &Server) {
    for id in world.control().ids(0).into_iter().take(6) {
        assert_eq!(server.get(world, &format!("/users/{id}")).await.status, 200);
    }
}

/// Its machine is paused, or the way to it is gone and nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_still_in_a_transaction_does_not_hold_up_the_others_for_good() {
    let world = World::with_users(0).await;
    let armed = [setting("FAILPOINTS", "writer.numbered=stop")];
    let still = world.replica_with("still", &armed).await;
    let other = world.replica("other").await;
    let meanwhile = async {
        still.process.stands_still().await;
        eventually("the other commits", async || {
            let reply = other.create(&world, "Bob").await;
            recorded(&reply).starts_with("committed").then_some(())
        })
        .await;
        still.process.signal(Signal::SIGCONT);
    };
    let (ada, ()) = tokio::join!(still.create(&world, "Ada"), meanwhile);
    assert_eq!(ada.status, 201);
    eventually("nothing is lost", async || {
        let ada = "SELECT count(*) FROM neon_identity.users_sync WHERE name = 'Ada'";
        (world.count(ada).await == 1).then_some(())
    })
    .await;
    for server in [still, other] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_over_both_together_and_goes_to_the_one_that_is_left() {
    let world = World::limited().await;
    let [one, other] = world.replicas().await;
    let sum = one.share().await + other.share().await;
    assert!(sum <= 1.0 + 1e-9, "{sum}");
    let both = (0..6).flat_map(|_| [reading(&world, &one), reading(&world, &other)]);
    join_all(both).await;
    assert_eq!(world.control().limited(), 0, "together they asked too much");
    one.process.killed().await;
    eventually("the other has the whole limit", || async {
        (other.share().await == 1.0).then_some(())
    })
    .await;
    join_all((0..4).map(|_| reading(&world, &other))).await;
    assert_eq!(world.control().limited(), 0, "alone it asked too much");
    other.stop().await;
}

/// What the one before it spent is not known, with a database or without.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_database_does_not_spend_the_limit_once_more() {
    let world = World::limited().await;
    let (relay, url) = through_a_relay(&world).await;
    let through = [setting("DATABASE_URL", &url)];
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    join_all((0..8).map(|_| reading(&world, &server))).await;
    relay.close();
    server.process.killed().await;
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    join_all((0..3).map(|_| reading(&world, &server))).await;
    assert_eq!(world.control().limited(), 0, "together they asked too much");
    server.process.killed().await;
}

/// An answer of the database's was lost, or somebody has written there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_of_the_limit_is_written_down_whatever_was_before() {
    let world = World::with_users(0).await;
    let server = world.serve().await;
    let share = "SELECT (share * 100)::bigint FROM usertap.instances";
    eventually("it has the whole of it", || async {
        (world.count(share).await == 100).then_some(())
    })
    .await;
    world.sql("UPDATE usertap.instances SET share = 0").await;
    eventually("nobody else takes it for free", || async {
        (world.count(share).await == 100).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_one_is_left_what_an_idle_one_does_not_need() {
    let world = World::with_users(3 * PAGE).await.and("USERTAP_RATE", "20/1s");
    let [one, other] = world.replicas().await;
    let id = world.control().ids(0)[0];
    let asking = join_all((0..8).map(|_| async {
        loop {
            let path = format!("/users/{id}?n={}", Uuid::new_v4());
            one.get(&world, &path).await;
        }
    }));
    let much = eventually("the busy one has most of it", || async {
        let (share, of_other) = (one.share().await, other.share().await);
        assert!(share + of_other <= 1.0 + 1e-9, "{share} + {of_other}");
        (share > 0.75).then_some(())
    });
    tokio::select! {
        () = much => {}
        _never = asking => {}
    }
    one.stop().await;
    // One that leaves says so.
    eventually("the other has the whole limit", || async {
        (other.share().await == 1.0).then_some(())
    })
    .await;
    other.stop().await;
}

/// What counts at the provider still is nobody else's yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_spent_is_not_the_others_before_the_provider_has_ceased_to_count_it() {
    let world = World::with_users(1).await.and("USERTAP_RATE", "60/10m");
    let [one, other] = world.replicas().await;
    // One gives up, the other takes, in this order: so they are looked at.
    let (of_other, share) = (other.share().await, one.share().await);
    assert!(share + of_other <= 1.0 + 1e-9, "{share} + {of_other}");
    one.stop().await;
    other.stop().await;
}

/// What others judge in their memory until they know of it, it cannot know.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_until_all_have_met_it_or_are_dead() {
    let world = World::with_users(0).await;
    world.replica("one").await.stop().await;
    let silent = "INSERT INTO usertap.instances (id, kind, started_at, seen_at, share)
                  VALUES (gen_random_uuid(), 'serve', now() - interval '1 minute', now(), 0.25)";
    world.sql(silent).await;
    let one = world.replica("one").await;
    let lives =
        "SELECT count(*) FROM usertap.instances WHERE share = 0.25 AND seen_at > now() - interval '5 s'";
    assert_eq!(world.count(lives).await, 0);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_was_told_by_the_provider_the_other_heeds() {
    let world = World::with_users(1).await.and("USERTAP_CACHE_TTL", "0");
    let [one, other] = world.replicas().await;
    let id = world.control().ids(0)[0];
    let refusal = Canned::new(429, "{}").header("retry-after", "600");
    let path = format!("/users/{id}");
    world.control().fault(Fault::on(&path, Action::Reject(refusal)));
    assert_eq!(one.get(&world, &path).await.status, 429);
    eventually("the other yields", || async {
        let paused = other.status().await["provider"]["paused_for"].as_u64();
        (paused > Some(500)).then_some(())
    })
    .await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_never_more_than_a_second_behind_what_another_wrote() {
    let world = World::with_users(1).await.and("USERTAP_CACHE_TTL", "60s");
    let [one, other] = world.replicas().await;
    let id = world.control().ids(0)[0];
    for round in 0..5 {
        for server in [&one, &other] {
            eventually("hits come back", || async {
                let (cached, _) = server.read(&world, id).await;
                cached.starts_with("hit").then_some(())
            })
            .await;
        }
        let (writer, reader) = if round % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        let name = json!(format!("round {round}"));
        let body = json!({ "display_name": name });
        let wrote = writer
            .ask(&world, Method::PATCH, &format!("/users/{id}"), &body)
            .await;
        assert_eq!(recorded(&wrote), "committed");
        reader.shows_in_time(&world, id, &name).await;
        assert_eq!(writer.read(&world, id).await.1, name);
    }
    one.stop().await;
    other.stop().await;
}

/// A write on a path that nobody here knows changes no row, and anybody may have changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_change_tells_of_ends_what_the_other_keeps_too() {
    let world = World::with_users(1).await.and("USERTAP_CACHE_TTL", "60s");
    let [one, other] = world.replicas().await;
    let id = world.control().ids(0)[0];
    for (writer, reader) in [(&one, &other), (&other, &one)] {
        eventually("a hit", || async {
            let (cached, _) = reader.read(&world, id).await;
            cached.starts_with("hit").then_some(())
        })
        .await;
        let name = json!(format!("by {}", Uuid::new_v4()));
        world.control().edit(0, id, json!({ "display_name": name }));
        let unknown = "/nobody-knows/this";
        let performed = Action::Reject(Canned::new(200, "{}"));
        world
            .control()
            .fault(Fault::on(unknown, performed).method(Method::POST));
        let wrote = writer.ask(&world, Method::POST, unknown, &json!({})).await;
        assert_eq!(wrote.status, 200);
        reader.shows_in_time(&world, id, &name).await;
    }
    one.stop().await;
    other.stop().await;
}

/// Nor does it wait for a change to learn that there is none.
#[tokio::test(flavor = "multi_thread")]
async fn hits_come_back_to_one_that_another_joins_though_nothing_changes() {
    let world = World::with_users(1).await.and("USERTAP_CACHE_TTL", "60s");
    let one = world.replica("one").await;
    let id = world.control().ids(0)[0];
    one.read(&world, id).await;
    let other = world.replica("other").await;
    for server in [&one, &other] {
        eventually("a hit", || async {
            let (cached, _) = server.read(&world, id).await;
            cached.starts_with("hit").then_some(())
        })
        .await;
    }
    one.stop().await;
    other.stop().await;
}

/// A read changes nobody: an outage that one of them meets must not cost the other what helps to bear it.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_here_ends_nothing_that_the_other_keeps() {
    let world = World::with_users(1).await.and("USERTAP_CACHE_TTL", "60s");
    let [one, other] = world.replicas().await;
    let id = world.control().ids(0)[0];
    eventually("a hit", || async {
        let (cached, _) = other.read(&world, id).await;
        cached.starts_with("hit").then_some(())
    })
    .await;
    let path = format!("/users/{id}?n=1");
    // It is sent once more.
    for _ in 0..2 {
        world.control().fault(Fault::on(&path, Action::Drop));
    }
    let failed = one.get(&world, &path).await;
    assert_eq!(
        failed.header("x-usertap-cache"),
        Some("stale; upstream-broken"),
        "{}",
        failed.text()
    );
    assert_eq!(world.control().faults_left(), 0);
    let failed = now();
    while failed.elapsed() < BEHIND {
        let (cached, _) = other.read(&world, id).await;
        assert_ne!(cached, "miss; changed");
    }
    one.stop().await;
    other.stop().await;
}

/// What one remembers of a user is not what the other has made of the row since.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_wrote_before_it_left_is_known_to_the_one_that_stays() {
    let world = World::with_users(0).await.and("USERTAP_CACHE_TTL", "0");
    let one = world.replica("one").await;
    let ada = one.known(&world, "Ada").await;
    one.read(&world, ada).await;
    let other = world.replica("other").await;
    let path = format!("/users/{ada}");
    let body = json!({ "display_name": "Countess" });
    let wrote = other.ask(&world, Method::PATCH, &path, &body).await;
    assert_eq!(recorded(&wrote), "committed");
    other.stop().await;
    eventually("it is alone", || async {
        (one.share().await == 1.0).then_some(())
    })
    .await;
    assert!(world.control().edit(0, ada, json!({ "display_name": "Ada" })));
    let read = one.get(&world, &path).await;
    assert_eq!(recorded(&read), "committed");
    assert_eq!(world.name(ada).await.as_deref(), Some("Ada"));
    one.stop().await;
}

/// Whoever has its folder knows that it is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_kill_waits_for_nobody() {
    let world = World::with_users(0).await;
    world.replica("one").await.process.killed().await;
    let one = world.replica("one").await;
    assert_eq!(world.count("SELECT count(*) FROM usertap.instances").await, 1);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_one_that_walks_is_killed_the_other_goes_on() {
    let world = World::with_users(4 * PAGE).await;
    let [one, other] = world.replicas().await;
    let gate = world.hold_page_at(2 * PAGE);
    let backfill = world.start(&["backfill", "--json"]);
    gate.reached().await;
    world.fetched(2 * PAGE as i64).await;
    let walks = |server: &Server| server.process.output().log().contains("backfill begins");
    assert!(walks(&one) != walks(&other), "one walk at a time");
    let (walker, left) = if walks(&one) { (one, other) } else { (other, one) };
    walker.process.killed().await;
    let account = backfill.ended().await.with_code(0).json();
    assert_eq!(
        (&account["fetched"], &account["resumed"]),
        (&json!(4 * PAGE), &json!(1))
    );
    assert_eq!(account["balanced"], true);
    left.process.line("backfill done").await;
    world.assert_all_there().await;
    left.stop().await;
}

/// Each is cut off from the database once and killed; what it had told its app is in its folder.
#[tokio::test(flavor = "multi_thread")]
async fn losing_either_loses_nothing_that_it_told() {
    let world = World::with_users(0).await;
    let (relay, url) = super::through_a_relay(&world).await;
    relay.open();
    let cut_off = |name: &str| {
        let folder = world.folder.path().join(name);
        [
            setting("DATABASE_URL", &url),
            setting("USERTAP_DATA_DIR", folder.display()),
        ]
    };
    let one = Server::of(world.start_with(&["serve"], &cut_off("one"))).await;
    let other = world.replica("other").await;
    let user = one.known(&world, "Ada").await;
    let patch = |name: &str| json!({ "display_name": name });
    let path = format!("/users/{user}");
    relay.close();
    let journaled = one.ask(&world, Method::PATCH, &path, &patch("Grace")).await;
    assert_eq!(recorded(&journaled), "journaled");
    let only_here = one.create(&world, "Only in a journal").await;
    assert_eq!(recorded(&only_here), "journaled");
    // Meanwhile the other goes on with the same user.
    let later = other.ask(&world, Method::PATCH, &path, &patch("Emmy")).await;
    assert_eq!(recorded(&later), "committed");
    one.process.killed().await;
    relay.open();
    let one = Server::of(world.start_with(&["serve"], &cut_off("one"))).await;
    world.comes_to_rest_at("one", &one).await;
    assert_eq!(world.name(user).await.as_deref(), Some("Emmy"));
    other.process.killed().await;
    assert_eq!(recorded(&one.create(&world, "Last").await), "committed");
    world.comes_to_rest_at("one", &one).await;
    one.stop().await;
}

/// What a not-found of a stranger leaves for the other process does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_forgotten_after_a_while() {
    let mut world = World::with_users(1).await;
    let [one, other] = world.replicas().await;
    for _ in 0..5 {
        let reply = one.get(&world, &format!("/users/{}", Uuid::new_v4())).await;
        assert_eq!(reply.status, 404);
        assert_eq!(recorded(&reply), "none");
    }
    let strangers = "SELECT count(*) FROM usertap.user_state WHERE standing = 'none'";
    assert_eq!(world.count(strangers).await, 5);
    one.stop().await;
    world = world.and("FAILPOINTS", "strangers-after=50ms,purge-every=20ms");
    let again = world.replica("one").await;
    eventually("nothing is left of them", || async {
        (world.count(strangers).await == 0).then_some(())
    })
    .await;
    again.stop().await;
    other.stop().await;
}

/// The database's clock was ahead when it died, and has been set right since.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_from_a_time_to_come_is_nobodys() {
    let world = World::with_users(2 * PAGE).await;
    world.replica("one").await.stop().await;
    let dead = "INSERT INTO usertap.instances (id, kind, started_at, seen_at, share)
                VALUES (gen_random_uuid(), 'serve', now() + interval '1 hour', now() + interval '1 hour', 0.5)";
    world.client.batch_execute(dead).await.expect("a statement");
    let one = world.replica("one").await;
    assert_eq!(one.share().await, 1.0);
    world.client.batch_execute(
        "INSERT INTO usertap.backfill (run, state, owner) SELECT gen_random_uuid(), 'running', id FROM usertap.instances ORDER BY seen_at DESC LIMIT 1",
    ).await.expect("a statement");
    assert_eq!(world.backfill().await["fetched"], json!(2 * PAGE));
    one.stop().await;
}
