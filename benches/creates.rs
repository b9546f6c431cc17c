//! 64 apps that create users at once, each answered after its commit, against writers that go
//! straight to Postgres; and what waiting for the commit adds. See `README.md`.

mod support {
    pub mod app;
    pub mod arguments;
    pub mod listing;
    pub mod median;
    pub mod opened;
    pub mod pages;
    pub mod plain;
    pub mod postgres;
    pub mod provider;
    pub mod report;
    pub mod writers;
}

use std::sync::Arc;

use futures_util::future::join_all;
use http::Method;
use usertap::clock;
use usertap::config::Deleted;
use usertap::record::{Recorder, Submission};
use usertap::sandbox::Sandbox;
use usertap::serve::Serving;
use usertap::tasks::Tasks;
use usertap::user::{Head, Observation, Origin, Seen, Source};

use support::app::App;
use support::median::{at, median};
use support::report::{heading, row};
use support::writers::{self, Spent};
use support::{arguments, listing, opened, pages, plain, postgres, provider};

const RUNS: usize = 5;
const WRITERS: usize = 64;

#[tokio::main]
async fn main() {
    let each = arguments::count_or(200);
    let bench = Bench {
        server: postgres::Server::start(),
        each,
    };
    let mut figures = Figures::default();
    for _ in 0..RUNS {
        bench.round(&mut figures).await;
    }
    figures.show(each);
}

struct Bench {
    server: postgres::Server,
    /// Rows of each writer.
    each: usize,
}

#[derive(Default)]
struct Figures {
    bare_commit: Vec<Spent>,
    alone: Vec<Spent>,
    own: Vec<Spent>,
    direct: Vec<Spent>,
    asynchronous: Vec<Spent>,
    before_response: Vec<Spent>,
    recorder: Vec<Spent>,
}

impl Bench {
    async fn round(&self, figures: &mut Figures) {
        let tasks = Tasks::default();
        let sandbox = provider::sandbox(1_000, &tasks).await;
        let url = self.server.fresh().await;
        let config = provider::config(&sandbox, &url, &[]);
        let database = opened::database(&config).await;
        let body = listing::bodies(&config).await.remove(0);
        let seen = pages::observations(&config, &body).remove(0);
        let raw = match &seen.seen {
            Seen::Whole(view) => view.raw.to_string(),
            _ => unreachable!("a list shows whole users"),
        };
        let plain = plain::database(&self.server).await;
        let clients = join_all((0..WRITERS).map(|_| self.server.connect(&plain))).await;
        figures
            .bare_commit
            .push(writers::bare_commits(&clients[0], self.each * 8).await);
        figures
            .alone
            .push(writers::own_transactions(&clients[..1], self.each * 8, &raw).await);
        figures
            .own
            .push(writers::own_transactions(&clients, self.each, &raw).await);
        figures.recorder.push(self.recorder(database, &seen).await);
        figures
            .direct
            .push(self.creates(&App::new(sandbox.addr(), &sandbox), "").await);
        for (sync, to) in [
            ("async", &mut figures.asynchronous),
            ("before-response", &mut figures.before_response),
        ] {
            to.push(self.proxied(&sandbox, sync).await);
        }
        tasks.stop();
    }

    async fn proxied(&self, sandbox: &Sandbox, sync: &str) -> Spent {
        let url = self.server.fresh().await;
        let config = provider::config(sandbox, &url, &[("USERTAP_SYNC", sync)]);
        let serving = Serving::start(config).await.expect("a proxy");
        let word = match sync {
            "async" => "queued; async",
            _ => "committed",
        };
        let spent = self.creates(&App::new(serving.listen, sandbox), word).await;
        serving.stop().await;
        spent
    }

    async fn creates(&self, app: &App, recorded: &str) -> Spent {
        app.ask(Method::GET, "/users?limit=1", String::new()).await;
        let writer = |_| async {
            let mut spent = Vec::new();
            for _ in 0..self.each {
                let begun = clock::now();
                let body = r#"{"display_name":"Ada Lovelace"}"#.to_owned();
                let (_, said) = app.ask(Method::POST, "/users", body).await;
                spent.push((clock::now() - begun).as_secs_f64());
                assert!(said.starts_with(recorded), "{said}");
            }
            spent
        };
        writers::at_once(WRITERS, writer).await
    }

