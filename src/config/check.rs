//! From what was written to what it means: every value parsed, every rule between settings
//! checked, all mistakes kept until the end.

mod places;
mod provided;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::forward_proxy::forward_proxy;
use super::mistake::{Mistake, shown};
use super::settings::{ReadFile, Settings};
use super::value::{self, Parsed};
use super::{Config, Log};
use crate::user::IdType;

/// What a command cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Database, tenant and the provider's key.
    Everything,
    /// Database and tenant; the key may be missing.
    NoKey,
}

/// Reads single settings and keeps the mistakes.
pub struct Check<'a> {
    pub settings: &'a Settings,
    pub read: ReadFile<'a>,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<String>,
}

/// How long an answer may be given again.
const CACHE_TTL: Duration = Duration::from_secs(5);
const CACHE_TTL_TOLD: Duration = Duration::from_secs(30);

impl Config {
    /// The configuration that `settings` describe, or every mistake in them.
    pub fn read(settings: &Settings, read: ReadFile<'_>, needs: Needs) -> Result<Config, Vec<Mistake>> {
        let mut check = Check::new(settings, read);
        check.mistakes.extend(settings.mistakes.iter().cloned());
        let config = check.config(needs);
        match config {
            Some(config) if check.mistakes.is_empty() => Ok(Config {
                warnings: check.warnings,
                ..config
            }),
            _ => Err(check.mistakes),
        }
    }
}

impl<'a> Check<'a> {
    pub fn new(settings: &'a Settings, read: ReadFile<'a>) -> Check<'a> {
        Check {
            settings,
            read,
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Every value is read before the first missing one ends it, so that all mistakes are found.
    fn config(&mut self, needs: Needs) -> Option<Config> {
        let database = self.database();
        let (schema, state_schema) = self.schemas();
        let id_type = self.id_type(schema.as_deref());
        let upstream = self.upstream();
        let tenant = self.tenant(needs, id_type, upstream.as_ref());
        let (listen, admin_listen) = self.listens();
        self.against_loops(upstream.as_ref(), listen);
        let admin_token = self.admin_token(admin_listen);
        let (tls, upstream_ca) = (self.tls(), self.ca("UPSTREAM_CA"));
        let upstream_proxy = self.optional("UPSTREAM_PROXY", forward_proxy);
        let public_url = self.optional("PUBLIC_URL", value::base_url);
        let trusted_proxies = self.trusted_proxies();
        let data_dir = self.value("DATA_DIR", value::path);
        let pg_bin = self.optional("PG_BIN", value::path);
        let migrate = self.value("MIGRATE", |text| {
            value::one_of(text, &[("auto", true), ("off", false)])
        });
        let sync = self.value("SYNC", value::sync);
        let sync_timeout = self.value("SYNC_TIMEOUT", value::wait);
        let timeout = self.value("TIMEOUT", value::wait);
        let record_buffer = self.value("RECORD_BUFFER", value::record_buffer);
        let webhook_secrets = self.webhook_secrets();
        let poll_every = self.poll_every();
        let is_told = webhook_secrets
            .as_ref()
            .is_some_and(|secrets| !secrets.is_empty());
        let cache_ttl = self.cache_ttl(is_told || poll_every.flatten().is_some());
        let cache_size = self.value("CACHE_SIZE", value::cache_size);
        let stale_if_error = self.value("STALE_IF_ERROR", value::duration);
        let deleted = self.value("DELETED", value::deleted);
        let reconcile_every = self.value("RECONCILE_EVERY", value::every);
        let database_idle = self.database_idle(poll_every.flatten(), reconcile_every.flatten());
        let feed_retention = self.value("FEED_RETENTION", value::retention);
        let drain = self.value("DRAIN", value::wait_or_none);
        let (rate, log) = (self.rate(tenant.as_ref()), self.log());
        Some(Config {
            database: database?,
            journal_dir: data_dir.clone()?,
            beside: Vec::new(),
            name: None,
            data_dir: data_dir?,
            pg_bin: pg_bin?,
            migrate: migrate?,
            provider: Arc::clone(self.settings.provider.as_ref()?),
            tenant: Arc::new(tenant?),
            upstream: upstream?,
            upstream_ca: upstream_ca?,
            upstream_proxy: upstream_proxy?,
            listen: listen?,
            tls: tls?,
            admin_listen: admin_listen?,
            admin_token: admin_token?,
            public_url: public_url?,
            trusted_proxies: trusted_proxies?,
            schema: schema?,
            state_schema: state_schema?,
            id_type: id_type?,
            sync: sync?,
            sync_timeout: sync_timeout?,
            timeout: timeout?,
            record_buffer: record_buffer?,
            rate: rate?,
            user_limits: self.settings.written("RATE").is_none(),
            cache_ttl: cache_ttl?,
            cache_size: cache_size?,
            stale_if_error: stale_if_error?,
            deleted: deleted?,
            database_idle: database_idle?,
            reconcile_every: reconcile_every?,
            feed_retention: feed_retention?,
            drain: drain?,
            webhook_secrets: webhook_secrets?,
            poll_every: poll_every?,
            log: log?,
            warnings: Vec::new(),
        })
    }

    /// Longer where changes elsewhere are told.
    fn cache_ttl(&mut self, is_told: bool) -> Option<Duration> {
        let usual = if is_told { CACHE_TTL_TOLD } else { CACHE_TTL };
        let written = self.optional("CACHE_TTL", value::wait_or_none)?;
        Some(written.unwrap_or(usual))
    }

    fn schemas(&mut self) -> (Option<String>, Option<String>) {
        let theirs = self.value("SCHEMA", value::schema);
        let ours = self.value("STATE_SCHEMA", value::schema);
        if theirs.is_some() && theirs == ours {
            let free = match theirs.as_deref() {
                Some("usertap") => "usertap_state",
                _ => "usertap",
            };
            let wrong = format!("is SCHEMA as well: write another name, such as `{free}`");
            self.wrong("STATE_SCHEMA", &wrong);
        }
        (theirs, ours)
    }

    /// The readers of a table in `neon_auth` expect text.
    fn id_type(&mut self, schema: Option<&str>) -> Option<IdType> {
        let provider = self.settings.provider.as_ref().map(|provider| provider.id_type);
        match self.optional("ID_TYPE", value::id_type)? {
            Some(written) => Some(written),
            None if schema == Some("neon_auth") => Some(IdType::Text),
            None => provider,
        }
    }

    pub fn log(&mut self) -> Option<Log> {
        let levels = self.value("LOG", value::levels);
        let json = self.value("LOG_FORMAT", |text| {
            value::one_of(text, &[("text", false), ("json", true)])
        });
        Some(Log {
            levels: levels?,
            json: json?,
        })
    }

    /// A setting that has a default. `None` only with a mistake.
    pub fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let settings = self.settings;
        let Some(text) = settings.text(name) else {
            self.missing(name);
            return None;
        };
        self.parsed(name, text, parse)
    }

