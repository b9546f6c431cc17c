//! Finding or starting the one server of a folder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use secrecy::SecretString;

use super::account::Account;
use super::error::EmbeddedError;
use super::folder::{Folder, Lock};
use super::postmaster;
use super::run;
use super::search::Programs;
use super::watchdog::{self, Server};
use crate::failpoint;

/// Time to come up.
const UP: Duration = Duration::from_secs(60);
/// So many times as long where a server is there and is not ready: after a crash, Postgres first reads its log. Ended
/// in the midst of that, it would begin anew at its next start.
const RECOVERS: u32 = 15;
/// Another process may take the free port before Postgres does.
const ATTEMPTS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Data that matter.
    Durable,
    /// Gone with its last user, and may be lost in a power cut.
    Ephemeral,
}

pub(super) struct Running {
    pub port: u16,
    pub password: SecretString,
    /// Keeps the server alive, see [`watchdog`].
    pub user: File,
}

/// The server of the folder, found running or started. The lock makes it one.
pub(super) fn start(
    folder: &Folder,
    programs: &Programs,
    account: &Account,
    life: Life,
    _lock: &Lock,
) -> Result<Running, EmbeddedError> {
    folder.init(programs, account, life)?;
    let password = folder.password(programs)?;
    for _ in 0..ATTEMPTS {
        let user = match watchdog::join(folder)? {
            Some(user) => user,
            None => launch(folder, programs, account, life)?,
        };
        if let Some(port) = came_up(folder)? {
            return Ok(Running { port, password, user });
        }
    }
    Err(EmbeddedError::NotUp {
        folder: folder.dir().to_path_buf(),
        log: folder.logged(),
    })
}

/// Starts a watchdog, with a server unless one runs that lost its own.
fn launch(
    folder: &Folder,
    programs: &Programs,
    account: &Account,
    life: Life,
) -> Result<File, EmbeddedError> {
    let data = folder.data();
    let server = match postmaster::alive(&data) {
        Some(orphan) => Server::Orphan(orphan.pid),
        None => {
            // Of a server that was killed; Postgres would believe it if its number is in use again.
            let _ = fs::remove_file(postmaster::file(&data));
            Server::New(command_line(folder, programs, account, life)?)
        }
    };
    watchdog::start(folder, account, life, &server)
}

/// The port once it is up; `None` if it, and so its watchdog, ended before.
fn came_up(folder: &Folder) -> Result<Option<u16>, EmbeddedError> {
    let data = folder.data();
    let port = || postmaster::ready(&data).map(|postmaster| Some(postmaster.port));
    let ended = || (!watchdog::watches(folder)).then_some(None);
    let up = failpoint::wait("postgres-up", UP);
    for waited in (1..=RECOVERS).map(|times| up * times) {
        if let Some(over) = run::until(up, || port().or_else(ended)) {
            return Ok(over);
        }
        if postmaster::alive(&data).is_none() {
            return Err(not_up(folder, waited));
        }
        tracing::info!(
            folder = %folder.dir().display(),
            seconds = waited.as_secs(),
            "embedded Postgres still recovers from a crash; it is waited for"
        );
    }
    Err(not_up(folder, up * RECOVERS))
}

fn not_up(folder: &Folder, waited: Duration) -> EmbeddedError {
    EmbeddedError::Timeout {
        what: "Postgres to come up",
        folder: folder.dir().to_path_buf(),
        seconds: waited.as_secs(),
    }
}

fn command_line(
    folder: &Folder,
    programs: &Programs,
    account: &Account,
    life: Life,
) -> Result<Vec<OsString>, EmbeddedError> {
    let port = free_port(folder.port()).map_err(EmbeddedError::file("find a free port for", folder.dir()))?;
    folder.keep_port(port, account)?;
    let mut line = vec![programs.postgres().into(), "-D".into(), folder.data().into()];
    let mut set = |setting: &str| line.extend(["-c".into(), setting.into()]);
    set(&format!("port={port}"));
    ALWAYS.iter().for_each(|setting| set(setting));
    if life == Life::Ephemeral {
        UNSAFE_AND_FAST.iter().for_each(|setting| set(setting));
    }
    Ok(line)
}

/// This one if it is free.
fn free_port(wanted: Option<u16>) -> std::io::Result<u16> {
    let bound = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = wanted.map_or_else(|| bound(0), |port| bound(port).or_else(|_| bound(0)));
    Ok(bound?.local_addr()?.port())
}

const ALWAYS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "timezone=UTC",
    "log_timezone=UTC",
    // Users' data stand in statements and in the text of errors: neither is logged.
    "log_min_messages=log",
    "log_min_error_statement=panic",
    "log_statement=none",
    "logging_collector=off",
];

const UNSAFE_AND_FAST: [&str; 7] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "jit=off",
];
