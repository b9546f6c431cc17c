//! Where a request goes: always the configured host, the path below the configured one.

use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// The provider's base URL, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
}

/// A base URL that HTTP cannot be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit;

impl Base {
    pub fn of(url: &url::Url) -> Result<Base, Unfit> {
        let scheme = Scheme::try_from(url.scheme()).map_err(|_| Unfit)?;
        let host = url.host_str().ok_or(Unfit)?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let authority = Authority::try_from(format!("{host}{port}")).map_err(|_| Unfit)?;
        match scheme == Scheme::HTTP || scheme == Scheme::HTTPS {
            true => Ok(Base {
                scheme,
                authority,
                path: url.path().trim_end_matches('/').to_owned(),
            }),
            false => Err(Unfit),
        }
    }

    /// Whom to connect to.
    pub fn origin(&self) -> Uri {
        let mut parts = self.parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        // All parts are there and fit together.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// As in the header of that name.
    pub fn host(&self) -> HeaderValue {
        // What an authority may hold, a header may too.
        HeaderValue::from_str(self.authority.as_str()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The whole target for a path and query below the base, byte for byte. Whatever these say,
    /// the host stays.
    pub fn target(&self, path_and_query: &str) -> Option<Uri> {
        self.whole(self.joined(path_and_query)?)
    }

    /// The same for one that was read already.
    pub fn below(&self, path_and_query: &PathAndQuery) -> Option<Uri> {
        let is_whole = self.path.is_empty() && path_and_query.as_str().starts_with('/');
        match is_whole {
            true => self.whole(path_and_query.clone()),
            false => self.target(path_and_query.as_str()),
        }
    }

    fn joined(&self, path_and_query: &str) -> Option<PathAndQuery> {
        let separator = if path_and_query.starts_with(['/', '?', '*']) {
            ""
        } else {
            "/"
        };
        let joined = match path_and_query {
            "*" => "*".to_owned(),
            below => [&self.path, separator, below].concat(),
        };
        PathAndQuery::try_from(joined).ok()
    }

    fn whole(&self, path_and_query: PathAndQuery) -> Option<Uri> {
        let mut parts = self.parts();
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).ok()
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Base {
        Base::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_path_is_put_before_and_not_a_byte_is_changed() {
        let odd = "/api/v1/users/a%2Fb%20c/../x/;v=1?q=%7e&r='|{}&=&&";
        let target = base("https://auth.example:8443/base/").target(odd).unwrap();
        assert_eq!(target.to_string(), format!("https://auth.example:8443/base{odd}"));
        for url in [
            "https://auth.example:8443/base/",
            "http://a.example",
            "http://a.example/",
        ] {
            for below in [odd, "/", "?a", "*", "//evil.example/x"] {
                let read = PathAndQuery::try_from(below).unwrap();
                assert_eq!(base(url).below(&read), base(url).target(below), "{url} {below}");
            }
        }
        assert_eq!(
            base("http://auth.example")
                .target("//evil.example/x")
                .unwrap()
                .host(),
            Some("auth.example")
        );
        assert_eq!(
            base("http://a.example").target("@evil.example/").unwrap().host(),
            Some("a.example")
        );
        assert_eq!(
            base("http://[::1]:8080").target("/").unwrap().to_string(),
            "http://[::1]:8080/"
        );
        assert_eq!(
            base("http://user:pw@a.example").target("/").unwrap().to_string(),
            "http://a.example/"
        );
    }

    #[test]
    fn only_http_can_be_spoken() {
        assert!(Base::of(&"ftp://a.example".parse().unwrap()).is_err());
        assert!(Base::of(&"data:text/plain,x".parse().unwrap()).is_err());
    }
}
