//! usertap as an app has it: the sandbox in the provider's place, a serving usertap, a Postgres.
//!
//! [`Stack::end`] checks what every test would forget: see [`at_rest`].

pub mod at_rest;
mod backup;
mod caller;
pub mod replay;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use ::http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use usertap::config::Config;
use usertap::sandbox::{Control, Options, Sandbox};
use usertap::serve::Serving;
use usertap::tasks::Tasks;
use uuid::Uuid;

use super::http::Reply;
use super::relay::Relay;
use super::{eventually, http, postgres, served};

pub use at_rest::Row;
pub use caller::Caller;

/// What a stack is made of.
#[derive(Default)]
pub struct Setup {
    pub sandbox: Options,
    pub settings: Vec<(&'static str, &'static str)>,
    /// usertap reaches Postgres by a wire that the test holds.
    pub relayed: bool,
    /// Instead of an empty one on the tests' own server.
    pub database: Option<SecretString>,
}

impl Setup {
    pub fn users(users: usize) -> Setup {
        Setup::at(Options {
            users,
            ..Options::default()
        })
    }

    pub fn projects(projects: usize) -> Setup {
        Setup::at(Options {
            projects,
            ..Options::default()
        })
    }

    fn at(sandbox: Options) -> Setup {
        Setup {
            sandbox,
            ..Setup::default()
        }
    }

    pub fn set(settings: &[(&'static str, &'static str)]) -> Setup {
        Setup {
            settings: settings.to_vec(),
            ..Setup::default()
        }
    }

    pub fn relayed() -> Setup {
        Setup {
            relayed: true,
            ..Setup::default()
        }
    }
}

pub struct Stack {
    pub sandbox: Sandbox,
    pub relay: Option<Relay>,
    /// Straight to Postgres.
    pub client: tokio_postgres::Client,
    settings: Vec<(String, String)>,
    serving: Option<Serving>,
    /// Of the sandbox.
    tasks: Tasks,
    told: Mutex<Told>,
    folder: PathBuf,
}

/// What the test knows that nobody told usertap, and the other way round.
#[derive(Default)]
struct Told {
    /// Every user of our project that there ever was.
    ever: BTreeSet<Uuid>,
    /// Those that no answer told of.
    unseen: BTreeSet<Uuid>,
    /// The database refuses their rows.
    refused: BTreeSet<Uuid>,
    /// The project is gone, which no answer can tell of a user.
    provider_is_gone: bool,
    /// Changes were dropped: the rest does not rebuild the table alone.
    feed_is_cut: bool,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.tasks.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
        if self.serving.is_some() && !std::thread::panicking() {
            panic!("the test did not end its stack: nothing was checked");
        }
    }
}

impl Stack {
    pub async fn new() -> Stack {
        Stack::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Stack {
        let tasks = Tasks::default();
        let sandbox = Sandbox::start(setup.sandbox, &tasks).await.expect("a sandbox");
        let url = match setup.database {
            Some(url) => url,
            None => postgres::empty().await,
        };
        let relay = match setup.relayed {
            true => Some(Relay::to(port_of(&url)).await),
            false => None,
        };
        relay.iter().for_each(Relay::open);
        let folder = std::env::temp_dir().join(format!("usertap-stack-{}", Uuid::new_v4().simple()));
        let mut stack = Stack {
            client: postgres::client(&url).await,
            settings: Vec::new(),
            serving: None,
            told: Mutex::default(),
            sandbox,
            relay,
            tasks,
            folder,
        };
        stack.settings = stack.settings(0, &url, &setup.settings);
        stack.start().await;
        // A first start asks the provider whether the key is good.
        stack.control().forget_traffic();
        stack
    }

    /// Those of one of the sandbox's projects; later ones win.
    fn settings(
        &self,
        project: usize,
        url: &SecretString,
        more: &[(&'static str, &'static str)],
    ) -> Vec<(String, String)> {
        let url = self
            .relay
            .as_ref()
            .map_or(url.expose_secret().to_owned(), |relay| through(url, relay.addr));
        let own = [
            ("USERTAP_DRAIN", "20s"),
            // Most tests are about what is read and recorded: whoever tests the cache sets it.
            ("USERTAP_CACHE_TTL", "0"),
            ("USERTAP_STALE_IF_ERROR", "0"),
        ];
        let more = own.iter().chain(more);
        let more = more.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let of_sandbox = self.sandbox.settings(project).into_iter();
        let of_sandbox = of_sandbox.map(|(name, value)| (name.replace("OTHER_", ""), value));
        let by_itself = served::by_itself(&url, &self.folder).into_iter();
        by_itself.chain(of_sandbox).chain(more).collect()
    }

    async fn start(&mut self) {
        self.serving = Some(served::serve(self.settings.clone()).await);
    }

    /// Ends and starts anew on the same database: nothing is remembered.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// The same with another setting.
    pub async fn restart_with(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
        self.restart().await;
    }

    /// Another process on the same database, to be stopped by the test.
    pub async fn second(&self) -> Serving {
        let folder = self.folder.join("second").display().to_string();
        let mut settings = self.settings.clone();
        settings.push(("USERTAP_DATA_DIR".to_owned(), folder));
        served::serve(settings).await
    }

    /// As a process needs them that works on the same database.
    pub fn all_settings(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }

    /// Why a start on this very database, but with the settings of another project, fails.
    pub async fn refused_start_of(&self, project: usize) -> String {
        let url = self.setting(0, "DATABASE_URL").into();
        let config = Config::from_env(self.settings(project, &url, &[])).expect("settings without a mistake");
        let started = Serving::start(config).await;
        started.err().expect("a database has one tenant").to_string()
    }

    /// From now on, or no longer: a file stands where the journal's folder should be.
    pub fn journal_takes_nothing(&self, nothing: bool) {
        let journal = self.folder.join("journal");
        if nothing {
            std::fs::remove_dir_all(&journal).expect("a folder");
            std::fs::write(&journal, "in the way").expect("a file");
        } else {
            std::fs::remove_file(&journal).expect("a file");
        }
    }

    pub fn serving(&self) -> &Serving {
        self.serving.as_ref().expect("it serves")
    }

    pub fn control(&self) -> &Control {
        self.sandbox.control()
    }

    /// Ends the provider; what it knew can still be looked at.
    pub fn kill_provider(&self) {
        self.tasks.stop();
    }

    pub fn setting(&self, project: usize, name: &str) -> String {
        let own = self.settings.iter().filter(|_| project == 0).cloned();
        let of_sandbox = self.sandbox.settings(project).into_iter();
        let mut all = own.chain(of_sandbox);
        let found = all.find(|(key, _)| key.trim_start_matches("OTHER_") == name);
        found.expect("a setting of that name").1
    }
}

/// Asking.
impl Stack {
    /// A server of a project.
    pub fn server(&self, project: usize) -> Caller {
        let key = self.setting(project, "STACK_SECRET_SERVER_KEY");
        self.caller(project, "server").with("secret-server-key", key)
    }

