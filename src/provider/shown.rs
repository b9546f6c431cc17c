//! In what a request shows who asks: its headers that could, in one walk, for whoever judges by them.

use http::{HeaderMap, HeaderName};

use super::caller::{Foreign, Part};
use super::{HeaderNames, Provider};

/// The headers in which a caller can show who it is, as far as they stand in a request. For judging
/// and hashing alone: credentials are among them.
pub struct Shown<'h>(Vec<Line<'h>>);

struct Line<'h> {
    /// Of its name among those that count.
    place: usize,
    name: &'h HeaderName,
    value: &'h [u8],
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
        let line = |(name, value): (&'h HeaderName, &'h http::HeaderValue)| {
            let place = names.place(name)?;
            let value = value.as_bytes();
            Some(Line { place, name, value })
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

    /// The one value of a header, whatever its generation. Twice, differing or joined is `Repeated`.
    pub(super) fn single(&self, names: &HeaderNames) -> Result<Option<&'h [u8]>, Foreign> {
        let mut found: Option<&Line<'h>> = None;
        for line in self.0.iter().filter(|line| names.has(line.name)) {
            // Those of one name stand together.
            let differs =
                found.is_some_and(|before| before.place == line.place || before.value != line.value);
            if differs || line.value.contains(&b',') {
                return Err(Foreign::Repeated);
            }
            found = Some(line);
        }
        Ok(found.map(|line| line.value))
    }

    /// Those of which a header stands there.
    pub(super) fn generations(&self, part: &Part) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|line| part.headers.place(line.name))
    }

    pub(super) fn of_generation<'v>(&self, part: &'v Part, generation: usize) -> Option<&'v [u8]>
    where
        'h: 'v,
    {
        let name = part.headers.get(generation)?;
        let line = self.0.iter().find(|line| line.name == name);
        let value = line.map(|line| line.value);
        value.or(part.default.as_deref().map(str::as_bytes))
    }
}
