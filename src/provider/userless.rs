//! Requests that are of no interest here: they change no user, and no answer of theirs tells of one.
//!
//! What must never be: a request that writes and is of no interest because nobody has thought of it. So a
//! method that writes is of none only where the file spells it out.

use std::borrow::Cow;

use http::Method;

use super::Provider;
use super::route::{Segment, segments};

/// Methods and a path, perhaps with everything below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Userless {
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

impl Userless {
    /// `GET /health`, `POST|DELETE /teams/{id}/invite`, `* /payments/*`.
    pub(super) fn parse(text: &str) -> Option<Userless> {
        let (methods, path) = text.split_once(' ')?;
        let (path, below) = path.strip_suffix("/*").map_or((path, false), |path| (path, true));
        let segments = path.strip_prefix('/')?.split('/').map(Segment::parse);
        Some(Userless {
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
    /// Whether a request on no route is known to be of no interest, below a served prefix or not. What
    /// browsers ask before a request of another origin never is, nor is the head alone of what a route reads.
    pub fn is_userless(&self, method: &Method, path: &str) -> bool {
        if *method == Method::OPTIONS || (*method == Method::HEAD && self.reads(path)) {
            return true;
        }
        let Some(path) = segments(path) else { return false };
        let below = self.below_prefix(&path);
        let matches = |path: &[Cow<'_, str>]| self.userless.iter().any(|rule| rule.matches(method, path));
        matches(&path) || below.is_some_and(matches)
    }

    fn reads(&self, path: &str) -> bool {
        let read = self.route(&Method::GET, path);
        read.is_some_and(|matched| !matched.route.writes)
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
            let rule = Userless::parse(rule).unwrap();
            rule.matches(&method.parse().unwrap(), &segments(path).unwrap())
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
            assert_eq!(Userless::parse(bad), None, "{bad}");
        }
    }
}
