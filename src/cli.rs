//! The command line: which command, with what it needs to know, or everything that is wrong.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or settings. [`parse`] is pure; `main` runs what
//! it says.

mod args;
mod options;
mod tenants;
mod usage;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::settings::{self, Env, ReadFile, Settings};
use crate::config::{Config, File, Log, Mistake, Needs, Sources, shown};

pub use options::{DemoOptions, FeedOptions, PLAYED, SandboxOptions, StatusOptions};
pub use usage::Usage;

/// What the user asks for.
#[derive(Debug)]
pub enum Command {
    /// Each tenant; one where the settings file has no several.
    Serve(Vec<Config>),
    Backfill {
        config: Box<Config>,
        json: bool,
    },
    Reconcile {
        config: Box<Config>,
        json: bool,
        /// Deletions are not held back.
        yes: bool,
    },
    Status(StatusOptions),
    Feed(FeedOptions),
    Doctor {
        config: Box<Config>,
        json: bool,
    },
    Migrate {
        config: Box<Config>,
        /// Publications of this name are made too.
        publication: Option<String>,
    },
    Sandbox(SandboxOptions),
    Demo(DemoOptions),
}

impl Command {
    /// What to log, and how.
    pub fn log(&self) -> &Log {
        match self {
            // There is at least one, and the log is everybody's.
            Command::Serve(tenants) => tenants.first().map_or(&NO_LOG, |config| &config.log),
            Command::Migrate { config, .. } => &config.log,
            Command::Backfill { config, .. }
            | Command::Reconcile { config, .. }
            | Command::Doctor { config, .. } => &config.log,
            Command::Status(options) => &options.log,
            Command::Feed(options) => &options.asks.log,
            Command::Sandbox(options) => &options.log,
            Command::Demo(options) => &options.log,
        }
    }

    /// For one among several tenants.
    fn of_tenant(mut self, name: &str) -> Command {
        if let Some(config) = self.config() {
            *config = config.clone().of_tenant(name);
        }
        self
    }

    /// With more that the settings leave in doubt.
    fn warning(mut self, warnings: Vec<String>) -> Command {
        if let Some(config) = self.config() {
            config.warnings.extend(warnings);
        }
        self
    }

    /// Of the one tenant that it is for.
    fn config(&mut self) -> Option<&mut Config> {
        match self {
            Command::Serve(tenants) => match tenants.as_mut_slice() {
                [config] => Some(config),
                _ => None,
            },
            Command::Backfill { config, .. }
            | Command::Reconcile { config, .. }
            | Command::Migrate { config, .. }
            | Command::Doctor { config, .. } => Some(config),
            Command::Status(_) | Command::Feed(_) | Command::Sandbox(_) | Command::Demo(_) => None,
        }
    }

    /// What the settings leave in doubt, to be logged once at the start.
    pub fn warnings(&self) -> Vec<&String> {
        match self {
            Command::Serve(tenants) => tenants.iter().flat_map(|config| &config.warnings).collect(),
            Command::Migrate { config, .. }
            | Command::Backfill { config, .. }
            | Command::Reconcile { config, .. }
            | Command::Doctor { config, .. } => config.warnings.iter().collect(),
            Command::Status(_) | Command::Feed(_) | Command::Sandbox(_) | Command::Demo(_) => Vec::new(),
        }
    }
}

static NO_LOG: LazyLock<Log> = LazyLock::new(Log::default);

/// The settings file that is read where `--config` names none.
const FILE: &str = "usertap.toml";

/// What this process was asked to do.
pub fn from_process() -> Result<Command, Usage> {
    let args: Vec<OsString> = std::env::args_os().collect();
    parse(&args, &settings::process_env(), &settings::process_read)
}

/// Reads the command line (the program's name first), the environment, and files through `read`.
pub fn parse(args: &[OsString], env: &Env, read: ReadFile<'_>) -> Result<Command, Usage> {
    let early = Early::scan(args);
    let (file, mut mistakes) = early.file(read);
    let (chosen, unknown) = early.choose(file);
    let mut sources = Sources {
        file: chosen.first().map(|(_, file)| file.clone()).unwrap_or_default(),
        env,
        flags: early.flags(),
        read,
    };
    let (provider, wrong) = settings::provider(&sources);
    let (_, known, _) = settings::names(provider.as_ref());
    let matches = match args::command(&known).try_get_matches_from(args) {
        Ok(matches) => matches,
        // The flags of a provider that could not be loaded look unknown.
        Err(error) if error.kind() == ErrorKind::UnknownArgument && !wrong.is_empty() => {
            return Err(Usage::Settings(wrong));
        }
        Err(error) => return Err(Usage::Line(without_values(error))),
    };
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Usage::Line(args::command(&known).error(
            ErrorKind::MissingSubcommand,
            "a command is missing: see `usertap -h`",
        )));
    };
    if let Some(unknown) = unknown {
        mistakes.push(unknown);
        return Err(Usage::Settings(mistakes));
    }
    sources.flags = args::flags(matches, &known);
    if chosen.iter().any(|(tenant, _)| tenant.is_some()) && !matches!(name, "sandbox" | "demo") {
        return tenants::command_for(name, matches, &sources, chosen, mistakes).map_err(Usage::Settings);
    }
    command(name, matches, sources, mistakes).map_err(Usage::Settings)
}

