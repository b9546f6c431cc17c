//! The sandbox itself, asked directly.

use ::http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Options, Plays, Sandbox};
use usertap::tasks::Tasks;

use super::setting;
use crate::support::http::{self, Reply};

struct Bench {
    sandbox: Sandbox,
    tasks: Tasks,
}

impl Bench {
    async fn new(users: usize) -> Bench {
        let tasks = Tasks::default();
        let options = Options {
            plays: Plays::Clerk,
            users,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options, &tasks).await.unwrap();
        Bench { sandbox, tasks }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Reply {
        let url = format!("http://{}/v1{path}", self.sandbox.addr());
        let authorization = format!("Bearer {}", setting(&self.sandbox, "CLERK_SECRET_KEY"));
        http::send(method, &url, &[("authorization", &authorization)], body).await
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let list = self
            .ask(Method::GET, &format!("/users?{query}"), &Value::Null)
            .await
            .json();
        let id = |user: &Value| user["id"].as_str().unwrap().to_owned();
        list.as_array()
            .unwrap_or_else(|| panic!("{query}: {list}"))
            .iter()
            .map(id)
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

#[tokio::test]
async fn it_prints_what_points_usertap_at_it() {
    let bench = Bench::new(0).await;
    let names: Vec<_> = bench
        .sandbox
        .settings(0)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        ["USERTAP_PROVIDER", "USERTAP_UPSTREAM", "CLERK_SECRET_KEY"]
    );
    assert_eq!(setting(&bench.sandbox, "USERTAP_PROVIDER"), "clerk");
}

#[tokio::test]
async fn lists_go_by_offset_and_by_cursor() {
    let bench = Bench::new(25).await;
    let all = bench.ids("order_by=%2Bcreated_at&limit=500").await;
    assert_eq!(all.len(), 25);
    assert_eq!(
        bench.ids("order_by=%2Bcreated_at&limit=5&offset=20").await,
        all[20..]
    );
    let after = format!("order_by=%2Bcreated_at&limit=5&starting_after={}", all[9]);
    assert_eq!(bench.ids(&after).await, all[10..15]);
    let newest: Vec<_> = all.iter().rev().take(10).cloned().collect();
    assert_eq!(bench.ids("").await, newest, "ten, the newest first");
    assert_eq!(
        bench
            .ids(&format!("user_id={}&user_id={}", all[3], all[4]))
            .await
            .len(),
        2
    );
    assert_eq!(
        bench.ids("email_address=user3%40example.com").await,
        [all[3].clone()]
    );
}

#[tokio::test]
async fn a_cursor_needs_the_order_of_creation_and_a_user_who_is_there() {
    let bench = Bench::new(3).await;
    let first = bench.ids("").await.remove(0);
    for (query, status, code) in [
        (
            format!("starting_after={first}&order_by=-updated_at"),
            422,
            "form_param_value_invalid",
        ),
        ("starting_after=user_none".to_owned(), 404, "resource_not_found"),
        ("limit=501".to_owned(), 422, "form_param_value_invalid"),
        ("order_by=shoe_size".to_owned(), 422, "form_param_value_invalid"),
    ] {
        let reply = bench
            .ask(Method::GET, &format!("/users?{query}"), &Value::Null)
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["errors"][0]["code"].as_str()),
            (status, Some(code)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_address_belongs_to_one_user() {
    let bench = Bench::new(2).await;
    let body = json!({"email_address": ["user1@example.com"]});
    let reply = bench.ask(Method::POST, "/users", &body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["errors"][0]["code"].as_str()),
        (422, Some("form_identifier_exists"))
    );
}

#[tokio::test]
async fn every_change_moves_updated_at() {
    let bench = Bench::new(1).await;
    let id = bench.ids("").await.remove(0);
    let mut last = 0;
    for path in ["ban", "lock", "unlock", "unban"] {
        let user = bench
            .ask(Method::POST, &format!("/users/{id}/{path}"), &Value::Null)
            .await
            .json();
        let updated = user["updated_at"].as_i64().unwrap();
        assert!(updated > last, "{path}");
        last = updated;
    }
}
