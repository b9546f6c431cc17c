//! Requests that are of no interest here: they change no user, and no answer of theirs tells of one.

use std::borrow::Cow;

use http::Method;

use super::Provider;
use super::route::{Segment, segments};

/// A method or any, and a path, perhaps with everything below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Userless {
    method: Option<Method>,
    segments: Vec<Segment>,
    below: bool,
}

impl Userless {
    /// `GET /health`, `POST /teams/{id}/invite`, `* /payments/*`.
    pub(super) fn parse(text: &str) -> Option<Userless> {
        let (method, path) = text.split_once(' ')?;
        let capitals = method.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = match method {
            "*" => None,
            method => Some(method.parse().ok().filter(|_| capitals)?),
        };
        let (path, below) = path.strip_suffix("/*").map_or((path, false), |path| (path, true));
        let segments = path.strip_prefix('/')?.split('/').map(Segment::parse);
        Some(Userless {
            method,
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
        self.method.as_ref().is_none_or(|own| own == method)
            && long_enough
            && self.segments.iter().zip(path).all(fits)
    }
}

impl Provider {
    /// Whether a request on no route is known to be of no interest, below a served prefix or not. What
    /// browsers ask before a request of another origin never is.
    pub fn is_userless(&self, method: &Method, path: &str) -> bool {
        if *method == Method::OPTIONS {
            return true;
        }
        let Some(path) = segments(path) else { return false };
        let below = self.below_prefix(&path);
        let matches = |path: &[Cow<'_, str>]| self.userless.iter().any(|rule| rule.matches(method, path));
        matches(&path) || below.is_some_and(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_method_and_for_everything_below() {
        let matches = |rule: &str, method: &str, path: &str| {
            let rule = Userless::parse(rule).unwrap();
            rule.matches(&method.parse().unwrap(), &segments(path).unwrap())
        };
        assert!(matches("GET /health", "GET", "/health") && !matches("GET /health", "POST", "/health"));
        assert!(!matches("GET /health", "GET", "/health/db"));
        for path in ["/payments", "/payments/a", "/payments/a/b"] {
            assert!(matches("* /payments/*", "PUT", path), "{path}");
        }
        assert!(!matches("* /payments/*", "PUT", "/paymentsx"));
        assert!(
            matches("GET /teams/{id}", "GET", "/teams/1") && !matches("GET /teams/{id}", "GET", "/teams")
        );
        for bad in ["/a", "get /a", "* a", "GET /a/*/b*{", "GET /", "* /*"] {
            assert_eq!(Userless::parse(bad), None, "{bad}");
        }
    }
}
