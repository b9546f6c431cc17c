//! Requests that a provider's file names by method and path.

use std::borrow::Cow;

use http::Method;

use super::Provider;
use super::route::Segment;

/// Methods and a path, perhaps with everything below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Requests {
    methods: Methods,
    segments: Vec<Segment>,
    below: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Methods {
    /// All that only read.
    Reading,
    These(Vec<Method>),
}

impl Methods {
    /// `*`, `GET`, `POST|DELETE`.
    fn parse(text: &str) -> Option<Methods> {
        if text == "*" {
            return Some(Methods::Reading);
        }
        let named = text.split('|').map(method_named);
        Some(Methods::These(named.collect::<Option<_>>()?))
    }

    /// `HEAD` is what `GET` is.
    fn have(&self, method: &Method) -> bool {
        match self {
            Methods::Reading => method.is_safe(),
            Methods::These(all) => {
                all.contains(method) || (method == Method::HEAD && all.contains(&Method::GET))
            }
        }
    }
}

impl Requests {
    /// `GET /health`, `POST|DELETE /teams/{id}/invite`, `* /payments/*`.
    pub(super) fn parse(text: &str) -> Option<Requests> {
        let (methods, path) = text.split_once(' ')?;
        let (path, below) = path.strip_suffix("/*").map_or((path, false), |path| (path, true));
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments = path.strip_prefix('/')?.split('/').map(Segment::parse);
        Some(Requests {
            methods: Methods::parse(methods)?,
            segments: segments.collect::<Option<_>>()?,
            below,
        })
    }

    fn matches(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        let long_enough = match self.below {
            true => path.len() >= self.segments.len(),
            false => path.len() == self.segments.len(),
        };
        let fits = |(own, text): (&Segment, &Cow<'_, str>)| own.fits(text);
        self.methods.have(method) && long_enough && self.segments.iter().zip(path).all(fits)
    }
}

impl Provider {
    /// Whether the provider counts such a request apart from all others.
    pub fn is_counted_apart(&self, method: &Method, path: &str) -> bool {
        self.is_among(&self.apart, method, path)
    }

    /// Below a served prefix or not.
    pub(super) fn is_among(&self, named: &[Requests], method: &Method, path: &str) -> bool {
        if named.is_empty() {
            return false;
        }
        let Some(path) = self.segments(path) else {
            return false;
        };
        let below = self.below_prefix(&path);
        let fits = |path: &[Cow<'_, str>]| named.iter().any(|one| one.matches(method, path));
        fits(&path) || below.is_some_and(fits)
    }
}

fn method_named(name: &str) -> Option<Method> {
    let capitals = name.bytes().all(|byte| byte.is_ascii_uppercase());
    name.parse().ok().filter(|_| capitals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_what_only_reads_and_for_everything_below() {
        let matches = |rule: &str, method: &str, path: &str| {
            let rule = Requests::parse(rule).unwrap();
            let path: Vec<Cow<'_, str>> = path.split('/').skip(1).map(Cow::from).collect();
            rule.matches(&method.parse().unwrap(), &path)
        };
        assert!(matches("GET /health", "GET", "/health") && !matches("GET /health", "POST", "/health"));
        assert!(matches("GET /health", "HEAD", "/health") && !matches("POST /health", "HEAD", "/health"));
        assert!(!matches("GET /health", "GET", "/health/db"));
        for path in ["/payments", "/payments/a", "/payments/a/b"] {
            assert!(matches("* /payments/*", "HEAD", path), "{path}");
            for writing in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
                assert!(!matches("* /payments/*", writing, path), "{writing} {path}");
            }
            assert!(matches("PUT|DELETE /payments/*", "DELETE", path), "{path}");
            assert!(!matches("PUT|DELETE /payments/*", "GET", path), "{path}");
        }
        assert!(!matches("* /payments/*", "GET", "/paymentsx"));
        assert!(
            matches("GET /teams/{id}", "GET", "/teams/1") && !matches("GET /teams/{id}", "GET", "/teams")
        );
        for bad in [
            "/a",
            "get /a",
            "* a",
            "GET /a/*/b*{",
            "GET /",
            "* /*",
            "GET| /a",
            "*|PUT /a",
        ] {
            assert_eq!(Requests::parse(bad), None, "{bad}");
        }
    }
}
