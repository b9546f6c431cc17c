//! `GET /v1/users`, its search, and what Postgres thinks of it.

use serde_json::{Value, json};
use usertap::db::listing::{self, MatchedBy};
use usertap::user::{IdType, UserId};
use uuid::Uuid;

use crate::support::http;
use crate::support::postgres::{TestDatabase, names};
use crate::support::stack::{Setup, Stack};

async fn page(stack: &Stack, query: &str) -> Value {
    let reply = http::get(&stack.admin_url(&format!("/v1/users{query}")), &[]).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    reply.json()
}

fn ids(page: &Value) -> Vec<String> {
    let users = page["users"].as_array().expect("users");
    users
        .iter()
        .map(|user| user["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_a_page_at_a_time_by_key() {
    let stack = Stack::with(Setup::users(7)).await;
    stack.get(&stack.server(0), "/users?include_anonymous=true").await;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&stack, &format!("?limit=3&after={after}")).await;
        all.extend(ids(&page));
        after = page["next"].as_str().expect("a key").to_owned();
        if after.is_empty() {
            break;
        }
    }
    let mut sorted: Vec<String> = stack.control().ids(0).iter().map(Uuid::to_string).collect();
    sorted.sort();
    assert_eq!(all, sorted);
    let first = page(&stack, "?limit=1").await;
    let fields: Vec<&String> = first["users"][0].as_object().expect("a row").keys().collect();
    assert_eq!(
        fields,
        ["created_at", "deleted_at", "email", "id", "name", "updated_at"]
    );
    for wrong in ["?limit=0", "?limit=x", "?after=me", "?search=a"] {
        assert_eq!(
            http::get(&stack.admin_url(&format!("/v1/users{wrong}")), &[])
                .await
                .status,
            400,
            "{wrong}"
        );
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_names_addresses_and_beginnings_of_ids_literally() {
    let stack = Stack::new().await;
    let ada = stack
        .known_user(json!({ "display_name": "Ada Lovelace", "primary_email": "ada@example.com" }))
        .await;
    let odd = stack.known_user(json!({ "display_name": "100 %_\\ sure" })).await;
    let beginning = ada.to_string().chars().take(11).collect::<String>();
    let whole = ada.to_string().to_uppercase();
    for text in ["lovelace", "ADA@", "a love", &beginning, &whole] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", text)
            .finish();
        assert_eq!(
            ids(&page(&stack, &format!("?{query}")).await),
            [ada.to_string()],
            "{text}"
        );
    }
    for text in ["%25", "_", "%5C", "%25_%5C"] {
        assert_eq!(
            ids(&page(&stack, &format!("?q={text}")).await),
            [odd.to_string()],
            "{text}"
        );
    }
    assert!(ids(&page(&stack, "?q=nobody").await).is_empty());
    assert!(ids(&page(&stack, "?q=a%00da").await).is_empty());
    let both = page(&stack, "?q=a&limit=1").await;
    assert_eq!(ids(&both).len(), 1);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn found_rows_are_paged_too() {
    let stack = Stack::new().await;
    for n in 0..5 {
        stack
            .known_user(json!({ "display_name": format!("Found {n}") }))
            .await;
    }
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&stack, &format!("?q=found&limit=2&after={after}")).await;
        all.extend(ids(&page));
        after = page["next"].as_str().expect("a key").to_owned();
        if after.is_empty() {
            break;
        }
    }
    let mut sorted = all.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((all.len(), all), (5, sorted));
    stack.end().await;
}

/// Not every provider bounds a name: a few long ones make no page that no memory holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_no_larger_for_names_that_are_long() {
    const USERS: usize = 16;
    const LARGEST: usize = 12 << 20;
    let stack = Stack::new().await;
    let there = stack.with_long_names(USERS).await;
    let mut sorted: Vec<String> = there.iter().map(Uuid::to_string).collect();
    sorted.sort();
    for asked in ["?limit=1000", "?limit=1000&q=xxx"] {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let url = stack.admin_url(&format!("/v1/users{asked}&after={after}"));
            let reply = http::get(&url, &[]).await;
            assert!(reply.text().len() < LARGEST, "{asked}: {}", reply.text().len());
            all.extend(ids(&reply.json()));
            after = reply.json()["next"].as_str().expect("a key").to_owned();
            if after.is_empty() {
                break;
            }
        }
        assert_eq!(all, sorted, "{asked}");
    }
    for page in ["/users", "/users?view=all", "/users?q=xxx"] {
        let shown = http::get(&stack.admin_url(page), &[]).await.text();
        assert!(
            shown.len() < LARGEST && shown.contains("xxx"),
            "{page}: {}",
            shown.len()
        );
    }
    stack.end().await;
}

