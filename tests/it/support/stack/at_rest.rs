//! What must hold once nothing is under way, whatever a test did before:
//!
//! - the table has exactly the users that it should have, each as the provider has it now;
//! - every row is what its last change says, and the changes alone rebuild the table;
//! - nobody is set aside unless the test said so.
//!
//! Aside from `last_active_at_millis`, which may be an hour late.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::Stack;

/// A row of `users_sync`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: Uuid,
    pub name: Option<String>,
    pub email: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: Option<i64>,
    pub updated_at: Option<String>,
    pub is_deleted: bool,
    /// Without the volatile field.
    pub raw: Value,
}

impl Row {
    pub fn is_skeleton(&self) -> bool {
        self.raw == serde_json::json!({ "id": self.id })
    }
}

const COLUMNS: &str = "id::text, name, email,
    CASE WHEN isfinite(created_at) THEN (extract(epoch FROM created_at) * 1000)::bigint END, updated_at::text, deleted_at IS NOT NULL";

pub async fn rows(client: &Client, only: Option<Uuid>) -> Vec<Row> {
    let only = only.map_or(String::new(), |id| format!("WHERE id = '{id}'"));
    rows_of(client, "neon_identity", &only).await
}

pub async fn rows_of(client: &Client, schema: &str, only: &str) -> Vec<Row> {
    let sql = format!("SELECT {COLUMNS}, raw_json::text FROM {schema}.users_sync {only}");
    let rows = client.query(&sql, &[]).await.expect("a query");
    rows.iter().map(|row| read(row, 0)).collect()
}

fn read(row: &tokio_postgres::Row, first: usize) -> Row {
    let raw: Option<String> = row.get(first + 6);
    Row {
        id: row.get::<_, String>(first).parse().expect("a uuid"),
        name: row.get(first + 1),
        email: row.get(first + 2),
        created_at: row.get(first + 3),
        updated_at: row.get(first + 4),
        is_deleted: row.get(first + 5),
        raw: raw.map_or(Value::Null, |raw| {
            steady(serde_json::from_str(&raw).expect("JSON"))
        }),
    }
}

pub fn steady(mut user: Value) -> Value {
    if let Some(fields) = user.as_object_mut() {
        fields.remove("last_active_at_millis");
    }
    user
}

/// Whether the row says what the provider says.
pub fn agree(id: Uuid, row: Option<&Row>, user: Option<&Value>) -> Result<(), String> {
    match (row, user) {
        (None, None) => Ok(()),
        (Some(row), None) if row.is_deleted => Ok(()),
        (Some(_), None) => Err(format!("{id} is gone at the provider and present in the table")),
        (None, Some(_)) => Err(format!("{id} has no row")),
        (Some(row), Some(user)) => same(row, user),
    }
}

fn same(row: &Row, user: &Value) -> Result<(), String> {
    let expected = Row {
        id: row.id,
        name: user["display_name"].as_str().map(str::to_owned),
        email: user["primary_email"].as_str().map(str::to_owned),
        created_at: user["signed_up_at_millis"].as_i64(),
        updated_at: row.updated_at.clone(),
        is_deleted: false,
        raw: steady(user.clone()),
    };
    match *row == expected {
        true => Ok(()),
        false => Err(format!("the table has {row:#?}\nthe provider has {expected:#?}")),
    }
}

pub async fn check(stack: &Stack) {
    let table = rows(&stack.client, None).await;
    let wrong = [
        against_provider(stack, &table),
        against_changes(stack, &table).await,
        set_aside(stack).await,
    ]
    .concat();
    assert!(
        wrong.is_empty(),
        "{} things are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn against_provider(stack: &Stack, table: &[Row]) -> Vec<String> {
    let told = stack.told.lock().expect("no panic");
    if told.provider_is_gone {
        return Vec::new();
    }
    let present: BTreeSet<Uuid> = stack.control().ids(0).into_iter().collect();
    let mut wrong = Vec::new();
    for row in table {
        if !told.ever.contains(&row.id) || told.unseen.contains(&row.id) {
            wrong.push(format!("{} should have no row", row.id));
        } else if !told.refused.contains(&row.id) {
            let user = stack.control().server_view(0, row.id);
            wrong.extend(agree(row.id, Some(row), user.as_ref()).err());
        }
    }
    let purges = stack.settings.iter().any(|(_, value)| value == "purge");
    let rows: BTreeSet<Uuid> = table.iter().map(|row| row.id).collect();
    let lacking = told
        .ever
        .difference(&rows)
        .filter(|id| !told.unseen.contains(*id));
    let lacking = lacking.filter(|id| present.contains(*id) || !purges);
    wrong.extend(lacking.map(|id| format!("{id} has no row, and was told of")));
    wrong
}

struct Change {
    kind: String,
    is_blank: bool,
    is_by_hand: bool,
    after: Row,
}

async fn changes(client: &Client) -> Vec<Change> {
    let sql = format!(
        "SELECT type, blank, origin = 'sql', {COLUMNS}, raw::text FROM usertap.changes ORDER BY position"
    );
    let rows = client.query(&sql, &[]).await.expect("a query");
    let change = |row: &tokio_postgres::Row| Change {
        kind: row.get(0),
        is_blank: row.get(1),
        is_by_hand: row.get(2),
        after: read(row, 3),
    };
    rows.iter().map(change).collect()
}

async fn against_changes(stack: &Stack, table: &[Row]) -> Vec<String> {
    if stack.told.lock().expect("no panic").feed_is_cut {
        return Vec::new();
    }
    let mut rebuilt: BTreeMap<Uuid, Row> = BTreeMap::new();
    let mut wrong = Vec::new();
    for change in changes(&stack.client).await {
        let before = rebuilt.remove(&change.after.id);
        wrong.extend(kind_fits(&change, before.as_ref()));
        if change.kind != "user.purged" {
            rebuilt.insert(change.after.id, change.after);
        }
    }
    for row in table {
        match rebuilt.remove(&row.id) {
            Some(after) if after == *row => {}
            Some(after) => wrong.push(format!("the last change says {after:#?}\nthe row {row:#?}")),
            None => wrong.push(format!("{} has a row and no change", row.id)),
        }
    }
    wrong.extend(rebuilt.keys().map(|id| format!("{id} has changes and no row")));
    wrong
}

/// A consumer that starts with nothing can make sense of it.
fn kind_fits(change: &Change, before: Option<&Row>) -> Option<String> {
    let fits = match (change.kind.as_str(), before) {
        ("user.created", None) => true,
        ("user.updated", Some(before)) => change.is_blank || !before.is_deleted,
        ("user.deleted", Some(before)) => change.is_blank || (!before.is_deleted && change.after.is_deleted),
        ("user.restored", before) => before.is_none_or(|before| change.is_blank || before.is_deleted),
        // A snapshot may have shown what came and went.
        ("user.purged", before) => before.is_some() || change.is_by_hand,
        _ => false,
    };
    (!fits).then(|| format!("{} is {} after {before:?}", change.after.id, change.kind))
}

async fn set_aside(stack: &Stack) -> Vec<String> {
    let rows = stack
        .client
        .query("SELECT id, reason FROM usertap.set_aside", &[])
        .await;
    let rows = rows.expect("a query");
    let told = stack.told.lock().expect("no panic");
    let named = rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
    let unexpected = named.filter(|(id, _)| !told.refused.iter().any(|refused| refused.to_string() == *id));
    unexpected
        .map(|(id, reason)| format!("{id} is set aside: {reason}"))
        .collect()
}
