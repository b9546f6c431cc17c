//! What a consumer has that reads the feed over HTTP: the table, however it began.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Stack;
use super::at_rest::{Row, rows, steady};
use crate::support::http;

/// Users by id, as a consumer keeps them.
#[derive(Debug, Default)]
pub struct Copy(BTreeMap<String, Value>);

impl Copy {
    /// Upserts by key; removes where nothing is left.
    pub fn take(&mut self, event: &Value) {
        let id = event["key"]["id"].as_str().expect("an id").to_owned();
        match event["after"].is_null() {
            true => drop(self.0.remove(&id)),
            false => drop(self.0.insert(id, event.clone())),
        }
    }

    /// Takes every change after a position, each later than the one before, so many at a time. `page`
    /// asks the admin side for a path.
    pub async fn follow(&mut self, since: &str, limit: u32, page: impl AsyncFn(&str) -> Value) {
        let (mut since, mut last) = (since.to_owned(), String::new());
        loop {
            let page = page(&format!("/v1/changes?raw=1&limit={limit}&since={since}")).await;
            for change in page["changes"].as_array().expect("a page") {
                let pos = change["pos"].as_str().expect("a position");
                assert!(last.as_str() < pos, "{pos} after {last}");
                pos.clone_into(&mut last);
                self.take(change);
            }
            page["next"].as_str().expect("a position").clone_into(&mut since);
            if page["caught_up"] == true {
                return;
            }
        }
    }

    fn rows(&self) -> BTreeMap<Uuid, Row> {
        self.0.values().map(row).map(|row| (row.id, row)).collect()
    }

    /// Where it differs from the table.
    pub fn differences(&self, table: Vec<Row>) -> Vec<String> {
        let table: BTreeMap<Uuid, Row> = table.into_iter().map(|row| (row.id, spelled(row))).collect();
        let copy = self.rows();
        let ids = table.keys().chain(copy.keys());
        let differing = ids.filter(|id| table.get(id) != copy.get(id));
        differing
            .map(|id| {
                format!(
                    "a consumer has {:#?}\nthe table has {:#?}",
                    copy.get(id),
                    table.get(id)
                )
            })
            .collect()
    }
}

fn row(event: &Value) -> Row {
    let after = &event["after"];
    let text = |name: &str| after[name].as_str().map(str::to_owned);
    let time = |name: &str| text(name).map(|at| at.parse::<DateTime<Utc>>().expect("a time"));
    Row {
        id: after["id"].as_str().expect("an id").parse().expect("a uuid"),
        name: text("name"),
        email: text("email"),
        created_at: time("created_at").map(|at| at.timestamp_millis()),
        updated_at: time("updated_at").map(|at| at.to_rfc3339()),
        is_deleted: !after["deleted_at"].is_null(),
        raw: steady(event["raw"].clone()),
    }
}

/// Times as the feed spells them.
fn spelled(row: Row) -> Row {
    let spelled = |at: String| {
        let at = DateTime::parse_from_str(&at, "%Y-%m-%d %H:%M:%S%.f%#z").expect("a time");
        at.with_timezone(&Utc).to_rfc3339()
    };
    Row {
        updated_at: row.updated_at.map(spelled),
        ..row
    }
}

/// From the first change on, and from a snapshot on: both are the table.
pub async fn check(stack: &Stack) {
    let is_cut = stack.told.lock().expect("no panic").feed_is_cut;
    let mut copy = Copy::default();
    if !is_cut {
        copy.follow("oldest", 50, async |path: &str| get(stack, path).await)
            .await;
        differs(&copy, stack, "the changes").await;
    }
    let (mut copy, mut after, mut as_of) = (Copy::default(), String::new(), None);
    loop {
        let page = get(stack, &format!("/v1/snapshot?raw=1&limit=20&after={after}")).await;
        let changes = page["changes"].as_array().expect("a page");
        changes.iter().for_each(|row| copy.take(row));
        as_of.get_or_insert(page["as_of"].as_str().expect("a position").to_owned());
        after = page["next"].as_str().expect("an id").to_owned();
        if after.is_empty() {
            break;
        }
    }
    let as_of = as_of.expect("a page");
    copy.follow(&as_of, 50, async |path: &str| get(stack, path).await)
        .await;
    differs(&copy, stack, "the snapshot and the changes after it").await;
}

async fn differs(copy: &Copy, stack: &Stack, from: &str) {
    let wrong = copy.differences(rows(&stack.client, None).await);
    assert!(wrong.is_empty(), "rebuilt from {from}:\n{}", wrong.join("\n"));
}

async fn get(stack: &Stack, path: &str) -> Value {
    let token = stack
        .settings
        .iter()
        .find(|(name, _)| name == "USERTAP_ADMIN_TOKEN");
    let bearer = token.map(|(_, token)| format!("Bearer {token}"));
    let headers: Vec<_> = bearer
        .iter()
        .map(|bearer| ("authorization", bearer.as_str()))
        .collect();
    let reply = http::get(&stack.admin_url(path), &headers).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}
