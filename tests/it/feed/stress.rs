//! Many writers, two processes, consumers that come and go: no gap, no reordering, and what each
//! consumer has at the end is the table.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use usertap::serve::Serving;
use uuid::Uuid;

use crate::support::http;
use crate::support::lines::Lines;
use crate::support::now;
use crate::support::stack::replay::Copy;
use crate::support::stack::{Caller, Setup, Stack};

const WRITERS: u64 = 8;
const CONSUMERS: u64 = 16;
/// Of each writer, however slow the machine is.
const AT_LEAST: u32 = 20;

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_gap_no_reordering_and_every_copy_is_the_table() {
    stress(Duration::from_secs(6)).await;
}

/// `cargo test --locked ten_minutes -- --ignored`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten minutes"]
async fn the_same_for_ten_minutes() {
    stress(Duration::from_secs(600)).await;
}

async fn stress(lasts: Duration) {
    let setup = Setup::set(&[("USERTAP_DELETED", "purge")]);
    let stack = Stack::with(setup).await;
    let second = stack.second().await;
    let places = Places::of(&stack, &second);
    let is_over = AtomicBool::new(false);
    let writing = async {
        let writers = (0..WRITERS).map(|seed| write(&stack, &places, seed, lasts));
        tokio::join!(join_all(writers), edit(&stack, lasts));
        stack.settled().await;
        is_over.store(true, Ordering::Release);
        // One more change than anybody waits for, so that every stream wakes.
        stack.known_user(json!({ "display_name": "the last" })).await;
        stack.settled().await;
    };
    let consumers = (0..CONSUMERS).map(|seed| consume(&places, seed, &is_over));
    let ((), consumers) = tokio::join!(writing, join_all(consumers));
    let told = positions(&stack).await;
    assert!(told.len() > 100, "only {} changes", told.len());
    for (seed, mut consumer) in consumers.into_iter().enumerate() {
        consumer.finish(&places).await;
        let after = told.iter().filter(|pos| **pos > consumer.began);
        let after: Vec<String> = after.cloned().collect();
        assert_eq!(consumer.seen, after, "consumer {seed} has other changes");
        let table = stack.rows().await;
        let wrong = consumer.copy.differences(table);
        assert!(wrong.is_empty(), "consumer {seed}:\n{}", wrong.join("\n"));
    }
    second.stop().await;
    stack.end().await;
}