fn command(
    name: &str,
    matches: &ArgMatches,
    mut sources: Sources<'_>,
    mistakes: Vec<Mistake>,
) -> Result<Command, Vec<Mistake>> {
    let read = sources.read;
    if matches!(name, "sandbox" | "demo") {
        // Nothing is to be configured for these: what other commands are told does not concern them.
        sources.file = File::default();
        let settings = settings::read(&sources, Vec::new());
        return match name {
            "sandbox" => SandboxOptions::read(matches, &settings, read).map(Command::Sandbox),
            _ => DemoOptions::read(matches, &settings, read).map(Command::Demo),
        };
    }
    let settings = settings::read(&sources, mistakes);
    let json = args::is_on(matches, "json");
    let config = |needs| config(&settings, read, needs);
    match name {
        "status" => StatusOptions::read(json, &settings, read).map(Command::Status),
        "feed" => FeedOptions::read(matches, &settings, read).map(Command::Feed),
        "migrate" => config(Needs::NoKey).map(|config| Command::Migrate {
            config,
            publication: matches.get_one::<String>("publication").cloned(),
        }),
        "backfill" => config(Needs::Everything).map(|config| Command::Backfill { config, json }),
        "reconcile" => config(Needs::Everything).map(|config| Command::Reconcile {
            config,
            json,
            yes: args::is_on(matches, "yes"),
        }),
        "doctor" => config(Needs::Everything).map(|config| Command::Doctor { config, json }),
        _ => config(Needs::Everything).map(|config| Command::Serve(vec![*config])),
    }
}

fn config(settings: &Settings, read: ReadFile<'_>, needs: Needs) -> Result<Box<Config>, Vec<Mistake>> {
    Config::read(settings, read, needs).map(Box::new)
}

/// What stands where nothing like it is expected is often a value that lost its flag: a URL with its password.
fn without_values(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        let Some(ContextValue::String(text)) = error.get(kind) else {
            continue;
        };
        let hidden = shown(text, text.contains('='));
        if !hidden.contains(text) {
            error.insert(kind, ContextValue::String(hidden));
        }
    }
    error
}

/// What must be known before the flags can be: they depend on the provider, and where that is
/// named may be in the settings file.
#[derive(Default)]
struct Early {
    config: Option<PathBuf>,
    provider: Option<String>,
    tenant: Option<String>,
}

/// A tenant by its name, or the only one, and what the settings file says of it.
type Chosen = Vec<(Option<String>, File)>;

impl Early {
    fn scan(args: &[OsString]) -> Early {
        Early {
            config: flag(args, "--config").map(PathBuf::from),
            provider: flag(args, "--provider"),
            tenant: flag(args, "--tenant"),
        }
    }

    /// The tenants that are meant, and what is wrong with which.
    fn choose(&self, file: File) -> (Chosen, Option<Mistake>) {
        let all = file.tenants().to_vec();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let Some(wanted) = &self.tenant else {
            return match all.is_empty() {
                true => (vec![(None, file)], None),
                false => (named(all), None),
            };
        };
        let found: Vec<_> = all.iter().filter(|(name, _)| name == wanted).cloned().collect();
        if found.is_empty() {
            let known = match names.is_empty() {
                true => "the settings file has none".to_owned(),
                false => format!("write one of {}", names.join(", ")),
            };
            let text = format!("there is no such [[tenant]]: {known}");
            return (vec![(None, file)], Some(Mistake::new("--tenant", None, text)));
        }
        (named(found), None)
    }

    fn flags(&self) -> BTreeMap<String, String> {
        let provider = self.provider.iter().cloned();
        provider.map(|text| ("provider".to_owned(), text)).collect()
    }

    fn file(&self, read: ReadFile<'_>) -> (File, Vec<Mistake>) {
        let path = self.config.as_deref().unwrap_or(Path::new(FILE));
        match read(path) {
            Ok(text) => File::parse(path, &text),
            Err(error) if self.config.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                (File::default(), Vec::new())
            }
            Err(error) => {
                let text = format!(
                    "{} cannot be read: {error}; name another with --config",
                    path.display()
                );
                (
                    File::default(),
                    vec![Mistake::new("the settings file", None, text)],
                )
            }
        }
    }
}

fn named(tenants: Vec<(String, File)>) -> Chosen {
    tenants
        .into_iter()
        .map(|(name, file)| (Some(name), file))
        .collect()
}

/// The value of a flag in either spelling, `--flag value` or `--flag=value`.
fn flag(args: &[OsString], name: &str) -> Option<String> {
    let texts: Vec<&str> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let joined = format!("{name}=");
    texts.iter().enumerate().find_map(|(at, text)| {
        let next = (*text == name).then(|| texts.get(at + 1).copied()).flatten();
        text.strip_prefix(&joined).or(next).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests;
