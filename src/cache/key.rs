//! By what a kept answer is found: a keyed hash over everything that could change it.
//!
//! A key cannot be built without a request's headers, and all of them but the ignorable ones enter,
//! credentials first of all. The hash's own key is made anew by each process and stored nowhere, so
//! nothing can be learned from a cache key, nor two requests made to share one.

use std::hash::{BuildHasherDefault, Hasher};

use blake3::Hasher as Blake3;
use http::header::{CONNECTION, HOST, HeaderName, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};

use crate::provider::{CacheRules, HeaderNames};
use crate::random;

/// Stands for a target and all that was said with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(u128);

/// Stands for the credentials of a request, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallerKey(u128);

pub(super) struct Keys {
    secret: [u8; 32],
    /// Never leave for the provider, or change nothing in what it answers.
    skipped: HeaderNames,
    shown: HeaderNames,
}

/// usertap's own headers never leave.
const OWN: &str = "x-usertap-";

impl Keys {
    /// `by_host`: answers differ by the name by which the proxy was reached.
    pub fn new(rules: &CacheRules, by_host: bool) -> Keys {
        let connection = [
            CONNECTION,
            PROXY_AUTHORIZATION,
            TE,
            TRANSFER_ENCODING,
            UPGRADE,
            HeaderName::from_static("keep-alive"),
            HeaderName::from_static("proxy-connection"),
            HeaderName::from_static("http2-settings"),
        ];
        Keys {
            secret: random::key(),
            skipped: connection
                .into_iter()
                .chain((!by_host).then_some(HOST))
                .chain(rules.ignore.iter().cloned())
                .collect(),
            shown: rules.shown.iter().cloned().collect(),
        }
    }

    /// Nothing where the `Connection` header takes a header away that could matter.
    pub fn of(&self, target: &str, headers: &HeaderMap) -> Option<CacheKey> {
        let mut text = Text::new(&self.secret);
        push_target(&mut text, target);
        for (name, value) in headers {
            if *name == CONNECTION && !names_nothing(value) {
                return None;
            }
            if self.skipped.has(name) || name.as_str().starts_with(OWN) {
                continue;
            }
            text.push(name.as_str().as_bytes());
            text.push(value.as_bytes());
        }
        Some(CacheKey(text.hash()))
    }

