//! What the text of a value means. The errors say what to write instead and never repeat it.

mod amount;
mod levels;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Deleted, Sync};
use crate::user::{IdType, Pos};

pub use amount::{
    cache_size, duration, every, limits, rate, record_buffer, retention, size, wait, wait_or_none,
};
pub use levels::{levels, usertap_at};

/// The value, or what is wrong with the text and what to write instead.
pub type Parsed<T> = Result<T, String>;

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

/// A port alone: all interfaces, by IPv6 and by IPv4.
pub fn port(text: &str) -> Parsed<SocketAddr> {
    text.trim()
        .parse()
        .map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
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

/// A schema's name as Postgres keeps it; what it shortens would be another schema. Every statement
/// quotes it.
pub fn schema(text: &str) -> Parsed<String> {
    if text.trim().is_empty() || text.contains(char::is_control) || text.len() > 63 {
        return Err("is no schema name: write 1 to 63 bytes without control characters".to_owned());
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

/// Where reading the change feed begins.
pub fn since(text: &str) -> Parsed<String> {
    match text == "oldest" || text == "now" || Pos::parse(text).is_some() {
        true => Ok(text.to_owned()),
        false => Err("is no position: write one as the feed gave it, `oldest` or `now`".into()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
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
        assert_eq!(port("8080").unwrap().to_string(), "[::]:8080");
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
    fn a_schema_has_a_name_that_postgres_keeps() {
        for fit in ["neon_identity", "1a", "My \"Auth", "a-b", &"x".repeat(63)] {
            assert!(schema(fit).is_ok(), "{fit}");
        }
        for wrong in [
            "",
            " ",
            "a\nb",
            "a\0b",
            "pg_x",
            "information_schema",
            &"x".repeat(64),
        ] {
            assert!(schema(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_no_pem() {
        assert!(path("-----BEGIN CERTIFICATE-----\nMII").is_err());
        assert!(path("").is_err() && path("a/b.pem").is_ok());
    }
}
