//! Consumers of the feed that stop and go on, at whichever replica answers: each change once, in order, and
//! none missing.

use std::time::Duration;

use ::http::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::{Address, Chaos, SCHEMA};
use crate::support::http::{self, Reply};
use crate::support::lines::Lines;
use crate::support::now;
use crate::support::stack::replay::Copy;

/// A slot's lease that was forgotten is over by then.
const CAUGHT_UP: Duration = Duration::from_secs(60);
const SLOT: &str = "/v1/slots/storm";
/// As a change's position is spelled.
const POSITION: &str = "lpad(to_hex(position), 16, '0') || '-' || lpad(to_hex(nonce), 8, '0')";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Pages,
    Stream,
    Slot,
    Sql,
}

pub const ALL: [By; 4] = [By::Pages, By::Stream, By::Slot, By::Sql];

pub struct Consumer {
    by: By,
    /// Positions, in the order in which they came.
    taken: Vec<String>,
    copy: Copy,
    since: String,
    /// Of a slot: up to here it is acknowledged, and nothing of it comes again.
    acknowledged: String,
    lease: Option<String>,
}

pub async fn of(chaos: &Chaos, by: By, mut dice: Dice) -> Consumer {
    let mut consumer = Consumer {
        by,
        taken: Vec::new(),
        copy: Copy::default(),
        since: "oldest".into(),
        acknowledged: String::new(),
        lease: None,
    };
    while !chaos.is_over() {
        // It stops now and then, for a while.
        let pause = if dice.below(10) == 0 {
            (1_000, 4_000)
        } else {
            (0, 250)
        };
        sleep(dice.millis(pause.0, pause.1)).await;
        if let Some(to) = chaos.any(&mut dice) {
            let more = consumer.goes_on(chaos, &to, &mut dice).await;
            let what = if more { "went on" } else { "was not served" };
            chaos.ledger.count(&format!("consumers: {by:?} {what}"));
        }
    }
    consumer
}

impl Consumer {
    /// Whether it was served.
    async fn goes_on(&mut self, chaos: &Chaos, to: &Address, dice: &mut Dice) -> bool {
        match self.by {
            By::Pages => self.takes_a_page(to, dice).await.is_some(),
            By::Stream => self.takes_some_of_a_stream(to, dice).await,
            By::Slot => self.takes_of_its_slot(to, dice).await.is_some(),
            By::Sql => self.looks(chaos, dice).await,
        }
    }

    async fn takes_a_page(&mut self, to: &Address, dice: &mut Dice) -> Option<Value> {
        let (limit, wait) = (dice.between(1, 200), dice.below(2));
        let path = format!(
            "/v1/changes?raw=1&limit={limit}&wait={wait}s&since={}",
            self.since
        );
        let page = page(to, &path).await?;
        self.takes_all(&page);
        page["next"]
            .as_str()
            .expect("a position")
            .clone_into(&mut self.since);
        Some(page)
    }

    async fn takes_some_of_a_stream(&mut self, to: &Address, dice: &mut Dice) -> bool {
        let url = format!("http://{}/v1/changes?raw=1&since={}", to.admin, self.since);
        let Ok(mut lines) = Lines::try_open(&url, &[("accept", "application/x-ndjson")]).await else {
            return false;
        };
        assert_ne!(lines.status, 410, "{} is gone", self.since);
        if lines.status != 200 {
            return false;
        }
        for _ in 0..dice.between(1, 300) {
            let Ok(Some(line)) = timeout(Duration::from_secs(2), lines.object()).await else {
                break;
            };
            line["pos"]
                .as_str()
                .expect("a position")
                .clone_into(&mut self.since);
            if line["type"] != "bookmark" {
                self.takes(&line);
            }
        }
        true
    }

