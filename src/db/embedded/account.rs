//! As whom Postgres runs: as we do, or, since it refuses root, as `postgres`, else `nobody`.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use super::error::EmbeddedError;

/// For `sleep` and `rm`; the last is where NixOS has them.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin";

#[derive(Debug)]
pub(super) enum Account {
    Ours,
    /// We are root, and step down to this one.
    Other(User),
}

impl Account {
    pub(super) fn choose() -> Result<Account, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(Account::Ours);
        }
        let known = |name| User::from_name(name).ok().flatten();
        known("postgres")
            .or_else(|| known("nobody"))
            .map(Account::Other)
            .ok_or(EmbeddedError::NoAccount)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Account::Ours => "this user",
            Account::Other(user) => &user.name,
        }
    }

    pub(super) fn uid(&self) -> u32 {
        match self {
            Account::Ours => geteuid().as_raw(),
            Account::Other(user) => user.uid.as_raw(),
        }
    }

    /// Known to this machine by a name. What the system keeps elsewhere than in a file counts too.
    pub(super) fn has_name(&self) -> bool {
        match self {
            Account::Ours => User::from_uid(geteuid()).is_ok_and(|user| user.is_some()),
            Account::Other(_) => true,
        }
    }

    /// A command of this account, in `/` (it may be unable to enter our folder), in the C locale (on macOS,
    /// Postgres refuses to start without one), and without our environment: secrets stand in it.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C");
        if let Account::Other(user) = self {
            // std clears the supplementary groups with it.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Makes a file or folder this account's alone, by its handle: its name may be another's by now.
    pub(super) fn give(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode))?;
        match self {
            Account::Ours => Ok(()),
            Account::Other(user) => fchown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
        }
    }

    /// Whether it can pass through a folder, tried rather than worked out (there are ACLs).
    pub(super) fn reaches(&self, dir: &Path) -> bool {
        self.tries(dir, r#"cd "$1""#)
    }

    /// Whether it can make and remove files in a folder.
    pub(super) fn writes(&self, dir: &Path) -> bool {
        self.tries(dir, r#"cd "$1" && [ -w . ]"#)
    }

    fn tries(&self, dir: &Path, script: &str) -> bool {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", script, "sh"]).arg(dir);
        shell
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }
}
