//! What users' JSON told when it was read before: the same text tells the same again.
//!
//! Apps read the same users over and over, and most have not changed; a hash of the text is a tenth of
//! the work of reading it. A text that was seen twice takes a place, whoever comes to the same place
//! puts it out, so the memory is bounded (some megabytes) and lives as long as the process. The hash
//! is keyed with a secret of the process: nobody can make two texts that pass for one another. What
//! must never be: a text that is read otherwise than the first time.

use std::sync::{Mutex, MutexGuard};

use crate::random;
use crate::user::{ContentHash, Profile, UserId, View};

/// Places for texts.
const PLACES: usize = 1 << 14;

pub(super) struct Known {
    secret: [u8; 32],
    places: Box<[Mutex<Place>]>,
}

#[derive(Default)]
struct Place {
    text: u128,
    told: Option<Box<Told>>,
}

/// All of a view but the text.
struct Told {
    id: UserId,
    profile: Profile,
    content: ContentHash,
    volatile: ContentHash,
    version: Option<i64>,
}

/// What a text is known by.
#[derive(Clone, Copy)]
pub(super) struct Text(u128);

impl Default for Known {
    fn default() -> Known {
        Known {
            secret: random::key(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Known {
    pub fn text(&self, text: &str) -> Text {
        let hash = blake3::keyed_hash(&self.secret, text.as_bytes());
        let (half, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 16], &[]));
        Text(u128::from_le_bytes(*half))
    }

    /// The user that this very text told.
    pub fn told(&self, known: Text, text: &str) -> Option<(UserId, View)> {
        let place = self.place(known);
        let told = place.told.as_ref().filter(|_| place.text == known.0)?;
        let view = View {
            raw: text.into(),
            profile: told.profile.clone(),
            content: told.content,
            volatile: told.volatile,
            version: told.version,
        };
        Some((told.id.clone(), view))
    }

    /// Remembers it from the second time on: most texts of a walk are never seen again.
    pub fn learn(&self, text: Text, id: &UserId, view: &View) {
        let mut place = self.place(text);
        place.told = (place.text == text.0).then(|| Box::new(Told::of(id, view)));
        place.text = text.0;
    }

    fn place(&self, text: Text) -> MutexGuard<'_, Place> {
        let place = &self.places[text.0 as usize % PLACES];
        place.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Told {
    fn of(id: &UserId, view: &View) -> Told {
        Told {
            id: id.clone(),
            profile: view.profile.clone(),
            content: view.content,
            volatile: view.volatile,
            version: view.version,
        }
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
    use crate::user::IdType;

    fn view(raw: &str, name: &str) -> View {
        View {
            raw: raw.into(),
            profile: Profile {
                name: Some(name.into()),
                ..Profile::default()
            },
            content: ContentHash([1; 16]),
            volatile: ContentHash([2; 16]),
            version: Some(3),
        }
    }

    #[test]
    fn a_text_is_known_the_third_time_and_no_other_is() {
        let known = Known::default();
        let id = UserId::parse("u1", IdType::Text).unwrap();
        let (raw, text) = ("{\"id\":\"u1\"}", known.text("{\"id\":\"u1\"}"));
        let (learned, other) = (view(raw, "Ada"), known.text("{\"id\":\"u1\" }"));
        known.learn(text, &id, &learned);
        assert!(known.told(text, raw).is_none());
        known.learn(text, &id, &learned);
        assert!(known.told(text, raw) == Some((id, learned)));
        assert!(known.told(other, "{\"id\":\"u1\" }").is_none());
    }

    #[test]
    fn who_comes_to_the_same_place_puts_it_out() {
        let known = Known::default();
        let id = UserId::parse("u1", IdType::Text).unwrap();
        let (one, two) = (Text(7), Text(7 + PLACES as u128));
        for _ in 0..2 {
            known.learn(one, &id, &view("1", "one"));
        }
        known.learn(two, &id, &view("2", "two"));
        assert!(known.told(one, "1").is_none() && known.told(two, "2").is_none());
    }

    #[test]
    fn each_process_has_hashes_of_its_own() {
        assert_ne!(Known::default().text("x").0, Known::default().text("x").0);
    }
}
