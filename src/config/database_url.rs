//! A database URL as hosts hand it out, made into one that `tokio-postgres` can parse.
//!
//! Its parser refuses what libpq and other clients understand (`sslmode=verify-full`,
//! `sslrootcert`, `pgbouncer=true`): those are taken out and told beside the URL. A server's
//! certificate is always checked against host name and authority where TLS is required.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::value::Parsed;

/// Where the database is and how to speak to it.
#[derive(Debug, Clone)]
pub struct DatabaseUrl {
    /// For `tokio_postgres::Config::from_str`; its `sslmode` agrees with `tls`.
    pub url: SecretString,
    pub tls: TlsMode,
    /// PEM file of the authority that signed the server's certificate; the public ones otherwise.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Required,
    /// TLS where the server offers it.
    Preferred,
    /// None, for the server is on this machine and nobody asks for any.
    Local,
    Off,
}

impl TlsMode {
    fn sslmode(self) -> &'static str {
        match self {
            TlsMode::Required => "require",
            TlsMode::Preferred => "prefer",
            TlsMode::Local | TlsMode::Off => "disable",
        }
    }

    pub fn uses_it(self) -> bool {
        matches!(self, TlsMode::Required | TlsMode::Preferred)
    }

    pub fn can(self) -> bool {
        self != TlsMode::Off
    }
}

/// Something about a URL that works, but perhaps not as meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The host's name is that of a transaction pooler.
    Pooler,
    /// The URL has options that are not understood here; they were left out.
    UnknownOption,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::Pooler => {
                "goes through a pooler: set DATABASE_DIRECT_URL to the direct address (on Neon the same \
                 without `-pooler`), for migrations and LISTEN do not work through one"
            }
            Doubt::UnknownOption => "has options after its `?` that usertap does not know; they are left out",
        })
    }
}

/// Options that `tokio-postgres` itself understands.
const PASSED: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Options of libpq, Prisma, node-postgres and others that mean nothing here.
const DROPPED: &[&str] = &[
    "client_encoding",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "krbsrvname",
    "pgbouncer",
    "pool_timeout",
    "schema",
    "socket_timeout",
    "sslcompression",
    "sslsni",
    "statement_cache_size",
    "supa",
    "uselibpqcompat",
];

/// Reads a `postgres://` or `postgresql://` URL.
pub fn parse(text: &str) -> Parsed<(DatabaseUrl, Vec<Doubt>)> {
    let text = text.trim();
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("must be a URL that starts with `postgres://`, or the word `embedded`".to_owned());
    }
    let (base, query) = split_query(text);
    let mut options = Options::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        options.take(pair)?;
    }
    let plain = config(&with_query(base, &options.passed))?;
    let tls = match options.tls.unwrap_or_else(|| unsaid(&plain)) {
        // As where DATABASE_CA names one.
        TlsMode::Local | TlsMode::Preferred if options.tls.is_none() && options.ca.is_some() => {
            TlsMode::Required
        }
        tls => tls,
    };
    options.passed.push(format!("sslmode={}", tls.sslmode()));
    let url = with_query(base, &options.passed);
    config(&url)?;
    let doubts = [
        is_pooler(&plain).then_some(Doubt::Pooler),
        options.unknown.then_some(Doubt::UnknownOption),
    ];
    let database = DatabaseUrl {
        url: url.into(),
        tls,
        ca: options.ca.filter(|_| tls.can()),
    };
    Ok((database, doubts.into_iter().flatten().collect()))
}

impl DatabaseUrl {
    /// With the authority that a setting names: TLS is required then.
    pub fn with_ca(self, ca: PathBuf) -> DatabaseUrl {
        // `parse` put it last.
        let url = self.url.expose_secret();
        let rest = url.strip_suffix(self.tls.sslmode()).unwrap_or(url);
        DatabaseUrl {
            url: format!("{rest}{}", TlsMode::Required.sslmode()).into(),
            tls: TlsMode::Required,
            ca: Some(ca),
        }
    }
}

/// Splits at the `?` behind the credentials, as the parser of `tokio-postgres` does: a password
/// may hold one.
fn split_query(text: &str) -> (&str, &str) {
    let from = text.find('@').unwrap_or(0);
    let at = text
        .char_indices()
        .find(|(at, c)| *at >= from && *c == '?')
        .map_or(text.len(), |(at, _)| at);
    let (base, query) = text.split_at(at);
    (base, query.trim_start_matches('?'))
}

