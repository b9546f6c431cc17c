//! How a listing goes on: offsets, page numbers, cursors and links are one thing to a backfill.

use http::{HeaderMap, StatusCode};

use super::{OwnRequest, Provider, Sighting, Tenant};

/// Where the next page starts. Opaque to everyone but this module; kept as text in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// Offset, page number, token or link, in the form the descriptor asks for.
    pub at: String,
}

/// One request of a walk.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub request: OwnRequest,
}

/// What came back.
#[derive(Debug)]
pub struct Page {
    pub sightings: Vec<Sighting>,
    /// Items on the page, readable or not: what the account must balance.
    pub fetched: usize,
    pub malformed: usize,
    pub next: Next,
    /// All users there are, where the provider says so with the page.
    pub total: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    More(Cursor),
    End,
    /// The place where the page should start is gone (its user was deleted): go on from an
    /// older one. Never the end of the list.
    Lost,
}

/// Why a page's answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// An optional query parameter is not known to this server: ask again without the optional
    /// ones.
    #[error("the provider does not know an optional parameter")]
    UnknownParameter,
    #[error("the provider answered {status} to the listing")]
    Status { status: StatusCode },
    #[error("the listing is not the JSON that the provider's file promises: {what}")]
    Shape { what: &'static str },
}

impl Provider {
    /// The request for the page at `cursor` (the first where there is none). `plain` leaves out
    /// the parameters that the descriptor calls optional.
    pub fn page_request(&self, _tenant: &Tenant, _cursor: Option<&Cursor>, _plain: bool) -> PageRequest {
        todo!()
    }

    /// Reads the answer to [`Provider::page_request`].
    pub fn page(
        &self,
        _tenant: &Tenant,
        _cursor: Option<&Cursor>,
        _status: StatusCode,
        _headers: &HeaderMap,
        _body: &[u8],
    ) -> Result<Page, PageFault> {
        todo!()
    }

    /// A cursor that starts (inclusively) at a user seen before, where the provider's cursors
    /// are ids; for walking around a lost one.
    pub fn cursor_at(&self, _id: &crate::user::UserId) -> Option<Cursor> {
        todo!()
    }

    /// The read of one user with the tenant's key. `None` without a key.
    pub fn read_user(&self, _tenant: &Tenant, _id: &crate::user::UserId) -> Option<OwnRequest> {
        todo!()
    }

    /// What the answer to [`Provider::read_user`] tells: the user, its absence, or neither.
    pub fn read_user_answer(
        &self,
        _tenant: &Tenant,
        _id: &crate::user::UserId,
        _status: StatusCode,
        _headers: &HeaderMap,
        _body: &[u8],
    ) -> Option<Sighting> {
        todo!()
    }
}
