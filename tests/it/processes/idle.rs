//! `DATABASE_IDLE`: a database that nobody needs is left alone, and whoever needs it again finds everything as it
//! always is.

use ::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use usertap::sandbox::{Action, Fault, Gate};

use super::replicas::reading;
use super::{Server, World, id_of, recorded, through_a_relay, webhooks};
use crate::support::postgres;
use crate::support::process::setting;
use crate::support::relay::Relay;
use crate::support::{eventually, http};

impl World {
    /// Of usertap's.
    async fn connections(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.count(sql).await
    }

    async fn is_left_alone_by(&self, server: &Server) {
        eventually("the database is left alone", || async {
            (self.connections().await == 0 && server.is_idle().await).then_some(())
        })
        .await;
    }

    /// For three times `DATABASE_IDLE`.
    async fn stays_in_use(&self) {
        let beats = "SELECT count(*) FROM usertap.instances WHERE seen_at > now() - interval '2 s'";
        let until = self.count("SELECT (extract(epoch FROM now()) + 3)::bigint").await;
        eventually("the time is over", || async {
            assert!(self.connections().await > 0);
            let now = self.count("SELECT extract(epoch FROM now())::bigint").await;
            (now >= until).then_some(())
        })
        .await;
        eventually("it still beats", || async {
            (self.count(beats).await > 0).then_some(())
        })
        .await;
    }
}

impl Server {
    async fn is_idle(&self) -> bool {
        self.status().await["database"]["idle"] == json!(true)
    }

    async fn admin_get(&self, path: &str) -> String {
        http::get(&format!("http://{}{path}", self.admin), &[])
            .await
            .text()
    }
}

async fn world(users: usize) -> World {
    // Whoever wakes it waits for it, on a slow machine too.
    World::with_users(users)
        .await
        .and("USERTAP_DATABASE_IDLE", "1s")
        .and("USERTAP_SYNC_TIMEOUT", "20s")
}

async fn rename(world: &World, server: &Server, id: uuid::Uuid, name: &str) {
    let answer = server
        .ask(
            world,
            Method::PATCH,
            &format!("/users/{id}"),
            &json!({ "display_name": name }),
        )
        .await;
    assert_eq!(recorded(&answer), "committed");
    assert_eq!(world.name(id).await.as_deref(), Some(name));
}

#[tokio::test]
async fn a_database_that_nobody_needs_is_left_alone_until_somebody_does() {
    let world = world(3).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    for name in ["Countess", "Lovelace"] {
        world.is_left_alone_by(&server).await;
        // Whoever only looks wakes nobody, and sees all there is.
        for _ in 0..5 {
            let status = server.status().await;
            assert_eq!(
                (&status["healthy"], &status["problems"]),
                (&json!(true), &json!([]))
            );
            assert_eq!(status["database"]["answers"], json!(true));
            assert!(status["feed"]["head"].is_string(), "{status}");
            let metrics = server.admin_get("/metrics").await;
            assert!(metrics.contains("usertap_database_idle 1"), "{metrics}");
            let overview = server.admin_get("/").await;
            assert!(overview.contains("Left alone"), "{overview}");
            assert!(server.readyz().await.contains("\"ready\""));
        }
        assert!(server.is_idle().await);
        assert_eq!(world.connections().await, 0);
        rename(&world, &server, ada, name).await;
    }
    server.stop().await;
}

/// An answer of before is not given again where another process has recorded since.
#[tokio::test]
async fn what_others_did_meanwhile_is_known_before_an_answer_is_given() {
    let world = world(2)
        .await
        .and("USERTAP_CACHE_TTL", "1h")
        .and("USERTAP_DATABASE_IDLE", "4s");
    let server = world.serve().await;
    let [ada, grace] = [0, 1].map(|at| world.control().ids(0)[at]);
    let path = format!("/users/{ada}");
    server.get(&world, &path).await;
    world.owes_nothing().await;
    let again = server.get(&world, &path).await;
    assert_eq!(again.header("x-usertap-cache"), Some("hit; fresh"));
    world.is_left_alone_by(&server).await;
    assert!(
        world
            .control()
            .edit(0, ada, json!({ "display_name": "Countess" }))
    );
    // Nobody waits for the one that is idle: it walks itself, at once.
    let account = world.backfill().await;
    assert_eq!(account["balanced"], json!(true));
    assert!(server.is_idle().await);
    server.get(&world, &format!("/users/{grace}")).await;
    let reply = server.get(&world, &path).await;
    assert_eq!(reply.json()["display_name"], json!("Countess"));
    assert_eq!(recorded(&reply), "committed");
    server.stop().await;
}