fn with_query(base: &str, options: &[String]) -> String {
    match options {
        [] => base.to_owned(),
        options => format!("{base}?{}", options.join("&")),
    }
}

fn config(url: &str) -> Parsed<tokio_postgres::Config> {
    let form = "write `postgres://user:password@host:5432/database`, special characters percent-encoded";
    let config: tokio_postgres::Config = url.parse().map_err(|_| format!("cannot be read: {form}"))?;
    if config.get_hosts().iter().any(is_rest_of_a_password) {
        return Err(format!("has an `@` or `/` too many before its host: {form}"));
    }
    match config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        true => Err(format!("names no host: {form}")),
        false => Ok(config),
    }
}

#[derive(Default)]
struct Options {
    passed: Vec<String>,
    tls: Option<TlsMode>,
    ca: Option<PathBuf>,
    unknown: bool,
}

impl Options {
    fn take(&mut self, pair: &str) -> Parsed<()> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "sslmode" => self.tls = Some(sslmode(value)?),
            "ssl" if value == "true" => self.tls = self.tls.or(Some(TlsMode::Required)),
            "sslaccept" if value == "strict" => self.tls = self.tls.or(Some(TlsMode::Required)),
            "ssl" | "sslaccept" => {}
            "sslrootcert" if value == "system" => self.ca = None,
            "sslrootcert" => self.ca = Some(decoded(value)?.into()),
            "sslcert" | "sslkey" | "sslpassword" | "sslidentity" => {
                return Err(
                    "asks for a client certificate, which usertap cannot show: use a password".to_owned(),
                );
            }
            key if PASSED.contains(&key) => self.passed.push(pair.to_owned()),
            key => self.unknown |= !DROPPED.contains(&key),
        }
        Ok(())
    }
}

fn sslmode(value: &str) -> Parsed<TlsMode> {
    match value {
        "disable" => Ok(TlsMode::Off),
        "allow" | "prefer" => Ok(TlsMode::Preferred),
        "require" | "verify-ca" | "verify-full" | "no-verify" => Ok(TlsMode::Required),
        _ => {
            Err("has an unknown `sslmode`: write `require`, `verify-full`, `prefer` or `disable`".to_owned())
        }
    }
}

fn decoded(value: &str) -> Parsed<String> {
    percent_encoding::percent_decode_str(value)
        .decode_utf8()
        .map(String::from)
        .map_err(|_| "has a `sslrootcert` that is no path".to_owned())
}

/// Where the URL does not say: a server on this machine is spoken to without TLS, as its
/// self-made certificate would not stand the check; others as libpq does.
fn unsaid(config: &tokio_postgres::Config) -> TlsMode {
    let hosts = config.get_hosts();
    match hosts.iter().all(is_local) {
        true if hosts.iter().any(is_socket) => TlsMode::Off,
        true => TlsMode::Local,
        false => TlsMode::Preferred,
    }
}

/// The parser takes for the host what follows the first `@`.
fn is_rest_of_a_password(host: &tokio_postgres::config::Host) -> bool {
    matches!(host, tokio_postgres::config::Host::Tcp(name) if name.contains(['@', '/', '?', '#', ' ']))
}

fn is_local(host: &tokio_postgres::config::Host) -> bool {
    match host {
        tokio_postgres::config::Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        tokio_postgres::config::Host::Unix(_) => true,
    }
}

/// There is no TLS over one.
fn is_socket(host: &tokio_postgres::config::Host) -> bool {
    !matches!(host, tokio_postgres::config::Host::Tcp(_))
}

