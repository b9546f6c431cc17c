//! A backup of a stack's database, and what it is restored over.

use secrecy::SecretString;

use super::Stack;
use crate::support::postgres;

impl Stack {
    /// As the database is now; usertap is started anew.
    pub async fn back_up(&mut self) {
        self.stop().await;
        let (admin, name) = self.aside().await;
        run(&admin, &format!("CREATE DATABASE {name}_backup TEMPLATE {name}")).await;
        self.back().await;
        self.start().await;
    }

    /// Puts the backup in the database's place; usertap is started anew.
    pub async fn restore(&mut self) {
        self.stop().await;
        self.replace().await;
        self.start().await;
    }

    /// The same beneath a running usertap.
    pub async fn restore_beneath(&mut self) {
        self.replace().await;
    }

    async fn replace(&mut self) {
        let (admin, name) = self.aside().await;
        run(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        run(&admin, &format!("ALTER DATABASE {name}_backup RENAME TO {name}")).await;
        self.back().await;
    }

    /// A client beside the database, to which nobody of the test is connected any more.
    async fn aside(&mut self) -> (tokio_postgres::Client, String) {
        let mut url: url::Url = self.setting(0, "DATABASE_URL").parse().expect("a URL");
        let name = url.path().trim_start_matches('/').to_owned();
        url.set_path("/postgres");
        let admin = || async { postgres::client(&SecretString::from(url.to_string())).await };
        self.client = admin().await;
        (admin().await, name)
    }

    async fn back(&mut self) {
        self.client = postgres::client(&self.setting(0, "DATABASE_URL").into()).await;
    }
}

/// Connections that were just closed may still be on their way out.
async fn run(admin: &tokio_postgres::Client, statement: &str) {
    crate::support::eventually(statement, || async { admin.batch_execute(statement).await.ok() }).await;
}
