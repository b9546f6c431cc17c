//! Whether a request is meant for this server: by the names by which it was asked, and the page that asks.

use std::net::SocketAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

use crate::proxy::{Peer, claimed_host};

/// What a request shows of not being meant for this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Host,
    Origin,
    /// Its own, if one could believe whoever says so.
    Untrusted,
    Site,
}

impl Foreign {
    /// To whom it is refused.
    pub fn told(self) -> &'static str {
        match self {
            Foreign::Host => {
                "the Host header is not this server's: on loopback it answers to localhost and 127.0.0.1 alone. A proxy \
                 in front of it must put such a name into Host, and its own into X-Forwarded-Host, and stand in \
                 TRUSTED_PROXIES"
            }
            Foreign::Origin => {
                "the Origin header is not this server's: the page that asks is another site's, or a proxy in front of \
                 this server does not say its name. Set ADMIN_TOKEN, put the proxy's address into TRUSTED_PROXIES, and have \
                 it put its name into X-Forwarded-Host"
            }
            Foreign::Untrusted => {
                "the Origin header is that of a proxy in front of this server, as X-Forwarded-Host says, but whoever says \
                 so is not among TRUSTED_PROXIES: put the address there from which the proxy comes to this server"
            }
            Foreign::Site => {
                "the Sec-Fetch-Site header says that another page loads this, or leads to what is for programs: open it by \
                 itself"
            }
        }
    }
}

/// What requests are held against.
pub(super) struct Own {
    pub listen: SocketAddr,
    pub has_token: bool,
}

impl Own {
    /// How it is foreign, if it is. Beyond loopback the name by which people reach it is not known, and the
    /// token guards it. An origin must be the host all the same, or what a trusted proxy says that it was asked for by;
    /// without a token no proxy is expected.
    pub fn foreign(&self, peer: Peer, headers: &HeaderMap, uri: &Uri) -> Option<Foreign> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .or_else(|| uri.authority().map(Authority::as_str));
        let Some(host) = host else {
            return Some(Foreign::Host);
        };
        if self.listen.ip().is_loopback() && !is_loopback_name(host, self.listen.port()) {
            return Some(Foreign::Host);
        }
        if is_loaded_elsewhere(headers, uri) {
            return Some(Foreign::Site);
        }
        let origin = headers.get(header::ORIGIN)?.to_str().ok();
        let Some((_, at)) = origin.and_then(|origin| origin.split_once("://")) else {
            return Some(Foreign::Origin);
        };
        if at == host {
            return None;
        }
        let is_claimed = self.has_token && claimed_host(headers) == Some(at);
        match peer.host(headers) {
            _ if !is_claimed => Some(Foreign::Origin),
            None => Some(Foreign::Untrusted),
            Some(_) => None,
        }
    }
}

