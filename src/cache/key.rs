//! By what a kept answer is found: a keyed hash over everything that could change it.
//!
//! A key cannot be built without a request's headers, and all of them but the ignorable ones enter,
//! credentials first of all. The hash is SipHash-1-3 of 128 bits, made to be keyed and quick on texts as
//! short as these; its author holds so many rounds enough where nobody sees a hash (rust-lang/rust#29754).
//! Its key is made anew by each process and stored nowhere, and no hash is ever told, so nothing can be
//! learned from a cache key, nor two requests made to share one.

mod text;

use std::hash::{BuildHasherDefault, Hasher};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderName,
    ORIGIN, PRAGMA, PROXY_AUTHORIZATION, REFERER, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue};
use siphasher::sip128::SipHasher13;

use crate::provider::{CacheRules, HeaderNames, Shown};
use crate::random;
use text::Text;

/// Stands for a target and all that was said with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(u128);

/// Stands for the credentials of a request, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallerKey(u128);

#[cfg(test)]
impl CacheKey {
    pub(super) fn of_nobody(number: u128) -> CacheKey {
        CacheKey(number)
    }
}

#[cfg(test)]
impl CallerKey {
    pub(super) fn of_nobody(number: u128) -> CallerKey {
        CallerKey(number)
    }
}

pub(super) struct Keys {
    /// With its key, and nothing hashed yet.
    hasher: SipHasher13,
    names: HeaderNames,
    /// What each of them is.
    named: Vec<Named>,
}

/// What a header's name is to a key.
#[derive(Clone, Copy)]
enum Named {
    Connection,
    /// It never leaves for the provider, or changes nothing in what it answers.
    Skipped,
    /// Shorter than the name, and of no other.
    Number(u8),
    Spelled,
}

/// usertap's own headers never leave.
const OWN: &str = "x-usertap-";
/// What most requests carry.
const OFTEN: [HeaderName; 9] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_TYPE,
    ORIGIN,
    PRAGMA,
    REFERER,
    USER_AGENT,
];
/// What the parts of a text are: these, and the value of a header for whose name a number stands.
const PATH: u8 = 0;
const PARAMETER: u8 = 1;
const NAME: u8 = 2;
const VALUE: u8 = 3;
const CALLER: u8 = 4;
const REACHED: u8 = 5;
const NUMBERS_FROM: u8 = 6;

impl Keys {
    pub fn new(rules: &CacheRules) -> Keys {
        let of_connection = [
            HOST,
            PROXY_AUTHORIZATION,
            TE,
            TRANSFER_ENCODING,
            UPGRADE,
            HeaderName::from_static("keep-alive"),
            HeaderName::from_static("proxy-connection"),
            HeaderName::from_static("http2-settings"),
        ];
        let skipped = of_connection.into_iter().chain(rules.ignore.iter().cloned());
        let numbered = rules.shown.iter().cloned().chain(OFTEN);
        let (names, named): (Vec<HeaderName>, Vec<Named>) = [(CONNECTION, Named::Connection)]
            .into_iter()
            .chain(skipped.map(|name| (name, Named::Skipped)))
            .chain(numbered.zip((NUMBERS_FROM..=u8::MAX).map(Named::Number)))
            .unzip();
        Keys {
            hasher: SipHasher13::new_with_key(&random::key()),
            names: names.into_iter().collect(),
            named,
        }
    }

    /// Nothing where the `Connection` header takes a header away that could matter. `reached` is by which URL the
    /// proxy was reached, where answers differ by it.
    pub fn of(&self, target: &str, reached: Option<&str>, headers: &HeaderMap) -> Option<CacheKey> {
        let mut text = Text::new(self.hasher);
        push_target(&mut text, target);
        if let Some(reached) = reached {
            text.push(REACHED, reached.as_bytes());
        }
        for (name, value) in headers {
            match self.named(name) {
                Named::Connection if names_nothing(value) => continue,
                Named::Connection => return None,
                Named::Skipped => continue,
                Named::Number(number) => text.push(number, value.as_bytes()),
                Named::Spelled => {
                    text.push(NAME, name.as_str().as_bytes());
                    text.push(VALUE, value.as_bytes());
                }
            }
        }
        Some(CacheKey(text.hash()))
    }

    fn named(&self, name: &HeaderName) -> Named {
        let place = self.names.place(name);
        match place.and_then(|place| self.named.get(place)) {
            Some(named) => *named,
            None if name.as_str().starts_with(OWN) => Named::Skipped,
            None => Named::Spelled,
        }
    }

    /// Who shows nothing is one and the same.
    pub fn caller(&self, shown: &Shown<'_>) -> CallerKey {
        let mut text = Text::new(self.hasher);
        text.push(CALLER, &[]);
        for (place, value) in shown.lines() {
            text.push(NAME, &place.to_le_bytes());
            text.push(VALUE, value);
        }
        CallerKey(text.hash())
    }
}

fn names_nothing(connection: &HeaderValue) -> bool {
    let word = |part: &[u8]| {
        let part = part.trim_ascii();
        [&b"keep-alive"[..], b"close", b"te", b""]
            .iter()
            .any(|word| part.eq_ignore_ascii_case(word))
    };
    connection.as_bytes().split(|byte| *byte == b',').all(word)
}

