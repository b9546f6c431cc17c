//! What a webhook told survives `kill -9`, and the sandbox sends webhooks to whom it is told.

use chrono::Utc;
use serde_json::json;
use usertap::sandbox::{Action, Event, Fault, Gate};
use uuid::Uuid;

use super::{Server, World, through_a_relay};
use crate::support::eventually;
use crate::support::http::{self, Reply};
use crate::support::process::setting;
use crate::support::wall;

pub async fn send(world: &World, server: &Server, event: &Event) -> Reply {
    let at: chrono::DateTime<Utc> = wall();
    let headers = world.control().webhooks(0).expect("a project").headers(event, at);
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let url = format!("http://{}/_usertap/webhooks", server.listen);
    http::request(::http::Method::POST, &url, &headers, event.body.clone())
        .await
        .expect("an answer")
}

pub fn created(world: &World, id: Uuid) -> Event {
    let user = world.control().server_view(0, id).expect("a user");
    Event::new("user.created", &user)
}

#[tokio::test]
async fn what_a_webhook_told_during_an_outage_survives_a_kill() {
    let world = World::with_users(0).await;
    let secret = world.control().webhooks(0).expect("a project").secret();
    let world = world.and("USERTAP_WEBHOOK_SECRET", secret);
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let through = [setting("DATABASE_URL", &url)];
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    let made = |name: &str| {
        let id = world.control().create(0, json!({ "display_name": name }));
        id.expect("a user")
    };
    let (ada, gone) = (made("Ada"), made("Gone"));
    let before = send(&world, &server, &created(&world, gone)).await;
    assert_eq!(before.json()["webhook"], "applied");
    relay.close();
    assert!(world.control().delete(0, gone));
    let deleted = Event::new("user.deleted", &json!({ "id": gone }));
    for event in [created(&world, ada), deleted] {
        let reply = send(&world, &server, &event).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["webhook"]),
            (200, &json!("journaled"))
        );
    }
    server.process.killed().await;
    relay.open();
    let server = Server::of(world.start_with(&["serve"], &through)).await;
    eventually("both are in the table", || async {
        let sql = format!(
            "SELECT count(*) FROM neon_identity.users_sync
             WHERE id = '{ada}' AND name = 'Ada' OR id = '{gone}' AND deleted_at IS NOT NULL"
        );
        (world.count(&sql).await == 2).then_some(())
    })
    .await;
    server.stop().await;
}

/// As a provider does that signs with another secret: it tries again and again, and nothing else comes.
#[tokio::test]
async fn a_secret_that_is_not_the_endpoints_is_named_until_one_is_right() {
    const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let world = World::with_users(1).await;
    let both = format!(
        "{OTHER},{}",
        world.control().webhooks(0).expect("a project").secret()
    );
    let event = created(&world, world.control().ids(0)[0]);
    let apart = world.and("FAILPOINTS", "webhooks-apart=0ms");
    let world = apart.and("USERTAP_WEBHOOK_SECRET", OTHER);
    let server = world.serve().await;
    for _ in 0..3 {
        assert_eq!(send(&world, &server, &event).await.status, 401);
    }
    server.names(&["webhooks-refused", "WEBHOOK_SECRET"]).await;
    server.stop().await;
    let world = world.and("USERTAP_WEBHOOK_SECRET", both);
    let server = world.serve().await;
    assert_eq!(send(&world, &server, &event).await.status, 200);
    // What came right speaks for the secret, whatever a stranger sends.
    let unsigned = format!("http://{}/_usertap/webhooks", server.listen);
    for _ in 0..5 {
        let reply = http::request(::http::Method::POST, &unsigned, &[], "{}").await;
        assert_eq!(reply.expect("an answer").status, 401);
    }
    let status = server.status().await;
    assert_eq!(status["webhooks"]["wrong_in_a_row"], 5);
    assert_eq!(status["problems"], json!([]));
    server.stop().await;
}

/// A user is read no more than once in a moment for nobody in particular, and then for all that came meanwhile,
/// however seldom it is looked for what is owed.
#[tokio::test]
async fn an_event_that_follows_a_read_at_once_is_read_a_moment_later() {
    let world = World::with_users(1)
        .await
        .and("FAILPOINTS", "owed-every=3600000ms");
    let secret = world.control().webhooks(0).expect("a project").secret();
    let world = world.and("USERTAP_WEBHOOK_SECRET", secret);
    let server = world.serve().await;
    let ada = world.control().ids(0)[0];
    let reply = send(&world, &server, &created(&world, ada)).await;
    assert_eq!(reply.json()["webhook"], "applied");
    // The read that it asks for would tell of the first change before its event does.
    world.owes_nothing().await;
    let changed = async |name: &str| {
        assert!(world.control().edit(0, ada, json!({ "display_name": name })));
        let user = world.control().server_view(0, ada).expect("a user");
        let event = Event::new("user.updated", &user);
        assert_eq!(
            send(&world, &server, &event).await.json()["webhook"],
            "hint",
            "{name}"
        );
    };
    let is_in_the_table = async |name: &str| {
        eventually("the row follows", || async {
            (world.name(ada).await.as_deref() == Some(name)).then_some(())
        })
        .await;
        world.owes_nothing().await;
    };
    for name in ["1", "2", "3"] {
        changed(name).await;
        is_in_the_table(name).await;
    }
    // What was under way already shows nothing of it.
    let gate = Gate::new();
    let read = Fault::on(&format!("/users/{ada}"), Action::HoldAfter(gate.clone()));
    world.control().fault(read);
    changed("4").await;
    gate.reached().await;
    changed("5").await;
    gate.release();
    is_in_the_table("5").await;
    server.stop().await;
}

#[tokio::test]
async fn the_sandbox_sends_webhooks_and_prints_their_secret() {
    let world = World::with_users(0).await;
    let args = [
        "sandbox",
        "--listen",
        "127.0.0.1:0",
        "--users",
        "0",
        "--webhooks",
        "http://127.0.0.1:1/_usertap/webhooks",
    ];
    let sandbox = world.start(&args);
    sandbox.line("ready").await;
    let printed = sandbox.output().stdout;
    let secret = printed
        .iter()
        .find_map(|line| line.strip_prefix("USERTAP_WEBHOOK_SECRET="));
    assert!(
        secret.is_some_and(|secret| secret.starts_with("whsec_")),
        "{printed:?}"
    );
    sandbox.terminated().await.with_code(0);
    let refused = world.start(&["sandbox", "--webhooks", "https://example.com/x"]);
    let refused = refused.ended().await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.output.log().contains("http://"), "{refused:?}");
}
