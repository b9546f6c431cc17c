//! What an answer costs that is kept, one that is not yet, a forwarded read and a write, against a
//! bare hyper before the same requests: with moka, and forwarding. See `README.md`.

mod support {
    pub mod arguments;
    pub mod bare;
    pub mod load;
    pub mod median;
    pub mod postgres;
    pub mod report;
    pub mod server;
}

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use usertap::sandbox::{Options, Sandbox};
use usertap::tasks::Tasks;

use support::load::{self, Load};
use support::median::median;
use support::report::{heading, row};
use support::server::Server;
use support::{arguments, bare, postgres};

const RUNS: usize = 5;
/// The bare servers are this very program.
const BARE: &str = "bare-server";

fn main() {
    let mut after = std::env::args().skip_while(|argument| argument != BARE);
    if after.next().is_some() {
        return bare::serve(after.next().as_deref());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measured());
}

async fn measured() {
    let lasting = Duration::from_millis(arguments::count_or(1500) as u64);
    let tasks = Tasks::default();
    let server = postgres::Server::start();
    let options = Options {
        users: 100,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options, &tasks).await.expect("a free port");
    let user = sandbox.control().ids(0)[0].to_string();
    let folder = std::env::temp_dir().join(format!("usertap-bench-data-{}", std::process::id()));
    let bench = Bench {
        bare: bare(&[]).await,
        bare_forwarding: bare(&[&format!("http://{}", sandbox.addr())]).await,
        keeping: usertap(&sandbox, &server.fresh().await, &folder, "1h").await,
        forwarding: usertap(&sandbox, &server.fresh().await, &folder, "0").await,
        head: head(&sandbox),
        user,
        asked: AtomicU64::new(0),
        lasting,
    };
    let mut figures = Figures::default();
    for _ in 0..RUNS {
        bench.round(&mut figures).await;
    }
    figures.show(lasting);
    tasks.stop();
    drop(bench);
    // What is left is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(folder);
}

async fn bare(arguments: &[&str]) -> Server {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    Server::start(command.arg(BARE).args(arguments)).await
}

async fn usertap(sandbox: &Sandbox, database: &SecretString, folder: &Path, ttl: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usertap"));
    command
        .arg("serve")
        .env_clear()
        .envs(sandbox.settings(0))
        .env("DATABASE_URL", database.expose_secret());
    command.env("USERTAP_DATA_DIR", folder.join(ttl));
    for (name, value) in [
        ("USERTAP_LISTEN", "127.0.0.1:0"),
        ("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
        ("USERTAP_RATE", "1000000/1s"),
        ("USERTAP_CACHE_TTL", ttl),
    ] {
        command.env(name, value);
    }
    Server::start(&mut command).await
}

/// What an SDK sends with every request, but for the target.
fn head(sandbox: &Sandbox) -> String {
    let settings = sandbox.settings(0);
    let setting = |wanted: &str| {
        let found = settings.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.as_str())
            .expect("the sandbox says it")
    };
    format!(
        "host: localhost\r\nx-stack-override-error-status: true\r\nx-stack-project-id: {}\r\n\
         x-stack-access-type: server\r\nx-stack-client-version: js @stackframe/js@2.8.77\r\n\
         x-stack-publishable-client-key: {}\r\nx-stack-secret-server-key: {}\r\n\
         x-stack-allow-anonymous-user: true\r\nx-stack-random-nonce: 8f3b1c9e2d\r\naccept: */*\r\n\
         accept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\npragma: no-cache\r\n\
         cache-control: no-cache\r\naccept-encoding: gzip, deflate\r\n",
        setting("STACK_PROJECT_ID"),
        setting("STACK_PUBLISHABLE_CLIENT_KEY"),
        setting("STACK_SECRET_SERVER_KEY"),
    )
}

struct Bench {
    bare: Server,
    bare_forwarding: Server,
    keeping: Server,
    forwarding: Server,
    head: String,
    user: String,
    asked: AtomicU64,
    lasting: Duration,
}

/// Microseconds of processor time for each request, and requests a second.
#[derive(Default)]
struct Spent {
    micros: Vec<f64>,
    rate: Vec<f64>,
}