/// Nor is a row taken to be as it was left.
#[tokio::test]
async fn what_others_wrote_meanwhile_is_known_before_an_answer_is_recorded() {
    let world = world(1).await.and("USERTAP_CACHE_TTL", "0");
    let server = world.serve().await;
    let ada = world.control().ids(0)[0];
    let named = |name: &str| assert!(world.control().edit(0, ada, json!({ "display_name": name })));
    let path = format!("/users/{ada}");
    named("Ada");
    assert_eq!(recorded(&server.get(&world, &path).await), "committed");
    world.is_left_alone_by(&server).await;
    named("Countess");
    world.backfill().await;
    assert_eq!(world.name(ada).await.as_deref(), Some("Countess"));
    named("Ada");
    assert_eq!(recorded(&server.get(&world, &path).await), "committed");
    assert_eq!(world.name(ada).await.as_deref(), Some("Ada"));
    server.stop().await;
}

/// Once it is in use again, others find written down what of the provider's limit is taken.
#[tokio::test]
async fn whoever_is_woken_takes_its_part_of_the_limit_again() {
    let world = world(0).await;
    let server = world.serve().await;
    world.is_left_alone_by(&server).await;
    server.known(&world, "Ada").await;
    let taken = "SELECT count(*) FROM usertap.instances WHERE share = 1";
    eventually("it has the whole of it", || async {
        (world.count(taken).await == 1).then_some(())
    })
    .await;
    server.stop().await;
}

/// Though they are gone, the provider counts it still.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_spent_of_the_limit_meanwhile_is_not_spent_again() {
    let world = World::limited().await;
    let idle = [setting("USERTAP_DATABASE_IDLE", "1s")];
    let server = Server::of(world.start_with(&["serve"], &idle)).await;
    world.is_left_alone_by(&server).await;
    let other = world.replica("other").await;
    join_all((0..8).map(|_| reading(&world, &other))).await;
    other.stop().await;
    assert!(server.is_idle().await);
    join_all((0..3).map(|_| reading(&world, &server))).await;
    assert_eq!(world.control().limited(), 0, "together they asked too much");
    server.stop().await;
}

/// It waits for a transaction of somebody's, and for nothing else.
#[tokio::test]
async fn a_row_that_is_held_is_written_though_nobody_else_needs_the_database() {
    let world = world(0).await.and("USERTAP_SYNC_TIMEOUT", "5s");
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let lock = format!("BEGIN; SELECT FROM neon_identity.users_sync WHERE id = '{ada}' FOR UPDATE");
    let somebody = postgres::client(&world.url).await;
    somebody.batch_execute(&lock).await.expect("a lock");
    let body = json!({ "display_name": "Countess" });
    let path = format!("/users/{ada}");
    let held = server.ask(&world, Method::PATCH, &path, &body).await;
    assert_eq!(recorded(&held), "journaled");
    world.stays_in_use().await;
    somebody.batch_execute("ROLLBACK").await.expect("an end");
    drop(somebody);
    eventually("the row is written", || async {
        (world.name(ada).await.as_deref() == Some("Countess")).then_some(())
    })
    .await;
    world.is_left_alone_by(&server).await;
    server.stop().await;
}

/// Alone on its database all the time, it has nothing to forget.
#[tokio::test]
async fn what_is_kept_is_given_again_where_nobody_else_was_there() {
    let world = world(2)
        .await
        .and("USERTAP_CACHE_TTL", "1h")
        .and("USERTAP_DATABASE_IDLE", "4s");
    let server = world.serve().await;
    let [ada, grace] = [0, 1].map(|at| format!("/users/{}", world.control().ids(0)[at]));
    server.get(&world, &ada).await;
    world.is_left_alone_by(&server).await;
    assert_eq!(recorded(&server.get(&world, &grace).await), "committed");
    let hit = server.get(&world, &ada).await;
    assert_eq!(hit.header("x-usertap-cache"), Some("hit; fresh"));
    server.stop().await;
}

