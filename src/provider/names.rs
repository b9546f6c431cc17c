//! A few header names to be looked for in every request, in one walk through its headers: most others
//! are told apart by their length.

use http::{HeaderMap, HeaderName};

#[derive(Debug, Clone, Default)]
pub struct HeaderNames {
    all: Vec<HeaderName>,
    /// A bit for each length that one of them has, the last for all that are as long or longer.
    lengths: u64,
    /// By their length, the places of those that have it.
    of_length: Vec<Vec<usize>>,
}

impl HeaderNames {
    pub fn has(&self, name: &HeaderName) -> bool {
        self.place(name).is_some()
    }

    /// Where it stands among the names as they were given.
    pub fn place(&self, name: &HeaderName) -> Option<usize> {
        let length = name.as_str().len();
        if self.lengths & bit(length) == 0 {
            return None;
        }
        let mut alike = self.of_length.get(length)?.iter().copied();
        alike.find(|place| self.all.get(*place) == Some(name))
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

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn get(&self, place: usize) -> Option<&HeaderName> {
        self.all.get(place)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, HeaderName> {
        self.all.iter()
    }
}

fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl<'n> IntoIterator for &'n HeaderNames {
    type Item = &'n HeaderName;
    type IntoIter = std::slice::Iter<'n, HeaderName>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<HeaderName> for HeaderNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> HeaderNames {
        let all: Vec<HeaderName> = names.into_iter().collect();
        let longest = all.iter().map(|name| name.as_str().len()).max();
        let with = |length| {
            (0..all.len())
                .filter(|place| all[*place].as_str().len() == length)
                .collect()
        };
        let of_length = (0..=longest.unwrap_or(0)).map(with).collect();
        let lengths = all.iter().fold(0, |bits, name| bits | bit(name.as_str().len()));
        HeaderNames {
            all,
            lengths,
            of_length,
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
