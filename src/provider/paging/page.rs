//! What a request for a page came to.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use http::StatusCode;

use super::Cursor;
use crate::provider::Sighting;
use crate::user::{IdType, UserId};

/// How the mark of an item begins that cannot be read.
const UNREAD: &str = "? ";

/// What came back.
#[derive(Debug)]
pub struct Page {
    pub sightings: Vec<Sighting>,
    /// Items on the page, readable or not: what the account must balance.
    pub fetched: usize,
    pub malformed: usize,
    /// Of each malformed item: how many sightings stand before it, and what it is known again by.
    pub(in crate::provider) unread: Vec<(usize, u64)>,
    pub next: Next,
    /// All users there are, where the provider says so with the page.
    pub total: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    More(Cursor),
    End,
    /// The place where the page should start is gone (its user was deleted): go on from an
    /// older one. Never the end of the list.
    Lost,
}

/// Why a page's answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// An optional query parameter is not known to this server: ask again without the optional
    /// ones. If it comes again then, it is a failure like any other.
    #[error("the provider does not know an optional parameter")]
    UnknownParameter,
    #[error("the provider answered {status} to the listing")]
    Status { status: StatusCode },
    #[error("the listing is not the JSON that the provider's file promises: {what}")]
    Shape { what: &'static str },
    #[error(
        "the listing is not valid UTF-8 (from byte {at} on): have the user mended at the provider who stands there"
    )]
    Text { at: usize },
    /// Each page is well-formed, and they cannot be the whole list.
    #[error("the provider's list cannot be relied on: {what}")]
    Untrue { what: String },
}

impl Page {
    /// An answer that shows no list.
    pub(super) fn without_users(next: Next) -> Page {
        Page {
            sightings: Vec::new(),
            fetched: 0,
            malformed: 0,
            unread: Vec::new(),
            next,
            total: None,
        }
    }

    /// By what each item is known again, in the page's order: a user's id, and something of its own for
    /// one that cannot be read.
    pub fn marks(&self) -> Vec<String> {
        let mut marks = Vec::with_capacity(self.fetched);
        let mut unread = self.unread.iter().peekable();
        for (at, sighting) in self.sightings.iter().enumerate() {
            marks.extend(std::iter::from_fn(|| unread.next_if(|(before, _)| *before <= at)).map(mark));
            marks.push(sighting.id.to_string());
        }
        marks.extend(unread.map(mark));
        marks
    }

    /// What it shows, as one number; nothing where it is empty.
    pub fn sum(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        self.marks().hash(&mut hasher);
        (self.fetched > 0).then(|| hasher.finish())
    }

    /// Whose mark it is.
    pub fn user(mark: &str, kind: IdType) -> Option<UserId> {
        UserId::parse(mark, kind).filter(|_| !mark.starts_with(UNREAD))
    }

    /// Only those items of which `stays` is true, in the order of [`Page::marks`].
    pub fn retain(&mut self, stays: &[bool]) {
        let (mut at, mut sightings, mut unread) = (0, Vec::new(), Vec::new());
        let mut left = std::mem::take(&mut self.unread).into_iter().peekable();
        let mut is_kept = || {
            at += 1;
            stays.get(at - 1).copied().unwrap_or(true)
        };
        for (before, sighting) in std::mem::take(&mut self.sightings).into_iter().enumerate() {
            while let Some((_, item)) = left.next_if(|(at, _)| *at <= before) {
                unread.extend(is_kept().then_some((sightings.len(), item)));
            }
            sightings.extend(is_kept().then_some(sighting));
        }
        for (_, item) in left {
            unread.extend(is_kept().then_some((sightings.len(), item)));
        }
        self.fetched = sightings.len() + unread.len();
        (self.sightings, self.malformed, self.unread) = (sightings, unread.len(), unread);
    }

    /// The page before this one, read after it, and what this one has beyond it: whoever moved up between
    /// the two stands on both.
    pub fn behind(mut self, before: Page) -> Page {
        let known: HashSet<String> = before.marks().into_iter().collect();
        let new: Vec<bool> = self.marks().iter().map(|mark| !known.contains(mark)).collect();
        self.retain(&new);
        let shift = before.sightings.len();
        let mut unread = before.unread;
        unread.extend(self.unread.into_iter().map(|(at, item)| (at + shift, item)));
        let mut sightings = before.sightings;
        sightings.extend(self.sightings);
        Page {
            fetched: sightings.len() + unread.len(),
            malformed: unread.len(),
            sightings,
            unread,
            ..self
        }
    }
}

fn mark((_, item): &(usize, u64)) -> String {
    format!("{UNREAD}{item:x}")
}
