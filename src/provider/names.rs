//! A few header names to be looked for in every request, in one walk through its headers: most others
//! are told apart by their length.

use http::{HeaderMap, HeaderName};

#[derive(Debug, Clone)]
pub struct HeaderNames {
    all: Vec<HeaderName>,
    /// The same with their places, shortest first.
    by_length: Vec<(HeaderName, usize)>,
    /// How many are shorter, for each length; longer ones stand with the longest.
    shorter: [usize; LENGTHS + 1],
}

/// Hardly any header's name is longer.
const LENGTHS: usize = 48;

impl HeaderNames {
    #[inline]
    pub fn has(&self, name: &HeaderName) -> bool {
        self.place(name).is_some()
    }

    /// Where it stands among the names as they were given.
    #[inline]
    pub fn place(&self, name: &HeaderName) -> Option<usize> {
        let (from, to) = self.as_long(name);
        let mut alike = self.by_length.get(from..to)?.iter();
        alike.find(|(own, _)| own == name).map(|(_, place)| *place)
    }

    /// Between which of `by_length` it would stand.
    #[inline]
    fn as_long(&self, name: &HeaderName) -> (usize, usize) {
        let length = length(name);
        (self.shorter[length], self.shorter[length + 1])
    }

    /// Whether one of them stands there twice.
    pub fn repeats(&self, headers: &HeaderMap) -> bool {
        let mut before = None;
        // Those of one name stand together.
        let mut again = headers
            .iter()
            .map(|(name, _)| name)
            .filter(|name| before.replace(*name) == Some(*name));
        again.any(|name| self.has(name))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, HeaderName> {
        self.all.iter()
    }
}

#[inline]
fn length(name: &HeaderName) -> usize {
    name.as_str().len().min(LENGTHS - 1)
}

impl Default for HeaderNames {
    fn default() -> HeaderNames {
        HeaderNames::from_iter([])
    }
}

impl FromIterator<HeaderName> for HeaderNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> HeaderNames {
        let all: Vec<HeaderName> = names.into_iter().collect();
        let mut by_length: Vec<(HeaderName, usize)> = all.iter().cloned().zip(0..).collect();
        by_length.sort_by_key(|(name, place)| (length(name), *place));
        let shorter = |than| by_length.partition_point(|(name, _)| length(name) < than);
        HeaderNames {
            shorter: std::array::from_fn(shorter),
            by_length,
            all,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{ACCEPT, COOKIE, HOST, TE};

    use super::*;

    #[test]
    fn a_name_that_stands_twice_repeats() {
        let names: HeaderNames = [HOST, ACCEPT].into_iter().collect();
        let repeats = |lines: [&HeaderName; 3]| {
            let mut headers = HeaderMap::new();
            lines
                .into_iter()
                .for_each(|name| _ = headers.append(name, HeaderValue::from_static("a")));
            names.repeats(&headers)
        };
        assert!(repeats([&HOST, &COOKIE, &HOST]) && repeats([&COOKIE, &ACCEPT, &ACCEPT]));
        assert!(!repeats([&HOST, &COOKIE, &COOKIE]) && !repeats([&HOST, &ACCEPT, &TE]));
    }

    #[test]
    fn each_name_has_its_place_and_no_other_has_one() {
        let names: HeaderNames = [HOST, ACCEPT, COOKIE].into_iter().collect();
        assert_eq!(
            [&HOST, &ACCEPT, &COOKIE].map(|name| names.place(name)),
            [Some(0), Some(1), Some(2)]
        );
        let long = HeaderName::try_from("x".repeat(1_000)).unwrap();
        assert!(
            [TE, HeaderName::from_static("x-host"), long]
                .iter()
                .all(|name| !names.has(name))
        );
    }
}
