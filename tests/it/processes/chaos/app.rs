//! An app that asks whichever replica answers, and holds it to its word.

use ::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dice::Dice;
use super::{Address, Chaos};
use crate::support::http::{self, Reply};
use crate::support::now;

/// Between two requests of one app.
const PACE: std::time::Duration = std::time::Duration::from_millis(4);

/// One app's side: the users it made are written by it alone, one write after another.
struct App<'c> {
    chaos: &'c Chaos,
    own: Vec<Uuid>,
    written: u64,
    number: u64,
}

pub async fn asks(chaos: &Chaos, app: u64, mut dice: Dice) {
    let mut app = App {
        chaos,
        own: Vec::new(),
        written: 0,
        number: app,
    };
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !chaos.is_over() {
        pace.tick().await;
        let Some(to) = chaos.any(&mut dice) else { continue };
        match dice.below(100) {
            0..15 => app.creates(&to).await,
            15..45 => app.renames(&to, &mut dice).await,
            45..48 => app.deletes(&to, &mut dice).await,
            48..54 => app.lists(&to).await,
            _ => app.reads(&to, &mut dice).await,
        }
    }
}

impl App<'_> {
    fn name(&mut self) -> (u64, Value) {
        self.written += 1;
        (
            self.written,
            json!({ "display_name": format!("{} {}", self.number, self.written) }),
        )
    }

    async fn creates(&mut self, to: &Address) {
        let (number, body) = self.name();
        let Some(reply) = self.ask(to, Method::POST, "/users", Some(&body)).await else {
            return self.chaos.ledger.count("creates without an answer");
        };
        if let Some(id) = id_of(&reply) {
            self.own.push(id);
            self.wrote(id, number, &reply, true).await;
        }
    }

    async fn renames(&mut self, to: &Address, dice: &mut Dice) {
        let Some(id) = self.one_of_its_own(dice) else {
            return;
        };
        let (number, body) = self.name();
        let path = format!("/users/{id}");
        match self.ask(to, Method::PATCH, &path, Some(&body)).await {
            Some(reply) if id_of(&reply).is_some() => self.wrote(id, number, &reply, false).await,
            _ => self.chaos.ledger.unordered(id),
        }
    }

    /// Nobody else writes this user, and nothing that is still to come: the row says the same.
    async fn wrote(&self, id: Uuid, number: u64, reply: &Reply, is_new: bool) {
        let ledger = &self.chaos.ledger;
        if !reply.recorded().starts_with("committed") {
            return ledger.unordered(id);
        }
        ledger.committed(id, number, now(), is_new);
        let name = self.chaos.name(id).await;
        let said = format!("{} {number}", self.number);
        match ledger.is_ordered(id) {
            true => assert_eq!(name, Some(said), "{id}: {}", reply.recorded()),
            false => assert!(name.is_some(), "{id} has no row: {}", reply.recorded()),
        }
        ledger.count("answers held against the row");
        if number.is_multiple_of(4) {
            assert!(self.chaos.refers_to(id).await, "{id}: {}", reply.recorded());
        }
    }

    async fn deletes(&mut self, to: &Address, dice: &mut Dice) {
        let Some(id) = self.one_of_its_own(dice) else {
            return;
        };
        self.own.retain(|own| *own != id);
        self.chaos.ledger.unordered(id);
        self.ask(to, Method::DELETE, &format!("/users/{id}"), Some(&json!({})))
            .await;
    }

    async fn lists(&self, to: &Address) {
        let Some(reply) = self.ask(to, Method::GET, "/users?limit=50", None).await else {
            return;
        };
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        for user in json["items"].as_array().into_iter().flatten() {
            self.told(user, &reply);
        }
    }

    async fn reads(&self, to: &Address, dice: &mut Dice) {
        let ledger = &self.chaos.ledger;
        let Some(id) = ledger.nth(dice.below(1 << 32)) else {
            return;
        };
        let least = ledger.least(id, now());
        let Some(reply) = self.ask(to, Method::GET, &format!("/users/{id}"), None).await else {
            return;
        };
        let cached = reply.header("x-usertap-cache").unwrap_or_default();
        let shown = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
        let shown = shown["display_name"]
            .as_str()
            .and_then(|name| name.split(' ').next_back()?.parse::<u64>().ok());
        let (Some(least), Some(shown)) = (least, shown) else {
            return;
        };
        if cached.starts_with("stale") || !ledger.is_ordered(id) {
            return;
        }
        assert!(
            shown >= least,
            "{id}: {least} was committed a second ago, {shown} is shown: {cached}"
        );
        ledger.count("reads held against what was committed");
    }

    fn one_of_its_own(&self, dice: &mut Dice) -> Option<Uuid> {
        let own = self.own.len() as u64;
        (own > 0).then(|| self.own[dice.below(own) as usize])
    }

    /// The answer, where it is a whole success.
    async fn ask(&self, to: &Address, method: Method, path: &str, body: Option<&Value>) -> Option<Reply> {
        let ledger = &self.chaos.ledger;
        let headers = self.chaos.world.server_headers();
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let with_body = body.map(|_| ("content-type", "application/json"));
        let headers: Vec<_> = headers.chain(with_body).collect();
        let url = format!("http://{}/api/v1{path}", to.listen);
        let body = body.map(Value::to_string).unwrap_or_default();
        let Ok(reply) = http::request(method, &url, &headers, body).await else {
            ledger.count("answers that never came");
            return None;
        };
        let word = reply.recorded().split(';').next().unwrap_or_default();
        ledger.count(&format!("answers {} {word}", reply.status.as_u16() / 100));
        assert!(!reply.recorded().contains("queue-full"), "nothing is so full");
        if reply.effective_status() >= 300 {
            return None;
        }
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        self.told(&json, &reply);
        Some(reply)
    }

    /// In an answer whose word promises that it is not forgotten.
    fn told(&self, user: &Value, reply: &Reply) {
        let lasts = ["committed", "journaled", "none; unchanged", "none; reread-late"];
        let said = reply.recorded();
        if let (Some(id), true) = (id_in(user), lasts.iter().any(|word| said.starts_with(word))) {
            self.chaos.ledger.told(id);
        }
    }
}

fn id_in(user: &Value) -> Option<Uuid> {
    user["id"].as_str()?.parse().ok()
}

fn id_of(reply: &Reply) -> Option<Uuid> {
    id_in(&serde_json::from_slice(&reply.body).ok()?)
}