/// The positions of all changes, as the table has them.
async fn positions(stack: &Stack) -> Vec<String> {
    let sql = "SELECT lpad(to_hex(position), 16, '0') || '-' || lpad(to_hex(nonce), 8, '0')
               FROM usertap.changes ORDER BY position";
    let rows = stack.client.query(sql, &[]).await.expect("changes");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Where both processes are reached.
struct Places {
    proxies: [SocketAddr; 2],
    admins: [SocketAddr; 2],
    server: Caller,
}

impl Places {
    fn of(stack: &Stack, second: &Serving) -> Places {
        let first = stack.serving();
        Places {
            proxies: [first.listen, second.listen],
            admins: [first.admin, second.admin],
            server: stack.server(0),
        }
    }
}

/// Creates, changes and deletes users through either process.
async fn write(stack: &Stack, places: &Places, seed: u64, lasts: Duration) {
    let (mut dice, mut users) = (Dice::of(seed + 1), Vec::<Uuid>::new());
    let (begun, mut written) = (now(), 0);
    while begun.elapsed() < lasts || written < AT_LEAST {
        written += 1;
        let to = places.proxies[dice.below(2) as usize];
        let name = format!("{seed} {}", dice.below(1_000_000));
        let id = users.get(dice.below(users.len().max(1) as u64) as usize).copied();
        let (method, path, body) = match (dice.below(10), id) {
            (0, Some(id)) => {
                users.retain(|user| *user != id);
                (Method::DELETE, format!("/users/{id}"), String::new())
            }
            (1..=6, Some(id)) => {
                let body = json!({ "display_name": name }).to_string();
                (Method::PATCH, format!("/users/{id}"), body)
            }
            _ => {
                let id = stack.user(json!({ "display_name": name }));
                users.push(id);
                (Method::GET, format!("/users/{id}"), String::new())
            }
        };
        places
            .server
            .send(to, method, &path, body)
            .await
            .expect("an answer");
    }
}

/// An operator with a psql of their own.
async fn edit(stack: &Stack, lasts: Duration) {
    let begun = now();
    while begun.elapsed() < lasts {
        stack
            .sql(
                "UPDATE neon_identity.users_sync SET name = 'by hand' WHERE id = (
                     SELECT id FROM neon_identity.users_sync ORDER BY random() LIMIT 1)",
            )
            .await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[derive(Default)]
struct Consumer {
    /// It is owed everything after this.
    began: String,
    at: String,
    seen: Vec<String>,
    copy: Copy,
}

/// Comes and goes until the writers are done.
async fn consume(places: &Places, seed: u64, is_over: &AtomicBool) -> Consumer {
    let mut dice = Dice::of(seed + 100);
    let mut consumer = Consumer {
        at: "oldest".into(),
        ..Consumer::default()
    };
    // Half of them begin with a snapshot, somewhere in the middle.
    if seed % 2 == 1 {
        tokio::time::sleep(Duration::from_millis(300 * seed)).await;
        consumer.snapshot(places.admins[dice.below(2) as usize]).await;
    }
    while !is_over.load(Ordering::Acquire) {
        let admin = places.admins[dice.below(2) as usize];
        let most = 1 + dice.below(60) as usize;
        match dice.below(4) {
            0 => consumer.page(admin, &format!("&limit={most}")).await,
            1 => consumer.page(admin, &format!("&limit={most}&wait=500ms")).await,
            2 => consumer.stream(admin, most, "application/x-ndjson").await,
            _ => consumer.stream(admin, most, "text/event-stream").await,
        }
    }
    consumer
}

impl Consumer {
    fn take(&mut self, event: &Value) {
        let pos = event["pos"].as_str().expect("a position").to_owned();
        if event["type"] != "bookmark" {
            assert!(
                self.seen.last().is_none_or(|last| *last < pos),
                "{pos} after {:?}",
                self.seen.last()
            );
            self.copy.take(event);
            self.seen.push(pos.clone());
        }
        self.at = pos;
    }

    async fn snapshot(&mut self, admin: SocketAddr) {
        let (mut after, mut as_of) = (String::new(), None);
        loop {
            let page = get(&format!("http://{admin}/v1/snapshot?raw=1&limit=5&after={after}")).await;
            page["changes"]
                .as_array()
                .expect("a page")
                .iter()
                .for_each(|row| self.copy.take(row));
            as_of.get_or_insert(page["as_of"].as_str().expect("a position").to_owned());
            after = page["next"].as_str().expect("an id").to_owned();
            if after.is_empty() {
                break;
            }
        }
        self.at = as_of.expect("a page");
        self.began.clone_from(&self.at);
    }

    async fn page(&mut self, admin: SocketAddr, more: &str) {
        let page = get(&format!(
            "http://{admin}/v1/changes?raw=1&since={}{more}",
            self.at
        ))
        .await;
        page["changes"]
            .as_array()
            .expect("a page")
            .iter()
            .for_each(|event| self.take(event));
        self.at = page["next"].as_str().expect("a position").to_owned();
    }

    /// Hangs up in the middle.
    async fn stream(&mut self, admin: SocketAddr, most: usize, accept: &str) {
        let url = format!("http://{admin}/v1/changes?raw=1&since={}", self.at);
        let mut lines = Lines::open(&url, &[("accept", accept)]).await;
        assert_eq!(lines.status, 200);
        for _ in 0..most {
            let Ok(line) = tokio::time::timeout(Duration::from_secs(1), lines.next()).await else {
                return;
            };
            let line = line.expect("the stream goes on");
            let object = line.strip_prefix("data: ").unwrap_or(&line);
            if object.starts_with('{') {
                self.take(&serde_json::from_str(object).expect("JSON"));
            }
        }
    }

    async fn finish(&mut self, places: &Places) {
        let head = get(&format!("http://{}/v1/changes?since=now", places.admins[0])).await;
        while head["next"] != self.at.as_str() {
            self.page(places.admins[0], "&limit=1000").await;
        }
    }
}

async fn get(url: &str) -> Value {
    let reply = http::get(url, &[]).await;
    assert_eq!(reply.status, 200, "{url}: {}", reply.text());
    reply.json()
}
