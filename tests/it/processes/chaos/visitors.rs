//! End users in browsers, whose answers tell an id alone or a part of them; and ids that came another way, of which
//! somebody makes sure.

use ::http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::dice::Dice;
use super::{Address, Chaos};
use crate::support::http::{self, Reply};

/// One who has signed up, and alone writes what is written of them.
struct Visitor {
    id: Uuid,
    token: String,
    /// Nothing once an answer has not come: it may be anything.
    name: Option<String>,
}

pub async fn come(chaos: &Chaos, mut dice: Dice) {
    let mut visitors: Vec<Visitor> = Vec::new();
    let mut number = 0;
    while !chaos.is_over() {
        sleep(dice.millis(5, 80)).await;
        let Some(to) = chaos.any(&mut dice) else { continue };
        number += 1;
        let many = visitors.len() as u64;
        let one = (many > 0).then(|| dice.below(many) as usize);
        match (dice.below(10), one) {
            (0..3, _) | (_, None) => visitors.extend(signs_up(chaos, &to, number).await),
            (3..5, Some(one)) => visitors[one].renames_itself(chaos, &to, number).await,
            (5..8, Some(one)) => visitors[one].looks_at_itself(chaos, &to).await,
            _ => {
                if let Some(id) = chaos.one_elsewhere(&mut dice) {
                    makes_sure(chaos, &to, id).await;
                }
            }
        }
    }
}

async fn signs_up(chaos: &Chaos, to: &Address, number: u64) -> Option<Visitor> {
    let email = format!("visitor{number}@example.com");
    let body = json!({ "email": email, "password": "correct horse battery" });
    let reply = ask(
        chaos,
        to,
        Method::POST,
        "/auth/password/sign-up",
        None,
        Some(&body),
    )
    .await?;
    let said = reply.json();
    let id: Uuid = said["user_id"].as_str()?.parse().ok()?;
    told(chaos, id, &reply);
    if reply.recorded().starts_with("committed") {
        let sql = format!("SELECT email FROM {}.users_sync WHERE id = '{id}'", super::SCHEMA);
        let row = chaos.eyes.row(&sql).await.map(|row| row.get(0));
        assert_eq!(row, Some(Some(email)), "{id}: {}", reply.recorded());
        assert!(chaos.refers_to(id).await, "{id}: {}", reply.recorded());
        chaos.ledger.count("answers held against the row");
    }
    Some(Visitor {
        id,
        token: said["access_token"].as_str()?.to_owned(),
        name: Some(String::new()),
    })
}

impl Visitor {
    async fn renames_itself(&mut self, chaos: &Chaos, to: &Address, number: u64) {
        let name = format!("visitor {number}");
        let body = json!({ "display_name": name });
        let token = Some(self.token.as_str());
        let Some(reply) = ask(chaos, to, Method::PATCH, "/users/me", token, Some(&body)).await else {
            self.name = None;
            return;
        };
        told(chaos, self.id, &reply);
        self.name = self.name.as_ref().map(|_| name);
        if reply.recorded().starts_with("committed") && self.name.is_some() {
            let row = chaos.name(self.id).await;
            assert_eq!(row, self.name, "{}: {}", self.id, reply.recorded());
            chaos.ledger.count("answers held against the row");
        }
    }

    async fn looks_at_itself(&self, chaos: &Chaos, to: &Address) {
        let token = Some(self.token.as_str());
        if let Some(reply) = ask(chaos, to, Method::GET, "/users/me", token, None).await {
            told(chaos, self.id, &reply);
            let cached = reply.header("x-usertap-cache").unwrap_or_default();
            if reply.recorded().starts_with("committed") && !cached.starts_with("stale") {
                assert!(chaos.has_row(self.id).await, "{}: {}", self.id, reply.recorded());
            }
        }
    }
}

/// As an app's server does with an id from a token.
async fn makes_sure(chaos: &Chaos, to: &Address, id: Uuid) {
    let headers = chaos.world.server_headers();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let url = format!("http://{}/_usertap/users/{id}?ensure=1", to.listen);
    let Ok(reply) = http::request(Method::GET, &url, &headers, "").await else {
        return;
    };
    chaos
        .ledger
        .count(&format!("made sure: {} {}", reply.status.as_u16(), word(&reply)));
    if reply.status != 200 || word(&reply) != "committed" || chaos.has_row(id).await {
        return;
    }
    let removed = chaos.removed.lock().expect("no panic").contains(&id);
    let is_gone = chaos.world.control().server_view(0, id).is_none();
    assert!(removed || is_gone, "{id} has no row: {}", reply.recorded());
}

/// Nothing where no success came.
async fn ask(
    chaos: &Chaos,
    to: &Address,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Option<Reply> {
    let headers = chaos.world.client_headers();
    let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let token = token.map(|token| ("x-stack-access-token", token));
    let json = body.map(|_| ("content-type", "application/json"));
    let headers: Vec<_> = headers.chain(token).chain(json).collect();
    let url = format!("http://{}/api/v1{path}", to.listen);
    let body = body.map(Value::to_string).unwrap_or_default();
    let reply = http::request(method, &url, &headers, body).await.ok()?;
    chaos.ledger.count(&format!(
        "visitors: {} {}",
        reply.status.as_u16() / 100,
        word(&reply)
    ));
    let is_json = serde_json::from_slice::<Value>(&reply.body).is_ok();
    (reply.effective_status() < 300 && is_json).then_some(reply)
}

fn word(reply: &Reply) -> &str {
    reply.recorded().split(';').next().unwrap_or_default()
}

fn told(chaos: &Chaos, id: Uuid, reply: &Reply) {
    if ["committed", "journaled"].contains(&word(reply)) {
        chaos.ledger.told(id);
    }
}
