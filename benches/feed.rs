//! The change feed of a `serve` of its own: events a second through one stream and through a
//! hundred, what an event costs, how long from commit to consumer, what idle streams cost. See
//! `README.md`.

mod support {
    pub mod arguments;
    pub mod follower;
    pub mod listing;
    pub mod median;
    pub mod opened;
    pub mod pages;
    pub mod postgres;
    pub mod provider;
    pub mod report;
    pub mod serving;
}

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use usertap::clock;
use usertap::config::Deleted;
use usertap::record::{Recorder, Submission};
use usertap::sandbox::Sandbox;
use usertap::tasks::Tasks;
use usertap::user::{Head, IdType, Observation, Origin, Source, UserId};

use support::follower::Follower;
use support::median::{at, median};
use support::report::{heading, row};
use support::serving::Serving;
use support::{arguments, listing, opened, pages, postgres, provider};

const RUNS: usize = 3;
const STREAMS: usize = 100;
const IDLE: usize = 5_000;
/// Changes one after another for the time from commit to consumer.
const SINGLE: usize = 300;

#[tokio::main]
async fn main() {
    let changes = arguments::count_or(20_000);
    let server = postgres::Server::start();
    let mut figures = Figures::default();
    for _ in 0..RUNS {
        let bench = Bench::begin(&server, changes).await;
        bench.round(&mut figures).await;
    }
    figures.show(changes);
}

/// One database, a `serve` on it, and a recorder beside it that makes the changes.
struct Bench {
    sandbox: Sandbox,
    serving: Serving,
    recorder: Recorder,
    head: Arc<Head>,
    like: Observation,
    changes: usize,
    tasks: Tasks,
}

#[derive(Default)]
struct Figures {
    recorder: Vec<f64>,
    catch_up: Vec<f64>,
    catch_up_cpu: Vec<f64>,
    tail_cpu: Vec<f64>,
    one: Vec<f64>,
    one_cpu: Vec<f64>,
    many: Vec<f64>,
    many_cpu: Vec<f64>,
    latency: Vec<f64>,
    latency_of_many: Vec<f64>,
    idle: Vec<f64>,
}

impl Bench {
    async fn begin(server: &postgres::Server, changes: usize) -> Bench {
        let tasks = Tasks::default();
        let sandbox = provider::sandbox(1, &tasks).await;
        let url = server.fresh().await;
        let config = provider::config(&sandbox, &url, &[]);
        let database = opened::database(&config).await;
        let body = listing::bodies(&config).await.remove(0);
        let like = pages::observations(&config, &body).remove(0);
        let (serving, sandbox) =
            tokio::task::spawn_blocking(move || (Serving::start(&sandbox, &url), sandbox))
                .await
                .expect("no panic");
        let head = Arc::new(Head::default());
        let (recorder, owed) = Recorder::start(database, head.clone(), Deleted::Keep, &tasks);
        drop(owed);
        Bench {
            sandbox,
            serving,
            recorder,
            head,
            like,
            changes,
            tasks,
        }
    }

