//! What a route's answer tells.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pointer::Pointer;
use super::source::{Exchange, Source, field};
use super::{Credential, Proof};
use crate::provider::form::Rank;
use crate::user::UserId;

/// One thing that an answer tells; a route may have several.
#[derive(Debug)]
pub(super) struct Tell {
    pub kind: Kind,
    /// Only to this kind of caller.
    pub rank: Option<Rank>,
    pub unsettled: bool,
    pub when_form: BTreeMap<String, String>,
    pub when_query: BTreeMap<String, String>,
    pub unless_query: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Whole(Pointer),
    Partial {
        at: Pointer,
        /// What alone of it is compared, if that is not all.
        fields: Option<Vec<String>>,
    },
    List {
        at: Pointer,
        item: Pointer,
        proof: Proof,
        /// Of a provider that leaves an empty list out: what such an answer has.
        empty_has: Vec<Pointer>,
    },
    Deleted(Vec<Source>, Done),
    Touched(Vec<Source>),
    Mentioned(Vec<Source>),
}

/// What the provider answers once a deletion is done. Whoever answers anything else (a login page,
/// an edge, a proxy) has said nothing of the user.
#[derive(Debug)]
pub(super) enum Done {
    Empty,
    /// A JSON object that shows all of this.
    Shows(Vec<(Pointer, Shown)>),
}

#[derive(Debug)]
pub(super) enum Shown {
    Value(Value),
    /// The id of a user who is deleted.
    Id,
}

impl Done {
    /// Whether the answer says that these users are deleted.
    pub(super) fn is_said(&self, exchange: &Exchange<'_>, ids: &[UserId]) -> bool {
        match self {
            Done::Empty => exchange
                .answer
                .is_some_and(|answer| answer.body.trim_ascii().is_empty()),
            Done::Shows(all) => exchange.answer_json().is_some_and(|body| {
                body.is_object() && all.iter().all(|(at, shown)| shown.is(at, body, exchange, ids))
            }),
        }
    }
}

impl Shown {
    fn is(&self, at: &Pointer, body: &Value, exchange: &Exchange<'_>, ids: &[UserId]) -> bool {
        let found = at.find(body);
        match self {
            Shown::Value(value) => found == Some(value),
            Shown::Id => {
                let id = found.and_then(|id| exchange.id_in(id));
                id.is_some_and(|id| ids.contains(&id))
            }
        }
    }
}

impl Tell {
    pub(super) fn is_for(&self, credential: Credential) -> bool {
        match self.rank {
            None => true,
            Some(Rank::Client) => credential == Credential::Client,
            Some(Rank::Server) => credential != Credential::Client,
        }
    }

    pub(super) fn applies(&self, exchange: &Exchange<'_>) -> bool {
        let request = &exchange.request;
        let has = |(name, value): (&String, &String)| exchange.form(name).as_ref() == Some(value);
        self.is_for(request.credential)
            && self.when_form.iter().all(has)
            && self.fits_query(request.head.query)
    }

    fn fits_query(&self, query: Option<&str>) -> bool {
        let query = query.unwrap_or_default().as_bytes();
        let has = |name: &String| url::form_urlencoded::parse(query).any(|(key, _)| key == name.as_str());
        let is = |(name, value): (&String, &String)| field(query, name).as_ref() == Some(value);
        self.when_query.iter().all(is) && !self.unless_query.iter().any(has)
    }

    pub(super) fn sources(&self) -> &[Source] {
        match &self.kind {
            Kind::Deleted(sources, _) | Kind::Touched(sources) | Kind::Mentioned(sources) => sources,
            Kind::Whole(_) | Kind::Partial { .. } | Kind::List { .. } => &[],
        }
    }

    /// Whether the answer's body must be read for it.
    pub(super) fn reads_body(&self) -> bool {
        self.sources().is_empty() || self.sources().iter().any(Source::is_in_body)
    }
}
