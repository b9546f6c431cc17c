//! What is served, and a request as its handler sees it.

use http::Method;
use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::super::call::{Request, segments};
use super::failure::Failure;
use super::instance::Instance;
use super::user::{Kind, User};
use super::{addresses, list, metadata, ok, organizations, users, webhooks};

pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Without a key.
    pub is_open: bool,
    /// For each user by itself.
    pub is_counted: bool,
    pub perform: Perform,
}

pub struct Call<'c> {
    pub instance: &'c mut Instance,
    pub params: Vec<String>,
    pub request: &'c Request,
    /// Milliseconds since 1970.
    pub now: i64,
}

type Perform = fn(&mut Call<'_>) -> Result<Answer, Failure>;

/// With the instance's key.
const fn on(method: Method, path: &'static str, perform: Perform) -> Route {
    Route {
        method,
        path,
        is_open: false,
        is_counted: false,
        perform,
    }
}

const fn counted(method: Method, path: &'static str, perform: Perform) -> Route {
    Route {
        method,
        path,
        is_open: false,
        is_counted: true,
        perform,
    }
}

const fn open(method: Method, path: &'static str, perform: Perform) -> Route {
    Route {
        method,
        path,
        is_open: true,
        is_counted: false,
        perform,
    }
}

/// Literals before parameters.
const ROUTES: &[Route] = &[
    on(Method::GET, "/users", list::list),
    on(Method::GET, "/users/count", list::count),
    on(Method::POST, "/users", users::create),
    on(Method::POST, "/users/ban", users::ban_all),
    on(Method::POST, "/users/unban", users::unban_all),
    on(Method::GET, "/users/{id}", users::read),
    counted(Method::PATCH, "/users/{id}", users::update),
    on(Method::DELETE, "/users/{id}", users::delete),
    counted(Method::PATCH, "/users/{id}/metadata", metadata::merge),
    counted(Method::PUT, "/users/{id}/metadata", metadata::replace),
    on(Method::POST, "/users/{id}/ban", users::ban),
    on(Method::POST, "/users/{id}/unban", users::unban),
    on(Method::POST, "/users/{id}/lock", users::lock),
    on(Method::POST, "/users/{id}/unlock", users::unlock),
    on(
        Method::POST,
        "/users/{id}/remove_password",
        users::remove_password,
    ),
    on(
        Method::POST,
        "/users/{id}/verify_password",
        users::verify_password,
    ),
    on(Method::POST, "/users/{id}/profile_image", users::set_image),
    on(Method::DELETE, "/users/{id}/profile_image", users::remove_image),
    on(Method::DELETE, "/users/{id}/mfa", users::no_second_factor),
    on(Method::DELETE, "/users/{id}/totp", users::no_second_factor),
    on(Method::DELETE, "/users/{id}/backup_code", users::no_second_factor),
    on(Method::PUT, "/users/{id}/email_address", addresses::replace_email),
    on(
        Method::GET,
        "/users/{id}/organization_memberships",
        organizations::of_user,
    ),
    on(Method::POST, "/email_addresses", |call| {
        addresses::add(call, Kind::Email)
    }),
    on(Method::GET, "/email_addresses/{id}", |call| {
        addresses::read(call, Kind::Email)
    }),
    on(Method::PATCH, "/email_addresses/{id}", |call| {
        addresses::update(call, Kind::Email)
    }),
    on(Method::DELETE, "/email_addresses/{id}", |call| {
        addresses::delete(call, Kind::Email)
    }),
    on(Method::POST, "/phone_numbers", |call| {
        addresses::add(call, Kind::Phone)
    }),
    on(Method::GET, "/phone_numbers/{id}", |call| {
        addresses::read(call, Kind::Phone)
    }),
    on(Method::PATCH, "/phone_numbers/{id}", |call| {
        addresses::update(call, Kind::Phone)
    }),
    on(Method::DELETE, "/phone_numbers/{id}", |call| {
        addresses::delete(call, Kind::Phone)
    }),
    on(Method::POST, "/organizations", organizations::create),
    on(Method::GET, "/organizations/{id}", organizations::read),
    on(Method::DELETE, "/organizations/{id}", organizations::delete),
    on(
        Method::GET,
        "/organizations/{id}/memberships",
        organizations::members,
    ),
    on(
        Method::POST,
        "/organizations/{id}/memberships",
        organizations::join,
    ),
    on(
        Method::PATCH,
        "/organizations/{id}/memberships/{user}",
        organizations::set_role,
    ),
    on(
        Method::PATCH,
        "/organizations/{id}/memberships/{user}/metadata",
        organizations::set_metadata,
    ),
    on(
        Method::DELETE,
        "/organizations/{id}/memberships/{user}",
        organizations::leave,
    ),
    on(Method::POST, "/webhooks/svix", webhooks::switch_on),
    on(Method::POST, "/webhooks/svix_url", webhooks::link),
    open(Method::GET, "/jwks", |_| ok(&json!({ "keys": [] }))),
];

pub fn find(method: &Method, path: &str) -> Option<(&'static Route, Vec<String>)> {
    let path = segments(path.strip_prefix("/v1")?);
    let mut routes = ROUTES.iter().filter(|route| route.method == *method);
    routes.find_map(|route| Some((route, matched(route.path, &path)?)))
}

/// The name of the route of a request, as `/users/{id}`.
pub fn name(method: &Method, path: &str) -> Option<&'static str> {
    find(method, path).map(|(route, _)| route.path)
}