/// A page elsewhere may lead people to a page here, and load nothing from here, in a frame neither: what is for
/// programs takes a slot's lease or costs the provider a read.
fn is_loaded_elsewhere(headers: &HeaderMap, uri: &Uri) -> bool {
    let says = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let is_elsewhere = matches!(says("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
    let leads = says("sec-fetch-mode") == Some(b"navigate")
        && says("sec-fetch-dest").is_none_or(|to| to == b"document")
        && !uri.path().starts_with("/v1/");
    is_elsewhere && !leads
}

fn is_loopback_name(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    matches!(name, "localhost" | "[::1]") || name.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrustedProxies;

    const LISTEN: &str = "127.0.0.1:8401";

    fn judged(has_token: bool, pairs: &[(header::HeaderName, &str)]) -> Option<Foreign> {
        judged_at((LISTEN, has_token), Peer::default(), pairs)
    }

    fn judged_at(
        (listen, has_token): (&str, bool),
        peer: Peer,
        pairs: &[(header::HeaderName, &str)],
    ) -> Option<Foreign> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        let own = Own {
            listen: listen.parse().unwrap(),
            has_token,
        };
        own.foreign(peer, &headers, &Uri::from_static("/users"))
    }

    #[test]
    fn only_its_own_names_and_pages_reach_it() {
        let (host, origin) = (header::HOST, header::ORIGIN);
        for name in ["localhost:8401", "127.0.0.1:8401", "127.0.0.1", "[::1]:8401"] {
            assert_eq!(judged(false, &[(host.clone(), name)]), None, "{name}");
        }
        for name in [
            "evil.example:8401",
            "localhost.evil.example",
            "127.0.0.1.nip.io:8401",
            "localhost:80",
        ] {
            assert_eq!(
                judged(false, &[(host.clone(), name)]),
                Some(Foreign::Host),
                "{name}"
            );
        }
        assert_eq!(
            judged_at(
                ("0.0.0.0:8401", true),
                Peer::default(),
                &[(host.clone(), "ops.example")]
            ),
            None
        );
        for has_token in [false, true] {
            let from = |page| {
                judged(
                    has_token,
                    &[(host.clone(), "localhost:8401"), (origin.clone(), page)],
                )
            };
            assert_eq!(from("http://localhost:8401"), None);
            assert_eq!(from("http://evil.example"), Some(Foreign::Origin));
            assert_eq!(from("null"), Some(Foreign::Origin));
            let fetched = |site, mode| {
                let name = header::HeaderName::from_static;
                let (site, mode) = ((name("sec-fetch-site"), site), (name("sec-fetch-mode"), mode));
                judged(has_token, &[(host.clone(), "localhost:8401"), site, mode])
            };
            assert_eq!(fetched("cross-site", "navigate"), None, "a link");
            assert_eq!(fetched("cross-site", "no-cors"), Some(Foreign::Site), "an image");
            assert_eq!(
                fetched("same-site", "no-cors"),
                Some(Foreign::Site),
                "another port's"
            );
            assert_eq!(fetched("same-origin", "cors"), None);
        }
    }

    /// HTTP/2 has no `Host` of its own.
    #[test]
    fn without_a_host_the_address_says_it_with_its_port() {
        let own = Own {
            listen: LISTEN.parse().unwrap(),
            has_token: false,
        };
        let from = |uri, page: &'static str| {
            let page = axum::http::HeaderValue::from_static(page);
            let headers = HeaderMap::from_iter([(header::ORIGIN, page)]);
            own.foreign(Peer::default(), &headers, &Uri::from_static(uri))
        };
        let uri = "http://localhost:8401/users";
        assert_eq!(from(uri, "http://localhost:8401"), None);
        assert_eq!(from(uri, "http://localhost"), Some(Foreign::Origin));
        let other = "http://localhost:80/users";
        assert_eq!(from(other, "http://localhost:80"), Some(Foreign::Host));
    }

    #[test]
    fn with_a_token_pages_may_be_of_the_trusted_proxy_before_it() {
        let trusted = TrustedProxies::read("127.0.0.1").unwrap();
        let trusted = Peer::at([127, 0, 0, 1].into(), &trusted);
        let named = header::HeaderName::from_static("x-forwarded-host");
        let from = |has_token, peer, page| {
            let host = (header::HOST, "127.0.0.1:8401");
            let before = (named.clone(), "console.example");
            judged_at((LISTEN, has_token), peer, &[host, before, (header::ORIGIN, page)])
        };
        let (own, other) = ("https://console.example", "https://evil.example");
        assert_eq!(from(true, trusted, own), None);
        assert_eq!(from(true, trusted, other), Some(Foreign::Origin));
        assert_eq!(from(false, trusted, own), Some(Foreign::Origin));
        assert_eq!(from(true, Peer::default(), own), Some(Foreign::Untrusted));
        assert_eq!(from(true, Peer::default(), other), Some(Foreign::Origin));
        assert_eq!(from(true, Peer::default(), "http://127.0.0.1:8401"), None);
        let by_name = [(header::HOST, "console.example")];
        assert_eq!(judged_at((LISTEN, true), trusted, &by_name), Some(Foreign::Host));
    }
}
