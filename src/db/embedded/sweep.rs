//! Folders of ephemeral servers: a fresh one, and the removal of those that a kill left behind (in the
//! moments before there was a watchdog, or because that was killed too).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::account::Account;
use super::error::EmbeddedError;
use super::folder::{Folder, Lock};
use super::watchdog;

const NAME: &str = "usertap-postgres-";
/// Not locked yet, so not to be swept.
const NEW: &str = "new-usertap-postgres-";

/// A folder of its own, locked from the moment that it has its final name.
pub(super) fn fresh(temp: &Path, account: &Account) -> Result<(Folder, Lock), EmbeddedError> {
    let parent = parent(temp, account)?;
    sweep(&parent, account);
    let id = Uuid::new_v4().simple();
    let new = Folder::open(parent.join(format!("{NEW}{id}")), account)?;
    let lock = new.lock(account)?;
    let dir = parent.join(format!("{NAME}{id}"));
    fs::rename(new.dir(), &dir).map_err(EmbeddedError::file("rename", new.dir()))?;
    Ok((Folder::at(dir), lock))
}

/// Root's own temporary folder may be closed to Postgres' account.
fn parent(temp: &Path, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let temp = temp.canonicalize().map_err(EmbeddedError::file("find", temp))?;
    let mut candidates = [temp.clone(), PathBuf::from("/tmp")].into_iter();
    candidates
        .find(|dir| account.writes(dir))
        .ok_or_else(|| EmbeddedError::OutOfReach {
            account: account.name(),
            path: temp,
        })
}

fn sweep(parent: &Path, account: &Account) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME));
    let left = named
        .map(|entry| entry.path())
        .filter(|dir| is_ours(dir, account) && is_left_behind(dir, account));
    // What cannot be removed now is tried again by the next start.
    left.for_each(|dir| drop(fs::remove_dir_all(dir)));
}

fn is_ours(dir: &Path, account: &Account) -> bool {
    dir.symlink_metadata()
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == account.uid())
}

fn is_left_behind(dir: &Path, account: &Account) -> bool {
    let folder = Folder::at(dir.to_path_buf());
    let being_started = !matches!(folder.try_lock(account), Ok(Some(_)));
    !being_started && !watchdog::in_use(&folder)
}
