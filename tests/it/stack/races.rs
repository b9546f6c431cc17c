//! Answers that arrive late: the row never goes back, and at rest it is what the provider has.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{join, join_all};
use http::Method;
use serde_json::json;
use usertap::sandbox::{Action, Fault, Gate};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::stack::{Setup, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_answered_after_a_newer_write_waits_until_the_doubt_is_settled() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Old" })).await;
    let (server, path) = (stack.server(0), format!("/users/{user}"));
    let reads = || stack.control().count(&Method::GET, "/users/{id}");
    let (gate, before) = (Gate::new(), reads());
    stack
        .control()
        .fault(Fault::on(&path, Action::HoldAfter(gate.clone())));
    let meanwhile = async {
        gate.reached().await;
        let written = stack
            .patch(&server, &path, json!({ "display_name": "New" }))
            .await;
        stack.is_recorded(&written, user).await;
        gate.release();
    };
    let (late, ()) = join(stack.get(&server, &path), meanwhile).await;
    assert_eq!(
        late.json()["display_name"],
        "Old",
        "the app gets what the provider answered"
    );
    stack.is_recorded(&late, user).await;
    assert_eq!(stack.row(user).await.expect("a row").name.as_deref(), Some("New"));
    assert_eq!(
        reads(),
        before + 2,
        "the app's own and the one that settled the doubt"
    );
    assert_eq!(names_of(&stack, user).await, ["Old", "New"]);
    stack.end().await;
}

/// A page of a walk is on its way for longer than any other answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_walk_that_is_overtaken_takes_nothing_back() {
    let stack = Stack::new().await;
    let written = stack.known_user(json!({ "display_name": "Old" })).await;
    let deleted = stack.known_user(json!({ "display_name": "Gone" })).await;
    let (server, gate) = (stack.server(0), Gate::new());
    let page = Fault::on("limit=200", Action::HoldAfter(gate.clone())).method(Method::GET);
    stack.control().fault(page);
    stack.walk_begins("backfill").await;
    gate.reached().await;
    let new = json!({ "display_name": "New" });
    let reply = stack.patch(&server, &format!("/users/{written}"), new).await;
    stack.is_recorded(&reply, written).await;
    let reply = stack.delete(&server, &format!("/users/{deleted}")).await;
    stack.is_recorded(&reply, deleted).await;
    gate.release();
    let account = stack.walk_ends("backfill").await;
    assert_eq!((&account["fetched"], &account["older"]), (&json!(2), &json!(2)));
    stack.settled().await;
    assert_eq!(names_of(&stack, written).await, ["Old", "New"]);
    let restored = "SELECT count(*) FROM usertap.changes WHERE type = 'user.restored'";
    assert_eq!(stack.count(restored).await, 0);
    stack.end().await;
}

/// Of somebody who was just made, for nobody in particular.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_usertaps_own_that_is_overtaken_takes_nothing_back() {
    let stack = Stack::new().await;
    let (server, gate) = (stack.server(0), Gate::new());
    let read = Fault::on("/users/", Action::HoldAfter(gate.clone())).method(Method::GET);
    stack.control().fault(read);
    let old = json!({ "display_name": "Old" });
    let made = stack.post(&server, "/users", old).await.json();
    let user: Uuid = made["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    gate.reached().await;
    let new = json!({ "display_name": "New" });
    let reply = stack.patch(&server, &format!("/users/{user}"), new).await;
    stack.is_recorded(&reply, user).await;
    gate.release();
    stack.settled().await;
    assert_eq!(names_of(&stack, user).await, ["Old", "New"]);
    stack.end().await;
}

