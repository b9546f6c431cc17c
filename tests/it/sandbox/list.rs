//! Pages, cursors, filters.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Bench, code};

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Item {
    id: Uuid,
}

#[derive(Deserialize)]
struct Pagination {
    next_cursor: Option<Uuid>,
}

impl Page {
    fn ids(&self) -> Vec<Uuid> {
        self.items.iter().map(|item| item.id).collect()
    }
}

async fn page(bench: &Bench, query: &str) -> Page {
    let reply = bench.get(&format!("/users?{query}"), &bench.server(0)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

async fn walk(bench: &Bench, query: &str) -> Vec<Uuid> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(bench, &format!("{query}{cursor}")).await;
        seen.extend(page.ids());
        match page.pagination.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn a_walk_in_either_direction_meets_every_user_once() {
    let bench = Bench::with_users(50).await;
    let mut all = bench.control().ids(0);
    assert_eq!(all.len(), 50);
    assert_eq!(walk(&bench, "limit=7&include_anonymous=true").await, all);
    assert_eq!(walk(&bench, "include_anonymous=true").await, all);
    all.reverse();
    assert_eq!(
        walk(&bench, "limit=7&include_anonymous=true&desc=true").await,
        all
    );
}

#[tokio::test]
async fn a_cursor_is_the_first_user_of_the_next_page() {
    let bench = Bench::with_users(20).await;
    let all = bench.control().ids(0);
    let first = page(&bench, "limit=5&include_anonymous=true").await;
    assert_eq!(
        (first.ids(), first.pagination.next_cursor),
        (all[..5].to_vec(), Some(all[5]))
    );
    let last = page(
        &bench,
        &format!("limit=5&include_anonymous=true&cursor={}", all[15]),
    )
    .await;
    assert_eq!(
        (last.ids(), last.pagination.next_cursor),
        (all[15..].to_vec(), None)
    );
}

#[tokio::test]
async fn a_lost_cursor_looks_like_the_end() {
    let bench = Bench::with_users(20).await;
    let server = bench.server(0);
    let next = page(&bench, "limit=3").await.pagination.next_cursor.unwrap();
    let restricted = json!({ "restricted_by_admin": true });
    assert!(bench.control().edit(0, next, restricted));
    let query = format!("limit=3&cursor={next}");
    let empty = json!({ "items": [], "is_paginated": true, "pagination": { "next_cursor": null } });
    assert_eq!(bench.get(&format!("/users?{query}"), &server).await.json(), empty);
    assert_eq!(
        page(&bench, &format!("{query}&include_anonymous=true"))
            .await
            .items
            .len(),
        3
    );
    assert!(bench.control().delete(0, next));
    let lost = bench
        .get(&format!("/users?{query}&include_anonymous=true"), &server)
        .await;
    assert_eq!((lost.status.as_u16(), lost.json()), (200, empty));
}

#[tokio::test]
async fn anonymous_and_restricted_users_are_left_out_unless_asked_for() {
    let bench = Bench::with_users(100).await;
    let views = bench.control().users(0);
    let count = |wanted: fn(&Value) -> bool| views.iter().filter(|user| wanted(user)).count();
    let restricted = count(|user| user["is_restricted"] == true && user["is_anonymous"] == false);
    let anonymous = count(|user| user["is_anonymous"] == true);
    assert!(restricted > 0 && anonymous > 0);
    assert_eq!(page(&bench, "").await.items.len(), 100 - anonymous - restricted);
    assert_eq!(
        page(&bench, "include_restricted=true").await.items.len(),
        100 - anonymous
    );
    let only = page(&bench, "include_anonymous=true&only_anonymous=true").await;
    assert_eq!(only.items.len(), anonymous);
}

#[tokio::test]
async fn a_query_finds_names_addresses_and_ids() {
    let bench = Bench::with_users(100).await;
    let id = bench.control().ids(0)[0];
    let by_id = page(&bench, &format!("query={id}")).await.ids();
    assert_eq!(by_id, [id]);
    assert_eq!(page(&bench, "query=USER12%40").await.items.len(), 1);
    assert!(page(&bench, "query=lovelace").await.items.len() > 3);
}

#[tokio::test]
async fn what_a_list_does_not_know_is_refused() {
    let bench = Bench::with_users(1).await;
    let server = bench.server(0);
    for query in ["page=2", "limit=0", "order_by=name", "cursor=5", "desc=yes"] {
        let reply = bench.get(&format!("/users?{query}"), &server).await;
        assert_eq!(
            (reply.status.as_u16(), code(&reply).as_str()),
            (400, "SCHEMA_ERROR"),
            "{query}"
        );
    }
    let undashed = bench.sandbox.control().ids(0)[0].simple();
    let reply = bench.get(&format!("/users/{undashed}"), &server).await;
    assert_eq!(code(&reply), "SCHEMA_ERROR");
    let reply = bench.get("/users?only_anonymous=true", &server).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-stack-known-error")),
        (400, None)
    );
}

#[tokio::test]
async fn a_hundred_thousand_users_are_exactly_so_many_and_walked_in_pages() {
    let bench = Bench::with_users(100_000).await;
    let seen = walk(&bench, "limit=1000&include_anonymous=true").await;
    assert_eq!(seen.len(), 100_000);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 100_000);
}
