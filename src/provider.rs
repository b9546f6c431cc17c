//! A provider is data: one file of facts each, and this module, which reads them.
//!
//! It decides, from heads and bytes alone, what a request is, whose it is, what its answer tells
//! of which users, and how a listing goes on. It knows no tokio, hyper client or diesel; a
//! provider's name stands nowhere in its code.
//!
//! What must never be: an answer to another tenant that yields a [`Sighting`]; a body, token or
//! password in an error; a panic on anything from outside.

mod alias;
mod answer;
mod cache;
mod caller;
mod canon;
mod clocks;
mod compile;
pub mod console;
mod descriptor;
mod errors;
mod event;
mod extract;
mod form;
mod intended;
mod known;
mod login;
mod names;
mod own;
mod paging;
mod pointer;
mod poll;
mod procedure;
mod requests;
mod route;
mod secret;
mod shown;
mod source;
mod split;
mod tell;
mod template;
mod trial;
mod userless;
mod view;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use crate::clock::Instant;
use crate::user::{Head, IdType, Observation, Seen, Sent, Source, UserId};

pub use answer::OwnAnswer;
pub use cache::{CacheRules, Habit, Kept};
pub use caller::{Caller, Credential, Foreign};
pub use clocks::Clocks;
pub use descriptor::{Mistake, Provider, Setting};
pub use event::{Event, Tells};
pub use extract::{Answer, Extraction};
pub use intended::Intended;
pub use login::{Login, TokenHeader};
pub use names::HeaderNames;
pub use paging::{Cursor, Footing, Look, Next, Page, PageFault, PageRequest};
pub use poll::{PollPlace, Polled, Then};
pub use procedure::{Ask, Known, Outcome, Procedure, Purpose, Stopped};
pub use route::{Carries, Matched, Route, Unnamed};
pub use secret::Secret;
pub use shown::Shown;
pub use split::{Item, ItemSplitter, SplitFault};
pub use trial::Column;
pub use webhook::{EventKey, Refused, SigningSecret};

/// One tenant at a provider: what a listener is bound to, and the key for usertap's own reads.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The provider's name, as in the feed's `key.provider`.
    pub provider: String,
    /// What tells this tenant from others, in the descriptor's order: `project`, `branch`, or the
    /// fingerprint of the key. It is written to the database at the first start.
    pub identity: Vec<(String, String)>,
    /// Parts of it that can become others though the tenant stays the same: keys are renewed, addresses move.
    pub may_change: Vec<String>,
    /// The type of `users_sync.id`, which a setting may have made another than the provider's.
    pub id_type: IdType,
    /// The provider's base URL: a listing's links must stay there.
    pub upstream: Option<url::Url>,
    /// The server key, for usertap's own requests and to know the operator's requests by.
    pub key: Option<secrecy::SecretString>,
    /// The provider's other settings by their descriptor names (a publishable key).
    pub settings: Vec<(String, String)>,
}

/// So many requests in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// A limit of the provider's, and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub rate: Rate,
    /// Nothing where it counts every request.
    pub of: Option<Use>,
}

/// What a request does, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
}

impl Use {
    pub fn of(method: &Method) -> Use {
        match method.is_safe() {
            true => Use::Read,
            false => Use::Write,
        }
    }
}

impl Limit {
    /// `1000/10s`, or with `reads=` or `writes=` before it what alone it counts. `rate` reads the
    /// rest.
    pub fn read<E>(text: &str, rate: impl Fn(&str) -> Result<Rate, E>) -> Result<Limit, E> {
        let (of, text) = match text.trim().split_once('=') {
            Some(("reads", rest)) => (Some(Use::Read), rest),
            Some(("writes", rest)) => (Some(Use::Write), rest),
            _ => (None, text),
        };
        rate(text).map(|rate| Limit { rate, of })
    }

    pub fn counts(&self, what: Use) -> bool {
        self.of.is_none_or(|of| of == what)
    }
}

impl From<Rate> for Limit {
    fn from(rate: Rate) -> Limit {
        Limit { rate, of: None }
    }
}

/// The part of a request that decisions need.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: &'a Method,
    /// Without the base path, still percent-encoded.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// A request of the tenant's on a route that is known, and by what credential.
#[derive(Debug, Clone, Copy)]
pub struct RoutedRequest<'a> {
    pub tenant: &'a Tenant,
    pub matched: &'a Matched<'a>,
    pub credential: Credential,
    pub head: RequestHead<'a>,
    /// Decoded, where the route needs it.
    pub body: Option<&'a [u8]>,
}

/// A request that usertap sends with the tenant's own key.
#[derive(Debug, Clone)]
pub struct OwnRequest {
    pub method: Method,
    /// Path and query below the upstream's base.
    pub target: String,
    /// Credentials are marked sensitive.
    pub headers: HeaderMap,
    /// It needs a token that the provider gives, see [`Provider::login`].
    pub token: Option<TokenHeader>,
    /// JSON.
    pub body: Option<secrecy::SecretString>,
    /// It changes nothing, though its method could.
    pub is_question: bool,
}

impl OwnRequest {
    /// As what it counts: for limits, and for being sent twice.
    pub fn counts_as(&self) -> &Method {
        match self.is_question {
            true => &Method::GET,
            false => &self.method,
        }
    }
}

/// What one exchange told of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub id: UserId,
    pub seen: Seen,
    pub proof: Proof,
    /// See [`crate::user::Observation::unsettled`].
    pub unsettled: bool,
}

impl Sighting {
    /// By whom it was seen, and what may be claimed to have been known then.
    pub fn observed(self, sent: Sent, source: Arc<Source>) -> Observation {
        Observation {
            id: self.id,
            seen: self.seen,
            sent,
            source,
            unsettled: self.unsettled,
        }
    }
}

/// Whether an answer can prove by position, and from when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It shows the state at or after the moment its request was sent.
    AtSending,
    /// It may show the state of this long before.
    Lagging(Duration),
    /// Nobody knows how old it is.
    Never,
}

impl Proof {
    /// What an answer's sighting may claim to know, given the stamp of its request.
    pub fn stamp(self, head: &Head, sent: Sent, sent_at: Instant) -> Sent {
        match self {
            Proof::AtSending => sent,
            Proof::Lagging(lag) => head.sent_before(lag, sent_at),
            Proof::Never => Sent::NEVER,
        }
    }
}
