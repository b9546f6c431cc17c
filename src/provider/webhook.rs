//! Webhooks: whether one is the provider's own, and which users its event tells of.
//!
//! The signature is checked over the body as it came, before anything of it is read. What must never
//! be: an event that changes anything without a signature by a secret of this tenant's; a secret, a
//! body or an id in an error.

mod signature;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::pointer::Pointer;
use super::{Provider, Tenant, event};

pub(super) use signature::Scheme;
pub use signature::SigningSecret;

/// How this provider sends webhooks.
#[derive(Debug)]
pub(super) struct Webhooks {
    pub scheme: Scheme,
    /// How far the time of a signature may be from now.
    pub tolerance: TimeDelta,
    /// Where in the body the event's id stands, for a scheme that has none in its headers.
    pub id: Option<Pointer>,
    pub challenge: Option<Challenge>,
}

/// A GET by which the sender makes sure of the endpoint: what stands in the header is said back.
#[derive(Debug)]
pub(super) struct Challenge {
    pub header: HeaderName,
    /// Of the JSON object that is the answer.
    pub field: String,
}

/// No challenge is so long.
const LONGEST_CHALLENGE: usize = 1 << 10;

/// Why a webhook is not taken for the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has no signature of the form that this provider's have.
    Unsigned,
    /// No secret made the signature: the secret differs, or the body was changed on the way.
    Signature,
    /// Rightly signed, too long ago or ahead of time, by so much: repeated by somebody, or a clock is off.
    Timestamp { ahead: TimeDelta },
}

impl Refused {
    pub const WORDS: [&str; 3] = ["unsigned", "signature", "timestamp"];

    /// The word in the answer and the status.
    pub fn as_str(self) -> &'static str {
        let [unsigned, signature, timestamp] = Refused::WORDS;
        match self {
            Refused::Unsigned => unsigned,
            Refused::Signature => signature,
            Refused::Timestamp { .. } => timestamp,
        }
    }
}

/// Knows an event again when it is delivered a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventKey([u8; 16]);

/// What a signature says, once it is found right.
#[derive(Debug, PartialEq, Eq)]
struct Signed<'h> {
    /// Of the event, where the headers name it.
    id: Option<&'h str>,
    /// Where the scheme signs a time.
    at: Option<DateTime<Utc>>,
}

impl Provider {
    /// Whether the provider's file says how webhooks are signed.
    pub fn has_webhooks(&self) -> bool {
        self.webhooks.is_some()
    }

    /// A signing secret as the provider hands it out.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead; never the secret.
    pub fn signing_secret(&self, text: &str) -> Result<SigningSecret, &'static str> {
        match &self.webhooks {
            Some(webhooks) => webhooks.scheme.secret(text),
            None => Err("is of no use: this provider's file has no [webhooks]"),
        }
    }

    /// Checks a delivery's signature and age. Nothing to know it again by where the provider gives its
    /// events no id: the same bytes may well tell of another change.
    ///
    /// # Errors
    /// [`Refused`]: nothing of it may be believed.
    pub fn signed(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        secrets: &[SigningSecret],
        now: DateTime<Utc>,
    ) -> Result<Option<EventKey>, Refused> {
        let webhooks = self.webhooks.as_ref().ok_or(Refused::Unsigned)?;
        let signed = webhooks.scheme.check(headers, body, secrets)?;
        match signed.at.map(|at| at - now) {
            Some(ahead) if ahead.abs() > webhooks.tolerance => Err(Refused::Timestamp { ahead }),
            _ => Ok(webhooks.key(&signed, body)),
        }
    }

    /// What each event in a rightly signed body tells.
    pub fn webhook_events(&self, tenant: &Tenant, body: &[u8]) -> Vec<event::Event<'_>> {
        self.events(tenant, body)
    }

    /// The answer to a challenge, where these are the headers of one.
    pub fn challenged(&self, headers: &HeaderMap) -> Option<Value> {
        let challenge = self.webhooks.as_ref()?.challenge.as_ref()?;
        let mut values = headers.get_all(&challenge.header).iter();
        let said = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
        let answer = |said: &str| json!({ &challenge.field: said });
        (said.len() <= LONGEST_CHALLENGE).then(|| answer(said))
    }
}

impl Webhooks {
    fn key(&self, signed: &Signed<'_>, body: &[u8]) -> Option<EventKey> {
        let in_body = || {
            super::paging::raw_value(body, self.id.as_ref()?)?
                .as_str()
                .map(str::to_owned)
        };
        let id = signed.id.map(str::to_owned).or_else(in_body)?;
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(id)[..16]);
        Some(EventKey(key))
    }
}
