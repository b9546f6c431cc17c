//! Reads of the same by the same caller: one is sent, and the others wait for its answer.
//!
//! Where it takes long, one of them is sent beside it, and in time for an answer of its own each. Whoever
//! is sent takes what another brings first all the same: a provider that is slow, and not away, is late for
//! nobody who is waited for by others.

use std::pin::pin;

use futures_util::future::{Either, select};
use http::Response;
use tokio::time::timeout_at;

use super::body::Body;
use super::exchange::Exchange;
use super::wire::Failure;
use crate::cache::{CacheKey, Cached, Follow, Hit, Lead, Left, Served, Turn};
use crate::clock;
use crate::upstream::Forwarded;

/// After this part of the whole wait for another's answer somebody asks beside it.
const FOLLOWING: u32 = 4;

impl Exchange<'_> {
    /// What another brought that was under way, if any was. Otherwise it is to be asked for.
    pub(super) async fn found_meanwhile(&mut self) -> Option<Response<Body>> {
        let key = self.keeping.as_ref()?.key;
        if !matches!(self.cached, Cached::Miss(_)) {
            return None;
        }
        let (lead, others) = match self.shared.cache.turn(key) {
            Turn::Lead(lead) => {
                // Another may have brought it since it was looked for.
                if let Some(hit) = self.found_now(key) {
                    return Some(self.again(&hit, Cached::Hit(Served::Fresh)));
                }
                (Some(lead), None)
            }
            Turn::Follow(mut follow) => match Box::pin(self.followed(key, &mut follow)).await {
                Ok(hit) => return Some(self.coalesced(&hit)),
                Err(lead) => (lead, Some(follow)),
            },
        };
        if lead.is_some() {
            self.asked.app.leads();
        }
        if let Some(keeping) = &mut self.keeping {
            keeping.as_of = self.shared.cache.as_of();
            keeping.lead = lead;
            keeping.others = others;
        }
        None
    }

    pub(super) fn coalesced(&self, hit: &Hit) -> Response<Body> {
        self.again(hit, Cached::Hit(Served::Coalesced))
    }

    /// Who asks for the same already, and under which key it would be found.
    pub(super) fn others(&mut self) -> Option<(CacheKey, Follow)> {
        let keeping = self.keeping.as_mut()?;
        Some((keeping.key, keeping.others.take()?))
    }

    /// The provider's answer, or what others bring first.
    pub(super) async fn forwarded_beside(
        &self,
        key: CacheKey,
        others: Follow,
        body: Body,
    ) -> Either<Hit, Result<Forwarded, Failure>> {
        let (theirs, own) = (pin!(self.brought(key, others)), pin!(self.forwarded(body)));
        match select(theirs, own).await {
            Either::Left((Some(hit), _)) => Either::Left(hit),
            Either::Left((None, own)) => Either::Right(own.await),
            Either::Right((own, _)) => Either::Right(own),
        }
    }

    /// What those bring who ask already, whichever is the first, or leave to ask oneself: where they end
    /// without an answer, where one takes long and no other asks beside it yet, and where an answer of one's
    /// own would come too late otherwise.
    async fn followed(&self, key: CacheKey, follow: &mut Follow) -> Result<Hit, Option<Lead>> {
        let latest = self.shared.wire.upstream.sent_by(self.asked.ready);
        let long = || latest.min(clock::now() + self.shared.config.timeout / FOLLOWING);
        let mut until = long();
        loop {
            let ended = timeout_at(until, follow.ended()).await;
            if let Some(hit) = self.found_now(key) {
                return Ok(hit);
            }
            match ended {
                // Which may have begun just now.
                Ok(Left::Another) => until = long(),
                Ok(Left::Nobody) => return Err(None),
                Err(_) if until >= latest => return Err(None),
                Err(_) => match follow.lead_too() {
                    Some(lead) => return Err(Some(lead)),
                    None => until = latest,
                },
            }
        }
    }

    /// What those bring who ask as well; nothing once none of them is left.
    async fn brought(&self, key: CacheKey, mut others: Follow) -> Option<Hit> {
        loop {
            let left = others.ended().await;
            match self.found_now(key) {
                None if left == Left::Another => {}
                found => return found,
            }
        }
    }

    /// What others have brought since it was looked for.
    fn found_now(&self, key: CacheKey) -> Option<Hit> {
        let wish = self.shared.cache.wish(&self.asked.headers);
        self.shared.cache.look_again(key, wish, clock::now())
    }
}
