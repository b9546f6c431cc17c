//! Every setting of this version, once. File keys, environment names, flags, help, defaults and
//! what counts as unknown all follow from this list; the provider's own settings join it at
//! run time (see `config/tenant.rs`).

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `SYNC_TIMEOUT`: the key in the file is its lower case, the flag its kebab case.
    pub name: &'static str,
    /// What stands for the value in help: `DURATION`.
    pub value: &'static str,
    pub default: Default,
    /// One or two sentences with unit and example.
    pub help: &'static str,
    /// Under which heading of `-h` it stands.
    pub group: &'static str,
    /// Never shown anywhere.
    pub secret: bool,
    /// Whether its name in the environment starts with `USERTAP_`.
    pub prefixed: bool,
    /// Further names in the environment, as they are; the first that is set counts.
    pub also: &'static [&'static str],
}

/// What holds where nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// A value, read as if it had been written.
    Value(&'static str),
    /// Something that depends on other settings, in words for help.
    Words(&'static str),
}

impl Default {
    pub fn words(self) -> &'static str {
        match self {
            Default::Value(words) | Default::Words(words) => words,
        }
    }
}

impl Setting {
    /// The name in the environment that users are told.
    pub fn env(&self) -> String {
        let prefix = if self.prefixed { PREFIX } else { "" };
        format!("{prefix}{}", self.name)
    }

    const fn new(group: &'static str, name: &'static str, value: &'static str) -> Setting {
        Setting {
            name,
            value,
            default: Default::Words("none"),
            help: "",
            group,
            secret: false,
            prefixed: true,
            also: &[],
        }
    }

    const fn default(self, value: &'static str) -> Setting {
        let default = Default::Value(value);
        Setting { default, ..self }
    }

    const fn words(self, words: &'static str) -> Setting {
        let default = Default::Words(words);
        Setting { default, ..self }
    }

    const fn help(self, help: &'static str) -> Setting {
        Setting { help, ..self }
    }

    const fn secret(self) -> Setting {
        Setting { secret: true, ..self }
    }

    const fn bare(self, also: &'static [&'static str]) -> Setting {
        Setting {
            prefixed: false,
            also,
            ..self
        }
    }
}

/// What the environment names of usertap's own settings start with.
pub const PREFIX: &str = "USERTAP_";

const DATABASE: &str = "Database";
const PROVIDER: &str = "Provider";
const LISTENING: &str = "Listening";
const RECORDING: &str = "Recording";
const KEEPING: &str = "Keeping answers";
const RUNNING: &str = "Running";