/// The parameters sorted by name; those of one name keep their order, which may mean something. Names
/// that can be spelled in several ways leave all as it is.
fn push_target<'t>(text: &mut Text, target: &'t str) {
    let Some((path, query)) = target.split_once('?') else {
        return text.push(PATH, target.as_bytes());
    };
    text.push(PATH, path.as_bytes());
    if !query.contains('&') {
        return text.push(PARAMETER, query.as_bytes());
    }
    let name = |parameter: &&'t str| parameter.split_once('=').map_or(*parameter, |(name, _)| name);
    let mut parameters: Vec<&str> = query.split('&').collect();
    let has_one_spelling = |parameter| !name(parameter).contains(['%', '+']);
    if parameters.iter().all(has_one_spelling) {
        parameters.sort_by_key(name);
    }
    parameters
        .iter()
        .for_each(|parameter| text.push(PARAMETER, parameter.as_bytes()));
}

/// For keys that are hashes already.
pub(super) type Ready = BuildHasherDefault<Taken>;

#[derive(Debug, Default)]
pub(super) struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn rules() -> CacheRules {
        CacheRules {
            ignore: vec![HeaderName::from_static("x-nonce")],
            shown: [
                HeaderName::from_static("x-key"),
                HeaderName::from_static("x-token"),
            ]
            .into_iter()
            .collect(),
            ..CacheRules::default()
        }
    }

    fn keys() -> Keys {
        Keys::new(&rules())
    }

    #[test]
    fn every_header_counts_but_the_ignorable_and_those_that_never_leave() {
        let keys = keys();
        let plain = [("x-key", "a"), ("accept", "*/*")];
        let of = |more: &[(&str, &str)]| {
            keys.of("/u?a=1", None, &headers(&[&plain[..], more].concat()))
                .unwrap()
        };
        let same = of(&[]);
        for ignored in [
            ("x-nonce", "1"),
            ("host", "h"),
            ("connection", "keep-alive"),
            ("x-usertap-x", "1"),
        ] {
            assert_eq!(of(&[ignored]), same, "{ignored:?}");
        }
        for counts in [
            ("x-key", "b"),
            ("x-token", ""),
            ("accept-encoding", "gzip"),
            ("cookie", "a=1"),
        ] {
            assert_ne!(of(&[counts]), same, "{counts:?}");
        }
        let other = headers(&[("x-key", "b"), ("accept", "*/*")]);
        assert_ne!(keys.of("/u?a=1", None, &other), Some(same));
    }

    #[test]
    fn by_which_url_it_was_reached_counts_where_answers_tell_it() {
        let keys = keys();
        let of = |reached, headers: &HeaderMap| keys.of("/u", reached, headers).unwrap();
        let (none, host) = (HeaderMap::new(), headers(&[("host", "a")]));
        assert_eq!(of(Some("https://a"), &none), of(Some("https://a"), &host));
        for other in [None, Some("http://a"), Some("https://b")] {
            assert_ne!(of(other, &host), of(Some("https://a"), &host), "{other:?}");
        }
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let keys = keys();
        let of = |lines: &[(&str, &str)]| keys.of("/u", None, &headers(lines)).unwrap();
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        assert_ne!(of(&[("a", "b"), ("c", "d")]), of(&[("a", "bcd")]));
        assert_ne!(of(&[("accept", "bc")]), of(&[("x-key", "bc")]));
        // A parameter that reads as a header does.
        let as_header = keys.of("/u", None, &headers(&[("x-key", "?")])).unwrap();
        for number in (0..32).map(char::from) {
            assert_ne!(
                keys.of(&format!("/u?{number}\u{1}?"), None, &HeaderMap::new()),
                Some(as_header)
            );
        }
        assert_ne!(
            keys.of("/u?a", None, &HeaderMap::new()),
            keys.of("/u", None, &HeaderMap::new())
        );
    }

    #[test]
    fn the_order_of_parameters_is_no_matter_but_for_those_of_one_name() {
        let keys = keys();
        let of = |target| keys.of(target, None, &HeaderMap::new());
        assert_eq!(of("/u?b=2&a=1"), of("/u?a=1&b=2"));
        assert_ne!(of("/u?a=2&a=1"), of("/u?a=1&a=2"));
        assert_ne!(of("/u?a=1&b=2"), of("/u?a=1"));
        assert_ne!(of("/u?a=1&%61=2"), of("/u?%61=2&a=1"));
    }

    #[test]
    fn a_header_that_the_connection_takes_away_is_no_key() {
        let taken = headers(&[("x-key", "a"), ("connection", "close, X-Key")]);
        assert_eq!(keys().of("/u", None, &taken), None);
    }

    #[test]
    fn long_headers_are_hashed_whole() {
        let keys = keys();
        let long = |last: &str| headers(&[("x-token", &format!("{}{last}", "a".repeat(5_000)))]);
        assert_ne!(keys.of("/u", None, &long("b")), keys.of("/u", None, &long("c")));
    }

    #[test]
    fn a_caller_is_what_it_shows_and_nothing_else() {
        let keys = keys();
        let caller = |lines: &[_]| keys.caller(&Shown::of(&rules().shown, &headers(lines)));
        let a = caller(&[("x-key", "a"), ("accept", "x")]);
        assert_eq!(caller(&[("x-key", "a")]), a);
        assert_ne!(a, caller(&[("x-token", "a")]));
        assert_eq!(caller(&[("accept", "x")]), caller(&[]));
        assert_ne!(caller(&[]), a);
        let both = caller(&[("x-key", "a"), ("x-token", "b")]);
        assert_eq!(caller(&[("x-token", "b"), ("x-key", "a")]), both);
        assert_ne!(caller(&[("x-token", "a"), ("x-key", "b")]), both);
    }

    #[test]
    fn each_process_has_hashes_of_its_own() {
        assert_ne!(
            keys().of("/u", None, &HeaderMap::new()),
            keys().of("/u", None, &HeaderMap::new())
        );
    }
}