/// By the names that Neon (`…-pooler.…`) and Supabase (`….pooler.…`) give theirs.
fn is_pooler(config: &tokio_postgres::Config) -> bool {
    config.get_hosts().iter().any(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.contains("-pooler") || name.contains(".pooler."),
        #[cfg(unix)]
        tokio_postgres::config::Host::Unix(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (DatabaseUrl, Vec<Doubt>) {
        parse(text).unwrap()
    }

    fn url(text: &str) -> String {
        read(text).0.url.expose_secret().to_owned()
    }

    #[test]
    fn as_neon_hands_it_out() {
        let text = "postgresql://u:p@ep-a-pooler.eu.aws.neon.tech/db?sslmode=require&channel_binding=require";
        let (database, doubts) = read(text);
        assert_eq!(database.tls, TlsMode::Required);
        assert_eq!(doubts, [Doubt::Pooler]);
        assert!(
            database
                .url
                .expose_secret()
                .ends_with("/db?channel_binding=require&sslmode=require")
        );
    }

    #[test]
    fn what_the_client_cannot_parse_is_taken_out() {
        let (database, doubts) = read(
            "postgres://u:p@h.example/db?sslmode=verify-full&sslrootcert=%2Fca.pem&pgbouncer=true&schema=x",
        );
        assert_eq!(
            database.url.expose_secret(),
            "postgres://u:p@h.example/db?sslmode=require"
        );
        assert_eq!(database.ca, Some("/ca.pem".into()));
        assert_eq!(doubts, []);
        for mode in ["verify-ca", "allow", "prefer", "disable", "no-verify"] {
            read(&format!("postgres://h.example/db?sslmode={mode}"));
        }
        assert_eq!(read("postgres://h.example/?zzz=1").1, [Doubt::UnknownOption]);
    }

    #[test]
    fn a_local_server_is_spoken_to_plainly_unless_it_says_otherwise() {
        assert_eq!(read("postgres://u@localhost/db").0.tls, TlsMode::Local);
        assert_eq!(read("postgres://u@127.0.0.1:5433/db").0.tls, TlsMode::Local);
        assert_eq!(
            read("postgres://u@localhost/db?sslmode=require").0.tls,
            TlsMode::Required
        );
        for other in ["h.example", "localhost,h.example"] {
            let tls = read(&format!("postgres://u@{other}/db")).0.tls;
            assert_eq!(tls, TlsMode::Preferred, "{other}");
        }
    }

    #[test]
    fn other_clients_words_for_tls_count_where_sslmode_says_nothing() {
        for (options, tls) in [
            ("ssl=true", TlsMode::Required),
            ("sslaccept=strict", TlsMode::Required),
            ("sslmode=disable&ssl=true", TlsMode::Off),
            ("sslmode=prefer&sslrootcert=/ca.pem", TlsMode::Preferred),
        ] {
            let (database, _) = read(&format!("postgres://u@h.example/db?{options}"));
            assert_eq!(database.tls, tls, "{options}");
        }
    }

    #[test]
    fn a_password_may_hold_a_question_mark() {
        assert_eq!(
            url("postgres://u:p?w@localhost/db"),
            "postgres://u:p?w@localhost/db?sslmode=disable"
        );
    }

    #[test]
    fn several_hosts_and_socket_folders_pass() {
        assert!(url("postgres://u@a.example:1,b.example:2/db").contains("a.example:1,b.example:2"));
        assert_eq!(read("postgres://u@%2Ftmp/db").0.tls, TlsMode::Off);
        assert_eq!(read("postgres:///db?host=/tmp").0.tls, TlsMode::Off);
    }

    #[test]
    fn an_own_authority_requires_tls() {
        for host in ["h.example", "localhost"] {
            let (database, _) = read(&format!("postgres://{host}/db"));
            let database = database.with_ca("/ca.pem".into());
            assert_eq!(database.tls, TlsMode::Required);
            assert!(database.url.expose_secret().ends_with("/db?sslmode=require"));
        }
        let named = read("postgres://localhost/db?sslrootcert=/ca.pem").0;
        assert_eq!(named.tls, TlsMode::Required);
        let system = read("postgres://h.example/db?sslmode=verify-full&sslrootcert=system").0;
        assert_eq!((system.tls, system.ca), (TlsMode::Required, None));
        let plain = read("postgres://localhost/db?sslmode=disable&sslrootcert=/ca.pem").0;
        assert_eq!((plain.tls, plain.ca), (TlsMode::Off, None));
    }

    #[test]
    fn mistakes_never_repeat_the_text() {
        for wrong in [
            "",
            "mysql://u:hush@h/db",
            "postgres:///db",
            "postgres://u:hush@h:port/db",
            "postgres://u:hush@h/db?sslmode=hush",
            "postgres://u:hush@h/db?connect_timeout=hush",
            "postgres://u:hush@h/db?sslcert=hush",
            "postgres://u:hu%ffsh@h:99999/db",
            "postgres://u:p@hush@h/db",
            "postgres://u:p@hush@h:5432/db",
            "postgres://u:p@hush#@h/db",
        ] {
            let text = parse(wrong).map(|_| ()).unwrap_err();
            assert!(!text.contains("hush"), "{wrong}: {text}");
        }
    }
}
