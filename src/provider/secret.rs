//! What a caller shows that only its owner has, and when the provider has judged it.

use http::{HeaderMap, StatusCode};

use super::caller::without_scheme;
use super::form::Rank;
use super::shown::Shown;
use super::source::Source;
use super::{Credential, Matched, Provider};
use crate::user::json;

/// A server's key or a user's token. Never kept, never shown: for hashing alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secret<'h> {
    Key(&'h [u8]),
    Token(&'h [u8]),
}

impl Provider {
    /// What is secret in a request. A public key, as browsers have it, is not.
    pub fn secret<'h>(&self, headers: &'h HeaderMap) -> Option<Secret<'h>> {
        let shown = self.shown(headers);
        let mut rules = self.credentials.iter().filter(|rule| rule.is == Rank::Server);
        let key = rules.find_map(|rule| rule.shown(&shown).ok().flatten().filter(|_| !rule.anyone));
        key.map(Secret::Key)
            .or_else(|| self.token_shown(&shown).map(Secret::Token))
    }

    /// Whether a success on this route says that the provider takes the caller's secret: elsewhere it
    /// may not have looked at it.
    pub fn judges(&self, matched: &Matched<'_>, credential: Credential) -> bool {
        let route = matched.route;
        match credential {
            Credential::Client => route.user.contains(&Source::Caller),
            Credential::OwnServer | Credential::Server => {
                route.judges && (route.own_path.is_some() || route.shows_whole())
            }
        }
    }

    /// Whether an answer on this route that means this refuses what the caller shows: to a write on nobody's
    /// own path it may be what the body holds, such as a password.
    pub fn refuses(&self, matched: &Matched<'_>, meant: StatusCode) -> bool {
        let route = matched.route;
        meant == StatusCode::UNAUTHORIZED && (!route.writes || route.own_path.is_some())
    }

    /// Calls `take` with the tokens that a successful answer gives out.
    pub fn issued(&self, matched: &Matched<'_>, body: &[u8], mut take: impl FnMut(Secret<'_>)) {
        let told = matched.route.tells.iter().flat_map(|tell| tell.sources());
        let mut pointers = told
            .filter_map(|source| match source {
                Source::AnswerToken(pointer) => Some(pointer),
                _ => None,
            })
            .peekable();
        if pointers.peek().is_none() {
            return;
        }
        let Some(body) = json::read_bytes(body) else {
            return;
        };
        let tokens = pointers.filter_map(|pointer| pointer.find(&body)?.as_str());
        tokens.for_each(|token| take(Secret::Token(token.as_bytes())));
    }

    /// Two tokens that differ are nobody's: the provider may have heard the other one.
    pub(super) fn token_shown<'h>(&self, shown: &Shown<'h>) -> Option<&'h [u8]> {
        let rule = self.token.as_ref()?;
        let token = shown.single(&rule.headers).ok()??;
        without_scheme(token, rule.scheme.as_deref())
    }
}