/// What an app gets that read the user, alone or in a list, before this, and is answered after it.
async fn overtaken(stack: &Stack, user: Uuid, by_list: bool, by: impl Future<Output = ()>) -> Reply {
    let path = if by_list {
        "/users?limit=1000".to_owned()
    } else {
        format!("/users/{user}")
    };
    let gate = Gate::new();
    stack
        .control()
        .fault(Fault::on(&path, Action::HoldAfter(gate.clone())));
    let meanwhile = async {
        gate.reached().await;
        by.await;
        gate.release();
    };
    let server = stack.server(0);
    let (read, ()) = join(stack.get(&server, &path), meanwhile).await;
    assert!(
        read.text().contains(&user.to_string()),
        "the app gets what the provider answered"
    );
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_after_a_deletion_resurrects_nobody() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    for by_list in [false, true] {
        let user = stack.known_user(json!({ "display_name": "Ada" })).await;
        let deletion = async {
            let deleted = stack.delete(&server, &format!("/users/{user}")).await;
            stack.is_recorded(&deleted, user).await;
        };
        let read = overtaken(&stack, user, by_list, deletion).await;
        stack.is_recorded(&read, user).await;
        assert!(stack.row(user).await.expect("a row").is_deleted);
    }
    stack.end().await;
}

/// Nothing is left of them but that they were.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_after_a_purge_brings_no_row_back() {
    let stack = Stack::with(Setup::set(&[("USERTAP_DELETED", "purge")])).await;
    let server = stack.server(0);
    for by_list in [false, true] {
        let user = stack.known_user(json!({ "display_name": "Ada" })).await;
        let purge = async {
            stack.delete(&server, &format!("/users/{user}")).await;
            // At once, or where that takes longer, a moment later.
            eventually("the row is gone", || async {
                stack.row(user).await.is_none().then_some(())
            })
            .await;
        };
        let read = overtaken(&stack, user, by_list, purge).await;
        assert_eq!(read.recorded(), "none; no-user");
        stack.settled().await;
        assert!(stack.row(user).await.is_none());
        let told = format!(
            "SELECT string_agg(type, ' ' ORDER BY position) FROM usertap.changes WHERE id = '{user}'"
        );
        let told: String = stack.client.query_one(&told, &[]).await.expect("changes").get(0);
        assert_eq!(told, "user.created user.deleted user.purged");
    }
    stack.end().await;
}

/// Of whom nothing was known when they were deleted there is no row, and so nothing that was committed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_after_a_deletion_of_somebody_unseen_says_of_no_row_that_it_is_there() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let user = stack.user(json!({ "display_name": "Ada" }));
    let path = format!("/users/{user}");
    let gate = Gate::new();
    let held = Fault::on(&path, Action::HoldAfter(gate.clone())).method(Method::GET);
    stack.control().fault(held);
    let meanwhile = async {
        gate.reached().await;
        assert_eq!(stack.delete(&server, &path).await.status, 200);
        gate.release();
    };
    let (read, ()) = join(stack.get(&server, &path), meanwhile).await;
    assert_eq!(read.json()["display_name"], "Ada");
    assert_eq!(read.recorded(), "none; no-user");
    stack.unseen(user);
    stack.end().await;
}

/// The same where the answer waits for a read, and the deletion comes before it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_for_a_read_of_somebody_deleted_unseen_says_so_too() {
    let stack = Stack::new().await;
    let user = stack.user(json!({ "display_name": "Ada" }));
    let path = format!("/users/{user}");
    let gate = Gate::new();
    let held = Fault::on(&path, Action::HoldAfter(gate.clone())).method(Method::GET);
    stack.control().fault(held);
    let (signed_in, server) = (stack.signed_in(0, user), stack.server(0));
    let meanwhile = async {
        gate.reached().await;
        assert_eq!(stack.delete(&server, &path).await.status, 200);
        gate.release();
    };
    let (me, ()) = join(stack.get(&signed_in, "/users/me"), meanwhile).await;
    assert_eq!(me.json()["display_name"], "Ada");
    assert_eq!(me.recorded(), "none; no-user");
    stack.unseen(user);
    stack.end().await;
}

const USERS: u64 = 10;
const TASKS: u64 = 8;
const OPERATIONS: u64 = 60;

