//! Whose request it is.

use super::{Matched, Provider, RequestHead, Tenant};

/// Who asks, as far as the request says; the provider's answer says whether it is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Ours(Credential),
    Foreign(Foreign),
}

/// What the caller shows for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The very server key that usertap is configured with.
    OwnServer,
    /// A server's key, which one is for the provider to judge.
    Server,
    /// A browser or device, with or without a user's token.
    Client,
}

/// Why an exchange is nobody's business here. `reason()` is the word in `x-usertap-recorded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Another project, branch or key.
    Tenant,
    /// An identity header twice, or two generations of it that differ.
    Repeated,
    /// Nothing says whose it is.
    Unnamed,
}

impl Provider {
    /// Judges a request by its head and, where the route needs it, its body.
    pub fn caller(
        &self,
        _tenant: &Tenant,
        _matched: &Matched<'_>,
        _head: &RequestHead<'_>,
        _body: Option<&[u8]>,
    ) -> Caller {
        todo!()
    }
}
