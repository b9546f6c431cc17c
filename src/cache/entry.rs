//! A kept answer, exactly as the provider gave it, and what is told when it is given again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::generations::{AsOf, Depends};
use super::key::CallerKey;
use super::word::{Cached, Served};
use crate::clock::Instant;
use crate::provider::CacheRules;

const CACHE: HeaderName = HeaderName::from_static("x-usertap-cache");
const RECORDED: HeaderName = HeaderName::from_static("x-usertap-recorded");

/// An answer that is to be kept.
#[derive(Debug, Clone)]
pub struct Kept<'k> {
    pub status: StatusCode,
    /// Without those of the connection.
    pub headers: &'k HeaderMap,
    pub body: &'k Bytes,
    /// What is told of its recording with every hit.
    pub recorded: HeaderValue,
    pub caller: CallerKey,
    pub answered: Instant,
    pub fit: Fit,
}

/// For what an answer is fit to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Fresh for less than the settings allow.
    pub at_most: Option<Duration>,
    /// It may be given for want of the provider too.
    pub lasts: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    status: StatusCode,
    /// Marked as a hit of this moment already: nothing need be added to a copy.
    headers: HeaderMap,
    body: Bytes,
    /// Seconds that it was old when it came.
    age: u64,
    pub answered: Instant,
    pub fresh_for: Duration,
    pub lasts: bool,
    pub depends: Depends,
    pub as_of: AsOf,
    pub caller: CallerKey,
}

/// What ages are counted to, in seconds (RFC 9111, 1.2.2): one that is added to is an age still.
const OLDEST: u64 = 1 << 31;

/// A kept answer about to be given again.
#[derive(Debug)]
pub struct Hit {
    entry: Arc<Entry>,
    age: u64,
}

impl Entry {
    /// Everything is copied, so that nothing holds on to the buffers it came in.
    pub fn new(
        kept: Kept<'_>,
        rules: &CacheRules,
        depends: Depends,
        as_of: AsOf,
        fresh_for: Duration,
    ) -> Entry {
        let mut headers = HeaderMap::with_capacity(kept.headers.len() + 3);
        for (name, value) in kept.headers {
            if !rules.once.has(name)
                && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
            {
                headers.append(name, value);
            }
        }
        let age = headers.remove(AGE).and_then(|age| seconds(&age)).unwrap_or(0);
        headers.insert(AGE, age.into());
        headers.insert(
            CACHE,
            HeaderValue::from_static(Cached::Hit(Served::Fresh).words()),
        );
        headers.insert(RECORDED, kept.recorded);
        Entry {
            status: kept.status,
            headers,
            body: Bytes::copy_from_slice(kept.body),
            age,
            answered: kept.answered,
            fresh_for,
            lasts: kept.fit.lasts,
            depends,
            as_of,
            caller: kept.caller,
        }
    }
}

/// Those that an `Age` tells; more than can be counted are `OLDEST`.
fn seconds(age: &HeaderValue) -> Option<u64> {
    let text = age.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().map_or(OLDEST, |seconds: u64| seconds.min(OLDEST)))
}

impl Hit {
    pub(super) fn new(entry: Arc<Entry>, now: Instant) -> Hit {
        let age = entry.age + now.saturating_duration_since(entry.answered).as_secs();
        Hit { entry, age }
    }

    pub fn status(&self) -> StatusCode {
        self.entry.status
    }

    /// In seconds, as `Age` tells it.
    pub(super) fn age(&self) -> u64 {
        self.age
    }

    /// As the provider sent them, and what became of the answer since.
    pub fn headers(&self, cached: Cached) -> HeaderMap {
        let mut headers = self.entry.headers.clone();
        if self.age != self.entry.age {
            headers.insert(AGE, self.age.into());
        }
        if cached != Cached::Hit(Served::Fresh) {
            headers.insert(CACHE, HeaderValue::from_static(cached.words()));
        }
        headers
    }

    pub fn body(&self) -> Bytes {
        self.entry.body.clone()
    }
}

/// What an entry costs beyond its bytes, roughly: its map, its place in the store.
const FIXED: usize = 512;

pub(super) fn weight(entry: &Entry) -> u32 {
    let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 64;
    let headers: usize = entry.headers.iter().map(header).sum();
    u32::try_from(FIXED + headers + entry.body.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_age_is_too_much_to_be_counted_on() {
        let told = |age| seconds(&HeaderValue::from_static(age));
        assert_eq!((told("0"), told("17")), (Some(0), Some(17)));
        for absurd in ["2147483649", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(told(absurd), Some(OLDEST), "{absurd}");
        }
        for junk in ["", "-1", "+1", "1, 2", "soon"] {
            assert_eq!(told(junk), None, "{junk}");
        }
    }
}
