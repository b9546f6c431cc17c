//! A serving usertap before any provider that a test names, with an empty database of its own.

use std::path::{Path, PathBuf};

use ::http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use usertap::config::Config;
use usertap::serve::Serving;
use uuid::Uuid;

use super::http::Reply;
use super::{eventually, http, postgres};

pub struct Served {
    /// Straight to Postgres.
    pub client: tokio_postgres::Client,
    serving: Option<Serving>,
    settings: Vec<(String, String)>,
    folder: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        if self.serving.is_some() && !std::thread::panicking() {
            panic!("the test did not end what serves");
        }
    }
}

/// A row, as far as tests compare it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: Option<String>,
    pub email: Option<String>,
    /// In milliseconds.
    pub created_at: Option<i64>,
    pub updated_at: Option<i64>,
    pub is_deleted: bool,
    pub raw: Value,
}

impl Served {
    /// `settings` point usertap at the provider; later ones win.
    pub async fn start(settings: Vec<(String, String)>) -> Served {
        let url = postgres::empty().await;
        let folder = std::env::temp_dir().join(format!("usertap-served-{}", Uuid::new_v4().simple()));
        let own = by_itself(url.expose_secret(), &folder);
        let settings: Vec<_> = own.into_iter().chain(settings).collect();
        Served {
            client: postgres::client(&url).await,
            serving: Some(serve(settings.clone()).await),
            settings,
            folder,
        }
    }

    /// Ends what serves and starts it again, with the same settings.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    pub async fn stop(&mut self) {
        self.serving.take().expect("it serves").stop().await;
    }

    /// From the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub async fn start_again(&mut self) {
        self.serving = Some(serve(self.settings.clone()).await);
    }

    pub fn listen(&self) -> std::net::SocketAddr {
        self.serving().listen
    }

    fn serving(&self) -> &Serving {
        self.serving.as_ref().expect("it serves")
    }

    /// Through the proxy.
    pub async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let url = format!("http://{}{target}", self.serving().listen);
        if body.is_null() {
            return http::request(method, &url, headers, "")
                .await
                .expect("an answer, whole");
        }
        http::send(method, &url, headers, body).await
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.serving().admin)
    }

    pub async fn status(&self) -> Value {
        http::get(&self.admin_url("/v1/status"), &[]).await.json()
    }

    /// A walk, to its end: what the status says of it.
    pub async fn walk(&self, kind: &str) -> Value {
        let url = format!("http://{}/v1/{kind}", self.serving().admin);
        assert!(http::post(&url, &[], &json!({})).await.status.is_success());
        eventually("the walk ends", async || {
            let run = self.status().await[kind].clone();
            let state = run["state"].as_str().unwrap_or_default();
            matches!(state, "done" | "failed").then_some(run)
        })
        .await
    }

    pub async fn row(&self, id: &str) -> Option<Row> {
        let columns = "name, email, deleted_at IS NOT NULL, raw_json::text, \
                       (extract(epoch FROM created_at) * 1000)::bigint, (extract(epoch FROM updated_at) * 1000)::bigint";
        let query = format!("SELECT {columns} FROM neon_identity.users_sync WHERE id::text = $1");
        let row = self.client.query_opt(&query, &[&id]).await.unwrap()?;
        Some(Row {
            name: row.get(0),
            email: row.get(1),
            is_deleted: row.get(2),
            raw: serde_json::from_str(row.get(3)).unwrap(),
            created_at: row.get(4),
            updated_at: row.get(5),
        })
    }

    pub async fn count(&self, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM neon_identity.users_sync WHERE {condition}");
        self.client.query_one(&query, &[]).await.unwrap().get(0)
    }

    pub async fn end(mut self) {
        if let Some(serving) = self.serving.take() {
            serving.stop().await;
        }
    }
}

/// Settings under which nothing is shared with other tests, whatever the provider.
pub fn by_itself(url: &str, folder: &Path) -> Vec<(String, String)> {
    let own = [
        ("DATABASE_URL", url),
        ("USERTAP_DATA_DIR", folder.to_str().expect("a path of text")),
        ("USERTAP_LISTEN", "127.0.0.1:0"),
        ("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
        // Machines that run tests are slow; whoever tests a timeout sets it.
        ("USERTAP_SYNC_TIMEOUT", "25s"),
        ("USERTAP_TIMEOUT", "30s"),
    ];
    own.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

pub async fn serve(settings: Vec<(String, String)>) -> Serving {
    let config = Config::from_env(settings).expect("settings without a mistake");
    Serving::start(config).await.expect("a start")
}
