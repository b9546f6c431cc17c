//! Clerk's Backend API, as its published description and the recorded calls of its SDK have it: a
//! tenant is its secret key, answers are exactly `application/json`, cursors go on after a user and
//! are only taken in the order of creation.
//!
//! What of the API has to do with users is here; everything else is not found.

mod addresses;
mod failure;
mod instance;
mod list;
mod metadata;
mod organizations;
mod routes;
mod seed;
mod user;
mod users;
mod webhooks;

use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use serde_json::Value;

use super::Options;
use super::answer::Answer;
use super::call::Request;
use super::rate::{Window, whole_seconds};
use crate::clock;
use crate::config::Rate;
use failure::Failure;
use instance::Instance;
use routes::{Call, Route};

pub use routes::name as route_name;
use user::User;

/// What Clerk counts for each user by itself, where limits are asked for at all.
const OF_A_USER: Rate = Rate {
    requests: 10,
    per: Duration::from_secs(10),
};

pub struct Clerk {
    pub instances: Vec<Instance>,
    of_a_user: Option<Window>,
    answered: u64,
}

impl Clerk {
    pub fn new(options: &Options) -> Clerk {
        let instance = |index| {
            let mut instance = Instance::new(seed::key(index));
            if index == 0 {
                seed::users(&mut instance, options.users);
            }
            instance
        };
        Clerk {
            instances: (0..options.projects.max(1)).map(instance).collect(),
            of_a_user: options.rate.map(|_| Window::new(OF_A_USER)),
            answered: 0,
        }
    }

    /// Performs a request and answers it. `now` in milliseconds since 1970.
    pub fn answer(&mut self, request: &Request, now: i64) -> Answer {
        self.answered += 1;
        let trace = format!(
            "{:032x}",
            u128::from(self.answered).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        );
        let answered = self.perform(request, now);
        let mut answer = answered.unwrap_or_else(|failure| failure.answer(&trace));
        if let Ok(name) = http::HeaderName::try_from("x-clerk-trace-id") {
            answer.set(name, &trace);
        }
        answer
    }

    fn perform(&mut self, request: &Request, now: i64) -> Result<Answer, Failure> {
        let (route, params) = routes::find(&request.method, &request.path).ok_or_else(Failure::not_found)?;
        let at = match route.is_open {
            true => 0,
            false => self.instance_of(&request.headers)?,
        };
        self.count_user(route, at, &params)?;
        let instance = self.instances.get_mut(at).ok_or_else(Failure::key)?;
        (route.perform)(&mut Call {
            instance,
            params,
            request,
            now,
        })
    }

    fn instance_of(&self, headers: &HeaderMap) -> Result<usize, Failure> {
        let shown = key_shown(headers).ok_or_else(Failure::no_key)?;
        let mut instances = self.instances.iter();
        instances
            .position(|instance| instance.key == shown)
            .ok_or_else(Failure::key)
    }

    fn count_user(&mut self, route: &Route, at: usize, params: &[String]) -> Result<(), Failure> {
        let (Some(window), true, Some(user)) = (&mut self.of_a_user, route.is_counted, params.first()) else {
            return Ok(());
        };
        let whose = format!("{at} {} {user}", route.path);
        window.admit(&whose, clock::now()).map_err(Failure::too_many)
    }

    pub fn settings(&self, instance: usize) -> Option<Vec<(&'static str, String)>> {
        let key = self.instances.get(instance)?.key.clone();
        Some(vec![("CLERK_SECRET_KEY", key)])
    }

    /// In the order of creation.
    pub fn ids(&self, instance: usize) -> Vec<String> {
        let instance = self.instances.get(instance);
        let users = instance.map(|instance| instance.after(None, false));
        users.into_iter().flatten().map(|user| user.id.clone()).collect()
    }

    /// As on the dashboard; whether there was one.
    pub fn delete(&mut self, instance: usize, id: &str) -> bool {
        let instance = self.instances.get_mut(instance);
        instance.is_some_and(|instance| instance.remove(id).is_some())
    }

    /// As on the dashboard; whether there was one.
    pub fn rename(&mut self, instance: usize, id: &str, name: &str) -> bool {
        let now = clock::wall().timestamp_millis();
        let change = |user: &mut User| user.first_name = Some(name.to_owned());
        let instance = self.instances.get_mut(instance);
        instance.is_some_and(|instance| instance.edit(id, now, change).is_some())
    }

    /// The user as Clerk shows it.
    pub fn user(&self, instance: usize, id: &str) -> Option<Value> {
        self.instances.get(instance)?.user(id).map(User::view)
    }
}

fn key_shown(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Whose limit a request is counted against.
pub fn counted(headers: &HeaderMap) -> &str {
    key_shown(headers).unwrap_or_default()
}

/// Beyond the limit.
pub fn too_many(left: Duration) -> Answer {
    Failure::too_many(left).answer("0")
}

impl Failure {
    fn too_many(left: Duration) -> Failure {
        Failure {
            retry_after: Some(whole_seconds(left)),
            ..Failure::new(
                429,
                "too_many_requests",
                "Too many requests. Please try again in a bit.",
            )
        }
    }

    fn answer(self, trace: &str) -> Answer {
        let mut answer = json(self.status, &self.told(trace));
        if let Some(seconds) = self.retry_after {
            answer.set(RETRY_AFTER, &seconds.to_string());
        }
        answer
    }
}

/// The SDK takes exactly this content type for JSON, and nothing else.
fn json(status: u16, body: &Value) -> Answer {
    const JSON: http::HeaderValue = http::HeaderValue::from_static("application/json");
    Answer::of(status, JSON, body.to_string().into_bytes())
}

fn ok(body: &Value) -> Result<Answer, Failure> {
    Ok(json(200, body))
}
