//! What the settings mean: nothing optional left that has a default, nothing unchecked.
//!
//! [`settings`] reads what was written (file, environment, flags); this module says what it
//! means, or every mistake at once. Secrets never print.

mod check;
mod database_url;
mod file;
mod forward_proxy;
pub mod known;
mod mistake;
pub mod settings;
mod sources;
pub mod table;
mod tenant;
pub mod tenants;
mod trusted_proxies;
mod unknown;
pub mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tracing_subscriber::filter::Targets;

pub use crate::provider::{Limit, Rate};
use crate::provider::{Provider, SigningSecret, Tenant};
use crate::user::{IdType, UserId};

pub use check::{Check, Needs};
pub use database_url::{DatabaseUrl, TlsMode};
pub use file::File;
pub use forward_proxy::ForwardProxy;
pub use known::Known;
pub use mistake::{Mistake, Place, shown};
pub use sources::{Sources, Written};
pub use table::{Setting, table};
pub use tenant::{Kind, ProviderSetting};
pub use trusted_proxies::TrustedProxies;
pub use value::Parsed;

/// Everything that `serve`, `backfill`, `status` and `doctor` need to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: Database,
    pub data_dir: PathBuf,
    /// Where the journal is: `data_dir`, or one's own folder in it where there are several tenants.
    pub journal_dir: PathBuf,
    /// The same of the other tenants of this process.
    pub beside: Vec<PathBuf>,
    /// Of one among several tenants.
    pub name: Option<String>,
    /// Folder of the Postgres binaries for the embedded database, where one was named.
    pub pg_bin: Option<PathBuf>,
    pub migrate: bool,
    pub provider: Arc<Provider>,
    pub tenant: Arc<Tenant>,
    /// Base URL of the provider; its path is put before each request's.
    pub upstream: url::Url,
    /// PEM file of the authority that signed the provider's certificate; the public ones otherwise.
    pub upstream_ca: Option<PathBuf>,
    /// Through which alone the provider can be reached.
    pub upstream_proxy: Option<ForwardProxy>,
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
    pub admin_listen: SocketAddr,
    pub admin_token: Option<SecretString>,
    /// By which apps reach the proxy; its path is the base path, taken off requests.
    pub public_url: Option<url::Url>,
    pub trusted_proxies: TrustedProxies,
    /// How long nobody must have needed the database until it is left alone; nothing for never.
    pub database_idle: Option<Duration>,
    pub schema: String,
    /// Schema of usertap's own tables; `usertap` unless several share a database.
    pub state_schema: String,
    pub id_type: IdType,
    pub sync: Sync,
    pub sync_timeout: Duration,
    pub timeout: Duration,
    /// Bytes.
    pub record_buffer: usize,
    /// The provider's limits, all of which apply; empty where none is known.
    pub rate: Vec<Limit>,
    /// Whether the provider's published limits for each user hold: not where RATE says otherwise.
    pub user_limits: bool,
    /// How long an answer may be given again; nothing switches the cache off.
    pub cache_ttl: Duration,
    /// Bytes.
    pub cache_size: usize,
    /// How old an answer may be while the provider fails.
    pub stale_if_error: Duration,
    pub deleted: Deleted,
    /// How often everyone is looked through for what was missed; nothing for never.
    pub reconcile_every: Option<Duration>,
    /// How long the feed keeps changes.
    pub feed_retention: Duration,
    pub drain: Duration,
    /// Those that sign the provider's webhooks; none where they are not taken in.
    pub webhook_secrets: Vec<SigningSecret>,
    /// How often the provider is asked what has changed; nothing for never.
    pub poll_every: Option<Duration>,
    pub log: Log,
    /// What works, but perhaps not as meant; to be logged once at the start.
    pub warnings: Vec<String>,
}

impl Config {
    /// A user's id in its canonical spelling; nothing where nobody can have it.
    pub fn user_id(&self, text: &str) -> Option<UserId> {
        self.provider.id(&self.tenant, text)
    }

    /// The configuration that exactly these variables make: no file, no flags, nothing of this
    /// process' environment. Files that they name are read.
    pub fn from_env(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Config, Vec<Mistake>> {
        let env = pairs
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let sources = Sources {
            file: File::default(),
            env: &env,
            flags: std::collections::BTreeMap::new(),
            read: &settings::process_read,
        };
        Config::read(
            &settings::read(&sources, Vec::new()),
            sources.read,
            Needs::Everything,
        )
    }

    /// What is taken off the path of requests: empty, or `/auth`.
    pub fn base_path(&self) -> &str {
        let path = self.public_url.as_ref().map_or("", url::Url::path);
        path.trim_end_matches('/')
    }
}

#[derive(Debug, Clone)]
pub enum Database {
    Url {
        url: DatabaseUrl,
        /// For migrations and LISTEN where `url` is a pooler; the same otherwise.
        direct: DatabaseUrl,
    },
    /// A Postgres of usertap's own in `data_dir`.
    Embedded,
}

#[derive(Debug, Clone)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Whether an answer waits until what it tells is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    BeforeResponse,
    Async,
}

/// What becomes of a deleted user's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// `deleted_at` is set, the row stays.
    Keep,
    /// The row goes, after this long.
    Purge { after: Duration },
}

impl Deleted {
    /// Whether rows are removed at all.
    pub fn removes(self) -> bool {
        self != Deleted::Keep
    }
}

/// What is logged, to stderr, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Other crates than usertap log below `warn` only where they are named.
    pub levels: Targets,
    pub json: bool,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            levels: value::usertap_at(tracing::Level::INFO),
            json: false,
        }
    }
}
