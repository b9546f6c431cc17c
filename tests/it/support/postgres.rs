//! One Postgres for the whole run, one database for each test.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::{ExposeSecret, SecretString};
use usertap::db::embedded::{Embedded, Search};
use usertap::db::{Database, Names, Reach, Way, migrate};
use usertap::user::IdType;

use super::eventually;

/// A migrated database with schemas of the usual names, and a plain client to look into it.
pub struct TestDatabase {
    pub database: Database,
    pub url: SecretString,
    pub client: tokio_postgres::Client,
}

fn server() -> &'static Embedded {
    static SERVER: OnceLock<Embedded> = OnceLock::new();
    SERVER.get_or_init(|| Embedded::ephemeral(&Search::from_os()).expect("a Postgres for the tests"))
}

/// A server that no other test is in.
pub async fn apart() -> Embedded {
    let started = tokio::task::spawn_blocking(|| Embedded::ephemeral(&Search::from_os()));
    started.await.expect("no panic").expect("a Postgres")
}

/// An empty database.
pub async fn empty() -> SecretString {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let server = tokio::task::spawn_blocking(server).await.expect("no panic");
    let client = client(&server.url("postgres")).await;
    client
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .expect("a database");
    server.url(&name)
}

fn tasks() -> usertap::tasks::Tasks {
    usertap::tasks::Tasks::default()
}

/// A client that ends with the runtime of the test.
pub async fn client(url: &SecretString) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url.expose_secret(), tokio_postgres::NoTls)
        .await
        .expect("a connection");
    tasks().spawn(connection);
    client
}

/// Waits until whoever connects finds a setting so: a reload is only asked for, and comes when it comes.
pub async fn shows(url: &SecretString, name: &str, value: &str) {
    eventually(&format!("{name} is {value}"), || async {
        let fresh = client(url).await;
        let shown = fresh.query_one(&format!("SHOW {name}"), &[]).await.ok()?;
        (shown.get::<_, &str>(0) == value).then_some(())
    })
    .await;
}

pub fn names(id_type: IdType) -> Names {
    Names {
        users_schema: "neon_identity".into(),
        state_schema: "usertap".into(),
        id_type,
    }
}

pub fn database(url: &SecretString, id_type: IdType) -> Database {
    let reach = Reach::by(Way::new(url.clone(), None).expect("no CA file is read"));
    Database::new(reach, names(id_type))
}

impl TestDatabase {
    /// One that belongs to a role without a superuser's rights, as hosts hand them out. The client
    /// keeps those rights.
    pub async fn of_plain_owner(id_type: IdType) -> TestDatabase {
        let url = empty().await;
        let client = client(&url).await;
        let mut plain: url::Url = url.expose_secret().parse().expect("a URL");
        let name = plain.path().trim_start_matches('/').to_owned();
        let role = format!("owner_{name}");
        let made =
            format!("CREATE ROLE {role} LOGIN PASSWORD 'plain'; ALTER DATABASE {name} OWNER TO {role}");
        client.batch_execute(&made).await.expect("a role");
        plain.set_username(&role).expect("a URL with a user");
        plain.set_password(Some("plain")).expect("a URL with a password");
        let url = SecretString::from(String::from(plain));
        let database = database(&url, id_type);
        migrate::run(&database).await.expect("migrations");
        TestDatabase {
            database,
            url,
            client,
        }
    }

    pub async fn new(id_type: IdType) -> TestDatabase {
        let url = empty().await;
        let database = database(&url, id_type);
        migrate::run(&database).await.expect("migrations");
        TestDatabase {
            client: client(&url).await,
            database,
            url,
        }
    }

    /// The same database for another process.
    pub async fn again(&self) -> TestDatabase {
        TestDatabase {
            client: client(&self.url).await,
            database: database(&self.url, self.database.names.id_type),
            url: self.url.clone(),
        }
    }

    /// A number that a query gives.
    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect("a query").get(0)
    }

    /// A text that a query gives, if it gives a row.
    pub async fn text(&self, sql: &str) -> Option<String> {
        let row = self.client.query_opt(sql, &[]).await.expect("a query");
        row.and_then(|row| row.get(0))
    }
}
