//! A real Postgres of usertap's own, for `DATABASE_URL=embedded`, `usertap demo` and the tests.
//!
//! - [`Embedded::durable`]: one server per folder, shared by every process that asks for it. Its data
//!   stay, and are never opened by another major version: the folder's name carries it.
//! - [`Embedded::ephemeral`]: a fresh server in a temporary folder, as fast as Postgres gets, for tests.
//!   The folder goes with the server.
//!
//! Either ends with its **last user**, also after `kill -9`. No count is kept that a killed process could
//! leave wrong; the kernel counts, see `watchdog`.
//!
//! Where the programs come from says `search`; as whom they run, `account`. The server listens on
//! 127.0.0.1 only, on a free port, with a password of its own (scram) and no Unix socket.
//!
//! Must never be: two servers on one folder; programs unpacked whose hash does not stand in `pins`;
//! a statement, or a value out of one, in the server's log.
//!
//! Everything here blocks; async callers use `spawn_blocking`.

mod account;
mod entrusted;
mod environment;
mod error;
mod fetch;
mod folder;
mod pins;
mod place;
mod postmaster;
mod run;
mod search;
mod server;
mod sweep;
mod unpack;
mod watchdog;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

pub use error::{EmbeddedError, Step};
pub use search::Search;

use account::Account;
use folder::Folder;
use server::Life;

/// The role that owns everything in an embedded server.
pub const ROLE: &str = "usertap";

/// A running server that this process uses. It stays up while any process holds one of these.
#[derive(Debug)]
pub struct Embedded {
    port: u16,
    password: SecretString,
    folder: PathBuf,
    major: u32,
    relocated: bool,
    /// The kernel's count of users: closing it is what ends the use.
    user: Mutex<Option<File>>,
}

/// Lets go of an embedded Postgres, and where nobody else uses it, waits for its end.
pub async fn leave(embedded: Option<Arc<Embedded>>) {
    if let Some(embedded) = embedded {
        let left = tokio::task::spawn_blocking(move || embedded.leave()).await;
        left.unwrap_or_else(|error| tracing::warn!(%error, "embedded Postgres was not left in order"));
    }
}

impl Embedded {
    /// The server of `data_dir`, started unless it runs already. Its data live in
    /// `data_dir/postgres-<major>`; a folder that exists decides which major version is used, and as whom it runs.
    ///
    /// # Errors
    /// No programs can be found or fetched, the folder cannot be used, or the server does not come up;
    /// each error names the remedy.
    pub fn durable(search: &Search, data_dir: &Path) -> Result<Embedded, EmbeddedError> {
        let place = place::place(data_dir)?;
        let programs = search.find(place.major)?;
        let folder = Folder::open(place::server(&place.dir, programs.major), &place.account)?;
        let lock = folder.lock(&place.account)?;
        let running = server::start(&folder, &programs, &place.account, Life::Durable, &lock)?;
        Ok(Embedded {
            relocated: place.relocated,
            ..Embedded::of(running, &folder, programs.major)
        })
    }

    /// Whether [`Embedded::durable`] would find a server's data there, or make a new one.
    pub fn is_there(data_dir: &Path) -> bool {
        place::is_there(data_dir)
    }

    /// A fresh server in a temporary folder, for tests: nothing is synced to disk.
    ///
    /// # Errors
    /// As [`Embedded::durable`].
    pub fn ephemeral(search: &Search) -> Result<Embedded, EmbeddedError> {
        let account = Account::choose()?;
        let programs = search.find(None)?;
        let (folder, lock) = sweep::fresh(&search.temp, &account)?;
        let running = server::start(&folder, &programs, &account, Life::Ephemeral, &lock)?;
        Ok(Embedded::of(running, &folder, programs.major))
    }

    fn of(running: server::Running, folder: &Folder, major: u32) -> Embedded {
        Embedded {
            port: running.port,
            password: running.password,
            folder: folder.dir().to_path_buf(),
            major,
            relocated: false,
            user: Mutex::new(Some(running.user)),
        }
    }

    /// `postgres://usertap:…@127.0.0.1:port/database`. The database `postgres` always exists; others are
    /// the caller's to create.
    pub fn url(&self, database: &str) -> SecretString {
        let database = percent_encoding::utf8_percent_encode(database, percent_encoding::NON_ALPHANUMERIC);
        let password = self.password.expose_secret();
        format!("postgres://{ROLE}:{password}@127.0.0.1:{}/{database}", self.port).into()
    }

    /// How `psql` reaches it: without the password, which stands in [`Embedded::password_file`].
    pub fn address(&self) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/postgres", self.port)
    }

    /// Postgres' own account's alone.
    pub fn password_file(&self) -> PathBuf {
        self.folder.join(folder::PASSWORD)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the server: 15, 17, …
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Where the server lives: its data, password and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the server has ended though this uses it. What [`Embedded::durable`] starts then, this
    /// uses too.
    pub fn has_ended(&self) -> bool {
        !watchdog::watches(&Folder::at(self.folder.clone()))
    }

    /// Ends the use now, and where it was the last one, waits for the server's end. What is the first process of a
    /// container takes everybody with it: a server that is still at its last checkpoint too.
    fn leave(&self) {
        let user = self.user.lock().unwrap_or_else(PoisonError::into_inner).take();
        if user.is_some() {
            drop(user);
            watchdog::ended(&Folder::at(self.folder.clone()));
        }
    }

    /// Whether it lives in `/var/lib/usertap` because root runs it and Postgres' own account cannot
    /// reach the data folder. The caller tells the operator.
    pub fn is_relocated(&self) -> bool {
        self.relocated
    }
}
