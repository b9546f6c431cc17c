//! The provider's webhooks: from a signed delivery to what is durable.
//!
//! ```text
//! no secret is set                        -> closed
//! not signed, wrongly signed, too old     -> refused, nothing of it is read
//! delivered before, and that was durable  -> acknowledged
//! tells of no user of ours                -> acknowledged
//! else                                    -> recorded; acknowledged once it is committed or journaled
//! ```
//!
//! What must never be: an acknowledgement of what would be lost with this process; anything believed
//! before its signature is found right; a body, an id or a secret in the log.

mod figures;
mod wrong;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use moka::sync::Cache;

use crate::clock;
use crate::config::Config;
use crate::provider::{EventKey, Provider, Refused, Sighting, SigningSecret, Tells, Tenant};
use crate::record::{Durable, Recorder};
use crate::user::{Observation, Origin, Sent, Source};
use figures::Counts;

pub use figures::Figures;

/// Events known again, by their ids, when they are delivered a second time. One that is forgotten, or has
/// no id, is only judged once more.
const REMEMBERED: u64 = 100_000;
/// Senders that got no answer try again within hours.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3_600);

/// Where webhooks come in.
#[derive(Debug)]
pub struct Intake {
    provider: Arc<Provider>,
    tenant: Arc<Tenant>,
    recorder: Recorder,
    secrets: RwLock<Secrets>,
    patience: Duration,
    /// Events that are durable, of those that have an id.
    durable: Cache<EventKey, ()>,
    counts: Counts,
}

/// What deliveries are judged by.
#[derive(Debug)]
struct Secrets {
    all: Vec<SigningSecret>,
    /// One of them stands in no setting: a restart forgets it.
    has_unkept: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// There is no secret to judge it by.
    Closed,
    /// It need not come again.
    Acknowledged(Word),
    Refused(Refused),
    /// It must come again.
    NotDurable,
}

/// Why a delivery was not read, so that nobody knows whose it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    Broken,
    /// It must come again.
    NotHeld,
}

/// Why a delivery need not come again; the word in the answer and the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A row changed.
    Applied,
    /// A read of the user is owed.
    Hint,
    /// The rows said so already, or something newer.
    Unchanged,
    /// It waits in the journal for the database.
    Journaled,
    /// The database refused a row; it is tried again.
    SetAside,
    Duplicate,
    /// It tells of no user.
    Ignored,
    /// The provider's file knows no event of this type.
    Unknown,
    /// Another tenant's.
    Foreign,
    /// Rightly signed, and not what the provider's file says.
    Malformed,
}

impl Word {
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Applied => "applied",
            Word::Hint => "hint",
            Word::Unchanged => "unchanged",
            Word::Journaled => "journaled",
            Word::SetAside => "set-aside",
            Word::Duplicate => "duplicate",
            Word::Ignored => "ignored",
            Word::Unknown => "unknown",
            Word::Foreign => "foreign",
            Word::Malformed => "malformed",
        }
    }

    /// It told of users of ours, now or when it came first.
    fn tells_of_users(self) -> bool {
        match self {
            Word::Applied
            | Word::Hint
            | Word::Unchanged
            | Word::Journaled
            | Word::SetAside
            | Word::Duplicate => true,
            Word::Ignored | Word::Unknown | Word::Foreign | Word::Malformed => false,
        }
    }

    /// Of events that tell of no user: what is least understood.
    fn or(self, tells: Tells) -> Word {
        let told = match tells {
            Tells::Users(_) | Tells::Nothing => Word::Ignored,
            Tells::Foreign => Word::Foreign,
            Tells::Unknown => Word::Unknown,
            Tells::Malformed => Word::Malformed,
        };
        let order = [Word::Malformed, Word::Unknown, Word::Foreign];
        let first = order.into_iter().find(|word| *word == self || *word == told);
        first.unwrap_or(Word::Ignored)
    }
}

impl Intake {
    pub fn new(config: &Config, recorder: Recorder) -> Intake {
        let durable = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(REMEMBERED_FOR)
            .build();
        Intake {
            provider: config.provider.clone(),
            tenant: config.tenant.clone(),
            recorder,
            secrets: RwLock::new(Secrets {
                all: config.webhook_secrets.clone(),
                has_unkept: false,
            }),
            patience: config.sync_timeout,
            durable,
            counts: Counts::new(clock::now()),
        }
    }

    /// Whether there is a secret to judge deliveries by.
    pub fn is_open(&self) -> bool {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        !secrets.all.is_empty()
    }