    /// A browser or device that uses a project.
    pub fn browser(&self, project: usize) -> Caller {
        let key = self.setting(project, "STACK_PUBLISHABLE_CLIENT_KEY");
        self.caller(project, "client").with("publishable-client-key", key)
    }

    pub fn admin(&self, project: usize) -> Caller {
        let key = self.control().admin_key(project).expect("a project");
        self.caller(project, "admin").with("super-secret-admin-key", key)
    }

    fn caller(&self, project: usize, access: &str) -> Caller {
        let caller = Caller::default().with("override-error-status", "true");
        let caller = caller.with("access-type", access);
        caller.with("project-id", self.setting(project, "STACK_PROJECT_ID"))
    }

    /// A browser in which a user is signed in.
    pub fn signed_in(&self, project: usize, user: Uuid) -> Caller {
        let lives = Duration::from_secs(600);
        let token = self.control().access_token(project, user, lives);
        self.browser(project)
            .with("access-token", token.expect("a user"))
            .with("allow-anonymous-user", "true")
    }

    /// Through the proxy.
    pub async fn ask(&self, caller: &Caller, method: Method, path: &str, body: &Value) -> Reply {
        let body = (!body.is_null()).then(|| body.to_string());
        self.send(caller, method, path, body.unwrap_or_default())
            .await
            .expect("an answer, whole")
    }

    pub async fn get(&self, caller: &Caller, path: &str) -> Reply {
        self.ask(caller, Method::GET, path, &Value::Null).await
    }

    pub async fn post(&self, caller: &Caller, path: &str, body: Value) -> Reply {
        self.ask(caller, Method::POST, path, &body).await
    }

    pub async fn patch(&self, caller: &Caller, path: &str, body: Value) -> Reply {
        self.ask(caller, Method::PATCH, path, &body).await
    }

    pub async fn delete(&self, caller: &Caller, path: &str) -> Reply {
        self.ask(caller, Method::DELETE, path, &json!({})).await
    }

    /// # Errors
    /// If the answer broke off.
    pub async fn send(
        &self,
        caller: &Caller,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let reply = caller.send(self.serving().listen, method, path, body).await;
        self.note();
        reply
    }

    /// usertap's own path on the proxied side.
    pub async fn own(&self, caller: &Caller, path: &str) -> Reply {
        let caller = caller.clone().under("");
        caller
            .send(self.serving().listen, Method::GET, path, String::new())
            .await
            .expect("an answer")
    }

    /// The admin side.
    pub async fn status(&self) -> Value {
        http::get(&self.admin_url("/v1/status"), &[]).await.json()
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.serving().admin)
    }

    pub async fn walk_begins(&self, kind: &str) {
        let begun = http::post(&self.admin_url(&format!("/v1/{kind}")), &[], &json!({})).await;
        assert_eq!(begun.status, 202);
    }

    /// What the status says of it.
    pub async fn walk_ends(&self, kind: &str) -> Value {
        eventually("the walk is done", || async {
            let run = self.status().await[kind].take();
            assert_ne!(run["state"], "failed", "{run}");
            (run["state"] == "done").then_some(run)
        })
        .await
    }