    /// The recorder alone with as many who wait for their own row.
    async fn recorder(&self, database: usertap::db::Database, seen: &Observation) -> Spent {
        let tasks = Tasks::default();
        let head = Arc::new(Head::default());
        let (recorder, _owed) = Recorder::start(database, head.clone(), Deleted::Keep, &tasks);
        let first = Submission {
            observations: vec![created(seen, &head)],
            checkpoint: None,
        };
        recorder.submit(first).fared().await.expect("a connection");
        let writer = |_| async {
            let mut spent = Vec::new();
            for _ in 0..self.each {
                let observation = created(seen, &head);
                let begun = clock::now();
                let submission = Submission {
                    observations: vec![observation],
                    checkpoint: None,
                };
                recorder.submit(submission).fared().await.expect("a commit");
                spent.push((clock::now() - begun).as_secs_f64());
            }
            spent
        };
        let spent = writers::at_once(WRITERS, writer).await;
        recorder.close();
        tasks.stop();
        spent
    }
}

/// The same user under a new id.
fn created(like: &Observation, head: &Head) -> Observation {
    let id = uuid::Uuid::new_v4().to_string();
    Observation {
        id: usertap::user::UserId::parse(&id, usertap::user::IdType::Uuid).expect("an id"),
        sent: head.sent(),
        source: Arc::new(Source {
            origin: Origin::ProxyWrite,
            route: "POST /users".into(),
            request_id: "bench".into(),
        }),
        ..like.clone()
    }
}

fn rates(spent: &[Spent]) -> f64 {
    median(&spent.iter().map(|spent| spent.rate).collect::<Vec<_>>())
}

/// Of the medians of the runs, in milliseconds.
fn millis(spent: &[Spent], part: f64) -> f64 {
    let of_runs: Vec<f64> = spent.iter().map(|spent| at(&spent.each, part) * 1e3).collect();
    median(&of_runs)
}

impl Figures {
    fn show(&self, each: usize) {
        heading(
            &format!("{WRITERS} concurrent creates, {each} rows each, answer after commit, fsync on"),
            "cargo bench --bench creates",
            RUNS,
        );
        let own = rates(&self.own);
        let one = millis(&self.alone, 0.5);
        let show = |what: &str, spent: &[Spent], asked: &str| {
            let times = format!(
                "p50 {:.2} ms ({:.1} x one writer), p99 {:.2} ms; {:.2} x own transactions{asked}",
                millis(spent, 0.5),
                millis(spent, 0.5) / one,
                millis(spent, 0.99),
                rates(spent) / own
            );
            row(what, rates(spent), "rows/s", times);
        };
        show("limit: one bare commit, one connection", &self.bare_commit, "");
        show("limit: one writer alone, own transactions", &self.alone, "");
        show("limit: 64 writers, own transactions", &self.own, "");
        show(
            "recorder alone, 64 submitters",
            &self.recorder,
            "; asked >= 3 x, p50 <= 8 x",
        );
        show("app -> sandbox, no proxy", &self.direct, "");
        show("app -> proxy -> sandbox, SYNC=async", &self.asynchronous, "");
        let asked = "; asked >= 3 x, p50 <= 8 x";
        show(
            "app -> proxy -> sandbox, SYNC=before-response",
            &self.before_response,
            asked,
        );
        self.added();
    }

    fn added(&self) {
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let (direct, not_awaited, awaited) = (
                millis(&self.direct, part),
                millis(&self.asynchronous, part),
                millis(&self.before_response, part),
            );
            let commit = millis(&self.bare_commit, part);
            let note = format!(
                "before-response - async; the proxy itself adds {:.2}; one bare commit {commit:.2}",
                not_awaited - direct
            );
            row(
                &format!("added by before-response, {name}"),
                awaited - not_awaited,
                "ms",
                note,
            );
        }
    }
}
