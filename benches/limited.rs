//! A walk beside app traffic at a provider with a limit: whether it uses what is left, what apps
//! wait for it, and whether a 429 is earned. See `README.md`.

mod support {
    pub mod arguments;
    pub mod median;
    pub mod report;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use usertap::clock;
use usertap::config::{Config, Rate};
use usertap::sandbox::{Options, Sandbox};
use usertap::tasks::Tasks;
use usertap::upstream::{Priority, Upstream, empty};
use usertap::user::UserId;

use support::arguments;
use support::median::{at, median};
use support::report::{heading, row};

const LIMITS: [(u32, u64); 2] = [(200, 1), (1_000, 10)];
/// Of the limit, what apps ask.
const APPS: [f64; 3] = [0.0, 0.25, 0.5];
/// What a page asks for at once, and how often that is measured.
const PAGE: usize = 40;
const PAGES: usize = 5;

#[tokio::main]
async fn main() {
    let seconds = arguments::count_or(12) as u64;
    heading(
        &format!("A walk beside apps, {seconds} s each"),
        "cargo bench --bench limited",
        1,
    );
    for (requests, per) in LIMITS {
        let rate = Rate {
            requests,
            per: Duration::from_secs(per),
        };
        for share in APPS {
            measure(rate, share, Duration::from_secs(seconds)).await;
        }
        pages(rate).await;
    }
}

/// Users asked for at once, with nobody beside: how long until all are there.
async fn pages(rate: Rate) {
    let tasks = Tasks::default();
    let (sandbox, config, upstream) = limited(rate, &tasks).await;
    let mut waits = Vec::new();
    for _ in 0..PAGES {
        let begun = clock::now();
        join_all((0..PAGE).map(|_| read(&upstream, &config))).await;
        waits.push((clock::now() - begun).as_secs_f64());
        sleep_until(begun + rate.per.max(Duration::from_secs(1))).await;
    }
    let what = format!(
        "{}/{:?}, {PAGE} reads at once and nobody beside: all there after",
        rate.requests, rate.per
    );
    let note = format!(
        "longest {:.1} ms; {} refused",
        at(&waits, 1.0) * 1e3,
        sandbox.control().limited()
    );
    row(&what, median(&waits) * 1e3, "ms", note);
    tasks.stop();
}

async fn limited(rate: Rate, tasks: &Tasks) -> (Sandbox, Config, Arc<Upstream>) {
    let options = Options {
        users: 10,
        rate: Some(rate),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options, tasks).await.expect("a free port");
    let config = config(&sandbox, rate);
    let upstream = Upstream::new(&config, tasks).expect("a client");
    (sandbox, config, Arc::new(upstream))
}

async fn measure(rate: Rate, share: f64, lasting: Duration) {
    let tasks = Tasks::default();
    let (sandbox, config, upstream) = limited(rate, &tasks).await;
    let end = clock::now() + lasting;
    let walked = AtomicU64::new(0);
    let walk = join_all((0..8).map(|_| async {
        while clock::now() < end {
            let page = config.provider.page_request(&config.tenant, None, false);
            upstream
                .own(page.request, Priority::Backfill)
                .await
                .expect("a page");
            walked.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let (waits, _) = tokio::join!(apps(&upstream, &config, rate, share, end), walk);
    let seconds = lasting.as_secs_f64();
    let limit = f64::from(rate.requests) / rate.per.as_secs_f64();
    let left = limit - waits.len() as f64 / seconds;
    let used = walked.into_inner() as f64 / seconds / left;
    let what = format!(
        "{}/{:?}, apps ask {:.0} % of it: the walk uses",
        rate.requests,
        rate.per,
        share * 100.0
    );
    let note = format!(
        "asked >= 95; apps p50 {:.1} ms, p99 {:.1} ms; {} refused",
        median(&waits) * 1e3,
        at(&waits, 0.99) * 1e3,
        sandbox.control().limited()
    );
    row(&what, used * 100.0, "% of what is left", note);
    tasks.stop();
}

/// Reads of a user, evenly; what each took.
async fn apps(upstream: &Upstream, config: &Config, rate: Rate, share: f64, end: clock::Instant) -> Vec<f64> {
    if share == 0.0 {
        sleep_until(end).await;
        return Vec::new();
    }
    let mut ticks = interval(rate.per.div_f64(f64::from(rate.requests) * share));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waits = Vec::new();
    while clock::now() < end {
        ticks.tick().await;
        let begun = clock::now();
        read(upstream, config).await;
        waits.push((clock::now() - begun).as_secs_f64());
    }
    waits
}

async fn read(upstream: &Upstream, config: &Config) {
    let user = UserId::parse("00000000-0000-4000-8000-000000000000", config.id_type).expect("an id");
    let own = config.provider.read_user(&config.tenant, &user).expect("a key");
    let address = upstream.target(&own.target).expect("a target");
    let request = |body| {
        let mut request = Request::new(body);
        request.uri_mut().clone_from(&address);
        request.headers_mut().clone_from(&own.headers);
        request
    };
    let answer = upstream
        .forward(request, empty(), Priority::App, clock::now(), || {})
        .await;
    answer.expect("an answer");
}

fn config(sandbox: &Sandbox, rate: Rate) -> Config {
    let limit = format!("{}/{}s", rate.requests, rate.per.as_secs());
    let own = [("DATABASE_URL", "embedded"), ("USERTAP_RATE", &*limit)];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::from_env(own.into_iter().chain(sandbox.settings(0))).expect("settings without a mistake")
}