    /// A user that came to be behind usertap's back.
    pub fn user(&self, fields: Value) -> Uuid {
        let id = self.control().create(0, fields).expect("a user");
        self.note();
        id
    }

    /// A user whose row is there.
    pub async fn known_user(&self, fields: Value) -> Uuid {
        let id = self.user(fields);
        let reply = self.get(&self.server(0), &format!("/users/{id}")).await;
        self.is_recorded(&reply, id).await;
        id
    }

    /// Usertap was told of every user that the provider has.
    pub fn note(&self) {
        let mut told = self.told.lock().expect("no panic");
        told.ever.extend(self.control().ids(0));
    }

    /// Somebody wrote a row of a user whom the provider does not have.
    pub fn told_of(&self, id: Uuid) {
        self.told.lock().expect("no panic").ever.insert(id);
    }

    /// Rows of users whom the provider does not have, each with a name of a megabyte. They are told to be deleted
    /// then, and the name stays.
    pub async fn with_long_names(&self, users: usize) -> Vec<Uuid> {
        let ids: Vec<Uuid> = (0..users).map(|_| Uuid::new_v4()).collect();
        ids.iter().for_each(|id| self.told_of(*id));
        let row = |id: &Uuid| format!("('{id}', repeat('x', 1 << 20), '{{}}')");
        let rows = ids.iter().map(row).collect::<Vec<String>>().join(", ");
        self.sql(&format!(
            "INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES {rows}"
        ))
        .await;
        eventually("all are told", || async {
            let told = self.count("SELECT count(*) FROM usertap.changes WHERE type = 'user.deleted'");
            (told.await == users as i64).then_some(())
        })
        .await;
        ids
    }

    /// usertap has not been told of this user: it has no row.
    pub fn unseen(&self, id: Uuid) {
        self.told.lock().expect("no panic").unseen.insert(id);
    }

    /// The database refuses this user's row.
    pub fn refused(&self, id: Uuid) {
        self.told.lock().expect("no panic").refused.insert(id);
    }

    /// The oldest changes are gone.
    pub fn feed_is_cut(&self) {
        self.told.lock().expect("no panic").feed_is_cut = true;
    }

    /// The rows can no longer be held against the provider.
    pub fn provider_is_gone(&self) {
        self.told.lock().expect("no panic").provider_is_gone = true;
    }
}

/// Looking.
impl Stack {
    /// The answer says so, and the row stands already.
    pub async fn is_recorded(&self, reply: &Reply, id: Uuid) {
        assert!(
            reply.recorded().starts_with("committed"),
            "{}: {}",
            reply.recorded(),
            reply.text()
        );
        self.agrees(id).await.unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    /// The row is what the provider has of the user at this moment.
    pub async fn agrees(&self, id: Uuid) -> Result<(), String> {
        let row = self.row(id).await;
        at_rest::agree(id, row.as_ref(), self.control().server_view(0, id).as_ref())
    }

    /// The whole table.
    pub async fn rows(&self) -> Vec<Row> {
        at_rest::rows(&self.client, None).await
    }

    pub async fn row(&self, id: Uuid) -> Option<Row> {
        at_rest::rows(&self.client, Some(id)).await.pop()
    }

    /// A number that a query gives.
    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect("a query").get(0)
    }

    pub async fn sql(&self, statements: &str) {
        self.client.batch_execute(statements).await.expect("a statement");
    }

    /// Moves with everything that usertap notes: changes, tombstones, doubts.
    pub async fn position(&self) -> i64 {
        self.count("SELECT position FROM usertap.meta").await
    }

    /// Nothing waits to be written and no read is owed.
    pub async fn settled(&self) {
        eventually("nothing waits and no read is owed", || async {
            let waits = self.serving().station.recorder.figures().waiting > 0;
            let doubts = self.count(
                "SELECT (SELECT count(*) FROM usertap.user_state WHERE doubt IS NOT NULL)
                      + (SELECT count(*) FROM usertap.sql_changes)",
            );
            (!waits && doubts.await == 0).then_some(())
        })
        .await;
    }

    /// Ends in good order; then everything is as it must be.
    pub async fn end(mut self) {
        self.settled().await;
        replay::check(&self).await;
        self.stop().await;
        at_rest::check(&self).await;
        self.tasks.stop();
    }

    async fn stop(&mut self) {
        let serving = self.serving.take().expect("it serves");
        let station = serving.station.clone();
        serving.stop().await;
        assert_eq!(
            station.recorder.figures().waiting,
            0,
            "something waits to be written"
        );
        assert!(
            station.tasks.ended(Duration::ZERO).await,
            "something goes on after the end"
        );
        drop(station);
        assert_eq!(self.count("SELECT count(*) FROM usertap.instances").await, 0);
    }
}

fn port_of(url: &SecretString) -> u16 {
    let url: url::Url = url.expose_secret().parse().expect("a URL");
    url.port().expect("a port")
}

fn through(url: &SecretString, relay: SocketAddr) -> String {
    let mut url: url::Url = url.expose_secret().parse().expect("a URL");
    url.set_port(Some(relay.port())).expect("a URL with a port");
    url.into()
}
