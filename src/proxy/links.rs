//! Addresses of the provider's own in the headers that its file names: an app that follows one would go
//! past the proxy, so it is told the same address at the proxy. Nothing else of an answer is touched.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use url::Url;

use super::peer::Peer;
use crate::config::Config;

/// What is turned into what.
#[derive(Debug, Default)]
pub(super) struct Links {
    names: Vec<HeaderName>,
    /// The provider's base URL, without a slash at its end.
    from: String,
    /// That of the proxy, where the settings say it.
    public: Option<String>,
    /// Of the listener.
    scheme: &'static str,
}

impl Links {
    pub fn new(config: &Config) -> Links {
        Links {
            names: config.provider.links.clone(),
            from: base(&config.upstream),
            public: config.public_url.as_ref().map(base),
            scheme: if config.tls.is_some() { "https" } else { "http" },
        }
    }

    /// By which URL a request came: as a trusted proxy was asked for it, otherwise as it says itself. Nothing where no
    /// answer has to tell it.
    pub fn reached<B>(&self, request: &Request<B>, peer: Peer) -> Option<String> {
        if self.names.is_empty() || self.public.is_some() {
            return None;
        }
        let headers = request.headers();
        let own = || {
            let header = headers.get(HOST).and_then(|host| host.to_str().ok());
            header.or_else(|| Some(request.uri().authority()?.as_str()))
        };
        let scheme = peer.scheme(headers).unwrap_or(self.scheme);
        let host = peer.host(headers).or_else(own)?;
        Some(format!("{scheme}://{host}"))
    }

    /// Turns the links of an answer's headers.
    pub fn turn(&self, headers: &mut HeaderMap, reached: Option<&str>) {
        let Some(to) = self.public.as_deref().or(reached) else {
            return;
        };
        for name in &self.names {
            let http::header::Entry::Occupied(mut values) = headers.entry(name) else {
                continue;
            };
            values.iter_mut().for_each(|value| {
                let turned = value.to_str().ok().map(|text| turned(text, &self.from, to));
                if let Some(turned) = turned.and_then(|text| HeaderValue::try_from(text).ok()) {
                    *value = turned;
                }
            });
        }
    }
}

fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Every URL below `from`, at the beginning or behind a `<`.
fn turned(text: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = find(rest, from) {
        let (before, url) = rest.split_at(at);
        let behind = &url[from.len()..];
        let begins = before.is_empty() && out.is_empty() || before.ends_with('<');
        let ends = behind.is_empty() || behind.starts_with(['/', '?', '#', '>']);
        out.push_str(before);
        out.push_str(if begins && ends { to } else { &url[..from.len()] });
        rest = behind;
    }
    out + rest
}

fn find(text: &str, what: &str) -> Option<usize> {
    let (text, what) = (text.as_bytes(), what.as_bytes());
    let mut windows = text.windows(what.len().max(1));
    windows.position(|window| window.eq_ignore_ascii_case(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrustedProxies;

    #[test]
    fn only_urls_of_the_provider_are_turned() {
        let turned = |text| turned(text, "https://dev.okta.com", "http://127.0.0.1:8400");
        assert_eq!(
            turned(
                r#"<https://dev.okta.com/api/v1/users?limit=2>; rel="self", <https://DEV.okta.com/api/v1/users?after=x>; rel="next""#
            ),
            r#"<http://127.0.0.1:8400/api/v1/users?limit=2>; rel="self", <http://127.0.0.1:8400/api/v1/users?after=x>; rel="next""#
        );
        assert_eq!(turned("https://dev.okta.com"), "http://127.0.0.1:8400");
        for left in [
            "<https://dev.okta.com.example/api/v1/users>; rel=next",
            "<https://other.okta.com/api/v1/users>; rel=next",
            "</api/v1/users?after=x>; rel=next",
            "<https://a.example/?to=https://dev.okta.com/x>; rel=next",
            "é<",
            "",
        ] {
            assert_eq!(turned(left), left);
        }
    }

    fn links(public: Option<&str>) -> Links {
        Links {
            names: vec![http::header::LINK],
            from: "https://dev.okta.com".into(),
            public: public.map(str::to_owned),
            scheme: "https",
        }
    }

    fn asked(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn only_the_headers_that_are_named_are_turned() {
        let mut headers = HeaderMap::new();
        let link = HeaderValue::from_static("<https://dev.okta.com/x>");
        let place = HeaderValue::from_static("https://dev.okta.com/x");
        headers.insert(http::header::LINK, link.clone());
        headers.insert(http::header::LOCATION, place.clone());
        links(None).turn(&mut headers, None);
        assert_eq!(headers[http::header::LINK], link, "nobody knows to what");
        links(None).turn(&mut headers, Some("https://proxy:8400"));
        assert_eq!(headers[http::header::LINK], "<https://proxy:8400/x>");
        assert_eq!(headers[http::header::LOCATION], place);
    }

    #[test]
    fn the_public_url_goes_before_how_it_was_reached() {
        let mut headers = HeaderMap::new();
        let link = HeaderValue::from_static("<https://dev.okta.com/x>");
        headers.insert(http::header::LINK, link);
        let links = links(Some("https://auth.example.com/base"));
        links.turn(&mut headers, Some("https://proxy:8400"));
        assert_eq!(headers[http::header::LINK], "<https://auth.example.com/base/x>");
        let request = asked("/x", &[("host", "proxy")]);
        assert_eq!(links.reached(&request, Peer::default()), None);
    }

    #[test]
    fn how_it_was_reached_is_said_by_a_trusted_proxy_or_by_the_request() {
        let trusted = TrustedProxies::read("127.0.0.1").unwrap();
        let trusted = Peer::at([127, 0, 0, 1].into(), &trusted);
        let said = ("x-forwarded-host", "auth.example.com");
        let plainly = ("x-forwarded-proto", "http");
        for (uri, headers, by_proxy, by_app) in [
            (
                "/x",
                &[("host", "proxy"), said, plainly][..],
                Some("http://auth.example.com"),
                Some("https://proxy"),
            ),
            (
                "/x",
                &[("host", "proxy"), plainly],
                Some("http://proxy"),
                Some("https://proxy"),
            ),
            ("/x", &[said], Some("https://auth.example.com"), None),
            (
                "/x",
                &[("host", "proxy:1")],
                Some("https://proxy:1"),
                Some("https://proxy:1"),
            ),
            (
                "https://h2.example/x",
                &[],
                Some("https://h2.example"),
                Some("https://h2.example"),
            ),
            ("/x", &[], None, None),
        ] {
            let request = asked(uri, headers);
            let reached = |peer| links(None).reached(&request, peer);
            assert_eq!(reached(trusted).as_deref(), by_proxy, "{headers:?}");
            assert_eq!(reached(Peer::default()).as_deref(), by_app, "{headers:?}");
        }
        let none = Links::default();
        assert_eq!(none.reached(&asked("/x", &[("host", "proxy")]), trusted), None);
    }
}