    /// Takes in what is signed with this secret too, until the process ends.
    pub fn accept(&self, secret: &str) {
        if let Ok(secret) = self.provider.signing_secret(secret) {
            let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
            if !secrets.all.contains(&secret) {
                secrets.all.push(secret);
                secrets.has_unkept = true;
            }
        }
    }

    /// Whether a restart would forget a secret.
    pub fn has_unkept(&self) -> bool {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.has_unkept
    }

    fn secrets(&self) -> Vec<SigningSecret> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.all.clone()
    }

    /// Nothing while it is closed.
    pub fn figures(&self) -> Option<Figures> {
        let written = self.recorder.written_by_apps();
        self.is_open().then(|| self.counts.shown(clock::now(), written))
    }

    /// Takes a delivery in.
    pub async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Taken {
        if !self.is_open() {
            return Taken::Closed;
        }
        let taken = self.judge(headers, body).await;
        self.counts
            .count(taken, clock::now(), self.recorder.written_by_apps());
        taken
    }

    /// Counts one whose body did not come to its end.
    pub fn unread(&self, why: Unread) {
        let is_first = self.counts.count_unread(why);
        if is_first && why == Unread::TooLarge {
            tracing::warn!(
                "a webhook was too large to be read, and is refused each time it comes (said once); if it is the provider's, \
                 its users follow with the next read or reconcile"
            );
        }
    }

    async fn judge(&self, headers: &HeaderMap, body: &[u8]) -> Taken {
        let key = match self
            .provider
            .signed(headers, body, &self.secrets(), clock::wall())
        {
            Ok(key) => key,
            Err(refused) => {
                tracing::debug!(reason = refused.as_str(), "a webhook is refused");
                return Taken::Refused(refused);
            }
        };
        if key.is_some_and(|key| self.durable.contains_key(&key)) {
            return Taken::Acknowledged(Word::Duplicate);
        }
        let (mut told, mut untold) = (Vec::new(), Word::Ignored);
        for event in self.provider.webhook_events(&self.tenant, body) {
            match event.tells {
                Tells::Users(users) => told.push((event.name, users)),
                tells => untold = untold.or(tells),
            }
        }
        let is_part = !told.is_empty();
        let taken = match is_part {
            true => self.record(key, told).await,
            false => Taken::Acknowledged(untold),
        };
        if taken != Taken::NotDurable {
            self.misunderstood(untold, is_part);
        }
        taken
    }

    /// `is_part`: other events of the delivery told of users.
    fn misunderstood(&self, word: Word, is_part: bool) {
        if matches!(word, Word::Unknown | Word::Malformed)
            && self.counts.is_first_misunderstood(word, is_part)
        {
            tracing::warn!(
                word = word.as_str(),
                "a webhook is acknowledged and not understood (said once); its provider's file may be behind"
            );
        }
    }

    async fn record(&self, key: Option<EventKey>, told: Vec<(&str, Vec<Sighting>)>) -> Taken {
        let each = |(event, users): (&str, Vec<Sighting>)| {
            let source = || Source::own(Origin::Webhook, event);
            let observed = users.into_iter().map(|user| user.observed(Sent::NEVER, source()));
            observed.collect::<Vec<_>>()
        };
        let observations: Vec<Observation> = told.into_iter().flat_map(each).collect();
        let receipt = self.recorder.submit(observations.into());
        let word = match receipt.durable(self.patience).await {
            Durable::No => return Taken::NotDurable,
            Durable::Journaled => Word::Journaled,
            Durable::Committed { set_aside: true, .. } => Word::SetAside,
            Durable::Committed { changed: true, .. } => Word::Applied,
            Durable::Committed { doubts: 1.., .. } => Word::Hint,
            Durable::Committed { .. } => Word::Unchanged,
        };
        if let Some(key) = key {
            self.durable.insert(key, ());
        }
        Taken::Acknowledged(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_called_by_what_is_least_understood_of_it() {
        let called = |tells: [Tells; 3]| tells.into_iter().fold(Word::Ignored, Word::or);
        for (tells, word) in [
            ([Tells::Nothing, Tells::Nothing, Tells::Nothing], Word::Ignored),
            ([Tells::Nothing, Tells::Foreign, Tells::Nothing], Word::Foreign),
            ([Tells::Foreign, Tells::Unknown, Tells::Nothing], Word::Unknown),
            (
                [Tells::Malformed, Tells::Unknown, Tells::Foreign],
                Word::Malformed,
            ),
        ] {
            assert_eq!(called(tells), word);
        }
    }
}
