//! Whether the provider takes the key of usertap's own requests, as its last answers to them said, and whether it
//! is the provider.
//!
//! Known to this process alone, and not across a restart: the next request of its own tells again.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::{Fetched, Upstream};
use crate::provider::Provider;

/// No status is 0.
const TAKEN: u16 = 0;

#[derive(Debug, Default)]
pub(super) struct Key {
    /// Where none is, statuses mean what they say.
    provider: Option<Arc<Provider>>,
    refused: AtomicU16,
    answerer: Mutex<Answerer>,
}

/// Who answers at UPSTREAM, as the last question that had an answer found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answerer {
    /// Nobody has asked yet, or nobody answered.
    #[default]
    Unknown,
    /// The provider, or nobody of whom it is worth asking again: there is no key, or it is refused.
    Settled,
    /// Somebody else, by the status of that answer.
    Unlike(StatusCode),
}

impl Key {
    pub fn of(provider: Arc<Provider>) -> Key {
        Key {
            provider: Some(provider),
            ..Key::default()
        }
    }

    /// Told of the answer to a request of usertap's own, which meant this status.
    pub fn judge(&self, answer: &Fetched, meant: StatusCode) {
        let says = |provider: &Arc<Provider>| provider.says_of_key(meant, &answer.headers, &answer.body);
        if let Some(said) = self.provider.as_ref().map_or(Some(meant), says) {
            self.note(said);
        }
    }

    /// Told what the answer to a request of usertap's own means. An answer that is neither success nor
    /// refusal says nothing of the key; only that a user is not there is said to none but a key that is taken.
    fn note(&self, meant: StatusCode) {
        match meant {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.set(meant.as_u16()),
            meant if meant.is_success() || meant == StatusCode::NOT_FOUND => self.set(TAKEN),
            _ => {}
        }
    }

    fn set(&self, refused: u16) {
        match (self.refused.swap(refused, Ordering::Relaxed), refused) {
            (TAKEN, TAKEN) => {}
            (TAKEN, status) => tracing::error!(
                status,
                "the provider refuses usertap's own requests: correct the server key; until then users are not re-read"
            ),
            (_, TAKEN) => tracing::info!("the provider takes usertap's own requests again"),
            _ => {}
        }
    }

    /// The status of the refusal, while there is one.
    pub fn refused(&self) -> Option<u16> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|status| *status != TAKEN)
    }

    fn answerer(&self) -> MutexGuard<'_, Answerer> {
        self.answerer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// The status with which the provider refuses the key of usertap's own requests, while it does.
    pub fn refused_key(&self) -> Option<u16> {
        self.key.refused()
    }

    /// Told of the answer to a request for what the key alone opens; gives what it meant.
    pub fn note_opened(&self, answer: &Fetched) -> StatusCode {
        let meant = (self.meant)(answer.status, &answer.headers);
        match meant {
            meant if meant.is_success() => self.key.set(TAKEN),
            meant if meant.is_server_error() || meant == StatusCode::TOO_MANY_REQUESTS => {}
            meant => self.key.set(meant.as_u16()),
        }
        meant
    }

    pub fn answerer(&self) -> Answerer {
        *self.key.answerer()
    }

    /// Somebody who showed the key was refused: it is to be asked about.
    pub fn doubt_key(&self) {
        let mut answerer = self.key.answerer();
        if *answerer == Answerer::Settled {
            *answerer = Answerer::Unknown;
        }
    }

    /// Gives who it was taken for before.
    pub fn note_answerer(&self, now: Answerer) -> Answerer {
        std::mem::replace(&mut *self.key.answerer(), now)
    }

    /// The status of what answered in the provider's place.
    pub fn unlike(&self) -> Option<StatusCode> {
        match self.answerer() {
            Answerer::Unlike(status) => Some(status),
            Answerer::Unknown | Answerer::Settled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_until_a_request_is_answered_with_the_key() {
        let key = Key::default();
        let after = |status: u16| {
            key.note(StatusCode::from_u16(status).unwrap());
            key.refused()
        };
        for status in [500, 429] {
            assert_eq!(after(status), None, "{status}");
        }
        for (status, refused) in [(401, Some(401)), (503, Some(401)), (403, Some(403)), (200, None)] {
            assert_eq!(after(status), refused, "{status}");
        }
        assert_eq!((after(401), after(404)), (Some(401), None));
    }
}
