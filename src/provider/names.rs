//! A few header names to be looked for in every request: most others are told apart by their length.

use http::HeaderName;

#[derive(Debug, Default)]
pub struct HeaderNames {
    /// By their length, each with its place among all.
    of_length: Vec<Vec<(HeaderName, usize)>>,
}

impl HeaderNames {
    pub fn has(&self, name: &HeaderName) -> bool {
        self.place(name).is_some()
    }

    /// Where it stands among the names as they were given.
    pub fn place(&self, name: &HeaderName) -> Option<usize> {
        let alike = self.of_length.get(name.as_str().len())?;
        let found = alike.iter().find(|(own, _)| own == name)?;
        Some(found.1)
    }
}

impl FromIterator<HeaderName> for HeaderNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> HeaderNames {
        let mut of_length: Vec<Vec<(HeaderName, usize)>> = Vec::new();
        for (place, name) in names.into_iter().enumerate() {
            let length = name.as_str().len();
            if of_length.len() <= length {
                of_length.resize_with(length + 1, Vec::new);
            }
            of_length[length].push((name, place));
        }
        HeaderNames { of_length }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, HOST, TE};

    use super::*;

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
