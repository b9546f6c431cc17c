//! Another tenant in every process: what happens to the one happens to both, and nothing of one reaches the other.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Mutex;

use ::http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::Chaos;
use super::climate::Deleted;
use super::dice::Dice;
use crate::processes::World;
use crate::support::http;
use crate::support::stack::at_rest::{self, Row};
use crate::support::stack::replay::Copy;

pub const FIRST: &str = "first";
/// Also stands in the line of its start.
pub const NEXT: &str = "next";
const SCHEMA: &str = "next_users";
const STATE: &str = "next_state";

/// Where it listens.
#[derive(Debug, Clone)]
pub struct Door {
    pub listen: String,
    pub admin: String,
}

/// Its users of whom an answer told with a word that lasts.
#[derive(Default)]
pub struct Told(Mutex<BTreeSet<Uuid>>);

/// One tenant's alone: it stands in the file.
pub fn is_of_one(setting: &str) -> bool {
    let of_one = ["USERTAP_LISTEN", "USERTAP_ADMIN_LISTEN", "USERTAP_WEBHOOK_SECRET"];
    setting.starts_with("STACK_") || of_one.contains(&setting)
}

/// The settings file of both.
pub fn moves_in(world: &World) {
    let tenants = [(FIRST, 0, "neon_identity", "usertap"), (NEXT, 1, SCHEMA, STATE)];
    let mut file = String::new();
    for (name, project, schema, state) in tenants {
        let secret = world.control().webhooks(project).expect("a project").secret();
        let _ = write!(
            file,
            "[[tenant]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             schema = \"{schema}\"\nstate_schema = \"{state}\"\nwebhook_secret = \"{secret}\"\n"
        );
        for (key, value) in world.sandbox.settings(project) {
            let key = key.replace("OTHER_", "");
            if key.starts_with("STACK_") {
                let _ = writeln!(file, "{} = \"{value}\"", key.to_lowercase());
            }
        }
    }
    std::fs::write(world.folder.path().join("usertap.toml"), file).expect("a file");
}

/// Its one app.
pub async fn asks(chaos: &Chaos, mut dice: Dice) {
    let (mut own, mut written) = (Vec::new(), 0);
    while !chaos.is_over() && chaos.climate.has_neighbour {
        sleep(dice.millis(5, 60)).await;
        let Some(door) = chaos.any(&mut dice).and_then(|to| to.neighbour) else {
            continue;
        };
        written += 1;
        let name = json!({ "display_name": format!("next {written}") });
        let one = own.get(dice.below(own.len().max(1) as u64) as usize).copied();
        let (method, path, body) = match (dice.below(10), one) {
            (0..3, _) | (_, None) => (Method::POST, "/users".into(), name),
            (3, Some(id)) => (Method::DELETE, format!("/users/{id}"), json!({})),
            (4..7, Some(id)) => (Method::PATCH, format!("/users/{id}"), name),
            (_, Some(id)) => (Method::GET, format!("/users/{id}"), Value::Null),
        };
        if let Some(id) = ask(chaos, &door, method, &path, &body).await
            && !own.contains(&id)
        {
            own.push(id);
        }
    }
}

/// The user whom a success told of.
async fn ask(chaos: &Chaos, door: &Door, method: Method, path: &str, body: &Value) -> Option<Uuid> {
    let settings = chaos.world.sandbox.settings(1);
    let of = |name: &str| {
        let found = settings.iter().find(|(key, _)| key.ends_with(name));
        found.expect("a setting").1.as_str()
    };
    let headers = [
        ("x-stack-access-type", "server"),
        ("x-stack-project-id", of("STACK_PROJECT_ID")),
        ("x-stack-secret-server-key", of("STACK_SECRET_SERVER_KEY")),
        ("content-type", "application/json"),
    ];
    let (headers, body) = match body {
        Value::Null => (&headers[..3], String::new()),
        body => (&headers[..], body.to_string()),
    };
    let url = format!("http://{}/api/v1{path}", door.listen);
    let reply = http::request(method, &url, headers, body).await.ok()?;
    let word = reply.recorded().split(';').next().unwrap_or_default();
    chaos.ledger.count(&format!("neighbour: {word}"));
    if reply.effective_status() >= 300 {
        return None;
    }
    let user: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let id: Uuid = user["id"].as_str()?.parse().ok()?;
    if ["committed", "journaled"].contains(&word) {
        chaos.neighbour.0.lock().expect("no panic").insert(id);
    }
    Some(id)
}

/// What is still to be done for it.
pub async fn left(chaos: &Chaos) -> Vec<String> {
    let mut left = Vec::new();
    let to_be_removed = chaos.climate.deleted != Deleted::Stay;
    for table in [
        format!("{SCHEMA}.users_sync WHERE deleted_at IS NOT NULL AND {to_be_removed}"),
        format!("{STATE}.user_state WHERE doubt IS NOT NULL"),
        format!("{STATE}.set_aside"),
        format!("{STATE}.sql_changes"),
    ] {
        let count = chaos.count(&format!("SELECT count(*) FROM {table}")).await;
        if count > 0 {
            left.push(format!("{count} in {table}"));
        }
    }
    left
}

/// What is wrong with its table and with its feed, once all is at rest.
pub async fn wrong(chaos: &Chaos, door: &Door) -> Vec<String> {
    let control = chaos.world.control();
    let table = chaos.rows_of(SCHEMA).await;
    let row = |id| table.iter().find(|row: &&Row| row.id == id);
    let told = chaos.neighbour.0.lock().expect("no panic").clone();
    let everyone: BTreeSet<Uuid> = told.into_iter().chain(table.iter().map(|row| row.id)).collect();
    let mut wrong: Vec<String> = everyone
        .iter()
        .filter_map(|id| at_rest::agree(*id, row(*id), control.server_view(1, *id).as_ref()).err())
        .collect();
    let strangers = table
        .iter()
        .filter(|row| control.server_view(0, row.id).is_some());
    wrong.extend(strangers.map(|row| format!("{} is another tenant's", row.id)));
    let mut copy = Copy::default();
    let page = async |path: &str| {
        http::get(&format!("http://{}{path}", door.admin), &[])
            .await
            .json()
    };
    copy.follow("oldest", 500, page).await;
    wrong.extend(copy.differences(table));
    wrong
}
