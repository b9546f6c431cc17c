//! A client that looks into the database wherever that is: it waits until one answers, and asks again.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};
use usertap::tasks::Tasks;
use uuid::Uuid;

use super::Chaos;
use crate::support::stack::at_rest;
use crate::support::{now, postgres};

/// A server that was killed, or a standby that takes over, is back by then.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Eyes {
    url: SecretString,
    /// Said on each new connection.
    settings: &'static str,
    client: Mutex<Option<Client>>,
}

impl Eyes {
    pub fn new(url: &SecretString, settings: &'static str) -> Eyes {
        Eyes {
            url: url.clone(),
            settings,
            client: Mutex::default(),
        }
    }

    pub async fn row(&self, sql: &str) -> Option<Row> {
        self.rows(sql).await.into_iter().next()
    }

    pub async fn rows(&self, sql: &str) -> Vec<Row> {
        let asked = self.ask(async |client: &Client| client.query(sql, &[]).await);
        asked.await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// Done at least once.
    ///
    /// # Errors
    /// The database refuses it.
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.ask(async |client: &Client| client.batch_execute(sql).await)
            .await
    }

    /// Until somebody answers, be it with a refusal.
    async fn ask<T>(&self, ask: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, Error> {
        let mut client = self.client.lock().await;
        let deadline = now() + PATIENCE;
        loop {
            if client.is_none() {
                *client = self.connect().await;
            }
            if let Some(open) = &*client {
                match ask(open).await {
                    Err(error) if is_away(&error) => *client = None,
                    answered => return answered,
                }
            }
            assert!(now() < deadline, "no database within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connect(&self) -> Option<Client> {
        let config = self.url.expose_secret();
        let (client, connection) = tokio_postgres::connect(config, tokio_postgres::NoTls)
            .await
            .ok()?;
        Tasks::default().spawn(connection);
        client.batch_execute(self.settings).await.ok()?;
        Some(client)
    }
}

impl Chaos {
    pub async fn name(&self, id: Uuid) -> Option<String> {
        let sql = format!("SELECT name FROM neon_identity.users_sync WHERE id = '{id}'");
        self.eyes.row(&sql).await.and_then(|row| row.get(0))
    }

    pub async fn has_row(&self, id: Uuid) -> bool {
        let sql = format!("SELECT FROM neon_identity.users_sync WHERE id = '{id}'");
        self.eyes.row(&sql).await.is_some()
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.eyes.row(sql).await.expect("a row").get(0)
    }

    pub async fn rows_of(&self, schema: &str) -> Vec<at_rest::Row> {
        let client = postgres::client(&self.world.url).await;
        at_rest::rows_of(&client, schema, "").await
    }
}

/// Not a refusal: the session is gone, or the server is.
fn is_away(error: &Error) -> bool {
    let away = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    error.code().is_none_or(|code| away.contains(code))
}