/// Postgres matches no pattern by a collation that holds different texts for the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_whatever_collation_the_columns_have() {
    let stack = Stack::new().await;
    let ada = stack
        .known_user(json!({ "display_name": "Ada Lovelace", "primary_email": "ada@example.com" }))
        .await;
    stack
        .sql(
            "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             ALTER TABLE neon_identity.users_sync ALTER COLUMN name TYPE text COLLATE any_case,
                 ALTER COLUMN email TYPE text COLLATE any_case",
        )
        .await;
    for text in ["lovelace", "ADA@", "Lovelace"] {
        assert_eq!(
            ids(&page(&stack, &format!("?q={text}")).await),
            [ada.to_string()],
            "{text}"
        );
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_is_given_and_fetched_where_that_is_asked_for() {
    let stack = Stack::new().await;
    let user = stack.user(json!({ "display_name": "Ada" }));
    let url = stack.admin_url(&format!("/v1/users/{user}"));
    assert_eq!(
        http::get(&url, &[]).await.status,
        404,
        "nobody has told of her yet"
    );
    let row = http::get(&format!("{url}?ensure=1"), &[]).await;
    assert_eq!((row.status.as_u16(), &row.json()["name"]), (200, &json!("Ada")));
    stack.agrees(user).await.expect("it is committed");
    assert_eq!(
        http::get(&url, &[]).await.json()["raw_json"]["display_name"],
        "Ada"
    );
    let nobody = stack.admin_url(&format!("/v1/users/{}?ensure=1", Uuid::new_v4()));
    assert_eq!(http::get(&nobody, &[]).await.status, 404);
    assert_eq!(http::get(&stack.admin_url("/v1/users/me"), &[]).await.status, 404);
    assert_eq!(http::get(&format!("{url}?raw=1"), &[]).await.status, 400);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_begin_alike_are_paged_and_a_name_may_look_like_a_beginning() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let rows = "INSERT INTO neon_identity.users_sync (id, name, raw_json)
        SELECT ('0000cafe-0000-4000-8000-00000000000' || n)::uuid, 'User', '{}'::jsonb FROM generate_series(1, 4) n
        UNION SELECT '00000000-0000-4000-8000-000000000000', 'Room cafe0001', '{}'::jsonb";
    db.client.batch_execute(rows).await.expect("rows");
    let found = async |text, after: Option<&str>| {
        let after = after.and_then(|id| UserId::parse(id, IdType::Uuid));
        let page = listing::search(&db.database, text, after.as_ref(), 2).await;
        let page = page.expect("a page");
        let last = page
            .rows
            .iter()
            .map(|row| row.id.chars().last().expect("a digit"));
        (last.collect::<String>(), page.next)
    };
    let (first, next) = found("0000cafe", None).await;
    assert_eq!(first, "12");
    let (second, end) = found("0000CAFE", next.as_deref()).await;
    assert_eq!((second.as_str(), end), ("34", None));
    assert_eq!(found("cafe0001", None).await.0, "0");
}

/// A walk along the primary key in the hope of an early match reads the whole table in the worst order.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_reads_the_table_in_its_own_order_or_an_index_made_for_it() {
    for kind in [IdType::Uuid, IdType::Text] {
        let database = TestDatabase::new(kind).await;
        let filled = "INSERT INTO neon_identity.users_sync (id, name, email, raw_json)
            SELECT gen_random_uuid(), 'Name ' || md5(n::text), n || '@example.com', '{}' FROM generate_series(1, 20000) n";
        let filled = filled.replace(
            "gen_random_uuid()",
            match kind {
                IdType::Uuid => "gen_random_uuid()",
                IdType::Text => "gen_random_uuid()::text",
            },
        );
        let client = &database.client;
        client.batch_execute(&filled).await.expect("rows");
        client
            .batch_execute("ANALYZE neon_identity.users_sync")
            .await
            .expect("statistics");
        let plan = || async {
            let sql = names(kind).sql(&listing::search_text(false, MatchedBy::TheColumns));
            let explain = format!(
                "PREPARE searching AS {sql}; EXPLAIN EXECUTE searching(51, NULL, '%abcdef%', 'abcdef%'); DEALLOCATE searching"
            );
            let lines = client.simple_query(&explain).await.expect("a plan");
            let lines = lines.iter().filter_map(|line| match line {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let without = plan().await;
        assert!(
            without.contains("Seq Scan") && !without.contains("users_sync_pkey"),
            "{without}"
        );
        let index = listing::index(&database.database);
        for statement in index
            .split(';')
            .map(str::trim)
            .filter(|statement| !statement.is_empty())
        {
            client.batch_execute(statement).await.expect("pg_trgm is at hand");
        }
        let with = plan().await;
        assert!(with.contains("users_sync_search"), "{with}");
    }
}