fn matched(pattern: &str, path: &[String]) -> Option<Vec<String>> {
    let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
    let is_param = |wanted: &str| wanted.starts_with('{');
    let fits = |(wanted, given): (&&str, &String)| is_param(wanted) || *wanted == given;
    if pattern.len() != path.len() || !pattern.iter().zip(path).all(fits) {
        return None;
    }
    let params = pattern.iter().zip(path).filter(|(wanted, _)| is_param(wanted));
    Some(params.map(|(_, given)| given.clone()).collect())
}

impl Call<'_> {
    pub fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    /// The JSON object of the body; empty without one.
    pub fn body(&self) -> Result<Map<String, Value>, Failure> {
        if self.request.body.is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(&self.request.body).map_err(|_| Failure::body())
    }

    pub fn user(&self, id: &str) -> Result<&User, Failure> {
        self.instance.user(id).ok_or_else(Failure::not_found)
    }

    /// The user of the path, as it is now.
    pub fn show(&self) -> Result<Answer, Failure> {
        ok(&self.user(self.param(0))?.view())
    }

    /// Changes the user of the path and shows it.
    pub fn edit(&mut self, change: impl FnOnce(&mut User)) -> Result<Answer, Failure> {
        let id = self.param(0).to_owned();
        let edited = self.instance.edit(&id, self.now, change);
        edited.ok_or_else(Failure::not_found)?;
        self.show()
    }
}

pub fn deleted(object: &str, id: &str) -> Result<Answer, Failure> {
    ok(&json!({ "object": object, "id": id, "deleted": true }))
}

pub fn text(body: &Map<String, Value>, field: &str) -> Result<String, Failure> {
    let text = body.get(field).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::missing(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_goes_before_a_parameter() {
        assert_eq!(name(&Method::GET, "/v1/users/count"), Some("/users/count"));
        assert_eq!(name(&Method::POST, "/v1/users/ban"), Some("/users/ban"));
        assert_eq!(name(&Method::GET, "/v1/users/user_1"), Some("/users/{id}"));
        assert_eq!(name(&Method::GET, "/users"), None);
        let (_, params) = find(&Method::DELETE, "/v1/organizations/o/memberships/u").unwrap();
        assert_eq!(params, ["o", "u"]);
    }
}
