//! What the text of a value means. The errors say what to write instead and never repeat it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::{Deleted, Rate, Sync};
use crate::user::IdType;

/// The value, or what is wrong with the text and what to write instead.
pub type Parsed<T> = Result<T, String>;

/// `8s`, `250ms`, `5m`, `24h`, `30d`; `0` needs no unit.
pub fn duration(text: &str) -> Parsed<Duration> {
    number_and_unit(text, |unit| match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    })
    .filter(|millis| *millis <= LONGEST)
    .map(Duration::from_millis)
    .ok_or_else(|| {
        "is no duration: write a whole number and a unit, such as `250ms`, `8s`, `5m`, `24h` or `30d`"
            .to_owned()
    })
}

/// A hundred years, far from the overflow of any clock.
const LONGEST: u64 = 36_500 * 86_400_000;

/// A duration that somebody waits for: above zero, at most an hour.
pub fn wait(text: &str) -> Parsed<Duration> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than nothing, such as `2s`".to_owned()),
        wait => at_most_an_hour(wait),
    }
}

/// Like [`wait`], but nothing is allowed too.
pub fn wait_or_none(text: &str) -> Parsed<Duration> {
    at_most_an_hour(duration(text)?)
}

fn at_most_an_hour(wait: Duration) -> Parsed<Duration> {
    match wait <= Duration::from_secs(3600) {
        true => Ok(wait),
        false => Err("is too long: write at most `1h`".to_owned()),
    }
}

/// Bytes: `4MiB`, `64KiB`, `1GiB`, `100B`.
pub fn size(text: &str) -> Parsed<usize> {
    number_and_unit(text, |unit| match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    })
    .and_then(|bytes| usize::try_from(bytes).ok())
    .ok_or_else(|| "is no size: write a whole number and a unit, such as `64KiB` or `4MiB`".to_owned())
}

/// A size between 1 KiB and the 256 MiB that all recorded answers share.
pub fn record_buffer(text: &str) -> Parsed<usize> {
    let bytes = size(text)?;
    match (1 << 10..=256 << 20).contains(&bytes) {
        true => Ok(bytes),
        false => Err("is out of range: write something between `1KiB` and `256MiB`".to_owned()),
    }
}

fn number_and_unit(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let number: u64 = number.parse().ok()?;
    match (number, unit.trim()) {
        (0, "") => Some(0),
        (number, unit) => number.checked_mul(factor(unit)?),
    }
}

/// `1000/10s`, several separated by commas.
pub fn rates(text: &str) -> Parsed<Vec<Rate>> {
    text.split(',').map(rate).collect()
}

/// `1000/10s`.
pub fn rate(text: &str) -> Parsed<Rate> {
    let parts = text.trim().split_once('/');
    let rate = parts.and_then(|(requests, per)| {
        let requests = requests.trim().parse().ok().filter(|n| *n > 0)?;
        let per = duration(per).ok().filter(|per| !per.is_zero())?;
        Some(Rate { requests, per })
    });
    rate.ok_or_else(|| "is no rate: write requests and a period, such as `1000/10s`".to_owned())
}

pub fn deleted(text: &str) -> Parsed<Deleted> {
    match (text, text.strip_prefix("purge-after=")) {
        ("keep", _) => Ok(Deleted::Keep),
        ("purge", _) => Ok(Deleted::Purge {
            after: Duration::ZERO,
        }),
        (_, Some(after)) => duration(after).map(|after| Deleted::Purge { after }),
        _ => Err("is unknown: write `keep`, `purge`, or `purge-after=30d`".to_owned()),
    }
}

/// `address:port`, an IPv6 address in brackets; `localhost` is 127.0.0.1.
pub fn address(text: &str) -> Parsed<SocketAddr> {
    let text = text.trim();
    let local = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| {
        "is no address: write an IP address and a port, such as `127.0.0.1:8400`, `0.0.0.0:8400` or `[::]:8400`"
            .to_owned()
    })
}

/// A port alone: all interfaces.
pub fn port(text: &str) -> Parsed<SocketAddr> {
    text.trim()
        .parse()
        .map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .map_err(|_| "is no port: write a number up to 65535, such as `8400`".to_owned())
}

/// An `http` or `https` URL that only says where: no credentials, query or fragment.
pub fn base_url(text: &str) -> Parsed<url::Url> {
    let url: url::Url = text
        .trim()
        .parse()
        .map_err(|_| "is no URL: write it whole, such as `https://example.com/path`".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must start with `http://` or `https://`".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password: take out what stands before the `@`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path: take out what stands after the `?` or `#`".to_owned());
    }
    Ok(url)
}

/// A schema's name that needs no quotes in anyone's SQL.
pub fn schema(text: &str) -> Parsed<String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !first || !rest || text.len() > 63 {
        return Err("is no schema name: write at most 63 lower-case letters, digits and `_`".to_owned());
    }
    match text.starts_with("pg_") || text == "information_schema" {
        true => Err("belongs to Postgres itself: write another name, such as `neon_identity`".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub fn id_type(text: &str) -> Parsed<IdType> {
    one_of(text, &[("uuid", IdType::Uuid), ("text", IdType::Text)])
}

pub fn sync(text: &str) -> Parsed<Sync> {
    one_of(
        text,
        &[("before-response", Sync::BeforeResponse), ("async", Sync::Async)],
    )
}

/// One of a few words.
pub fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("is unknown: write {}", words.join(" or "))
    })
}

