//! `usertap demo`: the main job with nothing to configure.
//!
//! A Postgres that goes with the process, a sandbox with users in it, the proxy between them, a
//! backfill, then an app's few reads and writes, each shown with the row that stood before its
//! answer came.

mod story;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::account;
use super::client::{self, Reply};
use super::sandbox::plays;
use crate::cli::DemoOptions;
use crate::config::Config;
use crate::db::embedded::{Embedded, Search};
use crate::db::runs::{self, Run};
use crate::db::{Database, rows};
use crate::sandbox::{Options, Plays, Sandbox, Webhooks};
use crate::serve::{Listeners, Serving, told_to_end};
use crate::station::StartError;
use crate::tasks::Tasks;
use crate::user::UserId;
use story::{By, Call, Story};

const USERS: usize = 25;
/// Before it come Postgres, the sandbox, the proxy and the backfill.
const FIRST_CALL: usize = 5;
/// For a webhook that is sent at once.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(options: DemoOptions) -> Result<(), StartError> {
    let tasks = Tasks::default();
    let listeners = Listeners::bind(options.listen, options.admin_listen).map_err(taken)?;
    heading("1. A Postgres of the demo's own, gone with it");
    let postgres = Arc::new(start_postgres(&options).await?);
    let url = postgres.url("postgres");
    say!("   psql '{}'", url.expose_secret());
    heading(&format!(
        "2. A sandbox in the provider's place, with {USERS} users"
    ));
    let plays = plays(options.provider);
    let story = Story::of(plays);
    let sandbox = Options {
        plays,
        users: USERS,
        ..Options::default()
    };
    let sandbox = Sandbox::start(sandbox, &tasks)
        .await
        .map_err(|error| StartError(error.to_string()))?;
    heading("3. The proxy between the app and the provider");
    let told = sandbox.control().webhooks(0).filter(|_| story.needs_webhooks());
    let journal = Journal::of(&options);
    let config = config(&options, &journal, &url, &sandbox, told.as_ref())?;
    let serving = Serving::start_at(listeners, config).await?;
    if let Some(webhooks) = &told {
        webhooks.send_to(&format!("http://{}/_usertap/webhooks", serving.listen));
    }
    say!(
        "   the app's base URL: http://{}\n   console: http://{}/",
        serving.listen,
        serving.admin
    );
    if let Some(key) = sandbox.control().admin_key(0) {
        say!("   for its page Connect: client custom-local, secret custom-local-secret, admin key {key}");
    }
    heading("4. usertap backfill");
    say!(
        "   {}",
        account::sentence(&backfill(&serving.station.database).await?)
    );
    let (before, behind) = story.sdk;
    let app = App {
        story,
        plays,
        sandbox: &sandbox,
        serving: &serving,
    };
    let shown = app.tour().await;
    if shown.is_ok() && !options.exit {
        heading("It goes on serving; end it with Ctrl-C.");
        say!("   npm: {before}http://{}{behind}", serving.listen);
        told_to_end().await;
    }
    serving.stop().await;
    tasks.stop();
    shown
}

/// As a rule another demo, or a `serve`, has it.
fn taken(error: StartError) -> StartError {
    let free = "`usertap demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0` takes what is free";
    StartError(format!("{error}: {free}"))
}

fn heading(text: &str) {
    say!("\n{text}");
}

async fn start_postgres(options: &DemoOptions) -> Result<Embedded, StartError> {
    let mut search = Search::from_os();
    search.pg_bin = options.pg_bin.clone().or(search.pg_bin);
    let started = tokio::task::spawn_blocking(move || Embedded::ephemeral(&search)).await;
    started
        .map_err(|error| StartError(error.to_string()))?
        .map_err(|error| StartError(error.to_string()))
}

/// Where a demo has its journal: its project is new each time, and another demo's at the same place.
struct Journal(PathBuf);

