//! One sighting of one user, from wherever it came.

use std::sync::Arc;

use super::{Sent, UserId, View};

/// What was seen of a user, by whom, and what was known when the question was sent.
#[derive(Debug, Clone)]
pub struct Observation {
    pub id: UserId,
    pub seen: Seen,
    pub sent: Sent,
    pub source: Arc<Source>,
    /// The provider goes on changing this user after the answer (Stack Auth's personal team):
    /// the answer is recorded as it is and the user is read once more, without anybody waiting.
    pub unsettled: bool,
}

impl Observation {
    /// Of usertap's own: nobody was asked, so it proves nothing.
    pub fn unasked(id: UserId, seen: Seen, source: &Arc<Source>) -> Observation {
        Observation {
            id,
            seen,
            sent: Sent::NEVER,
            source: source.clone(),
            unsettled: false,
        }
    }
}

/// What an exchange tells of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The whole user.
    Whole(Arc<View>),
    /// Some of its fields, numbers exact: compared with the row, never written.
    Partial(Box<serde_json::Value>),
    /// The provider carried out a deletion.
    Deleted,
    /// The provider's own not-found at the user's own path, asked with the tenant's server key.
    Missing,
    /// It may have changed, nobody said how.
    Touched,
    /// Its id was told and only volatile fields can have moved.
    Mentioned,
    /// A re-read is late: a row with nothing but the id must stand, so that foreign keys hold.
    Awaited,
}

impl Seen {
    pub fn is_deletion(&self) -> bool {
        matches!(self, Seen::Deleted | Seen::Missing)
    }
}

/// Where an observation comes from; it stands in the change rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub origin: Origin,
    /// The descriptor's name of the route, e.g. `PATCH /users/{id}`; never a real path.
    pub route: Arc<str>,
    /// usertap's own id of the exchange, as in its log.
    pub request_id: Box<str>,
}

impl Source {
    /// Of something that usertap does by itself.
    pub fn own(origin: Origin, route: &str) -> Arc<Source> {
        Arc::new(Source {
            origin,
            route: route.into(),
            request_id: uuid::Uuid::new_v4().to_string().into(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    ProxyRead,
    ProxyWrite,
    Backfill,
    Reconcile,
    Webhook,
    Poll,
    Refetch,
    Ensure,
    Sql,
}

impl Origin {
    pub const ALL: [Origin; 9] = [
        Origin::ProxyRead,
        Origin::ProxyWrite,
        Origin::Backfill,
        Origin::Reconcile,
        Origin::Webhook,
        Origin::Poll,
        Origin::Refetch,
        Origin::Ensure,
        Origin::Sql,
    ];

    /// The word used in the feed, the log and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::ProxyRead => "proxy.read",
            Origin::ProxyWrite => "proxy.write",
            Origin::Backfill => "backfill",
            Origin::Reconcile => "reconcile",
            Origin::Webhook => "webhook",
            Origin::Poll => "poll",
            Origin::Refetch => "refetch",
            Origin::Ensure => "ensure",
            Origin::Sql => "sql",
        }
    }
}
