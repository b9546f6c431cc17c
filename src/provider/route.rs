//! Which route a request is on.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use http::Method;

use super::cache::Kept;
use super::form::IdForm;
use super::pointer::Pointer;
use super::source::{Exchange, Source};
use super::tell::{Kind, Tell};
use super::{Provider, Rate};

/// What a successful answer of a route carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// No user: it streams through unread.
    Nothing,
    /// The id of a user or of several, or a deletion.
    Ids,
    /// One user, whole or in part.
    User,
    /// Any number of whole users.
    Users,
}

/// Whom of those who are there a write changes, beside whom request or answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// Others too: only a later read, webhook or reconcile brings them.
    Somebody,
    /// Nobody: where none is named it has changed none.
    Nobody,
    /// Where none is named, it can have been anybody.
    Unsaid,
}

impl From<Option<bool>> for Unnamed {
    fn from(silent: Option<bool>) -> Unnamed {
        match silent {
            Some(true) => Unnamed::Somebody,
            Some(false) => Unnamed::Nobody,
            None => Unnamed::Unsaid,
        }
    }
}

/// One route of a provider.
#[derive(Debug)]
pub struct Route {
    /// `PATCH /users/{id}`: stands in change rows, logs and metrics.
    pub name: Arc<str>,
    /// The most that an answer of it carries, to whichever credential.
    pub carries: Carries,
    /// The request's body is needed to know the tenant or the user; it is collected up to a limit.
    pub needs_request_body: bool,
    /// Whether it changes anything at the provider.
    pub writes: bool,
    pub unnamed: Unnamed,
    /// A success says that the provider takes the caller.
    pub judges: bool,
    /// Its answers may be kept and given again.
    pub cache: Option<Kept>,
    /// The provider counts its requests for each user by itself.
    pub user_limit: Option<Rate>,
    pub(super) pattern: Pattern,
    /// Where the request names the user.
    pub(super) user: Vec<Source>,
    /// Where the user's id stands, where a not-found here is the user's own.
    pub(super) own_path: Option<Source>,
    pub(super) tells: Vec<Tell>,
    /// Error codes behind which a write may have happened all the same.
    pub(super) hides: Vec<String>,
    pub(super) tenant: Option<RouteTenant>,
}

/// A form field that names the tenant, its parts joined.
#[derive(Debug)]
pub(super) struct RouteTenant {
    pub form: String,
    pub separator: String,
}

/// A route and the decoded parameters of one path.
#[derive(Debug, Clone)]
pub struct Matched<'p> {
    pub route: &'p Route,
    pub params: Vec<(&'p str, String)>,
}

impl Matched<'_> {
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Route {
    /// What a successful answer to this request tells.
    pub(super) fn told<'r>(&'r self, exchange: &'r Exchange<'_>) -> impl Iterator<Item = &'r Tell> {
        let applies = move |tell: &&Tell| tell.applies(exchange);
        self.tells.iter().filter(applies)
    }

    /// Whether it is the read of one whole user at this path.
    pub(super) fn reads_user_at(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or(path);
        let same = Pattern::parse(&format!("GET {path}")).is_some_and(|read| read.clashes(&self.pattern));
        same && self.tells.iter().any(|tell| matches!(tell.kind, Kind::Whole(_)))
    }

    /// Whether it writes, and deletes nothing.
    pub(super) fn changes(&self) -> bool {
        self.writes && self.pattern.method != Method::DELETE
    }

    /// A session shows a part of whoever it is, and is asked for with anything.
    pub(super) fn shows_whole(&self) -> bool {
        let whole = |tell: &Tell| matches!(tell.kind, Kind::Whole(_) | Kind::List { .. });
        self.tells.iter().any(whole)
    }

    /// Where its answer has a whole user.
    pub(super) fn whole(&self) -> Option<&Pointer> {
        self.tells.iter().find_map(|tell| match &tell.kind {
            Kind::Whole(at) => Some(at),
            _ => None,
        })
    }

    pub(super) fn list(&self) -> Option<&Tell> {
        self.tells
            .iter()
            .find(|tell| matches!(tell.kind, Kind::List { .. }))
    }
}

/// A method and the segments of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub method: Method,
    pub segments: Vec<Segment>,
}

/// In the order of matching: literals win over parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
}

/// Those that APIs of users have: a typing error in one must not pass for a method of its own.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

impl Pattern {
    /// `GET /users/{id}`.
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        let (method, path) = text.split_once(' ')?;
        let method = METHODS.into_iter().find(|known| known.as_str() == method)?;
        // With a slash at its end or without: requests are taken so and so.
        let path = path
            .strip_suffix('/')
            .filter(|path| !path.is_empty())
            .unwrap_or(path);
        let segments = path.strip_prefix('/')?.split('/').map(Segment::parse);
        Some(Pattern {
            method,
            segments: segments.collect::<Option<_>>()?,
        })
    }

    pub(super) fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(&**name),
            Segment::Literal(_) => None,
        })
    }

    /// Whether the same requests match both.
    pub(super) fn clashes(&self, other: &Pattern) -> bool {
        let same = |(one, two): (&Segment, &Segment)| match (one, two) {
            (Segment::Literal(one), Segment::Literal(two)) => one == two,
            (Segment::Param(_), Segment::Param(_)) => true,
            _ => false,
        };
        self.method == other.method
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(same)
    }

    /// Puts the shorter one first, of those as long the more literal one.
    pub(super) fn order(&self, other: &Pattern) -> Ordering {
        let by_length = self.segments.len().cmp(&other.segments.len());
        by_length.then_with(|| self.segments.cmp(&other.segments))
    }

    pub(super) fn matches(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        let fits = |(segment, text): (&Segment, &Cow<'_, str>)| segment.fits(text);
        self.segments.len() == path.len() && self.method == method && self.segments.iter().zip(path).all(fits)
    }
}

