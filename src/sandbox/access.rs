//! Who asks: project and branch, access type and its key, the user of the access token.

use http::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use super::failure::Failure;
use super::project::{Keys, Project};
use super::token::{Bearer, Signer};
use super::view::View;

pub const MAIN_BRANCH: &str = "main";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Client,
    Server,
    Admin,
}

impl Access {
    pub fn name(self) -> &'static str {
        match self {
            Access::Client => "client",
            Access::Server => "server",
            Access::Admin => "admin",
        }
    }

    fn parse(name: &str) -> Option<Access> {
        [Access::Client, Access::Server, Access::Admin]
            .into_iter()
            .find(|access| access.name() == name)
    }

    pub fn view(self) -> View {
        match self {
            Access::Client => View::Client,
            Access::Server | Access::Admin => View::Server,
        }
    }
}

/// A caller whose credentials were found good.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub access: Access,
    /// Of the access token, if there is one and its user still exists.
    pub user: Option<Uuid>,
    pub session: Option<Uuid>,
}

/// A header of the provider's in either of its names.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let of = |family: &str| headers.get(format!("{family}{name}"))?.to_str().ok();
    of("x-stack-").or_else(|| of("x-hexclave-"))
}

/// Whether a request uses the newer names.
pub fn newer_names(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("x-hexclave-"))
}

/// Checks in the provider's order, so that the same error comes first.
///
/// # Errors
/// The provider's 400s and 401s.
pub fn check(
    headers: &HeaderMap,
    projects: &[Project],
    signer: &Signer,
    now: i64,
) -> Result<(usize, Caller), Failure> {
    let (access, project_id) = claimed(headers)?;
    let bearer = header(headers, "access-token")
        .map(|token| signer.check(project_id, token, now))
        .transpose()?;
    let found = |project: &&Project| project.keys.project_id == project_id && !project.deleted;
    let project = projects
        .iter()
        .find(found)
        .ok_or_else(|| Failure::project_not_found(project_id))?;
    let branch = header(headers, "branch-id").unwrap_or(MAIN_BRANCH);
    if branch != MAIN_BRANCH {
        return Err(Failure::branch_does_not_exist(branch));
    }
    check_key(headers, access, &project.keys)?;
    let caller = caller(headers, project, access, bearer)?;
    let index = projects
        .iter()
        .position(|other| other.keys.project_id == project_id);
    Ok((index.unwrap_or_default(), caller))
}

fn claimed(headers: &HeaderMap) -> Result<(Access, &str), Failure> {
    const KEYS: [&str; 4] = [
        "publishable-client-key",
        "secret-server-key",
        "super-secret-admin-key",
        "admin-access-token",
    ];
    let Some(access) = header(headers, "access-type") else {
        let any_key = KEYS.iter().any(|key| header(headers, key).is_some());
        return Err(if any_key {
            Failure::key_without_access_type()
        } else {
            Failure::access_type_required()
        });
    };
    let known = Access::parse(access).ok_or_else(|| Failure::invalid_access_type(access))?;
    let project =
        header(headers, "project-id").ok_or_else(|| Failure::access_type_without_project(access))?;
    Ok((known, project))
}

fn check_key(headers: &HeaderMap, access: Access, keys: &Keys) -> Result<(), Failure> {
    let (name, key, missing, invalid, kind) = match access {
        Access::Client => (
            "publishable-client-key",
            &keys.publishable_client_key,
            "CLIENT_AUTHENTICATION_REQUIRED",
            "INVALID_PUBLISHABLE_CLIENT_KEY",
            "publishable key",
        ),
        Access::Server => (
            "secret-server-key",
            &keys.secret_server_key,
            "SERVER_AUTHENTICATION_REQUIRED",
            "INVALID_SECRET_SERVER_KEY",
            "secret server key",
        ),
        Access::Admin => (
            "super-secret-admin-key",
            &keys.super_secret_admin_key,
            "ADMIN_AUTHENTICATION_REQUIRED",
            "INVALID_SUPER_SECRET_ADMIN_KEY",
            "super secret admin key",
        ),
    };
    match header(headers, name) {
        None => Err(Failure::known(
            401,
            missing,
            format!("The {kind} must be provided."),
        )),
        Some(given) if !keys.accepts(key, given) => {
            Err(Failure::invalid_key(invalid, kind, &keys.project_id))
        }
        Some(_) => Ok(()),
    }
}

fn caller(
    headers: &HeaderMap,
    project: &Project,
    access: Access,
    bearer: Option<Bearer>,
) -> Result<Caller, Failure> {
    let user = bearer.and_then(|bearer| project.user(bearer.user));
    let yes = |name| header(headers, name) == Some("true");
    if let Some(user) = user {
        let restriction = user.restriction(project.require_email_verification);
        if user.is_anonymous && !yes("allow-anonymous-user") {
            return Err(Failure::anonymous_not_allowed());
        }
        if restriction != Value::Null && !yes("allow-anonymous-user") && !yes("allow-restricted-user") {
            return Err(Failure::restricted_not_allowed(&restriction));
        }
    }
    Ok(Caller {
        access,
        user: user.map(|user| user.id),
        session: bearer.and_then(|bearer| bearer.session),
    })
}
