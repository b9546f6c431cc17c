//! What the commands that do not need every setting need to know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use secrecy::SecretString;

use crate::config::settings::{ReadFile, Settings};
use crate::config::{Check, Config, Log, Mistake, Parsed, Place, Rate, TrustedProxies, shown, value};

/// For `usertap status`.
#[derive(Debug)]
pub struct StatusOptions {
    /// Where a running `serve` can be asked: its address, or loopback where that is every one.
    pub admin: SocketAddr,
    pub admin_token: Option<SecretString>,
    pub json: bool,
    pub log: Log,
}

/// For `usertap feed`.
#[derive(Debug)]
pub struct FeedOptions {
    /// Whom to ask, as `usertap status` does.
    pub asks: StatusOptions,
    /// A position, `oldest` or `now`.
    pub since: String,
    pub follow: bool,
}

/// For `usertap sandbox`.
#[derive(Debug)]
pub struct SandboxOptions {
    /// A built-in one that has a sandbox.
    pub provider: &'static str,
    pub users: usize,
    pub listen: SocketAddr,
    pub rate: Option<Rate>,
    pub latency: Duration,
    /// One or two.
    pub projects: usize,
    /// Where the first project's webhooks go.
    pub webhooks: Option<String>,
    /// How late each of them is sent.
    pub webhook_delay: Duration,
    pub webhook_twice: bool,
    pub webhook_reorder: bool,
    pub log: Log,
}

/// For `usertap demo`.
#[derive(Debug)]
pub struct DemoOptions {
    /// Which provider is stood in for.
    pub provider: &'static str,
    /// End after the demonstration.
    pub exit: bool,
    pub data_dir: PathBuf,
    pub pg_bin: Option<PathBuf>,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub admin_token: Option<SecretString>,
    pub trusted_proxies: TrustedProxies,
    pub log: Log,
}

impl StatusOptions {
    /// As `serve` has them.
    pub fn of(config: &Config, json: bool) -> StatusOptions {
        StatusOptions {
            admin: reachable(config.admin_listen),
            admin_token: config.admin_token.clone(),
            json,
            log: config.log.clone(),
        }
    }

    pub fn read(json: bool, settings: &Settings, read: ReadFile<'_>) -> Result<StatusOptions, Vec<Mistake>> {
        let mut check = Check::new(settings, read);
        check.mistakes.extend(settings.mistakes.iter().cloned());
        let admin = check.value("ADMIN_LISTEN", value::address);
        let (admin_token, log) = (check.secret("ADMIN_TOKEN"), check.log());
        let options = || {
            Some(StatusOptions {
                admin: reachable(admin?),
                admin_token: admin_token?,
                json,
                log: log?,
            })
        };
        done(options(), check.mistakes)
    }
}

impl FeedOptions {
    pub fn read(
        matches: &ArgMatches,
        settings: &Settings,
        read: ReadFile<'_>,
    ) -> Result<FeedOptions, Vec<Mistake>> {
        let asks = StatusOptions::read(false, settings, read);
        let since = since(matches.get_one::<String>("since").map_or("", String::as_str));
        let (asks, since) = match (asks, since) {
            (Ok(asks), Ok(since)) => (asks, since),
            (asks, since) => {
                let mistakes = asks.err().into_iter().flatten().chain(since.err());
                return Err(mistakes.collect());
            }
        };
        Ok(FeedOptions {
            asks,
            since,
            follow: matches.get_flag("follow"),
        })
    }
}

fn since(text: &str) -> Result<String, Mistake> {
    value::since(text).map_err(|wrong| Mistake::new("--since", None, format!("`{text}` {wrong}")))
}

impl DemoOptions {
    pub fn read(
        matches: &ArgMatches,
        settings: &Settings,
        read: ReadFile<'_>,
    ) -> Result<DemoOptions, Vec<Mistake>> {
        let mut check = Check::new(settings, read);
        check.mistakes.extend(misread(settings, &OF_DEMO));
        let (listen, admin_listen) = check.listens();
        let admin_token = check.admin_token(admin_listen);
        let trusted_proxies = check.trusted_proxies();
        let data_dir = check.value("DATA_DIR", value::path);
        let pg_bin = check.optional("PG_BIN", value::path);
        let log = check.log();
        let mut flags = Flags {
            matches,
            mistakes: check.mistakes,
        };
        let provider = flags.get("provider", played);
        let options = || {
            Some(DemoOptions {
                provider: provider?,
                exit: matches.get_flag("exit"),
                data_dir: data_dir?,
                pg_bin: pg_bin?,
                listen: listen?,
                admin_listen: admin_listen?,
                admin_token: admin_token?,
                trusted_proxies: trusted_proxies?,
                log: log?,
            })
        };
        done(options(), flags.mistakes)
    }
}