impl Journal {
    fn of(options: &DemoOptions) -> Journal {
        Journal(options.data_dir.join(format!("demo-{}", Uuid::new_v4().simple())))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // There may be none yet.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(
    options: &DemoOptions,
    journal: &Journal,
    url: &SecretString,
    sandbox: &Sandbox,
    told: Option<&Webhooks>,
) -> Result<Config, StartError> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let own = [
        pair("DATABASE_URL", url.expose_secret().to_owned()),
        pair("USERTAP_DATA_DIR", journal.0.display().to_string()),
        pair("USERTAP_LISTEN", options.listen.to_string()),
        pair("USERTAP_ADMIN_LISTEN", options.admin_listen.to_string()),
    ];
    let token = options
        .admin_token
        .as_ref()
        .map(|token| pair("USERTAP_ADMIN_TOKEN", token.expose_secret().to_owned()));
    let told = told.map(|webhooks| pair("USERTAP_WEBHOOK_SECRET", webhooks.secret()));
    let pairs = own
        .into_iter()
        .chain(token)
        .chain(told)
        .chain(sandbox.settings(0));
    let config = Config::from_env(pairs).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        StartError(lines.join("\n"))
    })?;
    Ok(Config {
        trusted_proxies: options.trusted_proxies.clone(),
        ..config
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
    story: Story,
    plays: Plays,
    sandbox: &'a Sandbox,
    serving: &'a Serving,
}

impl App<'_> {
    async fn tour(&self) -> Result<(), StartError> {
        let mut first = None;
        for (step, call) in self.story.calls.iter().enumerate() {
            heading(&format!("{}. {}", FIRST_CALL + step, call.says));
            let id = self.call(call, first.as_deref().unwrap_or_default()).await?;
            first = first.or(id);
        }
        self.show(first.as_deref().unwrap_or_default()).await
    }

    /// Sends, shows what usertap said and the row, and gives the user's id.
    async fn call(&self, call: &Call, first: &str) -> Result<Option<String>, StartError> {
        let at = match call.by {
            By::Elsewhere => self.sandbox.addr(),
            By::Server | By::Client => self.serving.listen,
        };
        let url = format!(
            "http://{at}{}{}",
            self.story.base,
            call.path.replace("{first}", first)
        );
        let headers = story::headers(self.plays, call.by, &self.sandbox.settings(0));
        let reply = client::send(call.method.clone(), &url, &headers, call.body.to_string())
            .await
            .map_err(StartError)?;
        let route = call.path.replace("{first}", "{id}");
        let answered = format!("   {} {route} -> {}", call.method, reply.status);
        match call.by {
            By::Elsewhere => say!("{answered}"),
            By::Server | By::Client => {
                say!(
                    "{answered}   x-usertap-recorded: {}",
                    reply.header("x-usertap-recorded")
                );
            }
        }
        let id = id_of(&reply);
        if let Some(id) = &id {
            if call.by == By::Elsewhere {
                self.comes(id).await?;
            }
            self.show(id).await?;
        }
        Ok(id)
    }

    /// Waits for the row that a webhook brings.
    async fn comes(&self, id: &str) -> Result<(), StartError> {
        let come = async {
            while self.row(id).await?.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        timeout(PATIENCE, come)
            .await
            .unwrap_or_else(|_| Err(StartError("no webhook has come".to_owned())))
    }

    async fn row(&self, id: &str) -> Result<Option<rows::Row>, StartError> {
        let database = &self.serving.station.database;
        let Some(id) = UserId::parse(id, database.names.id_type) else {
            return Ok(None);
        };
        let row = rows::one(database, &id).await;
        row.map_err(|error| StartError(error.to_string()))
    }

    async fn show(&self, id: &str) -> Result<(), StartError> {
        let row = self.row(id).await?;
        let row = row.ok_or_else(|| StartError(format!("the row of {id} is missing")))?;
        say!(
            "   neon_identity.users_sync: id={} name={} email={} deleted_at={}",
            row.id,
            shown(&row.columns.name),
            shown(&row.columns.email),
            shown(&row.columns.deleted_at)
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
