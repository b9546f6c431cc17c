//! The folder of one server, Postgres' own account's alone (mode 0700):
//!
//! | in it | what |
//! |---|---|
//! | `data` | the cluster; made as `data.part-…` and renamed, so it is whole or not there |
//! | `password` | of the role, mode 0600 |
//! | `port` | of the last server: the next takes it too if it is free, so that whoever used that one finds this |
//! | `start.lock` | held while a server is looked for or started |
//! | `users`, `closing` | see [`watchdog`](super::watchdog) |
//! | `server.log` | of the last start; no statements, no values |

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::account::Account;
use super::entrusted;
use super::error::EmbeddedError;
use super::run;
use super::search::Programs;
use super::server::Life;

pub(super) const LOG: &str = "server.log";
pub(super) const PASSWORD: &str = "password";
const PORT: &str = "port";

/// Longer than another process can take for its start, which may have to recover from a crash.
const LOCKED_AT_MOST: Duration = Duration::from_mins(20);
const INITDB_AT_MOST: Duration = Duration::from_secs(120);

/// Held while a server is looked for or started in a folder; released with the process at the latest.
#[derive(Debug)]
pub(super) struct Lock {
    _held: File,
}

#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder at this absolute path, made if need be. One that is another account's stays so.
    pub(super) fn open(dir: PathBuf, account: &Account) -> Result<Folder, EmbeddedError> {
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(EmbeddedError::file("create", &dir)(error));
            }
            Ok(()) => given(&dir, account)?,
            Err(_) => taken_up(&dir, account)?,
        }
        Ok(Folder(dir))
    }

    /// One that exists.
    pub(super) fn at(dir: PathBuf) -> Folder {
        Folder(dir)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    pub(super) fn lock(&self, account: &Account) -> Result<Lock, EmbeddedError> {
        run::until(LOCKED_AT_MOST, || self.try_lock(account).transpose()).ok_or_else(|| {
            EmbeddedError::Timeout {
                what: "another process that starts a server",
                folder: self.0.clone(),
                seconds: LOCKED_AT_MOST.as_secs(),
            }
        })?
    }

    pub(super) fn try_lock(&self, account: &Account) -> Result<Option<Lock>, EmbeddedError> {
        let path = self.0.join("start.lock");
        let file = entrusted::kept(&path, account).map_err(EmbeddedError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _held: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(EmbeddedError::file("lock", &path)(error)),
        }
    }

    /// Makes the cluster unless it is there. The caller holds the [`Lock`].
    pub(super) fn init(
        &self,
        programs: &Programs,
        account: &Account,
        life: Life,
    ) -> Result<(), EmbeddedError> {
        let data = self.data();
        if data.is_dir() {
            return Ok(());
        }
        self.remove_parts();
        let password = self.write(PASSWORD, &new_password(), account)?;
        self.sync(&password, life)?;
        let part = self.0.join(format!("data.part-{}", std::process::id()));
        let mut initdb = account.command(programs.initdb());
        initdb
            .arg("-D")
            .arg(&part)
            .arg("--pwfile")
            .arg(self.0.join(PASSWORD));
        initdb.args([
            "-U",
            super::ROLE,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        if life == Life::Ephemeral {
            initdb.arg("--no-sync");
        }
        let output = run::output(&mut initdb, INITDB_AT_MOST)
            .map_err(EmbeddedError::file("run", &programs.initdb()))?;
        if !output.status.success() && !account.has_name() {
            return Err(EmbeddedError::Unnamed { uid: account.uid() });
        }
        if !output.status.success() {
            let program = programs.initdb().display().to_string();
            return Err(EmbeddedError::Program {
                program,
                output: run::said(&output),
            });
        }
        fs::rename(&part, &data).map_err(EmbeddedError::file("rename to its final name", &part))?;
        self.sync(&password, life)
    }

    /// A power cut must not leave data whose password it took.
    fn sync(&self, password: &File, life: Life) -> Result<(), EmbeddedError> {
        if life == Life::Ephemeral {
            return Ok(());
        }
        let synced = password
            .sync_all()
            .and_then(|()| entrusted::folder(&self.0)?.sync_all());
        synced.map_err(EmbeddedError::file("write to disk what is in", &self.0))
    }

    /// What an `initdb` left whose starter was killed.
    fn remove_parts(&self) {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let parts = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("data.part-"));
        // What cannot be removed does no harm: the next part has a name of its own.
        parts.for_each(|part| drop(fs::remove_dir_all(part.path())));
    }

    /// Of the cluster that is there.
    pub(super) fn password(&self, programs: &Programs) -> Result<SecretString, EmbeddedError> {
        let path = self.0.join(PASSWORD);
        match entrusted::text(&path) {
            Ok(password) if !password.is_empty() => Ok(password.into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(EmbeddedError::file("read", &path)(error))
            }
            _ => Err(EmbeddedError::NoPassword {
                path,
                data: self.data(),
                postgres: programs.postgres(),
            }),
        }
    }

    /// Of the last server.
    pub(super) fn port(&self) -> Option<u16> {
        entrusted::text(&self.0.join(PORT)).ok()?.trim().parse().ok()
    }

    pub(super) fn keep_port(&self, port: u16, account: &Account) -> Result<(), EmbeddedError> {
        self.write(PORT, &port.to_string().into(), account).map(drop)
    }

    /// An empty log that Postgres' account can write to.
    pub(super) fn new_log(&self, account: &Account) -> Result<File, EmbeddedError> {
        let path = self.log();
        entrusted::anew(&path, account).map_err(EmbeddedError::file("create", &path))
    }

    /// The end of the log.
    pub(super) fn logged(&self) -> String {
        run::tail(&entrusted::text(&self.log()).unwrap_or_default(), 1000)
    }

    /// Writes a file of Postgres' account's alone.
    fn write(&self, name: &str, content: &SecretString, account: &Account) -> Result<File, EmbeddedError> {
        let path = self.0.join(name);
        let mut file = entrusted::anew(&path, account).map_err(EmbeddedError::file("create", &path))?;
        file.write_all(content.expose_secret().as_bytes())
            .map_err(EmbeddedError::file("write", &path))?;
        Ok(file)
    }
}

/// One that is there. Where a start of root's was cut off before it gave it away, that is made good.
fn taken_up(dir: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let found = fs::metadata(dir).map_err(EmbeddedError::file("look at", dir))?;
    match account {
        Account::Other { .. } if found.uid() == 0 => given(dir, account),
        Account::Other { .. } if found.uid() != account.uid() => Err(account.is_not_of(dir, found.uid())),
        _ => Ok(()),
    }
}

fn given(dir: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let folder = entrusted::folder(dir).map_err(EmbeddedError::file("open", dir))?;
    account
        .give(&folder, 0o700)
        .map_err(EmbeddedError::file("set owner and mode of", dir))
}

fn new_password() -> SecretString {
    crate::random::text().into()
}