    async fn round(self, figures: &mut Figures) {
        // The tail alone.
        let cpu = self.serving.cpu();
        figures
            .recorder
            .push(self.changes as f64 / self.write(self.changes).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let tail = self.serving.cpu() - cpu;
        figures.tail_cpu.push(tail * 1e6 / self.changes as f64);
        // Everything from the database.
        let (begun, cpu) = (clock::now(), self.serving.cpu());
        let mut late = Follower::open(self.serving.admin, "oldest").await;
        late.events(self.changes).await;
        drop(late);
        figures
            .catch_up
            .push(self.changes as f64 / (clock::now() - begun).as_secs_f64());
        figures
            .catch_up_cpu
            .push((self.serving.cpu() - cpu) * 1e6 / self.changes as f64);
        // As it comes.
        let (rate, cpu) = self.live(1).await;
        figures.one.push(rate);
        figures.one_cpu.push(cpu);
        let (rate, cpu) = self.live(STREAMS).await;
        figures.many.push(rate);
        figures.many_cpu.push(cpu);
        figures.latency.extend(self.latency(1).await);
        figures.latency_of_many.extend(self.latency(STREAMS).await);
        figures.idle.push(self.idle().await);
        self.recorder.close();
        self.tasks.stop();
        drop(self.sandbox);
    }

    async fn followers(&self, number: usize) -> Vec<Follower> {
        let mut followers = Vec::with_capacity(number);
        for _ in 0..number {
            followers.push(Follower::open(self.serving.admin, "now").await.placed().await);
        }
        followers
    }

    /// Events delivered a second to all, and microseconds of the server's time for each.
    async fn live(&self, streams: usize) -> (f64, f64) {
        let mut followers = self.followers(streams).await;
        let changes = if streams == 1 {
            self.changes
        } else {
            self.changes / 4
        };
        let (begun, cpu) = (clock::now(), self.serving.cpu());
        let reading = join_all(followers.iter_mut().map(|follower| follower.events(changes)));
        tokio::join!(reading, self.write(changes));
        let delivered = (changes * streams) as f64;
        let (spent, cpu) = ((clock::now() - begun).as_secs_f64(), self.serving.cpu() - cpu);
        (delivered / spent, cpu * 1e6 / delivered)
    }

    /// Seconds from the word of the commit to the last of the streams, each change alone.
    async fn latency(&self, streams: usize) -> Vec<f64> {
        let mut followers = self.followers(streams).await;
        let mut spent = Vec::with_capacity(SINGLE);
        for _ in 0..SINGLE {
            let committing = async {
                self.submit(vec![self.fresh()]).await;
                clock::now()
            };
            let reading = join_all(followers.iter_mut().map(|follower| follower.events(1)));
            let (committed, came) = tokio::join!(committing, reading);
            let last = came.into_iter().flatten().max().expect("an event");
            spent.push(last.saturating_duration_since(committed).as_secs_f64());
        }
        spent
    }

    /// kB of each idle stream.
    async fn idle(&self) -> f64 {
        let before = self.serving.memory();
        let mut streams = Vec::with_capacity(IDLE);
        for _ in 0..IDLE / 50 {
            let opened = (0..50).map(|_| async {
                Follower::open(self.serving.admin, "now")
                    .await
                    .placed()
                    .await
                    .idle()
            });
            streams.extend(join_all(opened).await);
        }
        (self.serving.memory() - before) / streams.len() as f64
    }

    /// Seconds until so many new users are committed, a page at a time.
    async fn write(&self, changes: usize) -> f64 {
        let begun = clock::now();
        for _ in 0..changes.div_ceil(500) {
            let page = (0..500.min(changes)).map(|_| self.fresh()).collect();
            self.submit(page).await;
        }
        (clock::now() - begun).as_secs_f64()
    }

    async fn submit(&self, observations: Vec<Observation>) {
        let submission = Submission {
            observations,
            checkpoint: None,
        };
        self.recorder.submit(submission).fared().await.expect("a commit");
    }

    fn fresh(&self) -> Observation {
        let id = uuid::Uuid::new_v4().to_string();
        Observation {
            id: UserId::parse(&id, IdType::Uuid).expect("an id"),
            sent: self.head.sent(),
            source: Arc::new(Source {
                origin: Origin::ProxyWrite,
                route: "POST /users".into(),
                request_id: "bench".into(),
            }),
            ..self.like.clone()
        }
    }
}

impl Figures {
    fn show(&self, changes: usize) {
        heading(
            &format!("The change feed, {changes} changes, fsync on; serve is a process of its own"),
            "cargo bench --bench feed",
            RUNS,
        );
        let cpu = |samples: &[f64]| {
            format!(
                "{:.1} µs of serve's CPU for each event delivered",
                median(samples)
            )
        };
        row(
            "limit: the recorder alone writes",
            median(&self.recorder),
            "changes/s",
            "",
        );
        row(
            "the tail alone, nobody listens",
            median(&self.tail_cpu),
            "µs CPU/event",
            "",
        );
        row(
            "one stream catches up from the database",
            median(&self.catch_up),
            "events/s",
            cpu(&self.catch_up_cpu),
        );
        row(
            "one stream follows",
            median(&self.one),
            "events/s",
            cpu(&self.one_cpu),
        );
        row(
            &format!("{STREAMS} streams follow, all together"),
            median(&self.many),
            "events/s",
            cpu(&self.many_cpu),
        );
        for (what, spent) in [
            ("commit to consumer, one stream".to_owned(), &self.latency),
            (
                format!("commit to the last of {STREAMS} streams"),
                &self.latency_of_many,
            ),
        ] {
            let note = format!("p99 {:.2} ms", at(spent, 0.99) * 1e3);
            row(&format!("{what}, p50"), at(spent, 0.5) * 1e3, "ms", note);
        }
        let all = median(&self.idle) * IDLE as f64 / 1024.0;
        row(
            &format!("an idle stream among {IDLE}"),
            median(&self.idle),
            "kB",
            format!("{all:.0} MB in all"),
        );
    }
}
