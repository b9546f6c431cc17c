//! The product as processes: the binary against a real Postgres and a sandbox that this test holds.

mod backfill;
mod behind_a_proxy;
mod by_hand;
mod chaos;
mod clock;
mod commands;
mod descriptors;
mod failover;
mod full_disk;
mod handover;
mod held;
mod hosted;
mod idle;
mod journal;
mod metrics;
mod moves;
mod owed;
mod polling;
mod reconcile;
mod replicas;
mod rights;
mod secrets;
mod serve;
mod set_aside;
mod silent;
mod start;
mod strangers;
mod tenants;
mod trial;
mod users_table;
mod versions;
mod webhooks;
mod writes;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ::http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use usertap::config::Rate;
use usertap::db::embedded::Embedded;
use usertap::sandbox::{Action, Control, Fault, Gate, Options, Sandbox};
use usertap::tasks::Tasks;

use crate::support::http::{self, Reply};
use crate::support::postgres;
use crate::support::process::{Folder, Output, Process, Settings, setting};
use crate::support::relay::Relay;
use crate::support::{eventually, eventually_or};

/// Users on a page of the provider's list.
const PAGE: usize = 200;

/// A provider, an empty database, and a folder to work in.
pub struct World {
    pub sandbox: Sandbox,
    pub url: SecretString,
    pub client: tokio_postgres::Client,
    pub folder: Folder,
    /// Over those that point usertap at the sandbox and the database.
    pub also: Settings,
    tasks: Tasks,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl World {
    pub async fn with_users(users: usize) -> World {
        World::new(Options {
            users,
            ..Options::default()
        })
        .await
    }

    pub async fn new(options: Options) -> World {
        let tasks = Tasks::default();
        let sandbox = Sandbox::start(options, &tasks).await.expect("a sandbox");
        let url = postgres::empty().await;
        World {
            client: postgres::client(&url).await,
            folder: Folder::new(),
            also: Vec::new(),
            sandbox,
            url,
            tasks,
        }
    }

    /// With the database of a server that no other test is in.
    pub async fn in_server(mut self, server: &Embedded) -> World {
        self.url = server.url("postgres");
        self.client = postgres::client(&self.url).await;
        self
    }

    #[must_use]
    pub fn and(mut self, name: &str, value: impl ToString) -> World {
        self.also.push(setting(name, value));
        self
    }

    pub fn control(&self) -> &Control {
        self.sandbox.control()
    }

    pub fn settings(&self) -> Settings {
        let own = [
            setting("DATABASE_URL", self.url.expose_secret()),
            setting("USERTAP_LISTEN", "127.0.0.1:0"),
            setting("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
            setting("USERTAP_RATE", "1000/1s"),
            // Machines that run tests are slow; whoever tests a timeout sets it.
            setting("USERTAP_SYNC_TIMEOUT", "20s"),
            setting("USERTAP_TIMEOUT", "30s"),
        ];
        own.into_iter()
            .chain(self.sandbox.settings(0))
            .chain(self.also.iter().cloned())
            .collect()
    }

    fn settings_and(&self, also: &[(String, String)]) -> Settings {
        self.settings().into_iter().chain(also.iter().cloned()).collect()
    }

    pub fn start(&self, args: &[&str]) -> Process {
        self.start_with(args, &[])
    }

    pub fn start_with(&self, args: &[&str], also: &[(String, String)]) -> Process {
        Process::start(self.folder.path(), args, &self.settings_and(also))
    }

    /// A `serve` for which the end of a terminal counts, though whoever runs these tests may ignore it.
    pub fn start_heeding(&self, also: &[(String, String)]) -> Process {
        let args = ["--default-signal=HUP", env!("CARGO_BIN_EXE_usertap"), "serve"];
        Process::run("env", self.folder.path(), &args, &self.settings_and(also))
    }

    /// A backfill that succeeds; its account.
    pub async fn backfill(&self) -> Value {
        let ended = self.start(&["backfill", "--json"]).ended().await;
        ended.with_code(0).json()
    }

    pub async fn serve(&self) -> Server {
        Server::of(self.start(&["serve"])).await
    }

    /// Keeps the next request for the page that begins at the user of this index at a gate.
    pub fn hold_page_at(&self, index: usize) -> Gate {
        let gate = Gate::new();
        self.on_page_at(index, Action::HoldBefore(gate.clone()));
        gate
    }

    pub fn on_page_at(&self, index: usize, action: Action) {
        let user = self.control().ids(0)[index];
        self.control().fault(Fault::on(&format!("cursor={user}"), action));
    }

    /// Requests for pages since the traffic was forgotten.
    pub fn pages(&self) -> u64 {
        self.control().count(&Method::GET, "/users")
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect("a query").get(0)
    }

    pub async fn rows(&self) -> i64 {
        self.count("SELECT count(*) FROM neon_identity.users_sync").await
    }

    pub async fn name(&self, id: uuid::Uuid) -> Option<String> {
        let sql = format!("SELECT name FROM neon_identity.users_sync WHERE id = '{id}'");
        let row = self.client.query_opt(&sql, &[]).await.expect("a query");
        row.and_then(|row| row.get(0))
    }

    /// Waits until the walk's checkpoint stands after so many users.
    pub async fn fetched(&self, users: i64) {
        let sql = "SELECT coalesce(max(fetched), 0) FROM usertap.backfill";
        eventually("the page is committed", || async {
            (self.count(sql).await == users).then_some(())
        })
        .await;
    }

    /// Nobody else can even look at this table until the transaction of the world's client ends.
    pub async fn locks_away(&self, table: &str) {
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        self.client.batch_execute(&lock).await.unwrap();
    }

    pub async fn somebody_waits_for(&self, table: &str) {
        let waiting = format!("SELECT count(*) {}", waits_for(table));
        eventually("somebody waits for the table", || async {
            (self.count(&waiting).await > 0).then_some(())
        })
        .await;
    }

    /// When the transaction began that waits for a lock, in microseconds.
    async fn waits_for_a_lock(&self) -> Option<i64> {
        let waits = "SELECT (extract(epoch FROM xact_start) * 1000000)::bigint FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'
                     ORDER BY xact_start LIMIT 1";
        let row = self.client.query_opt(waits, &[]).await.expect("a query");
        row.map(|row| row.get(0))
    }

    /// As Postgres does when it is stopped.
    pub async fn ends_who_waits_for(&self, table: &str) {
        self.somebody_waits_for(table).await;
        let end = format!("SELECT count(pg_terminate_backend(pid)) {}", waits_for(table));
        assert!(self.count(&end).await > 0);
    }

    /// Users of whom a read is owed.
    async fn owed(&self) -> i64 {
        self.count("SELECT count(*) FROM usertap.user_state WHERE doubt IS NOT NULL")
            .await
    }

    /// Every read that was owed is done.
    async fn owes_nothing(&self) {
        eventually("nothing is owed", || async {
            (self.owed().await == 0).then_some(())
        })
        .await;
    }

    /// Every row says what the provider says, and nobody is missing.
    pub async fn assert_all_there(&self) {
        let sql = "SELECT id::text, name, email, (extract(epoch FROM created_at) * 1000)::bigint,
                          raw_json::text FROM neon_identity.users_sync WHERE deleted_at IS NULL";
        let rows = self.client.query(sql, &[]).await.expect("rows");
        let rows: std::collections::HashMap<String, _> = rows.iter().map(|row| (row.get(0), row)).collect();
        for user in self.control().users(0) {
            let id = user["id"].as_str().expect("an id");
            let row = rows.get(id).unwrap_or_else(|| panic!("{id} has no row"));
            let (name, email): (Option<String>, Option<String>) = (row.get(1), row.get(2));
            assert_eq!(json!(name), user["display_name"], "{id}");
            assert_eq!(json!(email), user["primary_email"], "{id}");
            assert_eq!(
                json!(row.get::<_, Option<i64>>(3)),
                user["signed_up_at_millis"],
                "{id}"
            );
            let raw: Value = serde_json::from_str(row.get(4)).expect("JSON");
            assert_eq!(raw, user, "{id}");
        }
    }

    fn server_headers(&self) -> Vec<(&'static str, String)> {
        self.headers("server", ("x-stack-secret-server-key", "STACK_SECRET_SERVER_KEY"))
    }

    fn client_headers(&self) -> Vec<(&'static str, String)> {
        let key = ("x-stack-publishable-client-key", "STACK_PUBLISHABLE_CLIENT_KEY");
        self.headers("client", key)
    }

    /// With the key of this setting in this header.
    fn headers(&self, access: &str, key: (&'static str, &str)) -> Vec<(&'static str, String)> {
        let settings = self.sandbox.settings(0);
        let of = |name: &str| {
            let setting = settings.iter().find(|(known, _)| known == name);
            setting.expect("a setting").1.clone()
        };
        vec![
            ("x-stack-access-type", access.to_owned()),
            ("x-stack-project-id", of("STACK_PROJECT_ID")),
            (key.0, of(key.1)),
        ]
    }
}

/// A process that serves.
pub struct Server {
    pub process: Process,
    pub listen: String,
    pub admin: String,
}

impl Server {
    pub async fn of(process: Process) -> Server {
        let line = process.line(" serving").await;
        let word = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            value.unwrap_or_else(|| panic!("{name} in {line}")).to_owned()
        };
        Server {
            listen: word("listen="),
            admin: word("admin="),
            process,
        }
    }

    async fn status(&self) -> Value {
        http::get(&format!("http://{}/v1/status", self.admin), &[])
            .await
            .json()
    }

    async fn listed_problems(&self) -> Vec<Value> {
        let problems = self.status().await["problems"].clone();
        problems.as_array().expect("a list").clone()
    }

    /// A problem that has all of these words, with something to do about it.
    async fn names(&self, words: &[&str]) {
        eventually_or(&format!("a problem with {words:?}"), async || {
            let problems = self.listed_problems().await;
            if is_among(&problems, words) {
                Ok(())
            } else {
                Err(problems)
            }
        })
        .await;
    }

    async fn is_named(&self, words: &[&str]) -> bool {
        is_among(&self.listed_problems().await, words)
    }

    async fn has_no_problem(&self) {
        eventually_or("no problem is left", async || {
            let problems = self.listed_problems().await;
            if problems.is_empty() {
                Ok(())
            } else {
                Err(problems)
            }
        })
        .await;
    }

    pub async fn ask(&self, world: &World, method: Method, path: &str, body: &Value) -> Reply {
        let headers = world.server_headers();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        http::send(
            method,
            &format!("http://{}/api/v1{path}", self.listen),
            &headers,
            body,
        )
        .await
    }

    /// As an app's server reads: without a body.
    pub async fn get(&self, world: &World, path: &str) -> Reply {
        let headers = world.server_headers();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        http::get(&format!("http://{}/api/v1{path}", self.listen), &headers).await
    }

    pub async fn ask_as_client(&self, world: &World, path: &str, body: &Value) -> Reply {
        let headers = world.client_headers();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        http::post(&format!("http://{}/api/v1{path}", self.listen), &headers, body).await
    }

    pub async fn create(&self, world: &World, name: &str) -> Reply {
        self.ask(world, Method::POST, "/users", &json!({ "display_name": name }))
            .await
    }

    /// A new user, once the read is done that every new user is owed: no write of what follows meets it.
    pub async fn known(&self, world: &World, name: &str) -> uuid::Uuid {
        let user = id_of(&self.create(world, name).await);
        world.owes_nothing().await;
        user
    }

    pub async fn readyz(&self) -> String {
        http::get(&format!("http://{}/_usertap/readyz", self.listen), &[])
            .await
            .text()
    }

    pub async fn stop(self) -> Output {
        self.process.terminated().await.with_code(0)
    }
}

/// In the world's own database alone: all of a server's locks are listed.
fn waits_for(table: &str) -> String {
    format!(
        "FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
}

fn rate(requests: u32, seconds: u64) -> Rate {
    Rate {
        requests,
        per: Duration::from_secs(seconds),
    }
}

fn is_among(problems: &[Value], words: &[&str]) -> bool {
    problems.iter().any(|problem| {
        let text = problem.to_string();
        words.iter().all(|word| text.contains(word)) && problem["remedy"] != ""
    })
}

fn id_of(reply: &Reply) -> uuid::Uuid {
    let json = reply.json();
    let id = json["id"].as_str().or(json["user_id"].as_str());
    id.unwrap_or_else(|| panic!("an id in {json}"))
        .parse()
        .expect("a UUID")
}

/// The first word of what became of it.
fn recorded(reply: &Reply) -> String {
    let said = reply.header("x-usertap-recorded").unwrap_or_default();
    said.split(';').next().unwrap_or_default().to_owned()
}

/// A relay to the world's database, closed at first, and the URL through it.
async fn through_a_relay(world: &World) -> (Relay, String) {
    let mut url: url::Url = world.url.expose_secret().parse().expect("a URL");
    let relay = Relay::to(url.port().expect("a port")).await;
    url.set_port(Some(relay.addr.port())).expect("a port");
    (relay, url.to_string())
}

/// Below where Postgres' own account can reach it, and gone with the test.
struct Reachable(PathBuf);

impl Reachable {
    fn new() -> Reachable {
        let name = format!("usertap-reachable-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        // Whatever the mask is of whoever runs the tests.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("a mode");
        Reachable(folder)
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
