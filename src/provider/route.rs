//! Which route a request is on.

use http::Method;

use super::Provider;

/// What the answer of a route carries. (The helper who writes this may refine the variants.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carries {
    Nothing,
    Users,
}

#[derive(Debug)]
pub struct Route {
    /// `PATCH /users/{id}`: stands in change rows, logs and metrics.
    pub name: Box<str>,
    pub carries: Carries,
    /// The request's body is needed to know the tenant or the user; it is collected up to a limit.
    pub needs_request_body: bool,
    /// Whether it changes anything at the provider.
    pub writes: bool,
}

/// A route and the decoded parameters of one path.
#[derive(Debug, Clone)]
pub struct Matched<'p> {
    pub route: &'p Route,
    pub params: Vec<(&'p str, String)>,
}

impl Provider {
    /// The route of a request, any served prefix taken off, each segment percent-decoded.
    pub fn route(&self, _method: &Method, _path: &str) -> Option<Matched<'_>> {
        todo!()
    }
}
