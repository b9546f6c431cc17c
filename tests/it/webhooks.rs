//! What the provider sends by itself, as an operator and an app see it: rows follow, nothing forged is
//! believed, and nothing is acknowledged that could be lost.

mod away;
mod order;
mod recorded;
mod refused;
mod replicas;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use usertap::sandbox::{Event, Webhooks};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::http::{self, Reply};
use crate::support::stack::{Setup, Stack};

const PATH: &str = "/_usertap/webhooks";

/// A stack that takes the sandbox's webhooks in; the sandbox sends none by itself yet.
async fn stack() -> Stack {
    with(Setup::default()).await
}

async fn with(setup: Setup) -> Stack {
    let mut stack = Stack::with(setup).await;
    let secret = webhooks(&stack).secret();
    stack.restart_with("USERTAP_WEBHOOK_SECRET", &secret).await;
    stack.control().forget_traffic();
    stack
}

/// Those of our own project.
fn webhooks(stack: &Stack) -> Webhooks {
    stack.control().webhooks(0).expect("a project")
}

fn url(stack: &Stack) -> String {
    format!("http://{}{PATH}", stack.serving().listen)
}

/// The sandbox sends what happens from now on.
fn connect(stack: &Stack) -> Webhooks {
    let webhooks = webhooks(stack);
    webhooks.send_to(&url(stack));
    webhooks
}

/// Every event was taken, and what it asked for is done.
async fn all_taken(stack: &Stack) {
    let webhooks = webhooks(stack);
    let mut left = webhooks.pending();
    while left > 0 {
        left = eventually("more webhooks are taken", || async {
            let now = webhooks.pending();
            (now == 0 || now + 50 <= left).then_some(now)
        })
        .await;
    }
    stack.settled().await;
}

/// Sends an event as the provider would, at this moment.
async fn send(stack: &Stack, event: &Event) -> Reply {
    send_at(stack, event, crate::support::wall()).await
}

async fn send_at(stack: &Stack, event: &Event, at: DateTime<Utc>) -> Reply {
    post(&url(stack), &webhooks(stack).headers(event, at), &event.body).await
}

async fn post(url: &str, headers: &[(&'static str, String)], body: &str) -> Reply {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    http::request(::http::Method::POST, url, &headers, body.to_owned())
        .await
        .expect("an answer")
}

fn word(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["webhook"].as_str().expect("a word").to_owned()
}

/// An event about a user as it is now.
fn of_user(stack: &Stack, kind: &str, id: Uuid) -> Event {
    let user = stack.control().server_view(0, id).expect("a user");
    Event::new(kind, &user)
}

fn of_deletion(id: Uuid) -> Event {
    Event::new("user.deleted", &json!({ "id": id, "teams": [] }))
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

async fn figures(stack: &Stack) -> Value {
    stack.status().await["webhooks"].clone()
}

/// Where the changes of a user came from, in order.
async fn origins(stack: &Stack, id: Uuid) -> Vec<String> {
    let sql = "SELECT type || ' by ' || origin FROM usertap.changes WHERE id = $1 ORDER BY position";
    let rows = stack
        .client
        .query(sql, &[&id.to_string()])
        .await
        .expect("a query");
    rows.iter().map(|row| row.get(0)).collect()
}
