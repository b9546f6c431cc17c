//! Files in a folder that is another account's, as root makes and opens them there. Whoever acts as that account may
//! put a link, a pipe or a second name of root's own file in the place of any of them.
//!
//! What must never be: that this moves root to write, give away or show a file from elsewhere. So no link is followed,
//! what is opened is looked at once it is open, and owner and mode are set by the handle of what was made here.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::account::Account;

/// An empty file of this account's alone, in the place of whatever was there.
pub(super) fn anew(path: &Path, account: &Account) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => made(path, account),
    }
}

/// The file to write to that is there, else a new one of this account's alone.
pub(super) fn kept(path: &Path, account: &Account) -> io::Result<File> {
    match made(path, account) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            opened(path, File::options().write(true), FileType::is_file)
        }
        made => made,
    }
}

fn made(path: &Path, account: &Account) -> io::Result<File> {
    let file = File::options()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    account.give(&file, 0o600)?;
    Ok(file)
}

/// What stands in a file that is there.
pub(super) fn text(path: &Path) -> io::Result<String> {
    io::read_to_string(opened(path, File::options().read(true), FileType::is_file)?)
}

/// An end of a named pipe that is there; opening it does not wait.
pub(super) fn pipe(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    opened(path, options, FileType::is_fifo)
}

/// A folder that is there.
pub(super) fn folder(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
    File::options().read(true).custom_flags(flags.bits()).open(path)
}

fn opened(path: &Path, options: &mut OpenOptions, is_it: fn(&FileType) -> bool) -> io::Result<File> {
    // Nor does a pipe in its place make us wait.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = options.custom_flags(flags.bits()).open(path);
    let file = file.map_err(|error| match path.is_symlink() {
        true => replaced(),
        false => error,
    })?;
    let found = file.metadata()?;
    let is_roots_elsewhere = found.uid() == 0 && found.nlink() > 1;
    match is_it(&found.file_type()) && !is_roots_elsewhere {
        true => Ok(file),
        false => Err(replaced()),
    }
}

fn replaced() -> io::Error {
    io::Error::other("something else was put in its place, as a link: find out by whom, and remove it")
}
