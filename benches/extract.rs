//! Processor time of reading a list of users, a user. See `README.md`.

mod support {
    pub mod arguments;
    pub mod listing;
    pub mod median;
    pub mod provider;
    pub mod report;
}

use std::hint::black_box;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use serde_json::value::RawValue;
use usertap::config::Config;
use usertap::provider::{Item, ItemSplitter, RequestHead};
use usertap::tasks::Tasks;

use support::median::median;
use support::report::{heading, row};
use support::{arguments, listing, provider};

const RUNS: usize = 9;
/// The same page in one run.
const TIMES: usize = 40;
/// As pieces come from a socket.
const PIECE: usize = 16 << 10;

#[tokio::main]
async fn main() {
    let users = arguments::count_or(500);
    let tasks = Tasks::default();
    let sandbox = provider::sandbox(users, &tasks).await;
    // No database is reached: the settings only have to name one.
    let config = provider::config(&sandbox, &"postgres://nobody@127.0.0.1:1/none".into(), &[]);
    let pages = listing::bodies(&config).await;
    tasks.stop();
    let bench = Bench {
        bytes: pages.iter().map(Bytes::len).sum(),
        config,
        pages,
        users,
    };
    bench.show();
}

struct Bench {
    config: Config,
    pages: Vec<Bytes>,
    users: usize,
    bytes: usize,
}

impl Bench {
    fn show(&self) {
        let mut spent: [Vec<f64>; 4] = Default::default();
        for _ in 0..RUNS {
            spent[0].push(self.micros(|| self.extract()));
            spent[1].push(self.micros(|| self.values()));
            spent[2].push(self.micros(|| self.raw()));
            spent[3].push(self.micros(|| self.split()));
        }
        let [extract, values, raw, split] = spent.map(|spent| median(&spent));
        let size = self.bytes / self.users;
        heading(
            &format!(
                "Reading a list of {} users of {size} B, processor time of one thread",
                self.users
            ),
            "cargo bench --bench extract",
            RUNS,
        );
        row("page split into raw slices (serde_json)", raw, "µs/user", "");
        row("every user as serde_json::Value", values, "µs/user", "");
        let note = format!("{:.2} x Value; aim <= 12 µs", extract / values);
        row("extraction: views, profile, two hashes", extract, "µs/user", note);
        let note = format!("{:.0} MB/s", self.bytes as f64 / (split * self.users as f64));
        row("splitter of large answers, items alone", split, "µs/user", note);
    }

    /// Processor time of `work` in microseconds a user. The kernel counts a thread's time in ticks of
    /// some milliseconds: one page alone would take none.
    fn micros(&self, work: impl Fn()) -> f64 {
        let before = processor_time();
        (0..TIMES).for_each(|_| work());
        (processor_time() - before) as f64 / 1e3 / (self.users * TIMES) as f64
    }

    fn extract(&self) {
        for body in &self.pages {
            black_box(listing::read(&self.config, body));
        }
    }

    fn values(&self) {
        for body in &self.pages {
            let items: Items<'_> = serde_json::from_slice(body).expect("a list");
            for item in items.items {
                let user: Value = serde_json::from_str(item.get()).expect("a user");
                black_box(user);
            }
        }
    }

    fn raw(&self) {
        for body in &self.pages {
            black_box(
                serde_json::from_slice::<Items<'_>>(body)
                    .expect("a list")
                    .items
                    .len(),
            );
        }
    }

    fn split(&self) {
        let headers = HeaderMap::new();
        let head = RequestHead {
            method: &Method::GET,
            path: "/api/v1/users",
            query: None,
            headers: &headers,
        };
        let matched = self
            .config
            .provider
            .route(head.method, head.path)
            .expect("a route");
        for body in &self.pages {
            let splitter = self.config.provider.splitter(&matched, 1 << 20);
            let mut splitter: ItemSplitter = splitter.expect("a list");
            let mut take = |item: Item<'_>| {
                black_box(item);
            };
            for piece in body.chunks(PIECE) {
                splitter.feed(piece, &mut take).expect("JSON");
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Items<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// What this thread has spent, in nanoseconds; other processes' work is not in it.
fn processor_time() -> u64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let spent = spent.split(' ').next().and_then(|spent| spent.parse().ok());
    spent.expect("a number")
}
