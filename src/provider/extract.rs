//! What an answer tells of which users.

use http::{HeaderMap, StatusCode};

use super::{Credential, Matched, Provider, RequestHead, Sighting, Tenant};

/// A provider's answer, its body decoded (no content encoding).
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The users of an answer, and what could not be read of it.
#[derive(Debug, Default)]
pub struct Extraction {
    pub sightings: Vec<Sighting>,
    /// Items without a usable id or shape: counted, logged once by the caller.
    pub malformed: usize,
}

impl Provider {
    /// The status that the provider means, whatever the HTTP status line says.
    pub fn effective_status(&self, _status: StatusCode, _headers: &HeaderMap) -> StatusCode {
        todo!()
    }

    /// Whether this answer (by its head alone) can tell of users at all: decides whether its body
    /// is collected. Failing answers of reads by id can (not-found), others usually cannot.
    pub fn tells(
        &self,
        _matched: &Matched<'_>,
        _credential: Credential,
        _status: StatusCode,
        _headers: &HeaderMap,
    ) -> bool {
        todo!()
    }

    /// Everything that an exchange of this tenant tells.
    pub fn extract(
        &self,
        _tenant: &Tenant,
        _matched: &Matched<'_>,
        _credential: Credential,
        _head: &RequestHead<'_>,
        _request_body: Option<&[u8]>,
        _answer: &Answer<'_>,
    ) -> Extraction {
        todo!()
    }

    /// One item that an [`super::ItemSplitter`] cut out of a large answer.
    pub fn extract_item(
        &self,
        _matched: &Matched<'_>,
        _credential: Credential,
        _item: &[u8],
    ) -> Option<Sighting> {
        todo!()
    }

    /// What a write tells that got no answer: the user it names, if it names one.
    pub fn unanswered(
        &self,
        _tenant: &Tenant,
        _matched: &Matched<'_>,
        _credential: Credential,
        _head: &RequestHead<'_>,
        _request_body: Option<&[u8]>,
    ) -> Vec<Sighting> {
        todo!()
    }
}
