//! What a list of 500 users that nobody changed costs through the proxy: time added, and bytes
//! sent to Postgres. See `README.md`.

mod support {
    pub mod app;
    pub mod arguments;
    pub mod median;
    pub mod postgres;
    pub mod provider;
    pub mod relay;
    pub mod report;
}

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use usertap::clock;
use usertap::sandbox::Sandbox;
use usertap::serve::Serving;
use usertap::tasks::Tasks;

use support::app::App;
use support::median::median;
use support::relay::Relay;
use support::report::{heading, row};
use support::{arguments, postgres, provider};

const RUNS: usize = 7;
/// Lists in a row of one process.
const WARM: usize = 20;

#[tokio::main]
async fn main() {
    let users = arguments::count_or(500);
    let tasks = Tasks::default();
    let server = postgres::Server::start();
    let url = server.fresh().await;
    let mut bench = Bench {
        // One more than is listed: it makes the connections before anything is counted.
        sandbox: provider::sandbox(users + 1, &tasks).await,
        relay: Relay::start(behind(&url), &tasks).await,
        path: format!("/users?limit={users}&include_anonymous=true&order_by=signed_up_at&desc=true"),
        figures: Figures::default(),
    };
    let url = through(&url, bench.relay.port);
    bench.fill(&url).await;
    for _ in 0..RUNS {
        bench.round(&url).await;
    }
    tasks.stop();
    bench.figures.show(users);
}

struct Bench {
    sandbox: Sandbox,
    relay: Relay,
    path: String,
    figures: Figures,
}

/// Milliseconds and bytes, of each list.
#[derive(Default)]
struct Figures {
    direct: Vec<f64>,
    cold: Vec<f64>,
    warm: Vec<f64>,
    cold_bytes: Vec<f64>,
    warm_bytes: Vec<f64>,
    answer: usize,
}

impl Bench {
    /// Everybody is in the table before the first list is timed.
    async fn fill(&mut self, url: &SecretString) {
        let serving = self.serving(url).await;
        let app = App::new(serving.listen, &self.sandbox);
        let all = "/users?include_anonymous=true".to_owned();
        let (body, recorded) = app.ask(Method::GET, &all, String::new()).await;
        assert!(recorded.starts_with("committed"), "{recorded}");
        self.figures.answer = body.len();
        serving.stop().await;
    }

    async fn serving(&self, url: &SecretString) -> Serving {
        // Every list is fetched and recorded: an answer that is given again costs neither.
        let config = provider::config(&self.sandbox, url, &[("USERTAP_CACHE_TTL", "0")]);
        Serving::start(config).await.expect("a proxy")
    }

    /// A new process' memory each time; the lists of one alternate with ones that go past it.
    async fn round(&mut self, url: &SecretString) {
        let serving = self.serving(url).await;
        let proxied = App::new(serving.listen, &self.sandbox);
        let direct = App::new(self.sandbox.addr(), &self.sandbox);
        let first = self.sandbox.control().ids(0)[0];
        for app in [&proxied, &direct] {
            app.ask(Method::GET, &format!("/users/{first}"), String::new())
                .await;
        }
        let (cold, bytes) = self.list(&proxied).await;
        self.figures.cold.push(cold);
        self.figures.cold_bytes.push(bytes);
        for _ in 0..WARM {
            self.figures.direct.push(self.list(&direct).await.0);
            let (warm, bytes) = self.list(&proxied).await;
            self.figures.warm.push(warm);
            self.figures.warm_bytes.push(bytes);
        }
        serving.stop().await;
    }

    async fn list(&self, app: &App) -> (f64, f64) {
        let before = self.relay.sent();
        let begun = clock::now();
        app.ask(Method::GET, &self.path, String::new()).await;
        let spent = (clock::now() - begun).as_secs_f64() * 1e3;
        (spent, (self.relay.sent() - before) as f64)
    }
}

fn behind(url: &SecretString) -> std::net::SocketAddr {
    let url = url::Url::parse(url.expose_secret()).expect("a URL");
    ([127, 0, 0, 1], url.port().expect("a port")).into()
}

fn through(url: &SecretString, port: u16) -> SecretString {
    let mut url = url::Url::parse(url.expose_secret()).expect("a URL");
    url.set_port(Some(port)).expect("a port can be set");
    url.to_string().into()
}

impl Figures {
    fn show(&self, users: usize) {
        heading(
            &format!("A list of {users} unchanged users ({} kB)", self.answer / 1000),
            "cargo bench --bench list",
            RUNS,
        );
        let direct = median(&self.direct);
        row("past the proxy, p50", direct, "ms", format!("{WARM} lists a run"));
        let added = |value: f64| {
            format!(
                "adds {:.2} ms, {:.1} µs a user",
                value - direct,
                (value - direct) * 1e3 / users as f64
            )
        };
        let (cold, warm) = (median(&self.cold), median(&self.warm));
        row(
            "through it, warm (fingerprints there), p50",
            warm,
            "ms",
            added(warm),
        );
        row(
            "through it, cold (a process' first), p50",
            cold,
            "ms",
            added(cold),
        );
        row("bytes to Postgres, warm", median(&self.warm_bytes), "B", "");
        let per = median(&self.cold_bytes) / users as f64;
        row(
            "bytes to Postgres, cold",
            median(&self.cold_bytes),
            "B",
            format!("{per:.0} a user"),
        );
    }
}
