//! `usertap demo`: the main job with nothing to configure.
//!
//! A Postgres that goes with the process, a sandbox with users in it, the proxy between them, a
//! backfill, then an app's few reads and writes, each shown with the row that stood before its
//! answer came.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::account;
use super::client::{self, Reply};
use crate::cli::DemoOptions;
use crate::config::Config;
use crate::db::embedded::{Embedded, Search};
use crate::db::runs::{self, Run};
use crate::db::{Database, rows};
use crate::sandbox::{Options, Sandbox};
use crate::serve::{Serving, told_to_end};
use crate::station::StartError;
use crate::tasks::Tasks;
use crate::user::UserId;

const USERS: usize = 25;

pub async fn run(options: DemoOptions) -> Result<(), StartError> {
    let tasks = Tasks::default();
    say("1. A Postgres of the demo's own, gone with it");
    let postgres = Arc::new(start_postgres(&options).await?);
    let url = postgres.url("postgres");
    println!("   psql '{}'", url.expose_secret());
    say(&format!(
        "2. A sandbox in the provider's place, with {USERS} users"
    ));
    let sandbox = Options {
        users: USERS,
        ..Options::default()
    };
    let sandbox = Sandbox::start(sandbox, &tasks)
        .await
        .map_err(|error| StartError(error.to_string()))?;
    say("3. The proxy between the app and the provider");
    let serving = Serving::start(config(&options, &url, &sandbox)?).await?;
    println!(
        "   the app's base URL: http://{}\n   console: http://{}/",
        serving.listen, serving.admin
    );
    if let Some(key) = sandbox.control().admin_key(0) {
        println!("   for its page Connect: client custom-local, secret custom-local-secret, admin key {key}");
    }
    say("4. usertap backfill");
    println!(
        "   {}",
        account::sentence(&backfill(&serving.station.database).await?)
    );
    let shown = App::new(&serving, &sandbox).tour().await;
    if shown.is_ok() && !options.exit {
        say("It goes on serving; end it with Ctrl-C.");
        println!(
            "   npm: new StackServerApp({{ baseUrl: \"http://{}\", … }})",
            serving.listen
        );
        told_to_end().await;
    }
    serving.stop().await;
    tasks.stop();
    shown
}

fn say(step: &str) {
    println!("\n{step}");
}

async fn start_postgres(options: &DemoOptions) -> Result<Embedded, StartError> {
    let mut search = Search::from_os();
    search.pg_bin = options.pg_bin.clone().or(search.pg_bin);
    let started = tokio::task::spawn_blocking(move || Embedded::ephemeral(&search)).await;
    started
        .map_err(|error| StartError(error.to_string()))?
        .map_err(|error| StartError(error.to_string()))
}

fn config(options: &DemoOptions, url: &SecretString, sandbox: &Sandbox) -> Result<Config, StartError> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let own = [
        pair("DATABASE_URL", url.expose_secret().to_owned()),
        pair(
            "USERTAP_DATA_DIR",
            options.data_dir.join("demo").display().to_string(),
        ),
        pair("USERTAP_LISTEN", options.listen.to_string()),
        pair("USERTAP_ADMIN_LISTEN", options.admin_listen.to_string()),
    ];
    let token = options
        .admin_token
        .as_ref()
        .map(|token| pair("USERTAP_ADMIN_TOKEN", token.expose_secret().to_owned()));
    let pairs = own.into_iter().chain(token).chain(sandbox.settings(0));
    Config::from_env(pairs).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        StartError(lines.join("\n"))
    })
}

