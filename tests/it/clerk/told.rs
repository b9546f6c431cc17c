//! What happens at Clerk itself, where its own version says what is newer: by webhook, and by asking.

use ::http::Method;
use serde_json::json;
use usertap::sandbox::{Event, Options, Plays, Sandbox, Webhooks};
use usertap::tasks::Tasks;

use super::Clerk;
use crate::support::http;
use crate::support::{eventually, wall};

/// The same at every start.
async fn secret() -> String {
    let tasks = Tasks::default();
    let options = Options {
        plays: Plays::Clerk,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options, &tasks).await.expect("a sandbox");
    let secret = webhooks(&sandbox).secret();
    tasks.stop();
    secret
}

fn webhooks(sandbox: &Sandbox) -> Webhooks {
    sandbox.control().webhooks(0).expect("an instance")
}

async fn told() -> Clerk {
    let secret = secret().await;
    Clerk::new(
        0,
        Options::default(),
        &[("CLERK_WEBHOOK_SIGNING_SECRET", &secret)],
    )
    .await
}

async fn send(clerk: &Clerk, event: &Event) -> String {
    let headers = webhooks(&clerk.sandbox).headers(event, wall());
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let url = format!("http://{}/_usertap/webhooks", clerk.served.listen());
    let reply = http::request(Method::POST, &url, &headers, event.body.clone())
        .await
        .expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["webhook"].as_str().expect("a word").to_owned()
}

fn of_user(clerk: &Clerk, kind: &str, id: &str) -> Event {
    let user = clerk.control().in_clerk(|clerk| clerk.user(0, id)).flatten();
    Event::new(kind, &user.expect("a user"))
}

fn rename(clerk: &Clerk, id: &str, name: &str) {
    assert_eq!(
        clerk.control().in_clerk(|clerk| clerk.rename(0, id, name)),
        Some(true)
    );
}

fn reads(clerk: &Clerk) -> u64 {
    clerk.control().count(&Method::GET, "/users/{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_written_without_a_read_and_an_older_one_left_out() {
    let clerk = told().await;
    let id = clerk.create("ada@example.com").await;
    let before = reads(&clerk);
    rename(&clerk, &id, "One");
    let one = of_user(&clerk, "user.updated", &id);
    rename(&clerk, &id, "Two");
    let two = of_user(&clerk, "user.updated", &id);
    assert_eq!(send(&clerk, &two).await, "applied");
    clerk.is_level(&id).await;
    assert_eq!(send(&clerk, &one).await, "unchanged");
    clerk.is_level(&id).await;
    assert_eq!(reads(&clerk), before, "the version tells which is newer");
    let origin = "SELECT origin FROM usertap.changes ORDER BY position DESC LIMIT 1";
    let origin: String = clerk
        .served
        .client
        .query_one(origin, &[])
        .await
        .expect("a query")
        .get(0);
    assert_eq!(origin, "webhook");
    // A deletion is asked for.
    assert_eq!(clerk.control().in_clerk(|clerk| clerk.delete(0, &id)), Some(true));
    let deleted = Event::new(
        "user.deleted",
        &json!({ "id": id, "object": "user", "deleted": true }),
    );
    assert_eq!(send(&clerk, &deleted).await, "hint");
    eventually("the row is deleted", || async {
        let row = clerk.served.row(&id).await?;
        row.is_deleted.then_some(())
    })
    .await;
    // And nothing raises it again.
    assert_eq!(send(&clerk, &two).await, "duplicate");
    let again = Event {
        id: "msg_again".into(),
        ..two
    };
    assert_eq!(send(&clerk, &again).await, "hint");
    eventually("it was asked for", || async {
        let owed = "SELECT count(*) FROM usertap.user_state WHERE doubt IS NOT NULL";
        let owed: i64 = clerk.served.client.query_one(owed, &[]).await.ok()?.get(0);
        (owed == 0).then_some(())
    })
    .await;
    assert!(clerk.served.row(&id).await.expect("a row").is_deleted);
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_brings_what_changed_elsewhere() {
    let clerk = Clerk::new(0, Options::default(), &[("USERTAP_POLL_EVERY", "1s")]).await;
    let (ada, bea) = (
        clerk.create("ada@example.com").await,
        clerk.create("bea@example.com").await,
    );
    eventually("it polls", || async {
        let freshness = clerk.served.status().await["freshness"].clone();
        freshness["poll"].as_u64().map(drop)
    })
    .await;
    for (id, name) in [(&ada, "Countess"), (&bea, "Baroness"), (&ada, "Ada")] {
        rename(&clerk, id, name);
        eventually("the row follows", || async {
            let row = clerk.served.row(id).await?;
            (row.raw["first_name"] == name).then_some(())
        })
        .await;
        clerk.is_level(id).await;
    }
    let origin = "SELECT DISTINCT origin FROM usertap.changes WHERE type = 'user.updated'";
    let origins = clerk.served.client.query(origin, &[]).await.expect("a query");
    let origins: Vec<String> = origins.iter().map(|row| row.get(0)).collect();
    assert_eq!(origins, ["poll"]);
    let status = clerk.served.status().await;
    assert_eq!(status["poll"]["trouble"], json!(null));
    assert_eq!(status["problems"], json!([]));
    // Never a walk: how old the rest may be is not known.
    assert_eq!(status["freshness"]["oldest"], json!(null));
    clerk.served.walk("backfill").await;
    let freshness = clerk.served.status().await["freshness"].clone();
    assert!(
        freshness["oldest"].is_u64() && freshness["walk"].is_u64(),
        "{freshness}"
    );
    clerk.end().await;
}
