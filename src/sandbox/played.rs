//! The provider that is stood in for, as the shell around it needs to know it.

use std::time::Duration;

use http::Method;
use http::request::Parts;

use super::Options;
use super::answer::Answer;
use super::call::Request;
use super::clerk::{self, Clerk};
use super::webhooks::Webhooks;
use super::world::{self, World};

/// Which provider a sandbox plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plays {
    #[default]
    StackAuth,
    Clerk,
}

/// What it plays it with.
pub enum Played {
    StackAuth(World),
    Clerk(Clerk),
}

impl Plays {
    pub const ALL: [Plays; 2] = [Plays::StackAuth, Plays::Clerk];

    /// The name of the built-in provider.
    pub fn name(self) -> &'static str {
        match self {
            Plays::StackAuth => "stack-auth",
            Plays::Clerk => "clerk",
        }
    }

    pub fn parse(name: &str) -> Option<Plays> {
        Plays::ALL.into_iter().find(|plays| plays.name() == name)
    }

    /// Whose budget a request is counted against; nothing for what is not counted.
    pub fn counted(self, parts: &Parts) -> Option<&str> {
        let path = parts.uri.path();
        match self {
            Plays::StackAuth => {
                let counts = path.starts_with("/api/") && parts.method != Method::OPTIONS;
                let counts = counts && !path.contains(".well-known");
                counts.then(|| world::counted_project(&parts.headers))
            }
            Plays::Clerk => (path != "/v1/jwks").then(|| clerk::counted(&parts.headers)),
        }
    }

    /// Beyond the limit.
    pub fn too_many(self, left: Duration) -> Answer {
        match self {
            Plays::StackAuth => world::too_many(left),
            Plays::Clerk => clerk::too_many(left),
        }
    }

    /// The name of the route of a request, as `/users/{id}`.
    pub fn route_name(self, method: &Method, path: &str) -> Option<&'static str> {
        match self {
            Plays::StackAuth => world::route_name(method, path),
            Plays::Clerk => clerk::route_name(method, path),
        }
    }
}

impl Played {
    pub fn new(options: &Options, base: String) -> Played {
        match options.plays {
            Plays::StackAuth => Played::StackAuth(World::new(options, base)),
            Plays::Clerk => Played::Clerk(Clerk::new(options)),
        }
    }

    /// Performs a request and answers it. `now` in milliseconds since 1970.
    pub fn answer(&mut self, request: &Request, now: i64) -> Answer {
        match self {
            Played::StackAuth(world) => world.answer(request, now),
            Played::Clerk(clerk) => clerk.answer(request, now),
        }
    }

    /// Webhooks of projects that were made lately, each of which somebody must send.
    pub fn take_unsent(&mut self) -> Vec<Webhooks> {
        match self {
            Played::StackAuth(world) => world.take_unsent(),
            Played::Clerk(_) => Vec::new(),
        }
    }

    /// The settings of a project beside the address, as the provider names them.
    pub fn settings(&self, project: usize) -> Option<Vec<(&'static str, String)>> {
        match self {
            Played::StackAuth(world) => world.settings(project),
            Played::Clerk(clerk) => clerk.settings(project),
        }
    }
}