    /// Nothing where the request shows nobody.
    pub fn caller(&self, headers: &HeaderMap) -> Option<CallerKey> {
        let place = |(name, value)| self.shown.place(name).map(|place| (place, name, value));
        let mut shown: Vec<(usize, &HeaderName, &HeaderValue)> = headers.iter().filter_map(place).collect();
        if shown.is_empty() {
            return None;
        }
        // In whatever order they come; those of one name keep theirs.
        shown.sort_by_key(|(place, ..)| *place);
        let mut text = Text::new(&self.secret);
        text.push(b"caller");
        for (_, name, value) in shown {
            text.push(name.as_str().as_bytes());
            text.push(value.as_bytes());
        }
        Some(CallerKey(text.hash()))
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

/// The parameters sorted by name; those of one name keep their order, which may mean something.
fn push_target(text: &mut Text<'_>, target: &str) {
    let Some((path, query)) = target.split_once('?') else {
        return text.push(target.as_bytes());
    };
    text.push(path.as_bytes());
    text.push(b"?");
    if !query.contains('&') {
        return text.push(query.as_bytes());
    }
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_by_key(|parameter| parameter.split('=').next());
    parameters
        .iter()
        .for_each(|parameter| text.push(parameter.as_bytes()));
}

/// Headers are short and many: they are put together before they are hashed. Most requests are
/// smaller than one chunk of the hash, which is hashed at once.
const PIECE: usize = blake3::CHUNK_LEN;

/// What is hashed: each part with its length, so that no two sequences of parts are the same text.
struct Text<'k> {
    secret: &'k [u8; 32],
    /// Of a longer text.
    hasher: Option<Box<Blake3>>,
    piece: [u8; PIECE],
    filled: usize,
}

impl Text<'_> {
    fn new(secret: &[u8; 32]) -> Text<'_> {
        Text {
            secret,
            hasher: None,
            piece: [0; PIECE],
            filled: 0,
        }
    }

    fn push(&mut self, part: &[u8]) {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
        let end = self.filled + length.len() + part.len();
        if let Some(room) = self.piece.get_mut(self.filled..end) {
            let (first, rest) = room.split_at_mut(length.len());
            first.copy_from_slice(&length);
            rest.copy_from_slice(part);
            self.filled = end;
            return;
        }
        self.put(&length);
        self.put(part);
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.piece.get_mut(self.filled..self.filled + bytes.len()) {
            room.copy_from_slice(bytes);
            self.filled += bytes.len();
            return;
        }
        let piece = self.piece.get(..self.filled).unwrap_or_default();
        let hasher = self
            .hasher
            .get_or_insert_with(|| Box::new(Blake3::new_keyed(self.secret)));
        hasher.update(piece);
        hasher.update(bytes);
        self.filled = 0;
    }

    fn hash(self) -> u128 {
        let piece = self.piece.get(..self.filled).unwrap_or_default();
        let hash = match self.hasher {
            None => blake3::keyed_hash(self.secret, piece),
            Some(mut hasher) => hasher.update(piece).finalize(),
        };
        let (half, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 16], &[]));
        u128::from_le_bytes(*half)
    }
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

    fn keys() -> Keys {
        let rules = CacheRules {
            ignore: vec![HeaderName::from_static("x-nonce")],
            shown: vec![
                HeaderName::from_static("x-key"),
                HeaderName::from_static("x-token"),
            ],
            ..CacheRules::default()
        };
        Keys::new(&rules, false)
    }

    #[test]
    fn every_header_counts_but_the_ignorable_and_those_that_never_leave() {
        let keys = keys();
        let plain = [("x-key", "a"), ("accept", "*/*")];
        let of = |more: &[(&str, &str)]| keys.of("/u?a=1", &headers(&[&plain[..], more].concat())).unwrap();
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
        assert_ne!(keys.of("/u?a=1", &other), Some(same));
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let keys = keys();
        let of = |lines: &[(&str, &str)]| keys.of("/u", &headers(lines)).unwrap();
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        assert_ne!(of(&[("a", "b"), ("c", "d")]), of(&[("a", "bcd")]));
        assert_ne!(
            keys.of("/u?a", &HeaderMap::new()),
            keys.of("/u", &HeaderMap::new())
        );
    }

    #[test]
    fn the_order_of_parameters_is_no_matter_but_for_those_of_one_name() {
        let keys = keys();
        let of = |target| keys.of(target, &HeaderMap::new());
        assert_eq!(of("/u?b=2&a=1"), of("/u?a=1&b=2"));
        assert_ne!(of("/u?a=2&a=1"), of("/u?a=1&a=2"));
        assert_ne!(of("/u?a=1&b=2"), of("/u?a=1"));
    }

    #[test]
    fn a_header_that_the_connection_takes_away_is_no_key() {
        let taken = headers(&[("x-key", "a"), ("connection", "close, X-Key")]);
        assert_eq!(keys().of("/u", &taken), None);
    }

    #[test]
    fn long_headers_are_hashed_whole() {
        let keys = keys();
        let long = |last: &str| headers(&[("x-token", &format!("{}{last}", "a".repeat(5_000)))]);
        assert_ne!(keys.of("/u", &long("b")), keys.of("/u", &long("c")));
    }

    #[test]
    fn a_caller_is_what_it_shows_and_nothing_else() {
        let keys = keys();
        let a = keys.caller(&headers(&[("x-key", "a"), ("accept", "x")]));
        assert!(a.is_some() && a == keys.caller(&headers(&[("x-key", "a")])));
        assert_ne!(a, keys.caller(&headers(&[("x-token", "a")])));
        assert_eq!(keys.caller(&headers(&[("accept", "x")])), None);
    }

    #[test]
    fn each_process_has_hashes_of_its_own() {
        assert_ne!(
            keys().of("/u", &HeaderMap::new()),
            keys().of("/u", &HeaderMap::new())
        );
    }
}
