//! A failover as it really is: a standby that had not got everything takes over, under two replicas.

use ::http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use usertap::sandbox::{Options, Sandbox};
use usertap::tasks::Tasks;
use uuid::Uuid;

use super::{Server, World, id_of, recorded};
use crate::support::process::{Folder, setting};
use crate::support::relay::Relay;
use crate::support::standby::Pair;
use crate::support::{eventually, http, postgres};

/// A world on the primary of the pair, by a way that leads to the standby later.
async fn world_on(pair: &Pair) -> (World, Relay) {
    let relay = Relay::to(pair.primary.port()).await;
    relay.open();
    let mut url: url::Url = pair.standby.url().expose_secret().parse().expect("a URL");
    url.set_port(Some(relay.addr.port())).expect("a port");
    let tasks = Tasks::default();
    let options = Options {
        users: 3,
        ..Options::default()
    };
    let world = World {
        sandbox: Sandbox::start(options, &tasks).await.expect("a sandbox"),
        client: postgres::client(&pair.primary.url("postgres")).await,
        url: url.to_string().into(),
        folder: Folder::new(),
        also: Vec::new(),
        tasks,
    };
    (world, relay)
}

async fn replica(world: &World, name: &str) -> Server {
    let folder = setting("USERTAP_DATA_DIR", world.folder.path().join(name).display());
    Server::of(world.start_with(&["serve"], &[folder])).await
}

async fn created(world: &World, server: &Server, name: &str) -> Uuid {
    let reply = server.create(world, name).await;
    assert_eq!(recorded(&reply), "committed", "{name}");
    id_of(&reply)
}

pub(super) async fn changes(server: &Server, since: &str) -> http::Reply {
    http::get(
        &format!("http://{}/v1/changes?since={since}&limit=1000", server.admin),
        &[],
    )
    .await
}

pub(super) async fn head(server: &Server) -> String {
    let page: Value = changes(server, "now").await.json();
    page["head"].as_str().expect("a position").to_owned()
}

async fn position(client: &tokio_postgres::Client) -> i64 {
    let position = client.query_one("SELECT position FROM usertap.meta", &[]).await;
    position.expect("a position").get(0)
}

