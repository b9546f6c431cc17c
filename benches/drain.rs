//! An outage that left so many answers in the journal: how long until all of them are in the
//! database, against the same answers recorded with the database there. See `README.md`.

mod support {
    pub mod arguments;
    pub mod listing;
    pub mod median;
    pub mod opened;
    pub mod pages;
    pub mod postgres;
    pub mod provider;
    pub mod report;
}

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::SecretString;
use usertap::clock;
use usertap::config::{Config, Deleted};
use usertap::record::{JournalPlace, Recorded, Recorder};
use usertap::sandbox::Sandbox;
use usertap::station;
use usertap::tasks::Tasks;
use usertap::user::{Head, Observation};

use support::median::median;
use support::report::{heading, row};
use support::{arguments, listing, opened, pages, postgres, provider};

const RUNS: usize = 3;
/// Answers that wait at once: fewer than the recorder holds in memory.
const WAVE: usize = 4_000;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(600);
/// A server that is not there.
const AWAY: &str = "postgres://nobody@127.0.0.1:9/nothing";

#[tokio::main]
async fn main() {
    let bench = Bench {
        server: postgres::Server::start(),
        answers: arguments::count_or(100_000),
    };
    let tasks = Tasks::default();
    let sandbox = provider::sandbox(bench.answers, &tasks).await;
    let seen = bench.answers_of(&sandbox).await;
    let mut figures = Figures::default();
    for _ in 0..RUNS {
        bench.round(&sandbox, &seen, &mut figures).await;
    }
    tasks.stop();
    figures.show(seen.len());
}

struct Bench {
    server: postgres::Server,
    answers: usize,
}

#[derive(Default)]
struct Figures {
    journaled: Vec<f64>,
    drained: Vec<f64>,
    recorded: Vec<f64>,
}

impl Bench {
    /// One of each user.
    async fn answers_of(&self, sandbox: &Sandbox) -> Vec<Observation> {
        let config = provider::config(sandbox, &self.server.fresh().await, &[]);
        let bodies = listing::bodies(&config).await;
        bodies
            .iter()
            .flat_map(|body| pages::observations(&config, body))
            .collect()
    }

    async fn round(&self, sandbox: &Sandbox, seen: &[Observation], figures: &mut Figures) {
        let folder = std::env::temp_dir().join(format!("usertap-bench-drain-{}", std::process::id()));
        let away = provider::config(sandbox, &SecretString::from(AWAY), &[]);
        let outage = Process::start(&away, Some(&folder)).await;
        figures
            .journaled
            .push(outage.tell(seen, &Recorded::Journaled).await);
        outage.end().await;

        let there = self.open(sandbox).await;
        let began = clock::now();
        let back = Process::start(&there, Some(&folder)).await;
        back.drained().await;
        figures.drained.push(began.elapsed().as_secs_f64());
        assert_eq!(self.rows(&there).await, seen.len() as i64, "everybody has a row");
        back.end().await;
        let _ = std::fs::remove_dir_all(&folder);

        let calm = Process::start(&self.open(sandbox).await, None).await;
        let committed = Recorded::Committed { position: None };
        figures.recorded.push(calm.tell(seen, &committed).await);
        calm.end().await;
    }

    /// Settings for an empty database that is migrated and bound.
    async fn open(&self, sandbox: &Sandbox) -> Config {
        let config = provider::config(sandbox, &self.server.fresh().await, &[]);
        opened::database(&config).await;
        config
    }

    async fn rows(&self, config: &Config) -> i64 {
        let usertap::config::Database::Url { url, .. } = &config.database else {
            unreachable!("benches have a URL");
        };
        let client = self.server.connect(&url.url).await;
        let count = "SELECT count(*) FROM neon_identity.users_sync";
        client.query_one(count, &[]).await.expect("a count").get(0)
    }
}

/// A recorder, as a serving process has it.
struct Process {
    recorder: Recorder,
    tasks: Tasks,
    /// Kept open, as a reader would.
    _owed: tokio::sync::mpsc::Receiver<usertap::record::Owed>,
}

impl Process {
    async fn start(config: &Config, folder: Option<&PathBuf>) -> Process {
        let tasks = Tasks::default();
        let (database, _) = station::database(config).await.expect("a way to a database");
        let head = Arc::new(Head::default());
        let (recorder, owed) = match folder {
            Some(folder) => {
                let place = JournalPlace {
                    data_dir: folder.clone(),
                    tenant: [7; 16],
                    patience: LONG,
                };
                let started = Recorder::start_with_journal(database, head, Deleted::Keep, place, &tasks);
                started.expect("a folder of its own")
            }
            None => Recorder::start(database, head, Deleted::Keep, &tasks),
        };
        Process {
            recorder,
            tasks,
            _owed: owed,
        }
    }

    /// Each answer by itself, so many at once; the seconds that it took.
    async fn tell(&self, seen: &[Observation], expected: &Recorded) -> f64 {
        let began = clock::now();
        for wave in seen.chunks(WAVE) {
            let receipts = wave
                .iter()
                .map(|seen| self.recorder.submit(vec![seen.clone()].into()));
            let told = join_all(receipts.map(|receipt| receipt.recorded(LONG))).await;
            let as_expected =
                |told: &Recorded| std::mem::discriminant(told) == std::mem::discriminant(expected);
            assert!(told.iter().all(as_expected), "{:?}", told.first());
        }
        began.elapsed().as_secs_f64()
    }

    async fn drained(&self) {
        while self.recorder.figures().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        self.recorder.close();
        self.tasks.stop();
        self.tasks.ended(LONG).await;
    }
}

impl Figures {
    fn show(&self, answers: usize) {
        heading(
            &format!("{answers} answers of an outage, one user each"),
            "cargo bench --bench drain",
            RUNS,
        );
        let each = |seconds: &[f64]| answers as f64 / median(seconds);
        let drained = median(&self.drained);
        row(
            "journaled during the outage",
            each(&self.journaled),
            "answers/s",
            "synced, 4,000 at once",
        );
        row("drained once the database is back", drained, "s", "");
        row("the same", each(&self.drained), "answers/s", "");
        row(
            "recorded with the database there",
            each(&self.recorded),
            "answers/s",
            "4,000 at once",
        );
        row(
            "draining against that",
            median(&self.recorded) / drained,
            "ratio",
            "",
        );
    }
}
