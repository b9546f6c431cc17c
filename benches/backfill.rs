//! Rows a second of a backfill into an empty table and of the one after it, against what the same
//! Postgres does with the same rows at its best. See `README.md`.

mod support {
    pub mod arguments;
    pub mod limits;
    pub mod listing;
    pub mod median;
    pub mod opened;
    pub mod pages;
    pub mod plain;
    pub mod postgres;
    pub mod provider;
    pub mod report;
}

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use tokio_postgres::Client;
use usertap::clock;
use usertap::config::{Config, Deleted};
use usertap::db::instances::{self, Kind};
use usertap::db::runs;
use usertap::record::{Recorder, Submission};
use usertap::sandbox::Sandbox;
use usertap::station::{self, Station};
use usertap::tasks::Tasks;
use usertap::user::Head;

use support::limits::{self, Rows};
use support::median::median;
use support::report::{heading, row};
use support::{arguments, listing, opened, pages, plain, postgres, provider};

const RUNS: usize = 5;

#[tokio::main]
async fn main() {
    let users = arguments::count_or(10_000);
    let tasks = Tasks::default();
    let bench = Bench {
        server: postgres::Server::start(),
        sandbox: provider::sandbox(users, &tasks).await,
        users,
    };
    let mut figures = Figures::default();
    for _ in 0..RUNS {
        bench.round(&mut figures).await;
    }
    tasks.stop();
    figures.show(users);
}

struct Bench {
    server: postgres::Server,
    sandbox: Sandbox,
    users: usize,
}

/// Rows a second, of each run.
#[derive(Default)]
struct Figures {
    first: Vec<f64>,
    again: Vec<f64>,
    fetched: Vec<f64>,
    extracted: Vec<f64>,
    recorded: Vec<f64>,
    copied: Vec<f64>,
    unnested: Vec<f64>,
    anti_joined: Vec<f64>,
}

impl Bench {
    async fn round(&self, figures: &mut Figures) {
        let (url, config) = self.opened().await;
        let client = self.server.connect(&url).await;
        checkpoint(&client).await;
        figures.first.push(self.walk(&config, Expected::Inserted).await);
        let written = written(&client).await;
        figures.again.push(self.walk(&config, Expected::Unchanged).await);
        assert_eq!(
            self::written(&client).await,
            written,
            "the second backfill wrote a row"
        );

        let begun = clock::now();
        let bodies = listing::bodies(&config).await;
        figures.fetched.push(self.rate(begun));
        let (pages, rate) = self.extract(&config, &bodies);
        figures.extracted.push(rate);

        let batches = Rows::batches(pages.iter().flatten());
        let plain = plain::database(&self.server).await;
        let client = self.server.connect(&plain).await;
        figures.copied.push(limits::staging_copy(&client, &batches).await);
        figures.unnested.push(limits::unnest(&client, &batches).await);
        figures
            .anti_joined
            .push(limits::anti_join(&client, &batches).await);
        figures.recorded.push(self.record(pages).await);
    }

    /// A database of its own, migrated.
    async fn opened(&self) -> (SecretString, Arc<Config>) {
        let url = self.server.fresh().await;
        let config = Arc::new(provider::config(&self.sandbox, &url, &[]));
        opened::database(&config).await;
        (url, config)
    }

    /// As `usertap backfill` walks, to the account that balances.
    async fn walk(&self, config: &Arc<Config>, expected: Expected) -> f64 {
        let tasks = Tasks::default();
        let station = station(config, &tasks).await;
        station.beat(Kind::Backfill).await.expect("a heartbeat");
        runs::request(&station.database).await.expect("a request");
        let run = runs::take(&station.database, station.instance).await;
        let run = run.expect("an answer").expect("a run");
        let begun = clock::now();
        station.backfill().walk_to_its_end(&run).await;
        let rate = self.rate(begun);
        let ended = runs::one(&station.database, run.run).await.expect("an answer");
        let ended = ended.expect("the run");
        let counted = match expected {
            Expected::Inserted => ended.inserted,
            Expected::Unchanged => ended.unchanged,
        };
        assert!(ended.balanced() && counted == self.users as i64, "{ended:?}");
        tasks.stop();
        station
            .close(clock::now() + std::time::Duration::from_secs(10))
            .await;
        // One that does not say so counts as another recorder until its heartbeat is old.
        let left = instances::leave(&station.database, station.instance).await;
        left.expect("an answer");
        rate
    }