#[tokio::test]
async fn a_webhook_wakes_it_and_what_is_owed_for_it_is_read() {
    let world = world(0).await;
    let secret = world.control().webhooks(0).expect("a project").secret();
    let world = world.and("USERTAP_WEBHOOK_SECRET", secret);
    let server = world.serve().await;
    world.is_left_alone_by(&server).await;
    let ada = world
        .control()
        .create(0, json!({ "display_name": "Ada" }))
        .expect("a user");
    let gate = Gate::new();
    let read = Fault::on(&format!("/users/{ada}"), Action::HoldBefore(gate.clone()));
    world.control().fault(read);
    let reply = webhooks::send(&world, &server, &webhooks::created(&world, ada)).await;
    assert_eq!(reply.json()["webhook"], json!("applied"));
    assert_eq!(world.name(ada).await.as_deref(), Some("Ada"));
    gate.reached().await;
    assert_eq!(world.owed().await, 1);
    world.stays_in_use().await;
    gate.release();
    world.is_left_alone_by(&server).await;
    assert_eq!(world.owed().await, 0);
    server.stop().await;
}

/// What changed meanwhile is told, and put right, once somebody needs the database.
#[tokio::test]
async fn rows_that_were_changed_by_hand_meanwhile_are_told_once_it_is_in_use() {
    let world = world(2).await;
    let server = world.serve().await;
    let [ada, grace] = [
        server.known(&world, "Ada").await,
        server.known(&world, "Grace").await,
    ];
    world.is_left_alone_by(&server).await;
    let by_hand = format!("UPDATE neon_identity.users_sync SET name = 'Mallory' WHERE id = '{ada}'");
    world.client.batch_execute(&by_hand).await.expect("a change");
    assert!(server.is_idle().await);
    server.get(&world, &format!("/users/{grace}")).await;
    eventually("the provider's truth is back", || async {
        (world.name(ada).await.as_deref() == Some("Ada")).then_some(())
    })
    .await;
    let page = server.admin_get("/v1/changes?since=oldest&origin=sql").await;
    let page: Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!(page["changes"][0]["after"]["name"], json!("Mallory"), "{page}");
    server.stop().await;
}

/// A stream keeps nothing awake, and has what comes after.
#[tokio::test]
async fn a_consumer_that_waits_has_what_comes_once_it_is_in_use() {
    let world = world(0).await;
    let server = world.serve().await;
    let first = server.known(&world, "Ada").await;
    let admin = [setting("USERTAP_ADMIN_LISTEN", &server.admin)];
    let consumer = world.start_with(&["feed", "--follow", "--since", "oldest"], &admin);
    consumer.line(&first.to_string()).await;
    world.is_left_alone_by(&server).await;
    let second = id_of(&server.create(&world, "Grace").await);
    consumer.line(&second.to_string()).await;
    assert!(
        consumer
            .killed()
            .await
            .stdout
            .join("\n")
            .contains(&second.to_string())
    );
    server.stop().await;
}