    async fn takes_of_its_slot(&mut self, to: &Address, dice: &mut Dice) -> Option<Value> {
        if self.acknowledged.is_empty() {
            let made = ask(to, Method::PUT, SLOT, &json!({ "since": "oldest" })).await?;
            self.acknowledged = made.json()["position"].as_str().unwrap_or("0").to_owned();
        }
        let lease = self.lease.as_ref().map(|lease| format!("&lease={lease}"));
        let (limit, wait) = (dice.between(1, 200), dice.below(2));
        let path = format!(
            "{SLOT}/changes?raw=1&limit={limit}&wait={wait}s{}",
            lease.unwrap_or_default()
        );
        let page = page(to, &path).await?;
        self.takes_all(&page);
        let lease = page["lease"].as_str().expect("a lease").to_owned();
        self.lease = (dice.below(60) > 0).then(|| lease.clone());
        // Now and then it ends before it has said what it took.
        if dice.below(4) > 0 {
            let next = page["next"].as_str().expect("a position");
            let body = json!({ "pos": next, "lease": lease });
            ask(to, Method::POST, &format!("{SLOT}/advance"), &body).await?;
            next.clone_into(&mut self.acknowledged);
        }
        Some(page)
    }

    async fn looks(&mut self, chaos: &Chaos, dice: &mut Dice) -> bool {
        let last = self.taken.last().map_or(String::new(), |last| {
            format!("WHERE position > ('x' || left('{last}', 16))::bit(64)::bigint")
        });
        let limit = dice.between(1, 200);
        let sql = format!("SELECT {POSITION} FROM usertap.changes {last} ORDER BY position LIMIT {limit}");
        let rows = chaos.eyes.rows(&sql).await;
        self.taken.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        !rows.is_empty()
    }

    fn takes_all(&mut self, page: &Value) {
        for change in page["changes"].as_array().expect("a page") {
            self.takes(change);
        }
    }

    fn takes(&mut self, change: &Value) {
        let pos = change["pos"].as_str().expect("a position");
        let (by, acknowledged) = (self.by, &self.acknowledged);
        assert!(
            pos > acknowledged.as_str(),
            "{by:?}: {pos} came again after {acknowledged}"
        );
        let is_new = self.taken.last().is_none_or(|last| last.as_str() < pos);
        if is_new {
            self.taken.push(pos.to_owned());
        } else {
            assert_eq!(by, By::Slot, "{pos} came again");
            assert!(
                self.taken.iter().any(|taken| taken == pos),
                "{pos} comes after later ones"
            );
        }
        self.copy.take(change);
    }

    /// What is wrong with all that it was given, once it has everything.
    pub async fn ends(mut self, chaos: &Chaos, to: &Address) -> Option<String> {
        let sql = format!("SELECT {POSITION} FROM usertap.changes ORDER BY position");
        let all: Vec<String> = chaos.eyes.rows(&sql).await.iter().map(|row| row.get(0)).collect();
        let (deadline, mut dice) = (now() + CAUGHT_UP, Dice::new(1));
        while self.taken.last() < all.last() && now() < deadline {
            self.goes_on(chaos, to, &mut dice).await;
        }
        if self.taken != all {
            let lacks: Vec<_> = all.iter().filter(|pos| !self.taken.contains(pos)).collect();
            let beyond: Vec<_> = self.taken.iter().filter(|pos| !all.contains(pos)).collect();
            return Some(format!(
                "{:?} lacks {lacks:?} and has {beyond:?}, of {} changes",
                self.by,
                all.len()
            ));
        }
        if self.by == By::Sql {
            return None;
        }
        let wrong = self.copy.differences(chaos.rows_of(SCHEMA).await).join("\n");
        (!wrong.is_empty()).then(|| format!("{:?} has another table:\n{wrong}", self.by))
    }
}

/// Nothing where nobody answers, or not now.
async fn page(to: &Address, path: &str) -> Option<Value> {
    let url = format!("http://{}{path}", to.admin);
    let reply = http::request(Method::GET, &url, &[], "").await.ok()?;
    assert_ne!(reply.status, 410, "{path}: {}", reply.text());
    (reply.status == 200).then(|| reply.json())
}

async fn ask(to: &Address, method: Method, path: &str, body: &Value) -> Option<Reply> {
    let url = format!("http://{}{path}", to.admin);
    let json = [("content-type", "application/json")];
    let reply = http::request(method, &url, &json, body.to_string()).await.ok()?;
    assert_ne!(reply.status, 410, "{path}: {}", reply.text());
    reply.status.is_success().then_some(reply)
}
