//! A Postgres as users have it: durable, `fsync` on, in a folder that goes with the run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{Client, NoTls};
use usertap::db::embedded::{Embedded, Search};
use usertap::tasks::Tasks;

pub struct Server {
    embedded: Option<Embedded>,
    folder: PathBuf,
    tasks: Tasks,
}

impl Server {
    pub fn start() -> Server {
        let folder = std::env::temp_dir().join(format!("usertap-bench-{}", std::process::id()));
        let embedded = Embedded::durable(&Search::from_os(), &folder).expect("a Postgres");
        assert!(
            !embedded.is_relocated(),
            "the folder for temporary files is out of Postgres' reach"
        );
        Server {
            embedded: Some(embedded),
            folder,
            tasks: Tasks::default(),
        }
    }

    /// An empty database.
    pub async fn fresh(&self) -> SecretString {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bench_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let embedded = self.embedded.as_ref().expect("it runs");
        let admin = self.connect(&embedded.url("postgres")).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database");
        embedded.url(&name)
    }

    pub async fn connect(&self, url: &SecretString) -> Client {
        let (client, connection) = tokio_postgres::connect(url.expose_secret(), NoTls)
            .await
            .expect("a connection");
        self.tasks.spawn(connection);
        client
    }
}

impl Drop for Server {
    /// The server ends with its last user; only then can its folder go.
    fn drop(&mut self) {
        drop(self.embedded.take());
        for _ in 0..100 {
            if !self.runs() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        // What is left is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    fn runs(&self) -> bool {
        let folders = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files = folders.map(|folder| folder.path().join("data/postmaster.pid"));
        files.any(|file| file.exists())
    }
}
