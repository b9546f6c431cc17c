//! All projects at one address, and the way of a request through them.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use serde_json::json;

use super::Options;
use super::access;
use super::answer::{self, Answer, Outcome};
use super::call::{Call, Request};
use super::failure::Failure;
use super::project::Project;
use super::rate::whole_seconds;
use super::routes::{self, Found, Handler};
use super::seed;
use super::token::Signer;
use super::view::KeyOrder;
use super::webhooks::Webhooks;

pub struct World {
    pub projects: Vec<Project>,
    pub signer: Signer,
    answered: u64,
    /// Webhooks of projects that were made lately: nobody sends them yet.
    unsent: Vec<Webhooks>,
}

impl World {
    pub fn new(options: &Options, base: String) -> World {
        let mut projects: Vec<_> = (0..options.projects.max(1))
            .map(|index| Project::new(seed::keys(index)))
            .collect();
        if let Some(first) = projects.first_mut() {
            seed::users(first, options.users);
        }
        World {
            projects,
            signer: Signer::new(base),
            answered: 0,
            unsent: Vec::new(),
        }
    }

    pub fn add(&mut self, project: Project) {
        self.unsent.push(project.webhooks.clone());
        self.projects.push(project);
    }

    /// Those that are yet to be sent by somebody.
    pub fn take_unsent(&mut self) -> Vec<Webhooks> {
        std::mem::take(&mut self.unsent)
    }

    /// Performs a request and answers it, in the name of the route it took if there is one.
    /// `now` in milliseconds since 1970.
    pub fn answer(&mut self, request: &Request, now: i64) -> Answer {
        self.answered += 1;
        let request_id = format!("{:016x}", self.answered.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let outcome = self.route(request, now);
        let mut answer = answer::finish(outcome, &request.headers, &request_id);
        if request.path.starts_with("/api/") {
            answer::allow_any_origin(&mut answer.headers);
        }
        answer
    }

    fn route(&mut self, request: &Request, now: i64) -> Outcome {
        if request.method == http::Method::OPTIONS && request.path.starts_with("/api/") {
            return Ok(Answer::text(200, ""));
        }
        let (route, params) = match routes::find(&request.method, &request.path) {
            Found::Route(route, params) => (route, params),
            Found::OtherMethod => return Err(Failure::method_not_allowed()),
            Found::Nothing => {
                return Err(Failure::text(
                    404,
                    "404 — this page does not exist in Stack Auth's API.",
                ));
            }
        };
        match route.handler {
            Handler::Open(handler) => handler(self, request, &params, now),
            Handler::Keyed(allowed, handler) => {
                let mut call = self.call(request, params, now)?;
                let names: Vec<_> = allowed.iter().map(|access| access.name()).collect();
                if !allowed.contains(&call.caller.access) {
                    return Err(Failure::insufficient_access(call.caller.access.name(), &names));
                }
                handler(&mut call)
            }
        }
    }

    fn call<'w>(
        &'w mut self,
        request: &'w Request,
        params: Vec<String>,
        now: i64,
    ) -> Result<Call<'w>, Failure> {
        let (index, caller) = access::check(&request.headers, &self.projects, &self.signer, now)?;
        let order = if self.answered.is_multiple_of(2) {
            KeyOrder::Forward
        } else {
            KeyOrder::Backward
        };
        let project = self.projects.get_mut(index).ok_or_else(Failure::internal)?;
        Ok(Call {
            project,
            caller,
            params,
            request,
            signer: &self.signer,
            now,
            order,
        })
    }

    pub fn settings(&self, project: usize) -> Option<Vec<(&'static str, String)>> {
        let keys = self.projects.get(project)?.keys.clone();
        Some(vec![
            ("STACK_PROJECT_ID", keys.project_id),
            ("STACK_PUBLISHABLE_CLIENT_KEY", keys.publishable_client_key),
            ("STACK_SECRET_SERVER_KEY", keys.secret_server_key),
        ])
    }

    /// The project whose id an OAuth client gives, `id` or `id#branch`.
    pub fn project_of_client(&mut self, client_id: &str) -> Result<(&mut Project, &Signer), Failure> {
        let (id, branch) = client_id
            .split_once('#')
            .unwrap_or((client_id, access::MAIN_BRANCH));
        let unknown = || {
            Failure::known(
                401,
                "INVALID_OAUTH_CLIENT_ID_OR_SECRET",
                "The OAuth client ID or secret is invalid.",
            )
        };
        let project = self
            .projects
            .iter_mut()
            .find(|project| project.keys.project_id == id && !project.deleted);
        let project = project
            .filter(|_| branch == access::MAIN_BRANCH)
            .ok_or_else(unknown)?;
        Ok((project, &self.signer))
    }
}

/// Whose budget a request is counted against. Those that name no project, refreshes of tokens among
/// them, share one.
pub fn counted_project(headers: &HeaderMap) -> &str {
    access::header(headers, "project-id").unwrap_or_default()
}

/// As the provider's development server has it: not overridden, not a known error.
pub fn too_many(left: Duration) -> Answer {
    let message = "Artificial development rate limit triggered. Wait before retrying.";
    let mut answer = Answer::json(429, &json!({ "message": message }));
    answer.set(RETRY_AFTER, &whole_seconds(left).to_string());
    answer::allow_any_origin(&mut answer.headers);
    answer
}

/// Everything that is known of a request but its effect.
pub fn request(parts: &http::request::Parts, body: bytes::Bytes) -> Request {
    let query = parts.uri.query().unwrap_or_default();
    Request {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: parts.headers.clone(),
        body,
    }
}

/// The name of the route of a request, as `/users/{id}`.
pub fn route_name(method: &http::Method, path: &str) -> Option<&'static str> {
    match routes::find(method, path) {
        Found::Route(route, _) => Some(route.path),
        Found::OtherMethod | Found::Nothing => None,
    }
}
