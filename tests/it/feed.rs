//! The change feed as a consumer sees it: pages, streams, slots, and the table rebuilt from them.

mod by_hand;
mod command;
mod history;
mod pages;
mod plans;
pub mod publication;
mod slots;
mod streams;
mod stress;
mod unseen;

use serde_json::Value;

use crate::support::http::{self, Reply};
use crate::support::stack::Stack;

/// A path of the feed.
pub async fn get(stack: &Stack, path: &str) -> Reply {
    http::get(&stack.admin_url(path), &[]).await
}

pub async fn page(stack: &Stack, path: &str) -> Value {
    let reply = get(stack, path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

pub fn list(page: &Value) -> Vec<Value> {
    page["changes"].as_array().expect("a page").clone()
}

/// The last position of the feed.
pub async fn head(stack: &Stack) -> String {
    let page = page(stack, "/v1/changes?since=now").await;
    text(&page["next"])
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text: {value}"))
        .to_owned()
}

pub fn kinds(changes: &[Value]) -> Vec<&str> {
    changes
        .iter()
        .filter_map(|change| change["type"].as_str())
        .collect()
}
