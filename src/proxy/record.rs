//! What an exchange told goes to the recorder.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;

use crate::clock::{self, Instant};
use crate::config::Sync;
use crate::provider::{Caller, Intended, Sighting, Unnamed};
use crate::record::{Intent, Receipt, Submission, carried_out};
use crate::user::{Observation, Origin, Sent, Source};

use super::exchange::Exchange;
use super::outcome::{Outcome, Why};
use super::traffic::Counted;

/// This part of the whole wait may go into finding out whose a write is.
const RESOLVING: u32 = 4;

/// What was known when the question was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub sent: Sent,
    pub at: Instant,
}

impl Exchange<'_> {
    /// Notes a write before it is sent, for somebody whom the provider knows: a crash forgets none.
    pub async fn note(&mut self) {
        if !self.matched.route.writes || !self.is_known() {
            return;
        }
        self.resolve().await;
        let users = match self.shared.config.provider.intended(&self.request()) {
            Intended::Nothing => return,
            Intended::Users(users) => users,
            Intended::NewUser => Vec::new(),
        };
        self.intent = self.shared.recorder.begin_write(users).await;
    }

    /// A write at another name of a user's is one at its id. Whose that is is asked before it is sent, and
    /// where nothing came of that, or the provider was not known to take the caller, after it was answered.
    /// Never for a request that the provider refuses.
    pub async fn resolve(&mut self) {
        let alias = self
            .shared
            .config
            .provider
            .alias(&self.matched)
            .map(str::to_owned);
        let Some(alias) = alias.filter(|_| self.matched.route.writes) else {
            return;
        };
        let user = self.shared.local.user_of(&alias);
        // The rest of the time is the write's own.
        if let Ok(Some(user)) = timeout(self.shared.config.timeout / RESOLVING, user).await {
            self.matched.is_of(&alias, &user);
        }
    }

    /// Hands over what was seen; nothing if there is nothing.
    pub fn submit(&self, sightings: Vec<Sighting>, stamp: Stamp) -> Option<Receipt> {
        if sightings.is_empty() {
            return None;
        }
        let source = Arc::new(self.source());
        let observe = |sighting| self.observation(sighting, stamp, &source);
        let observations: Vec<Observation> = sightings.into_iter().map(observe).collect();
        let intents = self.intent.iter().cloned().collect();
        Some(self.shared.recorder.submit_for(observations.into(), intents))
    }

    /// Hands over a whole answer's sightings and waits as long as the settings say.
    pub async fn recorded(&self, sightings: Vec<Sighting>, stamp: Stamp) -> Outcome {
        let Some(receipt) = self.submit(sightings, stamp) else {
            return Outcome::Nothing(Why::NoUser);
        };
        self.shared.wire.traffic.count(Counted::Recorded);
        match self.shared.config.sync {
            Sync::Async => Outcome::NotAwaited,
            Sync::BeforeResponse => {
                let began = receipt.waits().then(clock::now);
                let recorded = receipt.recorded(self.shared.config.sync_timeout).await;
                let waited = began.map_or(Duration::ZERO, |began| {
                    clock::now().saturating_duration_since(began)
                });
                self.shared.wire.traffic.meters.commit_waited(waited);
                Outcome::Recorded(recorded)
            }
        }
    }

    /// A write that may or may not have been carried out: its user is in doubt at once, and again
    /// when the provider can no longer be at it.
    pub fn left_in_doubt(&self) {
        if !self.matched.route.writes {
            return;
        }
        self.shared.wire.traffic.count(Counted::Unanswered);
        if !self.may_be_carried_out() {
            return;
        }
        match self.doubt() {
            Some(doubt) => {
                self.shared.recorder.submit(doubt);
                self.doubt_later();
            }
            None => self.never_learned(),
        }
    }

    /// A write was carried out, and its answer, though it can be read, names nobody. A redirection is as often
    /// a refusal: for that alone nobody is looked for.
    pub fn never_named(&self, status: StatusCode) {
        if status.is_success() && self.matched.route.unnamed != Unnamed::Nobody {
            self.never_learned();
        }
    }

    /// A user may have been made whom the answer does not name: it is looked for among the newest.
    pub fn never_learned(&self) {
        if let Some(intent) = self.intent.as_ref().filter(|intent| intent.makes_user()) {
            self.shared.recorder.never_learned(intent.clone());
        }
    }

    /// Whether the provider had all of the request, and it came from somebody whom it knows: anybody
    /// else costs no read and leaves nothing.
    pub fn may_be_carried_out(&self) -> bool {
        self.delivery.is_whole() && self.is_known()
    }

    /// See [`Shared::is_known`].
    pub fn is_known(&self) -> bool {
        self.shared.is_known(self.asked, Caller::Ours(self.credential))
    }

    /// At a stop at once: the doubt then stands in the database, and the next start reads the user.
    pub fn doubt_later(&self) {
        if !self.may_be_carried_out() {
            return;
        }
        let Some(doubt) = self.doubt() else {
            return self.never_learned();
        };
        let Ok(waits) = self.shared.doubts.clone().try_acquire_owned() else {
            // Too many wait already: the next start looks again.
            return self.intent.iter().for_each(Intent::stays);
        };
        let (shared, intents) = (self.shared.clone(), self.intent.iter().cloned().collect());
        self.shared.wire.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(carried_out()) => {}
                () = shared.wire.tasks.stopping() => {}
            }
            shared.recorder.submit_for(doubt, intents);
            drop(waits);
        });
    }

    /// The user that a write names, for want of an answer that shows it.
    pub fn hints(&self) -> Vec<Sighting> {
        self.shared.config.provider.unanswered(&self.request())
    }

    /// The user whom the request names, for want of an answer that is read.
    pub fn named(&self) -> Vec<Sighting> {
        self.shared.config.provider.unread(&self.request())
    }

    fn doubt(&self) -> Option<Submission> {
        let never = Stamp {
            sent: Sent::NEVER,
            at: self.asked.began,
        };
        let source = Arc::new(self.source());
        let observe = |sighting| self.observation(sighting, never, &source);
        let observations: Vec<Observation> = self.hints().into_iter().map(observe).collect();
        (!observations.is_empty()).then(|| observations.into())
    }

    fn observation(&self, sighting: Sighting, stamp: Stamp, source: &Arc<Source>) -> Observation {
        let sent = sighting
            .proof
            .stamp(self.shared.wire.upstream.head(), stamp.sent, stamp.at);
        sighting.observed(sent, source.clone())
    }

    fn source(&self) -> Source {
        Source {
            origin: if self.matched.route.writes {
                Origin::ProxyWrite
            } else {
                Origin::ProxyRead
            },
            route: self.matched.route.name.clone(),
            request_id: self.asked.name().into(),
        }
    }
}