pub fn path(text: &str) -> Parsed<PathBuf> {
    match text.trim() {
        "" => Err("is empty: write a path".to_owned()),
        text if text.contains('\n') || text.starts_with("-----BEGIN") => {
            Err("holds a file's content: write the file's path".to_owned())
        }
        text => Ok(PathBuf::from(text)),
    }
}

/// Text that a header can hold: visible ASCII without spaces.
pub fn token(text: &str) -> Parsed<String> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("must be visible ASCII characters without spaces: copy it again, whole".to_owned()),
    }
}

/// `info`, or `debug,hyper=info`: a bare level is usertap's own; other crates stay at `warn`
/// unless they are named, since below that they may log what usertap never would.
pub fn levels(text: &str) -> Parsed<Targets> {
    let mut targets = usertap_at(Level::INFO);
    for part in text.split(',').map(str::trim) {
        targets = match part.split_once('=') {
            None => at(targets, OURS, part)?.with_default(level(part)?.min(Level::WARN)),
            Some((target, level)) => at(targets, target.trim(), level.trim())?,
        };
    }
    Ok(targets)
}

const OURS: &str = "usertap";

/// usertap at `level`, everything else at `warn`.
pub fn usertap_at(level: Level) -> Targets {
    Targets::new().with_target(OURS, level).with_default(Level::WARN)
}

fn at(targets: Targets, target: &str, text: &str) -> Parsed<Targets> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    match !target.is_empty() && target.chars().all(name) {
        true => Ok(targets.with_target(target, level(text)?)),
        false => Err(no_level()),
    }
}

fn level(text: &str) -> Parsed<Level> {
    text.parse().map_err(|_| no_level())
}

fn no_level() -> String {
    "is no level: write `error`, `warn`, `info`, `debug` or `trace`, or with names `debug,hyper=info`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn durations() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("8s").unwrap(), secs(8));
        assert_eq!(duration("5m").unwrap(), secs(300));
        assert_eq!(duration("30d").unwrap(), secs(30 * 86_400));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        for wrong in [
            "",
            "8",
            "8 parsecs",
            "-1s",
            "1.5s",
            "s",
            "99999999999999999999d",
            "9999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(wait("0").is_err() && wait("2h").is_err() && wait_or_none("0").is_ok());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64KiB").unwrap(), 65_536);
        assert_eq!(record_buffer("4MiB").unwrap(), 4 << 20);
        for wrong in ["", "4", "4MB", "1B", "1GiB", "99999999999999GiB"] {
            assert!(record_buffer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_may_be_several() {
        let per = |requests, per| Rate { requests, per };
        assert_eq!(
            rates("1000/10s, 50/1s").unwrap(),
            [per(1000, secs(10)), per(50, secs(1))]
        );
        for wrong in ["", "0/1s", "10", "10/0s", "10/s", "10/1s,", "x/1s"] {
            assert!(rates(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_becomes_of_the_deleted() {
        assert_eq!(deleted("keep").unwrap(), Deleted::Keep);
        assert_eq!(
            deleted("purge").unwrap(),
            Deleted::Purge {
                after: Duration::ZERO
            }
        );
        let after = secs(30 * 86_400);
        assert_eq!(deleted("purge-after=30d").unwrap(), Deleted::Purge { after });
        assert!(deleted("purge-after=").is_err() && deleted("drop").is_err());
    }

    #[test]
    fn addresses() {
        assert_eq!(address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert_eq!(port("8080").unwrap().to_string(), "0.0.0.0:8080");
        for wrong in ["", "8400", ":8400", "example.com:1", "1.2.3.4", "1.2.3.4:99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(port("65536").is_err());
    }

    #[test]
    fn base_urls_say_only_where() {
        assert_eq!(base_url("https://a.example/p").unwrap().path(), "/p");
        for wrong in [
            "",
            "a.example",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://u@a.example",
            "https://a.example/?q",
            "https://a.example/#f",
            "unix:/x",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn schemas_need_no_quotes() {
        assert!(schema("neon_identity").is_ok() && schema("_a1").is_ok());
        for wrong in [
            "",
            "1a",
            "My Auth",
            "a-b",
            "pg_x",
            "information_schema",
            &"x".repeat(64),
        ] {
            assert!(schema(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_crates_are_quiet_unless_named() {
        let debug = levels("debug").unwrap();
        assert!(debug.would_enable("usertap::proxy", &Level::DEBUG));
        assert!(!debug.would_enable("h2", &Level::INFO) && debug.would_enable("h2", &Level::WARN));
        let named = levels("usertap=debug, hyper=info").unwrap();
        assert!(named.would_enable("hyper", &Level::INFO) && named.would_enable("usertap", &Level::DEBUG));
        assert!(!levels("error").unwrap().would_enable("h2", &Level::WARN));
        for wrong in [
            "",
            "inof",
            "usertap",
            "=debug",
            "usertap=loud",
            "info,",
            "a b=info",
        ] {
            assert!(levels(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_no_pem() {
        assert!(path("-----BEGIN CERTIFICATE-----\nMII").is_err());
        assert!(path("").is_err() && path("a/b.pem").is_ok());
    }
}