impl SandboxOptions {
    pub fn read(
        matches: &ArgMatches,
        settings: &Settings,
        read: ReadFile<'_>,
    ) -> Result<SandboxOptions, Vec<Mistake>> {
        let mut check = Check::new(settings, read);
        check.mistakes.extend(misread(settings, &OF_SANDBOX));
        let log = check.log();
        let mut flags = Flags {
            matches,
            mistakes: check.mistakes,
        };
        let provider = flags.get("provider", played);
        let users = flags.get("users", users);
        let listen = flags.get("listen", value::address);
        let latency = flags.get("latency", value::wait_or_none);
        let projects = flags.get("projects", |text| value::one_of(text, &[("1", 1), ("2", 2)]));
        let rate = match matches.get_one::<String>("rate") {
            Some(_) => flags.get("rate", value::rate).map(Some),
            None => Some(None),
        };
        let webhooks = match matches.get_one::<String>("webhooks") {
            Some(_) => flags.get("webhooks", webhooks_url).map(Some),
            None => Some(None),
        };
        let delay = flags.get("webhook-delay", value::wait_or_none);
        let options = || {
            Some(SandboxOptions {
                provider: provider?,
                users: users?,
                listen: listen?,
                rate: rate?,
                latency: latency?,
                projects: projects?,
                webhooks: webhooks?,
                webhook_delay: delay?,
                webhook_twice: matches.get_flag("webhook-twice"),
                webhook_reorder: matches.get_flag("webhook-reorder"),
                log: log?,
            })
        };
        done(options(), flags.mistakes)
    }
}

/// Providers that have a sandbox.
pub const PLAYED: [&str; 2] = ["stack-auth", "clerk"];

/// The settings that `demo` and `sandbox` read; whatever else is written says nothing to them.
const OF_DEMO: [&str; 9] = [
    "LISTEN",
    "PORT",
    "ADMIN_LISTEN",
    "ADMIN_TOKEN",
    "TRUSTED_PROXIES",
    "DATA_DIR",
    "PG_BIN",
    "LOG",
    "LOG_FORMAT",
];
const OF_SANDBOX: [&str; 2] = ["LOG", "LOG_FORMAT"];

/// What is wrong with how these were written.
fn misread<'s>(settings: &'s Settings, of: &'s [&str]) -> impl Iterator<Item = Mistake> + 's {
    let mistakes = settings.mistakes.iter();
    mistakes
        .filter(|mistake| of.contains(&mistake.setting.as_str()))
        .cloned()
}

/// A provider that can be stood in for.
fn played(name: &str) -> Parsed<&'static str> {
    value::one_of(name, &PLAYED.map(|name| (name, name)))
}

/// Flags that are no settings.
struct Flags<'a> {
    matches: &'a ArgMatches,
    mistakes: Vec<Mistake>,
}

impl Flags<'_> {
    fn get<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let text = self.matches.get_one::<String>(name)?;
        let wrong = |problem| {
            let text = format!("{} {problem}", shown(text, false));
            Mistake::new(name, Some(Place::Flag(name.to_owned())), text)
        };
        parse(text)
            .map_err(|problem| self.mistakes.push(wrong(problem)))
            .ok()
    }
}

fn webhooks_url(text: &str) -> Parsed<String> {
    match value::base_url(text)? {
        url if url.scheme() == "http" => Ok(url.into()),
        _ => Err("must start with `http://`: the sandbox sends to this machine".to_owned()),
    }
}

/// More than anyone can try out, less than memory holds.
const MOST_USERS: usize = 10_000_000;

fn users(text: &str) -> Parsed<usize> {
    let number = text.parse().ok().filter(|number| *number <= MOST_USERS);
    number.ok_or_else(|| format!("is no number of users: write a whole number up to {MOST_USERS}"))
}

fn done<T>(options: Option<T>, mistakes: Vec<Mistake>) -> Result<T, Vec<Mistake>> {
    match options {
        Some(options) if mistakes.is_empty() => Ok(options),
        _ => Err(mistakes),
    }
}

/// Nobody can connect to "every address".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
