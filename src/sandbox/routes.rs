//! What it answers: every route in one table, by folder of the provider's API.

mod accounts;
mod channels;
mod cli;
mod codes;
mod integrations;
mod list;
mod members;
mod oauth;
mod password;
mod projects;
mod sessions;
mod teams;
mod users;

use http::Method;

use super::access::Access;
use super::answer::Outcome;
use super::call::{Call, Request, segments};
use super::world::World;

pub struct Route {
    pub method: Method,
    /// Below the prefix; `{…}` stands for any one segment.
    pub path: &'static str,
    pub handler: Handler,
}

pub use oauth::issue_code;

pub enum Handler {
    /// Whose caller needs no key.
    Open(fn(&mut World, &Request, &[String], i64) -> Outcome),
    /// For these access types only.
    Keyed(&'static [Access], fn(&mut Call<'_>) -> Outcome),
}

const CLIENT: &[Access] = &[Access::Client];
const ADMIN: &[Access] = &[Access::Admin];
const SERVER: &[Access] = &[Access::Server, Access::Admin];
const ANY: &[Access] = &[Access::Client, Access::Server, Access::Admin];

const fn keyed(
    method: Method,
    path: &'static str,
    allowed: &'static [Access],
    handler: fn(&mut Call<'_>) -> Outcome,
) -> Route {
    Route {
        method,
        path,
        handler: Handler::Keyed(allowed, handler),
    }
}

const fn open(
    method: Method,
    path: &'static str,
    handler: fn(&mut World, &Request, &[String], i64) -> Outcome,
) -> Route {
    Route {
        method,
        path,
        handler: Handler::Open(handler),
    }
}

/// The first that matches counts: a literal segment stands before a parameter.
const TABLES: [&[Route]; 12] = [
    users::ROUTES,
    password::ROUTES,
    codes::ROUTES,
    sessions::ROUTES,
    oauth::ROUTES,
    cli::ROUTES,
    channels::ROUTES,
    accounts::ROUTES,
    teams::ROUTES,
    members::ROUTES,
    projects::ROUTES,
    integrations::ROUTES,
];

const PREFIXES: [&str; 7] = [
    "v1", "latest", "v2beta1", "v2beta2", "v2beta3", "v2beta4", "v2beta5",
];

pub enum Found {
    Route(&'static Route, Vec<String>),
    /// The path is known, the method is not.
    OtherMethod,
    Nothing,
}

pub fn find(method: &Method, path: &str) -> Found {
    let segments = segments(path);
    let served = match segments.as_slice() {
        [api, version, rest @ ..] if api == "api" && PREFIXES.contains(&version.as_str()) => rest,
        _ if path == "/health" => return find_health(method),
        _ => return Found::Nothing,
    };
    let matching = || {
        TABLES
            .into_iter()
            .flatten()
            .filter_map(|route| Some((route, matched(route, served)?)))
    };
    match matching().find(|(route, _)| route.method == *method) {
        Some((route, params)) => Found::Route(route, params),
        None if matching().next().is_some() => Found::OtherMethod,
        None => Found::Nothing,
    }
}

fn find_health(method: &Method) -> Found {
    if *method == Method::GET {
        Found::Route(&projects::HEALTH, Vec::new())
    } else {
        Found::OtherMethod
    }
}

/// The parameters, if the route is the one.
fn matched(route: &Route, segments: &[String]) -> Option<Vec<String>> {
    let pattern = route.path.split('/').filter(|segment| !segment.is_empty());
    if pattern.clone().count() != segments.len() {
        return None;
    }
    let mut params = Vec::new();
    for (wanted, given) in pattern.zip(segments) {
        if wanted.starts_with('{') {
            params.push(given.clone());
        } else if wanted != given {
            return None;
        }
    }
    Some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> String {
        match find(&method, path) {
            Found::Route(route, params) => format!("{} {}", route.path, params.join(",")),
            Found::OtherMethod => "405".to_owned(),
            Found::Nothing => "404".to_owned(),
        }
    }

    #[test]
    fn a_literal_segment_goes_before_a_parameter() {
        assert_eq!(found(Method::GET, "/api/v1/users/me"), "/users/me ");
        assert_eq!(found(Method::GET, "/api/latest/users/a%20b"), "/users/{id} a b");
        assert_eq!(
            found(Method::DELETE, "/api/v2beta5/auth/sessions/current"),
            "/auth/sessions/current "
        );
    }

    #[test]
    fn what_is_not_served() {
        assert_eq!(found(Method::PUT, "/api/v1/users"), "405");
        assert_eq!(found(Method::GET, "/api/v2/users"), "404");
        assert_eq!(found(Method::GET, "/users"), "404");
        assert_eq!(found(Method::GET, "/api/v1/users/"), "/users ");
        for doubled in ["//api/v1/users", "/api/v1//users", "/api/v1/users//"] {
            assert_ne!(found(Method::GET, doubled), "/users ", "{doubled}");
        }
    }
}
