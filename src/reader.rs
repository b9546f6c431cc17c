//! Reading one user with the tenant's own key.

use std::sync::Arc;

use http::StatusCode;

use crate::provider::{Provider, Sighting, Tenant};
use crate::record::{Receipt, Recorder};
use crate::upstream::{Priority, Upstream, UpstreamError};
use crate::user::{Observation, Origin, Position, Seen, Sent, Source, UserId};

/// What reading a user needs.
#[derive(Debug, Clone)]
pub struct Reader {
    pub provider: Arc<Provider>,
    pub tenant: Arc<Tenant>,
    pub upstream: Arc<Upstream>,
    pub recorder: Recorder,
}

/// Why a read told nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    #[error("there is no server key: set the provider's secret key")]
    NoKey,
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Whoever is asked for, the answer is the same.
    #[error("the provider answered 401, it does not take the server key: correct it")]
    KeyRefused,
    /// Neither the user nor its absence: an error of the provider's. The status that it meant.
    #[error("the provider answered {0}, which says nothing of the user")]
    Unclear(u16),
}

impl Reader {
    /// Reads a user and hands what it shows to the recorder.
    ///
    /// # Errors
    /// [`ReadFault`] where nothing was learned.
    pub async fn read(
        &self,
        user: &UserId,
        origin: Origin,
        priority: Priority,
    ) -> Result<(Receipt, Position), ReadFault> {
        let seen = self.look(user, origin, priority).await?;
        let sent = seen.sent.position;
        Ok((self.tell(seen), sent))
    }

    /// Reads a user; nobody is told of it.
    ///
    /// # Errors
    /// [`ReadFault`] where nothing was learned.
    pub async fn look(
        &self,
        user: &UserId,
        origin: Origin,
        priority: Priority,
    ) -> Result<Observation, ReadFault> {
        let request = self
            .provider
            .read_user(&self.tenant, user)
            .ok_or(ReadFault::NoKey)?;
        if self.upstream.refused_key().is_some() {
            self.try_key(priority).await?;
        }
        let answer = self.upstream.own(request, priority).await?;
        let (status, headers) = (answer.status, &answer.headers);
        let sighting = self
            .provider
            .read_user_answer(&self.tenant, user, status, headers, &answer.body);
        let meant = self.provider.effective_status(status, headers);
        let sighting = sighting.ok_or_else(|| ReadFault::of(meant))?;
        if matches!(sighting.seen, Seen::Missing) {
            self.try_key(priority).await?;
        }
        Ok(observed(sighting, answer.sent, origin))
    }

    /// Where a key that is not taken is answered as for somebody who is not there, or as anybody, only what it
    /// alone opens tells the one from the other: asked after such an answer, and before where it was not taken
    /// when it was tried last, for somebody may have mended it in between.
    ///
    /// # Errors
    /// [`ReadFault`] where it opens nothing, or nobody can tell.
    pub async fn try_key(&self, priority: Priority) -> Result<(), ReadFault> {
        let Some(request) = self.provider.opened_by_key(&self.tenant) else {
            return Ok(());
        };
        let answer = self.upstream.own(request, priority).await?;
        match self.upstream.note_opened(&answer) {
            meant if meant.is_success() => Ok(()),
            meant => Err(ReadFault::of(meant)),
        }
    }

    /// Whose this other name is: the user is read by it, and what that shows is recorded. Nothing where it
    /// is nobody's, or the read tells nothing.
    pub async fn user_of(&self, alias: &str) -> Option<UserId> {
        let request = self.provider.read_named(&self.tenant, alias)?;
        let answer = self.upstream.own(request.clone(), Priority::App).await.ok()?;
        let told = (answer.status, &answer.headers, &answer.body[..]);
        let sighting = self.provider.read_named_answer(&self.tenant, &request, told)?;
        let user = sighting.id.clone();
        let _not_awaited = self.tell(observed(sighting, answer.sent, Origin::Refetch));
        Some(user)
    }

    /// Hands over what was seen.
    pub fn tell(&self, seen: Observation) -> Receipt {
        self.recorder.submit(vec![seen].into())
    }
}

fn observed(Sighting { id, seen, .. }: Sighting, sent: Sent, origin: Origin) -> Observation {
    Observation {
        id,
        seen,
        sent,
        source: Source::own(origin, "read user"),
        unsettled: false,
    }
}

impl ReadFault {
    /// By the status that was meant: the outer one may be a 200 all the same.
    fn of(meant: StatusCode) -> ReadFault {
        match meant {
            StatusCode::UNAUTHORIZED => ReadFault::KeyRefused,
            meant => ReadFault::Unclear(meant.as_u16()),
        }
    }

    /// Whether the same read may tell more a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            ReadFault::NoKey | ReadFault::KeyRefused => false,
            ReadFault::Upstream(_) => true,
            ReadFault::Unclear(status) => *status >= 500 || *status == 429,
        }
    }
}
