//! Whom a write may change, from the request alone.

use super::source::{Exchange, Source};
use super::tell::Kind;
use super::{Provider, RoutedRequest, Unnamed};
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
    pub fn intended(&self, request: &RoutedRequest<'_>) -> Intended {
        let route = request.matched.route;
        let exchange = Exchange::new(self, request, None);
        let applies = |kind: fn(&Kind) -> bool| route.told(&exchange).any(|tell| kind(&tell.kind));
        if !route.writes || !applies(|kind| !matches!(kind, Kind::Mentioned(_))) {
            return Intended::Nothing;
        }
        let named = self.unanswered(request);
        if !named.is_empty() {
            return Intended::Users(named.into_iter().map(|sighting| sighting.id).collect());
        }
        match applies(is_told_by_the_answer) {
            true => Intended::NewUser,
            false => Intended::Nothing,
        }
    }

    /// Whether a write that was carried out, and whose answer shows nobody, can have changed somebody who
    /// is there and whom its request does not name.
    pub fn may_change_anybody(&self, request: &RoutedRequest<'_>) -> bool {
        let route = request.matched.route;
        if route.unnamed != Unnamed::Unsaid {
            return route.unnamed == Unnamed::Somebody;
        }
        let exchange = Exchange::new(self, request, None);
        let mut told = route.told(&exchange).peekable();
        let is_of_volatile =
            told.peek().is_some() && told.all(|tell| matches!(tell.kind, Kind::Mentioned(_)));
        !is_of_volatile && exchange.ids(&route.user).is_empty()
    }
}

fn is_told_by_the_answer(kind: &Kind) -> bool {
    match kind {
        Kind::Whole(_) => true,
        Kind::Touched(sources) => sources.iter().any(Source::is_in_answer),
        Kind::Partial { .. } | Kind::List { .. } | Kind::Deleted(..) | Kind::Mentioned(_) => false,
    }
}