    /// A setting that may be absent. `None` only with a mistake.
    pub fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<Option<T>> {
        let settings = self.settings;
        match settings.text(name) {
            Some(text) => self.parsed(name, text, parse).map(Some),
            // What could not be read has its mistake already.
            None if settings.mistakes.iter().any(|mistake| mistake.setting == name) => None,
            None => Some(None),
        }
    }

    fn parsed<T>(&mut self, name: &str, text: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        match unquoted(text).and_then(parse) {
            Ok(value) => Some(value),
            Err(problem) => {
                let secret = self.settings.known(name).is_none_or(|known| known.secret);
                self.wrong(name, &format!("{} {problem}", shown(text, secret)));
                None
            }
        }
    }

    pub fn wrong(&mut self, name: &str, text: &str) {
        let place = self.settings.written(name).map(|written| written.place.clone());
        self.mistakes.push(Mistake::new(name, place, text));
    }

    pub fn missing(&mut self, name: &str) {
        if self
            .settings
            .mistakes
            .iter()
            .any(|mistake| mistake.setting == name)
        {
            return;
        }
        let Some(known) = self.settings.known(name) else {
            return;
        };
        let text = format!(
            "is missing: set {} in the environment, `{}` in usertap.toml, or --{}. {}",
            known.env(),
            known.key(),
            known.flag(),
            known.help
        );
        self.mistakes.push(Mistake::new(name, None, text));
    }

    /// A PEM file that must be readable and hold `what`.
    pub fn pem(&mut self, name: &str, what: &str) -> Option<Option<PathBuf>> {
        let read = self.read;
        self.optional(name, |text| {
            let path = value::path(text)?;
            holds(read, &path, what).map(|()| path)
        })
    }

    pub fn ca(&mut self, name: &str) -> Option<Option<PathBuf>> {
        self.pem(name, "CERTIFICATE")
    }

    pub fn secret(&mut self, name: &str) -> Option<Option<SecretString>> {
        self.optional(name, |text| value::token(text).map(SecretString::from))
    }

    /// Both written and the same.
    pub fn same(&self, a: &str, b: &str) -> bool {
        let text = |name| {
            self.settings
                .written(name)
                .map(|written| written.text.expose_secret())
        };
        text(a).is_some() && text(a) == text(b)
    }
}

/// Quotes are the shell's and are gone when it has read them; of what else reads a file of settings (`docker
/// --env-file`), some leave them there.
fn unquoted(text: &str) -> Parsed<&str> {
    let bare = text.trim();
    let is_between = |quote| bare.len() > 1 && bare.starts_with(quote) && bare.ends_with(quote);
    match is_between('"') || is_between('\'') {
        true => Err("stands in quotes: take them out".to_owned()),
        false => Ok(text),
    }
}

fn holds(read: ReadFile<'_>, path: &Path, what: &str) -> Parsed<()> {
    let text =
        read(path).map_err(|error| format!("cannot be read ({error}): write the path of a PEM file"))?;
    let found = text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.contains(what));
    match found {
        true => Ok(()),
        false => Err(format!(
            "holds no PEM block of a {}: write the path of one that does",
            what.to_lowercase()
        )),
    }
}

#[cfg(test)]
mod tests;
