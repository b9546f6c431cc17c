//! As whom Postgres runs: as we do, or, since it refuses root, as the account that its data belong to; where there are
//! none yet, as `postgres`, else `nobody`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use super::error::EmbeddedError;

/// For `sleep` and `rm`; the last is where NixOS has them.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin";

#[derive(Debug)]
pub(super) enum Account {
    Ours,
    /// We are root, and step down to this one.
    Other {
        uid: u32,
        gid: u32,
    },
}

impl Account {
    /// For data that are not there yet.
    pub(super) fn choose() -> Result<Account, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(Account::Ours);
        }
        let known = |name| User::from_name(name).ok().flatten();
        known("postgres")
            .or_else(|| known("nobody"))
            .map(|user| Account::other(&user))
            .ok_or(EmbeddedError::NoAccount)
    }

    /// For the data of a server's folder: Postgres opens them to nobody but their owner.
    pub(super) fn of_data(folder: &Path) -> Result<Account, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(Account::Ours);
        }
        let data = folder.join("data");
        let found = fs::metadata(&data).map_err(EmbeddedError::file("look at", &data))?;
        if found.uid() == 0 {
            return Err(Account::choose()?.is_not_of(folder, 0));
        }
        // The account of an image of before may have no name in this one.
        let (uid, gid) = (found.uid(), found.gid());
        Ok(user(uid).map_or(Account::Other { uid, gid }, |user| Account::other(&user)))
    }

    fn other(user: &User) -> Account {
        Account::Other {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }
    }

    /// A server's folder that another account has.
    pub(super) fn is_not_of(&self, folder: &Path, owner: u32) -> EmbeddedError {
        EmbeddedError::OfAnother {
            folder: folder.to_path_buf(),
            owner: name_of(owner),
            account: self.name(),
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Account::Ours => "this user".into(),
            Account::Other { uid, .. } => name_of(*uid),
        }
    }

    pub(super) fn uid(&self) -> u32 {
        match self {
            Account::Ours => geteuid().as_raw(),
            Account::Other { uid, .. } => *uid,
        }
    }

    /// Known to this machine by a name. What the system keeps elsewhere than in a file counts too.
    pub(super) fn has_name(&self) -> bool {
        user(self.uid()).is_some()
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
        if let Account::Other { uid, gid } = self {
            // std clears the supplementary groups with it.
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes a file or folder this account's alone, by its handle: its name may be another's by now.
    pub(super) fn give(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode))?;
        match self {
            Account::Ours => Ok(()),
            Account::Other { uid, gid } => fchown(file, Some(*uid), Some(*gid)),
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

fn name_of(uid: u32) -> String {
    user(uid).map_or_else(|| format!("user id {uid}"), |user| user.name)
}

fn user(uid: u32) -> Option<User> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten()
}
