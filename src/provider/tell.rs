//! What a route's answer tells.

use std::collections::BTreeMap;

use super::pointer::Pointer;
use super::source::{Exchange, Source};
use super::{Credential, Proof};
use crate::provider::form::Rank;

/// One thing that an answer tells; a route may have several.
#[derive(Debug)]
pub(super) struct Tell {
    pub kind: Kind,
    /// Only to this kind of caller.
    pub rank: Option<Rank>,
    pub unsettled: bool,
    pub when_form: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Whole(Pointer),
    Partial(Pointer),
    List {
        at: Pointer,
        item: Pointer,
        proof: Proof,
    },
    Deleted(Vec<Source>),
    Touched(Vec<Source>),
    Mentioned(Vec<Source>),
}

impl Tell {
    pub(super) fn is_for(&self, credential: Credential) -> bool {
        match self.rank {
            None => true,
            Some(Rank::Client) => credential == Credential::Client,
            Some(Rank::Server) => credential != Credential::Client,
        }
    }

    pub(super) fn applies(&self, credential: Credential, exchange: &Exchange<'_>) -> bool {
        let has = |(name, value): (&String, &String)| exchange.form(name).as_ref() == Some(value);
        self.is_for(credential) && self.when_form.iter().all(has)
    }

    pub(super) fn sources(&self) -> &[Source] {
        match &self.kind {
            Kind::Deleted(sources) | Kind::Touched(sources) | Kind::Mentioned(sources) => sources,
            Kind::Whole(_) | Kind::Partial(_) | Kind::List { .. } => &[],
        }
    }

    /// Whether the answer's body must be read for it.
    pub(super) fn reads_body(&self) -> bool {
        let in_body = |source: &Source| matches!(source, Source::Answer(_) | Source::AnswerToken(_));
        self.sources().is_empty() || self.sources().iter().any(in_body)
    }
}