async fn backfill(database: &Database) -> Result<Run, StartError> {
    let failed = |error: crate::db::DbError| StartError(error.to_string());
    let run = runs::request(database).await.map_err(failed)?;
    loop {
        match runs::one(database, run).await.map_err(failed)? {
            Some(run) if run.is_over() => return account::checked(run).map_err(StartError),
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// An app that uses the proxy as its provider.
struct App<'a> {
    base: String,
    server: Vec<(HeaderName, HeaderValue)>,
    client: Vec<(HeaderName, HeaderValue)>,
    serving: &'a Serving,
}

impl<'a> App<'a> {
    fn new(serving: &'a Serving, sandbox: &Sandbox) -> App<'a> {
        let settings = sandbox.settings(0);
        let of = |name: &str| {
            settings
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let header = |name: &'static str, value: Option<String>| {
            let value = HeaderValue::try_from(value.unwrap_or_default()).ok()?;
            Some((HeaderName::from_static(name), value))
        };
        let project = header("x-stack-project-id", of("STACK_PROJECT_ID"));
        let json = header("content-type", Some("application/json".into()));
        let access = |kind: &str| header("x-stack-access-type", Some(kind.into()));
        let secret = header("x-stack-secret-server-key", of("STACK_SECRET_SERVER_KEY"));
        let public = header(
            "x-stack-publishable-client-key",
            of("STACK_PUBLISHABLE_CLIENT_KEY"),
        );
        App {
            base: format!("http://{}/api/v1", serving.listen),
            server: [project.clone(), json.clone(), access("server"), secret]
                .into_iter()
                .flatten()
                .collect(),
            client: [project, json, access("client"), public]
                .into_iter()
                .flatten()
                .collect(),
            serving,
        }
    }

    async fn tour(&self) -> Result<(), StartError> {
        say("5. The app creates a user: the row is there before the answer");
        let new = json!({ "display_name": "Ada Lovelace", "primary_email": "ada@example.com" });
        let ada = self.server(Method::POST, "/users", &new).await?;
        say("6. The app renames her");
        let path = format!("/users/{ada}");
        self.server(
            Method::PATCH,
            &path,
            &json!({ "display_name": "Countess Lovelace" }),
        )
        .await?;
        say(
            "7. Somebody signs up in a browser: the answer carries only an id, the row is there all the same",
        );
        let sign_up = json!({ "email": "grace@example.com", "password": "correct horse battery" });
        self.client(Method::POST, "/auth/password/sign-up", &sign_up)
            .await?;
        say("8. The app deletes the first user");
        self.server(Method::DELETE, &path, &json!({})).await?;
        self.show(&ada).await
    }

    async fn server(&self, method: Method, path: &str, body: &Value) -> Result<String, StartError> {
        self.call(method, path, &self.server, body).await
    }

    async fn client(&self, method: Method, path: &str, body: &Value) -> Result<String, StartError> {
        self.call(method, path, &self.client, body).await
    }

    /// Sends, shows what usertap said and the row, and gives the user's id.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: &Value,
    ) -> Result<String, StartError> {
        let url = format!("{}{path}", self.base);
        let reply = client::send(method.clone(), &url, headers, body.to_string())
            .await
            .map_err(StartError)?;
        let route = path.strip_prefix("/users/").map_or(path, |_| "/users/{id}");
        println!(
            "   {method} {route} -> {}   x-usertap-recorded: {}",
            reply.status,
            reply.header("x-usertap-recorded")
        );
        let id = id_of(&reply);
        if let Some(id) = &id {
            self.show(id).await?;
        }
        Ok(id.unwrap_or_default())
    }

    async fn show(&self, id: &str) -> Result<(), StartError> {
        let database = &self.serving.station.database;
        let Some(id) = UserId::parse(id, database.names.id_type) else {
            return Ok(());
        };
        let row = rows::one(database, &id)
            .await
            .map_err(|error| StartError(error.to_string()))?;
        let row = row.ok_or_else(|| StartError(format!("the row of {id} is missing")))?;
        println!(
            "   neon_identity.users_sync: id={} name={} email={} deleted_at={}",
            row.id,
            shown(&row.name),
            shown(&row.email),
            shown(&row.deleted_at)
        );
        Ok(())
    }
}

fn id_of(reply: &Reply) -> Option<String> {
    let body = reply.json();
    let id = body.get("id").or_else(|| body.get("user_id"));
    id.and_then(Value::as_str).map(str::to_owned)
}

fn shown(value: &Option<impl ToString>) -> String {
    value.as_ref().map_or_else(|| "null".into(), ToString::to_string)
}
