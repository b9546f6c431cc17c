//! Where the servers of a data folder live: in it, or, where root runs usertap and Postgres' own account cannot reach
//! it, in a folder below [`OF_ROOT`] whose name comes of the data folder's.
//!
//! What must never be: a new, empty database beside data that are there. So data that lie in the data folder are used
//! there or not at all, and a data folder notes where else its data lie ([`NOTE`]): it may be moved, or be opened to
//! that account. A copy of it has none of its own.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::EmbeddedError;

/// Where root's servers live if Postgres' own account cannot reach the data folder.
pub(super) const OF_ROOT: &str = "/var/lib/usertap";
/// In the data folder: where its data lie, and the data folder itself, each a line.
const NOTE: &str = "embedded";

pub(super) struct Place {
    pub dir: PathBuf,
    pub relocated: bool,
    pub account: Account,
    /// The version of the data that are there.
    pub major: Option<u32>,
}

/// Where the data are, else where they are to be.
pub(super) fn place(data_dir: &Path) -> Result<Place, EmbeddedError> {
    fs::create_dir_all(data_dir).map_err(EmbeddedError::file("create", data_dir))?;
    let place = within(data_dir)?;
    if matches!(place.account, Account::Ours) {
        return Ok(place);
    }
    let (has_data, is_reached) = (place.major.is_some(), place.account.reaches(&place.dir));
    if has_data && is_reached {
        return Ok(place);
    }
    match elsewhere(&place.dir) {
        Some(at) => relocated(&place.dir, &at),
        None if has_data || is_reached => reached(place),
        None => relocated(&place.dir, &of_root(&place.dir)),
    }
}

/// In a folder that is there. Its data decide as whom the server runs.
fn within(dir: &Path) -> Result<Place, EmbeddedError> {
    let dir = dir.canonicalize().map_err(EmbeddedError::file("find", dir))?;
    let major = major_in_use(&dir)?;
    let account = match major {
        Some(major) => Account::of_data(&server(&dir, major)),
        None => Account::choose(),
    };
    Ok(Place {
        relocated: false,
        account: account?,
        major,
        dir,
    })
}

/// The folder of one server.
pub(super) fn server(dir: &Path, major: u32) -> PathBuf {
    dir.join(format!("postgres-{major}"))
}

/// Whether a server lives at a data folder already; where it cannot be told, yes, and whoever starts it hears why. To
/// look makes nothing.
pub(super) fn is_there(data_dir: &Path) -> bool {
    let dir = data_dir.canonicalize().or_else(|_| std::path::absolute(data_dir));
    let may_have =
        |dir: &Path| !matches!(dir.try_exists(), Ok(false)) && !matches!(major_in_use(dir), Ok(None));
    dir.is_ok_and(|dir| may_have(&dir) || elsewhere(&dir).is_some())
}

/// The major version of the data in a data folder; of the newest, if it holds several.
fn major_in_use(dir: &Path) -> Result<Option<u32>, EmbeddedError> {
    let entries = fs::read_dir(dir).map_err(EmbeddedError::file("list", dir))?;
    let major = |name: &OsStr| name.to_str()?.strip_prefix("postgres-")?.parse::<u32>().ok();
    let mut majors = Vec::new();
    for entry in entries.flatten() {
        if let Some(major) = major(&entry.file_name())
            && is_with_data(&entry.path())?
        {
            majors.push(major);
        }
    }
    Ok(majors.into_iter().max())
}

/// A folder that is closed to us may well have some.
fn is_with_data(server: &Path) -> Result<bool, EmbeddedError> {
    match fs::metadata(server.join("data")) {
        Ok(found) => Ok(found.is_dir()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(EmbeddedError::file("look into", server)(error)),
    }
}

fn has_data(dir: &Path) -> bool {
    major_in_use(dir).is_ok_and(|major| major.is_some())
}

/// Where the data of a data folder are that has none in it.
fn elsewhere(dir: &Path) -> Option<PathBuf> {
    let noted = noted(dir).filter(|noted| !noted.is_of_another(dir));
    let noted = noted.map(|noted| noted.at);
    if let Some(gone) = noted.as_ref().filter(|at| !has_data(at)) {
        tracing::warn!(folder = %gone.display(), "the data of embedded Postgres that DATA_DIR had here are gone");
    }
    let known = noted.into_iter().chain([of_root(dir)]);
    known.into_iter().find(|at| has_data(at))
}

struct Noted {
    at: PathBuf,
    data_dir: PathBuf,
}

impl Noted {
    /// Of this folder a copy was made.
    fn is_of_another(&self, dir: &Path) -> bool {
        self.data_dir != dir && noted(&self.data_dir).is_some_and(|there| there.at == self.at)
    }
}

fn noted(dir: &Path) -> Option<Noted> {
    let note = fs::read(dir.join(NOTE)).ok()?;
    let mut lines = note.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
    Some(Noted {
        at: lines.next()?.into(),
        data_dir: lines.next()?.into(),
    })
}

/// Without the note all goes on, as long as the data folder stays where it is.
fn note(dir: &Path, at: &Path) {
    let [at, of] = [at, dir].map(|path| path.as_os_str().as_bytes());
    if let Err(error) = fs::write(dir.join(NOTE), [at, of].join(&b'\n')) {
        tracing::debug!(error = %error.kind(), "DATA_DIR takes no note of where embedded Postgres lives");
    }
}

fn relocated(dir: &Path, at: &Path) -> Result<Place, EmbeddedError> {
    passable(at).map_err(EmbeddedError::file("create", at))?;
    let place = reached(Place {
        relocated: true,
        ..within(at)?
    })?;
    note(dir, &place.dir);
    Ok(place)
}

fn reached(place: Place) -> Result<Place, EmbeddedError> {
    match place.account.reaches(&place.dir) {
        true => Ok(place),
        false => Err(EmbeddedError::OutOfReach {
            account: place.account.name(),
            path: place.dir,
        }),
    }
}

/// Makes a folder, and those above it that are missing, so that Postgres' own account can pass through, whatever the
/// mask of this process.
pub(super) fn passable(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    dir.parent().map_or(Ok(()), passable)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)),
    }
}

/// Readable, and another one for every data folder.
fn of_root(data_dir: &Path) -> PathBuf {
    let hash = Sha256::digest(data_dir.as_os_str().as_bytes());
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let of = data_dir
        .parent()
        .and_then(Path::file_name)
        .unwrap_or(OsStr::new("root"))
        .to_string_lossy();
    let name = of.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    Path::new(OF_ROOT).join(format!("{name}-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_folder_is_relocated_to_one_of_its_own() {
        let at = of_root(Path::new("/root/my app/.usertap"));
        let at = at.to_str().expect("text");
        assert!(at.starts_with("/var/lib/usertap/my-app-"), "{at}");
        assert_ne!(Path::new(at), of_root(Path::new("/root/b/my app/.usertap")));
    }
}
