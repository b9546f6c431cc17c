//! What users' JSON told when it was read before: the same text tells the same again.
//!
//! Apps read the same users over and over, and most have not changed; to find the same text again is a
//! tenth of the work of reading it. A text that was seen twice takes a place, whoever comes to the same
//! place puts it out, so the memory is bounded (some ten megabytes, 32 at the most; the largest users have no place) and
//! lives as long as the process. What must never be: a text that is read otherwise than the first time.
//! So it is compared whole; its hash says no more than where it is looked for.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard};

use foldhash::fast::RandomState;

use crate::user::{UserId, View};

/// Places for texts.
const PLACES: usize = 1 << 13;
/// Bytes of the longest text that has one.
const LONGEST: usize = 4 << 10;

pub(super) struct Known {
    hasher: RandomState,
    places: Box<[Mutex<Place>]>,
}

#[derive(Default)]
struct Place {
    /// By whom it was asked for last.
    seen: u64,
    told: Option<Box<Told>>,
}

struct Told {
    id: UserId,
    view: Arc<View>,
}

/// Where a text is looked for.
#[derive(Clone, Copy)]
pub(super) struct At(u64);

impl Default for Known {
    fn default() -> Known {
        Known {
            hasher: RandomState::default(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Known {
    pub fn at(&self, text: &str) -> At {
        At(self.hasher.hash_one(text))
    }

    /// The user that this very text told.
    pub fn told(&self, at: At, text: &str) -> Option<(UserId, Arc<View>)> {
        let place = self.place(at);
        let told = place.told.as_ref().filter(|told| *told.view.raw == *text)?;
        Some((told.id.clone(), told.view.clone()))
    }

    /// Remembers what its text told from the second time on: most texts of a walk are never seen again.
    pub fn learn(&self, at: At, id: &UserId, view: &Arc<View>) {
        let mut place = self.place(at);
        let is_again = place.seen == at.0 && view.raw.len() <= LONGEST;
        place.told = is_again.then(|| {
            let (id, view) = (id.clone(), view.clone());
            Box::new(Told { id, view })
        });
        place.seen = at.0;
    }

    fn place(&self, at: At) -> MutexGuard<'_, Place> {
        let place = &self.places[at.0 as usize % PLACES];
        place.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{ContentHash, IdType, Profile};

    fn view(raw: &str, name: &str) -> Arc<View> {
        Arc::new(View {
            raw: raw.into(),
            profile: Profile {
                name: Some(name.into()),
                ..Profile::default()
            },
            content: ContentHash([1; 16]),
            volatile: ContentHash([2; 16]),
            version: Some(3),
        })
    }

    #[test]
    fn a_text_is_known_the_third_time_and_no_other_is() {
        let known = Known::default();
        let id = UserId::parse("u1", IdType::Text).unwrap();
        let raw = "{\"id\":\"u1\"}";
        let (at, learned) = (known.at(raw), view(raw, "Ada"));
        known.learn(at, &id, &learned);
        assert!(known.told(at, raw).is_none());
        known.learn(at, &id, &learned);
        assert!(known.told(at, raw) == Some((id, learned)));
        assert!(
            known.told(at, "{\"id\":\"u1\" }").is_none(),
            "another text with the same hash"
        );
    }

    #[test]
    fn who_comes_to_the_same_place_puts_it_out() {
        let known = Known::default();
        let id = UserId::parse("u1", IdType::Text).unwrap();
        let (one, two) = (At(7), At(7 + PLACES as u64));
        for _ in 0..2 {
            known.learn(one, &id, &view("1", "one"));
        }
        assert!(known.told(one, "1").is_some());
        known.learn(two, &id, &view("2", "two"));
        assert!(known.told(one, "1").is_none() && known.told(two, "2").is_none());
    }

    #[test]
    fn the_largest_have_no_place() {
        let known = Known::default();
        let id = UserId::parse("u1", IdType::Text).unwrap();
        let raw = "x".repeat(LONGEST + 1);
        for _ in 0..3 {
            known.learn(known.at(&raw), &id, &view(&raw, "Ada"));
        }
        assert!(known.told(known.at(&raw), &raw).is_none());
    }
}