/// Nothing is owed and nothing waits.
async fn at_rest(world: &World, servers: &[&Server], epoch: i64) {
    eventually("all is read again", || async {
        for server in servers {
            let status = server.status().await;
            if status["recorder"]["waiting"] != 0 || status["recorder"]["trouble"] != Value::Null {
                return None;
            }
        }
        let reached = world.count("SELECT epoch FROM usertap.meta").await == epoch;
        (reached && world.owed().await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_commits_takes_over_and_nothing_is_missing_in_the_end() {
    let pair = Pair::start().await;
    let (mut world, relay) = world_on(&pair).await;
    world.backfill().await;
    let (one, other) = (replica(&world, "one").await, replica(&world, "other").await);
    let [renamed, deleted] = [
        created(&world, &one, "to be renamed").await,
        created(&world, &other, "to be deleted").await,
    ];
    at_rest(&world, &[&one, &other], 1).await;
    let kept = head(&one).await;
    let standby = postgres::client(&pair.standby.url()).await;
    pair.has_got_all(&standby).await;
    pair.standby.falls_behind().await;
    let before = position(&standby).await;

    let new = [
        created(&world, &one, "made by the one").await,
        created(&world, &other, "made by the other").await,
    ];
    let body = json!({ "display_name": "renamed" });
    let reply = one
        .ask(&world, Method::PATCH, &format!("/users/{renamed}"), &body)
        .await;
    assert_eq!(recorded(&reply), "committed");
    let reply = other
        .ask(&world, Method::DELETE, &format!("/users/{deleted}"), &json!({}))
        .await;
    assert_eq!(recorded(&reply), "committed");
    let lost = head(&one).await;
    let last = position(&world.client).await;

    relay.close();
    pair.standby.takes_over().await;
    world.client = postgres::client(&pair.standby.url()).await;
    assert!(position(&world.client).await < last, "the standby lacks commits");
    relay.leads_to(pair.standby.port);
    relay.open();

    // Each of them has to notice it by itself.
    let gone = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{deleted}' AND deleted_at IS NOT NULL"
    );
    eventually("what is lost is read again", || async {
        let mut is_there = world.name(renamed).await.as_deref() == Some("renamed");
        is_there &= world.count(&gone).await == 1;
        for id in new {
            is_there &= world.name(id).await.is_some();
        }
        is_there.then_some(())
    })
    .await;
    at_rest(&world, &[&one, &other], 2).await;
    world.assert_all_there().await;
    let since =
        format!("SELECT count(*) FROM usertap.changes WHERE position > {before} AND position <= {last}");
    assert_eq!(world.count(&since).await, 0, "no position is used twice");

    assert_eq!(changes(&one, &lost).await.status, 410, "what it had read is gone");
    let page: Value = changes(&other, &kept).await.json();
    let types: Vec<&str> = page["changes"]
        .as_array()
        .expect("a page")
        .iter()
        .filter_map(|change| change["type"].as_str())
        .collect();
    assert_eq!(types.len(), 4, "{page}");

    for server in [one, other] {
        created(&world, &server, "afterwards").await;
        let problems = server.status().await["problems"].clone();
        assert_eq!(problems, json!([]));
        server.stop().await;
    }
}

/// Who was killed with the database cannot know whom it had written last, and says so until all are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_with_the_database_says_that_a_reconcile_is_owed() {
    let pair = Pair::start().await;
    let (mut world, relay) = world_on(&pair).await;
    world.backfill().await;
    let one = replica(&world, "one").await;
    pair.has_got_all(&postgres::client(&pair.standby.url()).await)
        .await;
    pair.standby.falls_behind().await;
    let lost = created(&world, &one, "lost").await;
    one.process.killed().await;
    relay.close();
    pair.standby.takes_over().await;
    world.client = postgres::client(&pair.standby.url()).await;
    relay.leads_to(pair.standby.port);
    relay.open();

    let one = replica(&world, "one").await;
    let words = |status: &Value| -> Vec<Value> {
        let problems = status["problems"].as_array().into_iter().flatten();
        problems.map(|problem| problem["word"].clone()).collect()
    };
    eventually("the status tells of lost commits", || async {
        (words(&one.status().await) == ["commits-lost"]).then_some(())
    })
    .await;
    let folder = setting("USERTAP_DATA_DIR", world.folder.path().join("one").display());
    let reconciled = world
        .start_with(&["reconcile", "--json"], &[folder])
        .ended()
        .await;
    reconciled.with_code(0);
    eventually("all is well", || async {
        words(&one.status().await).is_empty().then_some(())
    })
    .await;
    assert_eq!(world.name(lost).await.as_deref(), Some("lost"));
    one.stop().await;
}

/// Its machine hangs: whoever connects is taken, and hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_says_nothing_any_more_keeps_nobody_from_the_other_host() {
    let pair = Pair::start().await;
    let (mut world, relay) = world_on(&pair).await;
    world.url = both_hosts(&world.url, pair.standby.port);
    let one = replica(&world, "one").await;
    let before = created(&world, &one, "before").await;
    at_rest(&world, &[&one], 1).await;
    pair.has_got_all(&postgres::client(&pair.standby.url()).await)
        .await;
    relay.silence();
    pair.standby.takes_over().await;
    world.client = postgres::client(&pair.standby.url()).await;
    eventually("the other host is written to", || async {
        let reply = one.create(&world, "after").await;
        (recorded(&reply) == "committed").then_some(())
    })
    .await;
    assert_eq!(world.name(before).await.as_deref(), Some("before"));
    eventually("all is well", || async {
        let problems = one.listed_problems().await;
        problems.is_empty().then_some(())
    })
    .await;
    one.stop().await;
}

/// As libpq takes it: whichever of them is the primary.
pub fn both_hosts(url: &secrecy::SecretString, port: u16) -> secrecy::SecretString {
    let mut url: url::Url = url.expose_secret().parse().expect("a URL");
    url.set_query(Some("target_session_attrs=read-write"));
    let first = format!("127.0.0.1:{}", url.port().expect("a port"));
    url.to_string()
        .replace(&first, &format!("{first},127.0.0.1:{port}"))
        .into()
}

/// As a container that is always restarted does: for a while everybody is led to the old one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_beside_the_one_that_took_over_loses_nobody() {
    let pair = Pair::start().await;
    let (mut world, relay) = world_on(&pair).await;
    world.backfill().await;
    let old = postgres::client(&pair.primary.url("postgres")).await;
    let (one, other) = (replica(&world, "one").await, replica(&world, "other").await);
    let renamed = created(&world, &one, "to be renamed").await;
    let deleted = created(&world, &other, "to be deleted").await;
    at_rest(&world, &[&one, &other], 1).await;
    pair.has_got_all(&postgres::client(&pair.standby.url()).await)
        .await;
    pair.standby.takes_over().await;
    world.client = postgres::client(&pair.standby.url()).await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let leads_to = async |port: u16| {
        relay.close();
        for left in [&old, &world.client] {
            eventually("nobody is there", || async {
                let row = left.query_one(others, &[]).await.expect("a count");
                (row.get::<_, i64>(0) == 0).then_some(())
            })
            .await;
        }
        relay.leads_to(port);
        relay.open();
    };
    let name = |round: &str, server: &str| format!("{round} {server}");
    let mut seen: Vec<i64> = Vec::new();
    for (round, port) in [
        ("new", pair.standby.port),
        ("old", pair.primary.port()),
        ("new again", pair.standby.port),
        ("old again", pair.primary.port()),
        ("for good", pair.standby.port),
    ] {
        leads_to(port).await;
        for (at, server) in [&one, &other].into_iter().enumerate() {
            let name = name(round, &at.to_string());
            eventually("it is written", || async {
                let reply = server.create(&world, &name).await;
                (recorded(&reply) == "committed").then_some(())
            })
            .await;
        }
        let body = json!({ "display_name": round });
        one.ask(&world, Method::PATCH, &format!("/users/{renamed}"), &body)
            .await;
        let (database, at) = match round.starts_with("old") {
            true => (&old, "old"),
            false => (&world.client, "new"),
        };
        let last = position(database).await;
        assert!(!seen.contains(&last), "{at}: {last} is used twice");
        seen.push(last);
        if round == "old" {
            other
                .ask(&world, Method::DELETE, &format!("/users/{deleted}"), &json!({}))
                .await;
        }
    }
    eventually("nothing waits", || async {
        for server in [&one, &other] {
            let recorder = server.status().await["recorder"].clone();
            if recorder["waiting"] != 0 || recorder["journal"]["waiting"] != 0 {
                return None;
            }
        }
        (world.owed().await == 0).then_some(())
    })
    .await;
    assert_eq!(world.name(renamed).await.as_deref(), Some("for good"));
    let gone = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{deleted}' AND deleted_at IS NOT NULL"
    );
    assert_eq!(world.count(&gone).await, 1);
    world.assert_all_there().await;
    for server in [one, other] {
        let log = server.stop().await.log();
        assert!(!log.contains("the database refused"), "{log}");
    }
}

