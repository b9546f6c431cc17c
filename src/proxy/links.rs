//! Addresses of the provider's own in the headers that its file names: an app that follows one would go
//! past the proxy, so it is told the same address at the proxy. Nothing else of an answer is touched.

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::config::Config;

/// What is turned into what.
#[derive(Debug, Default)]
pub(super) struct Links {
    names: Vec<HeaderName>,
    /// The provider's base URL, without a slash at its end.
    from: String,
    /// That of the proxy, where the settings say it.
    public: Option<String>,
    scheme: &'static str,
}

/// By which name an app has reached the proxy.
#[derive(Debug, Default)]
pub(super) struct Reached {
    host: Option<HeaderValue>,
    /// It stands in a header, which what is kept can be found by.
    in_header: bool,
}

impl Reached {
    pub fn by(parts: &Parts) -> Reached {
        let header = parts.headers.get(HOST).filter(|host| host.to_str().is_ok());
        let authority = || HeaderValue::from_str(parts.uri.authority()?.as_str()).ok();
        Reached {
            host: header.cloned().or_else(authority),
            in_header: header.is_some(),
        }
    }
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

    /// Turns the links of an answer's headers.
    pub fn turn(&self, headers: &mut HeaderMap, reached: &Reached) {
        if !self.names.iter().any(|name| headers.contains_key(name)) {
            return;
        }
        let by_host = || {
            let host = reached.host.as_ref()?.to_str().ok()?;
            Some(format!("{}://{host}", self.scheme))
        };
        let Some(to) = self.public.clone().or_else(by_host) else {
            return;
        };
        for name in &self.names {
            let http::header::Entry::Occupied(mut values) = headers.entry(name) else {
                continue;
            };
            values.iter_mut().for_each(|value| {
                let turned = value.to_str().ok().map(|text| turned(text, &self.from, &to));
                if let Some(turned) = turned.and_then(|text| HeaderValue::try_from(text).ok()) {
                    *value = turned;
                }
            });
        }
    }

    /// Whether an answer whose links were turned can be found again only by whom they are right for.
    pub fn are_found_by_key(&self, reached: &Reached) -> bool {
        self.names.is_empty() || self.public.is_some() || reached.in_header
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

    #[test]
    fn the_public_url_goes_before_the_name_by_which_it_was_reached() {
        let links = |public: Option<&str>| Links {
            names: vec![http::header::LINK],
            from: "https://dev.okta.com".into(),
            public: public.map(str::to_owned),
            scheme: "https",
        };
        let told = |links: Links, reached: Reached| {
            let mut headers = HeaderMap::new();
            headers.insert(
                http::header::LINK,
                HeaderValue::from_static("<https://dev.okta.com/x>"),
            );
            headers.insert(
                http::header::LOCATION,
                HeaderValue::from_static("https://dev.okta.com/x"),
            );
            links.turn(&mut headers, &reached);
            assert_eq!(headers[http::header::LOCATION], "https://dev.okta.com/x");
            headers[http::header::LINK]
                .to_str()
                .unwrap_or_default()
                .to_owned()
        };
        let reached = |host: &str| Reached {
            host: HeaderValue::from_str(host).ok(),
            in_header: true,
        };
        assert_eq!(told(links(None), reached("proxy:8400")), "<https://proxy:8400/x>");
        assert_eq!(
            told(links(Some("https://auth.example.com/base")), reached("proxy")),
            "<https://auth.example.com/base/x>"
        );
        assert_eq!(told(links(None), Reached::default()), "<https://dev.okta.com/x>");
    }
}