#[derive(Default)]
struct Figures {
    bare: Spent,
    hit: Spent,
    large_bare: Spent,
    large: Spent,
    miss: Spent,
    bare_read: Spent,
    read: Spent,
    write: Spent,
}

impl Bench {
    async fn round(&self, figures: &mut Figures) {
        let user = format!("/api/v1/users/{}", self.user);
        let list = "/api/v1/users?limit=100&order_by=signed_up_at&desc=false";
        let plain = |path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head).into_bytes();
            move |_| request.clone()
        };
        // Never the same in all rounds.
        let odd = |_| {
            let n = self.asked.fetch_add(1, Ordering::Relaxed);
            format!("GET {user} HTTP/1.1\r\n{}x-odd: {n}\r\n\r\n", self.head).into_bytes()
        };
        let write = |n: u64| {
            let body = format!(r#"{{"display_name":"Ada {n}"}}"#);
            let length = body.len();
            let head = &self.head;
            format!("PATCH {user} HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
                .into_bytes()
        };
        self.run(&mut figures.bare, &self.bare, "", plain(&user)).await;
        self.run(
            &mut figures.hit,
            &self.keeping,
            "x-usertap-cache: hit",
            plain(&user),
        )
        .await;
        self.run(&mut figures.large_bare, &self.bare, "", plain("/large"))
            .await;
        self.run(
            &mut figures.large,
            &self.keeping,
            "x-usertap-cache: hit",
            plain(list),
        )
        .await;
        self.run(&mut figures.miss, &self.keeping, "x-usertap-cache: miss", odd)
            .await;
        self.run(&mut figures.bare_read, &self.bare_forwarding, "", plain(&user))
            .await;
        self.run(
            &mut figures.read,
            &self.forwarding,
            "x-usertap-recorded: committed",
            plain(&user),
        )
        .await;
        self.run(
            &mut figures.write,
            &self.forwarding,
            "x-usertap-recorded: committed",
            write,
        )
        .await;
    }

    async fn run(&self, spent: &mut Spent, server: &Server, marks: &str, request: impl Fn(u64) -> Vec<u8>) {
        // Connections are made, and whatever is to be kept is.
        load::ask(server.listens, Duration::from_millis(100), "", &request).await;
        let before = server.spent();
        let Load { answers, seconds } = load::ask(server.listens, self.lasting, marks, request).await;
        spent
            .micros
            .push((server.spent() - before) * 1e6 / answers as f64);
        spent.rate.push(answers as f64 / seconds);
    }
}

impl Figures {
    fn show(&self, lasting: Duration) {
        let what = format!(
            "Kept and forwarded answers: {} connections, {} ms each, one worker thread",
            load::CONNECTIONS,
            lasting.as_millis()
        );
        heading(&what, "cargo bench --bench cached", RUNS);
        show("limit: bare hyper + moka, 1 user", &self.bare, String::new());
        show(
            "hit, 1 user",
            &self.hit,
            against(&self.bare, &self.hit, "asked >= 0.8, aim 0.95"),
        );
        show(
            "limit: bare hyper + moka, a list of 100 users",
            &self.large_bare,
            String::new(),
        );
        show(
            "hit, a list of 100 users",
            &self.large,
            against(&self.large_bare, &self.large, ""),
        );
        show("miss: forwarded, recorded, kept", &self.miss, String::new());
        show(
            "limit: bare hyper that forwards, 1 user",
            &self.bare_read,
            String::new(),
        );
        show(
            "forwarded read, recorded",
            &self.read,
            against(&self.bare_read, &self.read, ""),
        );
        show("forwarded write, committed", &self.write, String::new());
    }
}

fn show(what: &str, spent: &Spent, note: String) {
    row(
        what,
        median(&spent.micros),
        "us CPU",
        format!("{:.0} requests/s; {note}", median(&spent.rate)),
    );
}

/// Requests for each second of processor time, of rounds that alternated.
fn against(limit: &Spent, own: &Spent, asked: &str) -> String {
    let ratios: Vec<f64> = limit
        .micros
        .iter()
        .zip(&own.micros)
        .map(|(limit, own)| limit / own)
        .collect();
    format!("{:.2} x the limit; {asked}", median(&ratios))
}