    fn extract(&self, config: &Config, bodies: &[Bytes]) -> (Vec<Vec<usertap::user::Observation>>, f64) {
        let begun = clock::now();
        let pages = bodies.iter().map(|body| pages::observations(config, body));
        let pages = pages.collect();
        (pages, self.rate(begun))
    }

    /// The recorder alone, fed with pages that are ready, one after the other.
    async fn record(&self, pages: Vec<Vec<usertap::user::Observation>>) -> f64 {
        let (url, config) = self.opened().await;
        checkpoint(&self.server.connect(&url).await).await;
        let tasks = Tasks::default();
        let database = opened::database(&config).await;
        let (recorder, _owed) = Recorder::start(database, Arc::new(Head::default()), Deleted::Keep, &tasks);
        let begun = clock::now();
        for observations in pages {
            let submission = Submission {
                observations,
                checkpoint: None,
            };
            recorder.submit(submission).fared().await.expect("a commit");
        }
        let rate = self.rate(begun);
        recorder.close();
        tasks.stop();
        rate
    }

    fn rate(&self, begun: clock::Instant) -> f64 {
        self.users as f64 / (clock::now() - begun).as_secs_f64()
    }
}

#[derive(Clone, Copy)]
enum Expected {
    Inserted,
    Unchanged,
}

async fn station(config: &Arc<Config>, tasks: &Tasks) -> Station {
    let upstream = station::upstream(config, tasks).expect("a way to the provider");
    Station::assemble(config.clone(), upstream, opened::database(config).await, tasks)
}

async fn checkpoint(client: &Client) {
    client.batch_execute("CHECKPOINT").await.expect("a checkpoint");
}

/// Which transactions wrote the rows that are there, and how many change rows there are.
async fn written(client: &Client) -> String {
    let sql = "SELECT concat_ws(' ', (SELECT md5(string_agg(xmin::text, ',' ORDER BY id)) FROM neon_identity.users_sync),
        (SELECT md5(string_agg(xmin::text, ',' ORDER BY id)) FROM usertap.user_state),
        (SELECT count(*) FROM usertap.changes))";
    client.query_one(sql, &[]).await.expect("a query").get(0)
}

impl Figures {
    fn show(&self, users: usize) {
        let (copied, unnested) = (median(&self.copied), median(&self.unnested));
        let against = |value: f64| {
            format!(
                "{:.2} of staging COPY, {:.2} of unnest",
                value / copied,
                value / unnested
            )
        };
        heading(
            &format!("Backfill of {users} users, fsync on, sandbox in this process"),
            "cargo bench --bench backfill",
            RUNS,
        );
        row(
            "limit: staging COPY + upsert, no change rows",
            copied,
            "rows/s",
            "1,000 a transaction",
        );
        row(
            "limit: unnest + upsert, no change rows",
            unnested,
            "rows/s",
            "1,000 a transaction",
        );
        let first = median(&self.first);
        row(
            "backfill into an empty table",
            first,
            "rows/s",
            format!("{}; asked >= 0.6, aim 0.8", against(first)),
        );
        row(
            "  fetching alone (HTTP, sandbox)",
            median(&self.fetched),
            "rows/s",
            "",
        );
        row(
            "  extraction alone (one thread)",
            median(&self.extracted),
            "rows/s",
            "",
        );
        let recorded = median(&self.recorded);
        row(
            "  recorder alone (pages ready)",
            recorded,
            "rows/s",
            against(recorded),
        );
        let anti_joined = median(&self.anti_joined);
        row("limit: unchanged, anti-join", anti_joined, "rows/s", "");
        let again = median(&self.again);
        let note = format!(
            "{:.2} of it; asked >= 1.0, aim 1.5; wrote no row",
            again / anti_joined
        );
        row("backfill again, nothing changed", again, "rows/s", note);
    }
}
