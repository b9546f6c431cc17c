//! In what a request shows who asks: its headers that could, in one walk, for whoever judges by them.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::caller::{Foreign, Part};
use super::{HeaderNames, Provider};

/// The headers in which a caller can show who it is, as far as they stand in a request. For judging
/// and hashing alone: credentials are among them.
pub struct Shown<'h>(Vec<Line<'h>>);

struct Line<'h> {
    /// Of its name among those that count.
    place: usize,
    value: &'h [u8],
    /// A comma parts values in it. In `Cookie` it is one sign among others (RFC 6265, 4.2.1).
    is_list: bool,
}

/// Some of the headers that count, by their places among them.
#[derive(Debug)]
pub(super) struct Places(Vec<usize>);

impl Places {
    /// Those of these names, which count from now on.
    pub fn among(shown: &mut Vec<HeaderName>, names: Vec<HeaderName>) -> Places {
        let place = |name| {
            let known = shown.iter().position(|shown| *shown == name);
            known.unwrap_or_else(|| {
                shown.push(name);
                shown.len() - 1
            })
        };
        Places(names.into_iter().map(place).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Provider {
    /// What a request shows of whoever sends it.
    pub fn shown<'h>(&self, headers: &'h HeaderMap) -> Shown<'h> {
        Shown::of(&self.cache_rules().shown, headers)
    }
}

impl<'h> Shown<'h> {
    /// The lines of these names.
    pub(crate) fn of(names: &HeaderNames, headers: &'h HeaderMap) -> Shown<'h> {
        let line = |(name, value): (&'h HeaderName, &'h HeaderValue)| {
            let place = names.place(name)?;
            let value = value.as_bytes();
            let is_list = *name != COOKIE;
            Some(Line {
                place,
                value,
                is_list,
            })
        };
        let mut lines: Vec<Line<'h>> = headers.iter().filter_map(line).collect();
        // In whatever order they come; those of one name keep theirs.
        lines.sort_by_key(|line| line.place);
        Shown(lines)
    }

    /// By the place of its name each; those of one name as they came.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &'h [u8])> {
        self.0.iter().map(|line| (line.place, line.value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, places: &Places) -> bool {
        self.0.iter().any(|line| places.0.contains(&line.place))
    }

    /// The one value of a header, whatever its generation. Twice, differing or joined is `Repeated`.
    pub(super) fn single(&self, places: &Places) -> Result<Option<&'h [u8]>, Foreign> {
        let mut found: Option<&Line<'h>> = None;
        for line in self.0.iter().filter(|line| places.0.contains(&line.place)) {
            // Those of one name stand together.
            let differs =
                found.is_some_and(|before| before.place == line.place || before.value != line.value);
            let is_joined = line.is_list && line.value.contains(&b',');
            if differs || is_joined {
                return Err(Foreign::Repeated);
            }
            found = Some(line);
        }
        Ok(found.map(|line| line.value))
    }

    /// Those of which a header stands there.
    pub(super) fn generations(&self, part: &Part) -> impl Iterator<Item = usize> {
        let generation = |line: &Line<'h>| part.headers.0.iter().position(|place| *place == line.place);
        self.0.iter().filter_map(generation)
    }

    pub(super) fn of_generation<'v>(&self, part: &'v Part, generation: usize) -> Option<&'v [u8]>
    where
        'h: 'v,
    {
        let place = part.headers.0.get(generation)?;
        let line = self.0.iter().find(|line| line.place == *place);
        let value = line.map(|line| line.value);
        value.or(part.default.as_deref().map(str::as_bytes))
    }
}
