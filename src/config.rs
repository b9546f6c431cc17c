//! What the settings mean: nothing optional left that has a default, nothing unchecked.
//!
//! [`settings`] reads what was written (file, environment, flags); this module says what it
//! means, or every mistake at once. Secrets never print.

pub mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::provider::{Provider, Tenant};
use crate::user::IdType;

/// Everything that `serve`, `backfill`, `status` and `doctor` need to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: Database,
    pub data_dir: PathBuf,
    pub migrate: bool,
    pub provider: Arc<Provider>,
    pub tenant: Arc<Tenant>,
    /// Base URL of the provider; its path is put before each request's.
    pub upstream: url::Url,
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
    pub admin_listen: SocketAddr,
    pub admin_token: Option<SecretString>,
    /// By which apps reach the proxy; its path is the base path, taken off requests.
    pub public_url: Option<url::Url>,
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
    pub rate: Vec<Rate>,
    pub deleted: Deleted,
    pub drain: Duration,
    pub log: Log,
}

#[derive(Debug, Clone)]
pub enum Database {
    Url {
        url: SecretString,
        /// For migrations and LISTEN where `url` is a pooler; the same otherwise.
        direct: SecretString,
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

/// So many requests in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// What becomes of a deleted user's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// `deleted_at` is set, the row stays.
    Keep,
    /// The row goes, after this long.
    Purge { after: Duration },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub level: tracing::Level,
    pub json: bool,
}
