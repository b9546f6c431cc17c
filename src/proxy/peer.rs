//! Who is at the other end of a connection, and what is believed of what it says about those before it.
//!
//! A proxy in front of usertap says in `X-Forwarded-Host` and `X-Forwarded-Proto` by which name and how it was asked
//! itself. So can everybody else: only the word of TRUSTED_PROXIES counts, and only where it can be true. Of several
//! values the last is the peer's own: most write theirs in place of what came (Caddy, Traefik, nginx where it is told
//! to), Apache puts it behind. What stands before it was said by whoever asked that proxy.

use std::net::IpAddr;

use http::HeaderMap;
use http::uri::Authority;
use url::Host;

use crate::config::TrustedProxies;

/// Of one connection. Nobody's word counts by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer {
    is_trusted: bool,
}

impl Peer {
    pub fn at(address: IpAddr, trusted: &TrustedProxies) -> Peer {
        Peer {
            is_trusted: trusted.has(address),
        }
    }

    /// The host, with its port, by which a trusted proxy was asked.
    pub fn host(self, headers: &HeaderMap) -> Option<&str> {
        claimed_host(headers).filter(|_| self.is_trusted)
    }

    /// How a trusted proxy was asked.
    pub fn scheme(self, headers: &HeaderMap) -> Option<&'static str> {
        let said = last(headers, "x-forwarded-proto").filter(|_| self.is_trusted)?;
        let mut schemes = ["http", "https"].into_iter();
        schemes.find(|scheme| said.eq_ignore_ascii_case(scheme))
    }
}

/// What anybody says, for an error that tells why it is not believed.
pub fn claimed_host(headers: &HeaderMap) -> Option<&str> {
    last(headers, "x-forwarded-host").filter(|said| is_host(said))
}

/// The values of several lines are those of one (RFC 9110, 5.3).
fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

/// A name or an address, with a port or without.
fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let has_no_more = text.len() == host.len() || authority.port_u16().is_some();
    has_no_more && !text.contains('@') && Host::parse(host).is_ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const TRUSTED: Peer = Peer { is_trusted: true };

    fn said(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn host(values: &[&[u8]]) -> Option<String> {
        let headers = said("x-forwarded-host", values);
        assert_eq!(Peer::default().host(&headers), None);
        TRUSTED.host(&headers).map(str::to_owned)
    }

    fn scheme(values: &[&[u8]]) -> Option<&'static str> {
        let headers = said("x-forwarded-proto", values);
        assert_eq!(Peer::default().scheme(&headers), None);
        TRUSTED.scheme(&headers)
    }

    #[test]
    fn the_peers_own_value_is_the_last() {
        assert_eq!(host(&[]), None);
        assert_eq!(host(&[b"a.example"]).as_deref(), Some("a.example"));
        assert_eq!(
            host(&[b"a.example , b.example:80"]).as_deref(),
            Some("b.example:80")
        );
        assert_eq!(
            host(&[b"a.example", b"b.example, c.example"]).as_deref(),
            Some("c.example")
        );
        assert_eq!(host(&[b"a.example", b""]), None);
        assert_eq!(scheme(&[b"http, HTTPS"]), Some("https"));
        assert_eq!(scheme(&[b"https", b"http"]), Some("http"));
        assert_eq!(scheme(&[b"https", b"wss"]), None);
    }

    #[test]
    fn what_can_be_no_host_or_scheme_is_not_believed() {
        for fit in [
            "a",
            "A.example",
            "a_b.example:8443",
            "192.0.2.7",
            "[2001:db8::1]",
            "[::1]:80",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(host(&[fit.as_bytes()]).as_deref(), Some(fit));
        }
        for wrong in [
            &b""[..],
            b" ",
            b"a b",
            b"a\tb",
            b"a/b",
            b"a.example/",
            b"a.example?x",
            b"a.example#x",
            b"a\\b",
            b"u@a.example",
            b"u:p@a.example",
            b"@",
            b"a.example:",
            b"a.example:x",
            b"a.example:65536",
            b"a:1:2",
            b"::1",
            b"[::1",
            b"[]",
            b"%2f",
            b"a%20b",
            b"1.2.3.999",
            b"<a>",
            b"\"a\"",
            b"https://a.example",
            b"caf\xc3\xa9.example",
            b"\xff",
        ] {
            assert_eq!(host(&[wrong]), None, "{}", wrong.escape_ascii());
        }
        for wrong in [
            &b""[..],
            b"ftp",
            b"ws",
            b"https:",
            b"https://",
            b"https http",
            b"\xff",
        ] {
            assert_eq!(scheme(&[wrong]), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn who_is_trusted_is_told_by_the_address() {
        let trusted = TrustedProxies::read("10.0.0.0/8").unwrap();
        let at = |address: &str| Peer::at(address.parse().unwrap(), &trusted);
        assert_eq!(at("::ffff:10.0.0.1"), TRUSTED);
        assert_eq!(at("11.0.0.1"), Peer::default());
    }
}
