//! Whom a write may change, from the request alone.

use super::source::{Exchange, Source};
use super::tell::Kind;
use super::{Credential, Matched, Provider, RequestHead, Tenant};
use crate::user::UserId;

/// What a write is about to do, if it changes users at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intended {
    /// Nothing that a row shows, or nobody can say to whom.
    Nothing,
    Users(Vec<UserId>),
    /// Only the answer will tell whom.
    NewUser,
}

impl Provider {
    /// What a request is about to do. Where only volatile fields can move it is nothing.
    pub fn intended(
        &self,
        tenant: &Tenant,
        matched: &Matched<'_>,
        credential: Credential,
        head: &RequestHead<'_>,
        request_body: Option<&[u8]>,
    ) -> Intended {
        let route = matched.route;
        let exchange = Exchange::new(self, tenant, matched, head, request_body, None);
        let applies = |kind: fn(&Kind) -> bool| {
            let mut tells = route.tells.iter();
            tells.any(|tell| kind(&tell.kind) && tell.applies(credential, &exchange))
        };
        if !route.writes || !applies(|kind| !matches!(kind, Kind::Mentioned(_))) {
            return Intended::Nothing;
        }
        let named = self.unanswered(tenant, matched, credential, head, request_body);
        if !named.is_empty() {
            return Intended::Users(named.into_iter().map(|sighting| sighting.id).collect());
        }
        match applies(is_told_by_the_answer) {
            true => Intended::NewUser,
            false => Intended::Nothing,
        }
    }
}

fn is_told_by_the_answer(kind: &Kind) -> bool {
    match kind {
        Kind::Whole(_) => true,
        Kind::Touched(sources) => sources.iter().any(|source| {
            matches!(
                source,
                Source::Answer(_) | Source::AnswerToken(_) | Source::Location
            )
        }),
        Kind::Partial(_) | Kind::List { .. } | Kind::Deleted(..) | Kind::Mentioned(_) => false,
    }
}
