//! Requests that usertap answers itself, and errors in the provider's own shape.

use http::{HeaderMap, StatusCode};

use super::{Provider, RequestHead};

/// An answer that needs no upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Provider {
    /// Where the descriptor says that usertap answers or redirects. `public` is the base URL by
    /// which apps reach the proxy, where it is set; `upstream` the provider's.
    pub fn own_answer(
        &self,
        _head: &RequestHead<'_>,
        _public: Option<&str>,
        _upstream: &str,
    ) -> Option<OwnAnswer> {
        todo!()
    }

    /// An error of usertap's own (429, 502, 503, 504, 413) as the provider's SDKs understand it,
    /// with its CORS headers. `word` names the cause, `text` tells people.
    pub fn error(&self, _status: StatusCode, _word: &str, _text: &str) -> OwnAnswer {
        todo!()
    }
}