/// A slot's reader takes all that there is; gives the lease to go on with.
async fn taken(slot: &str, lease: &str) -> String {
    let page = http::get(&format!("{slot}/changes?limit=1000{lease}"), &[]).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.json();
    let to = json!({ "pos": page["next"], "lease": page["lease"] });
    let advanced = http::post(&format!("{slot}/advance"), &[], &to).await;
    assert_eq!(advanced.status, 200, "{}", advanced.text());
    format!("&lease={}", page["lease"].as_str().expect("a lease"))
}

/// Somebody who was made and is gone again is told to nobody any more; who heard of them must begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_slots_reader_who_has_taken_what_is_lost_is_told_so_and_no_other_is() {
    let pair = Pair::start().await;
    let (mut world, relay) = world_on(&pair).await;
    let one = replica(&world, "one").await;
    let slots = ["quick", "late"].map(|name| format!("http://{}/v1/slots/{name}", one.admin));
    for slot in &slots {
        let made = http::request(Method::PUT, slot, &[], json!({ "since": "oldest" }).to_string()).await;
        assert_eq!(made.expect("an answer").status, 201);
    }
    created(&world, &one, "before").await;
    let leases = [taken(&slots[0], "").await, taken(&slots[1], "").await];
    at_rest(&world, &[&one], 1).await;
    let standby = postgres::client(&pair.standby.url()).await;
    pair.has_got_all(&standby).await;
    pair.standby.falls_behind().await;
    let lost = created(&world, &one, "lost").await;
    let path = format!("/users/{lost}");
    let gone = one.ask(&world, Method::DELETE, &path, &json!({})).await;
    assert_eq!(recorded(&gone), "committed");
    taken(&slots[0], &leases[0]).await;

    relay.close();
    pair.standby.takes_over().await;
    world.client = postgres::client(&pair.standby.url()).await;
    relay.leads_to(pair.standby.port);
    relay.open();
    let goes_on = async |at: usize| {
        let url = format!("{}/changes?limit=1000{}", slots[at], leases[at]);
        let answered =
            async || Some(http::get(&url, &[]).await.status.as_u16()).filter(|status| *status != 503);
        eventually("the database answers", answered).await
    };
    assert_eq!((goes_on(0).await, goes_on(1).await), (410, 200));
    one.stop().await;
}