impl Segment {
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Segment::Literal(own) => **own == *text,
            Segment::Param(_) => true,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Segment> {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match name {
            Some(name) if !name.is_empty() => Some(Segment::Param(name.into())),
            // `:id` is how others write a parameter.
            None if !text.is_empty() && !text.starts_with(':') && !text.contains(['{', '}', '?', '#']) => {
                Some(Segment::Literal(text.into()))
            }
            _ => None,
        }
    }
}

/// Segments of a path, most often no more.
const MOST_OFTEN: usize = 8;

fn segments<'t>(path: &'t str, ids: &IdForm) -> Option<Vec<Cow<'t, str>>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_plain = !path.as_bytes().contains(&b'%') && !path.as_bytes().contains(&0);
    let mut segments = Vec::with_capacity(MOST_OFTEN);
    let mut rest = Some(path);
    while let Some(path) = rest {
        let end = path.bytes().position(|byte| byte == b'/');
        let raw = ids.cut(path.get(..end.unwrap_or(path.len()))?);
        segments.push(if is_plain {
            segment(raw.into())?
        } else {
            decoded(raw)?
        });
        rest = end.and_then(|end| path.get(end + 1..));
    }
    Some(segments)
}

fn decoded(raw: &str) -> Option<Cow<'_, str>> {
    let decoded = percent_encoding::percent_decode_str(raw).decode_utf8().ok()?;
    segment(decoded).filter(|decoded| !decoded.contains('\0'))
}

fn segment(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!matches!(&*text, "" | "." | "..")).then_some(text)
}

impl Provider {
    /// The segments of a path, percent-decoded and without what they go on with behind an id; nothing for a
    /// path that could mean another to somebody else.
    pub fn segments<'t>(&self, path: &'t str) -> Option<Vec<Cow<'t, str>>> {
        segments(path, &self.id_form)
    }

    /// The route of a request, any served prefix taken off.
    pub fn route(&self, method: &Method, path: &str) -> Option<Matched<'_>> {
        self.route_at(method, &self.segments(path)?)
    }

    /// The same where the path is cut already.
    pub fn route_at(&self, method: &Method, segments: &[Cow<'_, str>]) -> Option<Matched<'_>> {
        let rest = self.below_prefix(segments)?;
        let shorter = |route: &Route| route.pattern.segments.len() < rest.len();
        let others = self.routes.get(self.routes.partition_point(shorter)..)?;
        let mut as_long = others
            .iter()
            .take_while(|route| route.pattern.segments.len() == rest.len());
        let route = as_long.find(|route| route.pattern.matches(method, rest))?;
        let params = route.pattern.segments.iter().zip(rest);
        let params = params.filter_map(|(segment, text)| match segment {
            Segment::Param(name) => Some((&**name, text.clone().into_owned())),
            Segment::Literal(_) => None,
        });
        Some(Matched {
            route,
            params: params.collect(),
        })
    }

    /// All routes, the shorter and more literal ones first; for tables and tests.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The prefix in which a path ends, which should come before all of them.
    pub fn prefix_ending(&self, path: &str) -> Option<String> {
        let prefixes = self.prefixes.iter().filter(|prefix| !prefix.is_empty());
        let mut written = prefixes.map(|prefix| format!("/{}", prefix.join("/")));
        written.find(|prefix| path.trim_end_matches('/').ends_with(prefix))
    }

    pub(super) fn below_prefix<'s, 't>(&self, path: &'s [Cow<'t, str>]) -> Option<&'s [Cow<'t, str>]> {
        let below = |prefix: &Vec<String>| {
            let (head, rest) = path.split_at_checked(prefix.len())?;
            head.iter()
                .zip(prefix)
                .all(|(have, want)| **have == **want)
                .then_some(rest)
        };
        self.prefixes.iter().find_map(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_mean_another_have_no_segments() {
        for path in [
            "",
            "users",
            "/a//b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%00",
            "/a/%ff",
            "//",
        ] {
            assert_eq!(segments(path, &IdForm::default()), None, "{path}");
        }
        let cut = segments("/a/auth0%7C1/", &IdForm::default());
        assert_eq!(cut.unwrap(), ["a", "auth0|1"]);
    }

    #[test]
    fn literals_come_before_parameters() {
        let one = Pattern::parse("GET /users/me").unwrap();
        let two = Pattern::parse("GET /users/{id}").unwrap();
        assert_eq!(one.order(&two), Ordering::Less);
        assert!(two.clashes(&Pattern::parse("GET /users/{id}/").unwrap()));
        assert!(!one.clashes(&two) && two.clashes(&Pattern::parse("GET /users/{x}").unwrap()));
        for bad in [
            "FETCH /users",
            "GET",
            "get /a",
            "GET a",
            "GET /a//b",
            "GET /{}",
            "GET /a{b}",
            "GET /a?b={c}",
            "GET /a/:id",
        ] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
