//! Every endpoint of the provider that touches users, called through the proxy in both
//! generations of headers, once for users that usertap knows and once for users that it has never
//! seen: right after the answer the row is what the provider has.

mod fixture;
// A table is read by its columns.
#[rustfmt::skip]
mod table;

use http::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::http::Reply;
use crate::support::stack::{Setup, Stack};
use fixture::Fixture;
use table::{ADDRESSES_AND_ACCOUNTS, AUTHENTICATION, Endpoint, PROJECT, TEAMS, Then, USERS};

/// Those that tell nobody anything are made good by a list, and the end of the stack looks at it.
async fn all(endpoints: &[Endpoint]) {
    let stack = Stack::with(Setup::users(3)).await;
    stack.control().set_client_user_deletion(0, true);
    for newer in [false, true] {
        for endpoint in endpoints {
            for known in [false, true] {
                one(&stack, endpoint, newer, known).await;
            }
        }
    }
    let everybody = stack.get(&stack.server(0), "/users?include_anonymous=true").await;
    assert!(everybody.recorded().starts_with("committed"));
    stack.end().await;
}

async fn one(stack: &Stack, endpoint: &Endpoint, newer: bool, known: bool) {
    let mut fixture = Fixture::new(stack).await;
    for (on, by, body) in endpoint.first {
        fixture.prepare(on, *by, body).await;
    }
    if known {
        let read = stack
            .get(&stack.server(0), &format!("/users/{}", fixture.user))
            .await;
        stack.is_recorded(&read, fixture.user).await;
    }
    if endpoint.then == Then::Nothing {
        stack.settled().await;
    }
    let before = stack.position().await;
    let reply = fixture.call(endpoint.on, endpoint.by, endpoint.body, newer).await;
    let what = format!(
        "{} (known: {known}, newer: {newer}): {}",
        endpoint.on,
        reply.recorded()
    );
    assert!(reply.effective_status() < 400, "{what}: {}", reply.text());
    let right = match endpoint.then {
        Then::Row => committed(stack, &reply, fixture.user).await,
        Then::New(at) => committed(stack, &reply, fixture::named(&reply, at)).await,
        Then::Gone => gone(stack, &reply, fixture.user).await,
        Then::Nothing => nothing(stack, &reply, before).await,
    };
    right.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
}

async fn committed(stack: &Stack, reply: &Reply, user: Uuid) -> Result<(), String> {
    stack.agrees(user).await?;
    match reply.recorded().starts_with("committed") {
        true => Ok(()),
        false => Err("the answer does not say so".to_owned()),
    }
}

async fn gone(stack: &Stack, reply: &Reply, user: Uuid) -> Result<(), String> {
    committed(stack, reply, user).await?;
    let states = format!("SELECT count(*) FROM usertap.user_state WHERE id = '{user}'");
    match (stack.control().server_view(0, user), stack.count(&states).await) {
        (None, 1) => {
            // Somebody whom nobody had told of leaves a tombstone alone.
            if stack.row(user).await.is_none() {
                stack.unseen(user);
            }
            Ok(())
        }
        (there, states) => Err(format!("{there:?} and {states} states")),
    }
}

async fn nothing(stack: &Stack, reply: &Reply, before: i64) -> Result<(), String> {
    match (reply.recorded().starts_with("none; "), stack.position().await) {
        (true, after) if after == before => Ok(()),
        (_, after) => Err(format!("something was noted: position {before} became {after}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users() {
    all(USERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authentication() {
    all(AUTHENTICATION).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_accounts() {
    all(ADDRESSES_AND_ACCOUNTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teams() {
    all(TEAMS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn project() {
    all(PROJECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_prefix_leads_to_the_same_rows() {
    let stack = Stack::new().await;
    for prefix in [
        "/api/v1",
        "/api/latest",
        "/api/v2beta1",
        "/api/v2beta2",
        "/api/v2beta3",
        "/api/v2beta4",
        "/api/v2beta5",
    ] {
        for server in [stack.server(0), stack.server(0).newer()] {
            let server = server.under(prefix);
            let made = stack
                .post(&server, "/users", json!({ "display_name": prefix }))
                .await;
            let id = fixture::named(&made, "/id");
            stack.is_recorded(&made, id).await;
            let path = format!("/users/{id}");
            let changed = stack
                .patch(&server, &path, json!({ "display_name": "Changed" }))
                .await;
            stack.is_recorded(&changed, id).await;
            let deleted = stack.delete(&server, &path).await;
            stack.is_recorded(&deleted, id).await;
        }
    }
    let none = stack.server(0).under("/api/v2");
    let reply = stack.ask(&none, Method::GET, "/users", &json!(null)).await;
    assert_eq!(reply.recorded(), "none; unmatched");
    stack.end().await;
}