/// Small numbers that look random and are the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Users whose names count up: each is written by one task alone, in order.
struct Storm<'s> {
    stack: &'s Stack,
    users: Vec<Uuid>,
    next_name: Vec<AtomicU64>,
}

impl Storm<'_> {
    /// Some answers are held until their task has done other things.
    async fn task(&self, task: u64) {
        let mut dice = Dice(task + 1);
        for _ in 0..OPERATIONS {
            let user = dice.below(USERS);
            if dice.below(4) > 0 {
                self.operation(task, user, &mut dice).await;
                continue;
            }
            let (gate, target) = (Gate::new(), format!("/users/{}", self.users[user as usize]));
            self.stack
                .control()
                .fault(Fault::on(&target, Action::HoldAfter(gate.clone())));
            let mut inner = Dice(dice.below(u64::MAX));
            let meanwhile = async {
                gate.reached().await;
                for _ in 0..1 + inner.below(4) {
                    let user = inner.below(USERS);
                    self.operation(task, user, &mut inner).await;
                }
                gate.release();
            };
            join(self.read(user), meanwhile).await;
        }
    }

    async fn operation(&self, task: u64, user: u64, dice: &mut Dice) {
        let own = user % TASKS == task;
        match dice.below(20) {
            0..8 if own => self.write(user, dice).await,
            0..14 => self.read(user).await,
            14..17 => self.list().await,
            _ => self.mention(user).await,
        }
    }

    async fn read(&self, user: u64) {
        let path = format!("/users/{}", self.users[user as usize]);
        let reply = self.stack.get(&self.stack.server(0), &path).await;
        assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    }

    async fn list(&self) {
        let reply = self.stack.get(&self.stack.server(0), "/users?limit=5").await;
        assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    }

    async fn mention(&self, user: u64) {
        let path = format!("/contact-channels?user_id={}", self.users[user as usize]);
        let reply = self.stack.get(&self.stack.server(0), &path).await;
        assert!(
            reply.recorded().starts_with("none; no-user"),
            "no channel, nobody told: {}",
            reply.recorded()
        );
    }

    /// Now and then the provider does it and the answer is lost.
    async fn write(&self, user: u64, dice: &mut Dice) {
        let path = format!("/users/{}", self.users[user as usize]);
        let name = self.next_name[user as usize].fetch_add(1, Ordering::Relaxed);
        if dice.below(8) == 0 {
            let lost = Fault::on(&path, Action::PerformThenDrop).method(Method::PATCH);
            self.stack.control().fault(lost);
        }
        let body = json!({ "display_name": format!("{name:06}") });
        let reply = self.stack.patch(&self.stack.server(0), &path, body).await;
        let told = reply.status == 502 || reply.recorded().starts_with("committed");
        assert!(told, "{} {}", reply.status, reply.recorded());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_readers_and_writers_ends_in_what_the_provider_has() {
    let stack = Stack::new().await;
    let users = (0..USERS).map(|_| stack.user(json!({ "display_name": "000000" })));
    let storm = Storm {
        users: users.collect(),
        next_name: (0..USERS).map(|_| AtomicU64::new(1)).collect(),
        stack: &stack,
    };
    join_all((0..TASKS).map(|task| storm.task(task))).await;
    stack.settled().await;
    for user in &storm.users {
        let names = names_of(&stack, *user).await;
        assert!(names.is_sorted(), "the row of {user} went back: {names:?}");
    }
    stack.end().await;
}

/// Of the changes of one user, in their order.
async fn names_of(stack: &Stack, user: Uuid) -> Vec<String> {
    let sql = "SELECT name FROM usertap.changes WHERE id = $1 AND name IS NOT NULL ORDER BY position";
    let rows = stack
        .client
        .query(sql, &[&user.to_string()])
        .await
        .expect("a query");
    rows.iter().map(|row| row.get(0)).collect()
}