#[tokio::test]
async fn where_several_are_at_work_none_leaves_it_alone() {
    let world = world(0).await;
    let one = world.serve().await;
    let folder = world.folder.path().join("other");
    let other =
        Server::of(world.start_with(&["serve"], &[setting("USERTAP_DATA_DIR", folder.display())])).await;
    world.stays_in_use().await;
    assert!(!one.is_idle().await && !other.is_idle().await);
    other.stop().await;
    world.is_left_alone_by(&one).await;
    // Who comes meanwhile and who is woken know of each other.
    let other =
        Server::of(world.start_with(&["serve"], &[setting("USERTAP_DATA_DIR", folder.display())])).await;
    let ada = id_of(&one.create(&world, "Ada").await);
    rename(&world, &other, ada, "Countess").await;
    rename(&world, &one, ada, "Lovelace").await;
    let seen = other.get(&world, &format!("/users/{ada}")).await;
    assert_eq!(seen.json()["display_name"], json!("Lovelace"));
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_reconcile_that_is_due_wakes_it() {
    let world = world(1).await.and("USERTAP_RECONCILE_EVERY", "4s");
    let server = world.serve().await;
    let done = "SELECT count(*) FROM usertap.backfill WHERE kind = 'reconcile' AND state = 'done'";
    eventually("a first reconcile", || async {
        (world.count(done).await == 1).then_some(())
    })
    .await;
    world.is_left_alone_by(&server).await;
    let before = world.count(done).await;
    eventually("another reconcile", || async {
        (world.count(done).await > before).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_stop_wakes_nobody() {
    let world = world(0).await;
    let server = world.serve().await;
    world.is_left_alone_by(&server).await;
    let instances = "SELECT count(*) FROM usertap.instances";
    assert_eq!(world.count(instances).await, 0, "nobody waits for its heartbeat");
    let output = server.stop().await;
    assert!(!output.log().contains("not everything ended"), "{}", output.log());
    assert_eq!(world.connections().await, 0);
}

/// Its time asleep is not made up for: what keeps house goes on at its pace.
#[tokio::test]
async fn after_a_long_sleep_it_beats_no_faster() {
    let world = world(0).await;
    let server = world.serve().await;
    let counts = "CREATE TABLE beats (at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE FUNCTION beats() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO beats DEFAULT VALUES; RETURN NULL; END $$;
        CREATE TRIGGER beats AFTER INSERT OR UPDATE ON usertap.instances FOR EACH STATEMENT EXECUTE FUNCTION beats()";
    world.client.batch_execute(counts).await.expect("a trigger");
    world.is_left_alone_by(&server).await;
    let wakes_at = world.count("SELECT extract(epoch FROM now())::bigint + 12").await;
    eventually("it has slept for long", || async {
        (world.count("SELECT extract(epoch FROM now())::bigint").await >= wakes_at).then_some(())
    })
    .await;
    world
        .client
        .batch_execute("TRUNCATE beats")
        .await
        .expect("a truncate");
    server.known(&world, "Ada").await;
    world.is_left_alone_by(&server).await;
    // The insert, what it grows by, and a beat a second.
    let at_once = "SELECT count(*) FROM beats WHERE at < (SELECT min(at) FROM beats) + interval '900 ms'";
    let at_once = world.count(at_once).await;
    assert!(at_once <= 6, "{at_once} beats within a second");
    server.stop().await;
}

/// Nobody here knows such a path: it is sent on with the tenant's key all the same, and counts.
#[tokio::test]
async fn a_request_on_no_known_route_wakes_it_too() {
    let world = world(0).await;
    let server = world.serve().await;
    world.is_left_alone_by(&server).await;
    let stranger = http::get(&format!("http://{}/api/v1/nothing/known", server.listen), &[]).await;
    assert_eq!(recorded(&stranger), "none");
    assert!(server.is_idle().await, "whoever shows no key wakes nobody");
    let instances = "SELECT count(*) FROM usertap.instances";
    server.get(&world, "/nothing/known").await;
    assert_eq!(
        world.count(instances).await,
        1,
        "sent before others can know of it"
    );
    server.stop().await;
}

/// The console's pages wait for what comes, and ask for nothing.
#[tokio::test]
async fn an_open_page_keeps_nothing_awake() {
    let world = world(0).await;
    let server = world.serve().await;
    world.is_left_alone_by(&server).await;
    let mut live = tokio::net::TcpStream::connect(&server.admin)
        .await
        .expect("a connection");
    let request = format!("GET /live HTTP/1.1\r\nhost: {}\r\n\r\n", server.admin);
    live.write_all(request.as_bytes()).await.expect("sent");
    let (mut said, mut part) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&said).contains(": here") {
        let read = live.read(&mut part).await.expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend(&part[..read]);
    }
    assert!(server.is_idle().await);
    assert_eq!(world.connections().await, 0);
    drop(live);
    server.stop().await;
}

/// What finds it away when it is needed is journaled, as ever, and written once it is back.
async fn is_journaled_where(goes: fn(&Relay)) {
    let world = world(0).await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let through = [
        setting("DATABASE_URL", &url),
        setting("USERTAP_SYNC_TIMEOUT", "500ms"),
    ];
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    world.is_left_alone_by(&server).await;
    goes(&relay);
    let answer = server.create(&world, "Ada").await;
    assert_eq!(recorded(&answer), "journaled");
    relay.close();
    relay.open();
    let ada = id_of(&answer);
    eventually("the row is there", || async {
        (world.name(ada).await.as_deref() == Some("Ada")).then_some(())
    })
    .await;
    world.is_left_alone_by(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn one_that_does_not_wake_up_is_away() {
    is_journaled_where(Relay::close).await;
}

/// It takes the connection, and nothing more.
#[tokio::test]
async fn one_that_says_nothing_when_it_is_needed_is_away() {
    is_journaled_where(Relay::silence).await;
}