static TABLE: &[Setting] = &[
    Setting::new(DATABASE, "DATABASE_URL", "URL")
        .bare(&[])
        .secret()
        .words("none: compulsory")
        .help("`postgres://user:password@host/database` as your host hands it out, or the word `embedded`"),
    Setting::new(DATABASE, "DATABASE_DIRECT_URL", "URL")
        .bare(&["DATABASE_URL_UNPOOLED"])
        .secret()
        .words("DATABASE_URL")
        .help("For migrations and LISTEN, where DATABASE_URL is a pooler; on Neon the same address without `-pooler`"),
    Setting::new(DATABASE, "DATABASE_IDLE", "DURATION|off")
        .default("off")
        .help("After how long without need connections are closed, so that a hosted database can sleep, e.g. `5m`"),
    Setting::new(DATABASE, "DATABASE_CA", "FILE")
        .words("the public certificate authorities")
        .help("PEM file of the private certificate authority that signed the database's certificate"),
    Setting::new(DATABASE, "DATA_DIR", "FOLDER")
        .default("./.usertap")
        .help("Folder of the journal of what waits for the database, which must outlive the process, and of an embedded Postgres"),
    Setting::new(DATABASE, "PG_BIN", "FOLDER")
        .words("an installed Postgres, else one that is fetched")
        .help("Folder of the Postgres binaries for the embedded database, e.g. `/usr/lib/postgresql/17/bin`"),
    Setting::new(DATABASE, "MIGRATE", "auto|off")
        .default("auto")
        .help("Whether `serve` and `backfill` migrate the database first; with `off` run `usertap migrate`"),
    Setting::new(DATABASE, "SCHEMA", "NAME")
        .default("neon_identity")
        .help("Schema in which `users_sync` lives"),
    Setting::new(DATABASE, "STATE_SCHEMA", "NAME")
        .default("usertap")
        .help("Schema of usertap's own tables; another one where several usertaps share a database"),
    Setting::new(DATABASE, "ID_TYPE", "uuid|text")
        .words("the provider's; `text` with SCHEMA=neon_auth")
        .help("Type of `users_sync.id`; decided at the first migration"),
    Setting::new(PROVIDER, "PROVIDER", "NAME|FILE")
        .default("stack-auth")
        .help("A built-in provider's name, or the path of a provider file, e.g. `./my-provider.toml`"),
    Setting::new(PROVIDER, "UPSTREAM", "URL")
        .words("the provider's own")
        .help("The provider's base URL; its path is put before each request's, e.g. `https://auth.example.com/api`"),
    Setting::new(PROVIDER, "UPSTREAM_CA", "FILE")
        .words("the public certificate authorities")
        .help("PEM file of the private certificate authority that signed the provider's certificate"),
    Setting::new(PROVIDER, "UPSTREAM_PROXY", "URL")
        .secret()
        .help("HTTP proxy that leads out of your network to the provider, by CONNECT, e.g. `http://user:password@proxy.example:3128`"),
    Setting::new(PROVIDER, "RATE", "RATES")
        .words("the provider's published limit")
        .help("The provider's limit, e.g. `1000/10s`; several that all apply are separated by commas, and `reads=` or `writes=` stands before one that counts only those"),
    Setting::new(PROVIDER, "WEBHOOK_SECRET", "SECRETS")
        .secret()
        .help("Signing secret of the provider's webhooks, which go to `/_usertap/webhooks`; several, separated by commas, while one takes another's place"),
    Setting::new(LISTENING, "LISTEN", "ADDRESS")
        .default("127.0.0.1:8400")
        .help("Where the proxy listens, e.g. `0.0.0.0:8400`"),
    Setting::new(LISTENING, "PORT", "PORT")
        .bare(&[])
        .help("Without LISTEN: the proxy listens at this port on all interfaces"),
    Setting::new(LISTENING, "TLS_CERT", "FILE").help("PEM file of the certificate chain, to serve TLS on LISTEN"),
    Setting::new(LISTENING, "TLS_KEY", "FILE").help("PEM file of the private key that belongs to TLS_CERT"),
    Setting::new(LISTENING, "PUBLIC_URL", "URL")
        .help("The URL by which apps reach the proxy, e.g. `https://example.com/auth`; its path is taken off requests"),
    Setting::new(LISTENING, "TRUSTED_PROXIES", "ADDRESSES")
        .help("Proxies in front of usertap whose `X-Forwarded-Host` and `X-Forwarded-Proto` are believed, on both sides: addresses and networks, separated by commas, e.g. `127.0.0.1,10.0.0.0/8`"),
    Setting::new(LISTENING, "ADMIN_LISTEN", "ADDRESS")
        .default("127.0.0.1:8401")
        .help("Where the admin side (console, status, health, change feed) listens"),
    Setting::new(LISTENING, "ADMIN_TOKEN", "TOKEN")
        .secret()
        .help("Token for the console, Bearer token for the rest of the admin side; compulsory when that side listens beyond loopback"),
    Setting::new(RECORDING, "SYNC", "before-response|async")
        .default("before-response")
        .help("Whether an answer waits until its users are committed"),
    Setting::new(RECORDING, "SYNC_TIMEOUT", "DURATION")
        .default("2s")
        .help("How long an answer may wait for its commit, e.g. `500ms`"),
    Setting::new(RECORDING, "RECORD_BUFFER", "SIZE")
        .default("4MiB")
        .help("A recorded answer up to this size is collected whole, a larger one is streamed, e.g. `512KiB`; at most `256MiB`"),
    Setting::new(RECORDING, "DELETED", "keep|purge|purge-after=DURATION")
        .default("keep")
        .help("A deleted user's row: `keep` sets only `deleted_at`, `purge` removes it at once, `purge-after=30d` later"),
    Setting::new(RECORDING, "RECONCILE_EVERY", "DURATION|off")
        .default("off")
        .help("How often `serve` walks over all users to find what changed elsewhere, missed deletions too, e.g. `6h`"),
    Setting::new(RECORDING, "POLL_EVERY", "DURATION|off")
        .default("off")
        .help("How often the provider is asked what has changed, where it can tell, e.g. `30s`"),
    Setting::new(RECORDING, "FEED_RETENTION", "DURATION")
        .default("7d")
        .help("How long the change feed keeps changes, e.g. `30d`; a slot that has not taken them keeps them up to four times as long"),
    Setting::new(KEEPING, "CACHE_TTL", "DURATION")
        .words("5s, and 30s with webhooks or polling")
        .help("How long an answer may be given again to the same credentials, e.g. `30s`; `0` switches the cache off"),
    Setting::new(KEEPING, "CACHE_SIZE", "SIZE")
        .default("64MiB")
        .help("Memory for kept answers, e.g. `256MiB`"),
    Setting::new(KEEPING, "STALE_IF_ERROR", "DURATION")
        .default("24h")
        .help("How old an answer may be while the provider fails, e.g. `1h`; `0` for never"),
    Setting::new(RUNNING, "TIMEOUT", "DURATION")
        .default("8s")
        .help("Wait for the provider until the answer's head, then between bytes, e.g. `8s`"),
    Setting::new(RUNNING, "DRAIN", "DURATION")
        .default("10s")
        .help("How long a stop waits for what is under way, e.g. `10s`"),
    Setting::new(RUNNING, "LOG", "LEVELS")
        .default("info")
        .help("`error`, `warn`, `info`, `debug` or `trace` for usertap; other crates by name: `debug,hyper=info`"),
    Setting::new(RUNNING, "LOG_FORMAT", "text|json")
        .default("text")
        .help("How log lines are written to stderr"),
];

/// All settings, the provider's own aside.
pub fn table() -> &'static [Setting] {
    TABLE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_row_is_explained() {
        let names: BTreeSet<_> = table().iter().map(|s| s.name).collect();
        assert_eq!(names.len(), table().len());
        for setting in table() {
            assert!(!setting.help.is_empty(), "{}", setting.name);
            assert!(!setting.default.words().is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn only_what_others_already_set_has_no_prefix() {
        let bare: Vec<_> = table().iter().filter(|s| !s.prefixed).map(|s| s.name).collect();
        assert_eq!(bare, ["DATABASE_URL", "DATABASE_DIRECT_URL", "PORT"]);
    }
}
