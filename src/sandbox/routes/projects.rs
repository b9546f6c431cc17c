//! The project itself, and what needs no project: health, keys of tokens, the list of base URLs.

use http::Method;
use serde_json::{Value, json};

use super::super::answer::{Answer, Outcome};
use super::super::call::{Call, Request};
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::world::World;
use super::{ADMIN, ANY, Handler, Route, keyed, open};

pub const ROUTES: &[Route] = &[
    open(Method::GET, "/", greeting),
    open(Method::GET, "/projects/{id}/.well-known/jwks.json", jwks),
    open(Method::GET, "/internal/backend-urls", backend_urls),
    open(Method::POST, "/analytics/events/batch", swallow),
    open(Method::POST, "/session-replays/batch", swallow),
    keyed(Method::GET, "/projects/current", ANY, read),
    keyed(Method::GET, "/internal/projects/current", ADMIN, read),
    keyed(Method::PATCH, "/internal/projects/current", ADMIN, configure),
    keyed(Method::DELETE, "/internal/projects/current", ADMIN, delete),
    keyed(
        Method::PATCH,
        "/internal/config/override/{level}",
        ADMIN,
        override_config,
    ),
    keyed(Method::GET, "/integrations/neon/projects/current", ADMIN, read),
    keyed(
        Method::PATCH,
        "/integrations/neon/projects/current",
        ADMIN,
        configure,
    ),
];

/// At the root of the origin, under no prefix.
pub const HEALTH: Route = Route {
    method: Method::GET,
    path: "/health",
    handler: Handler::Open(health),
};

fn health(_: &mut World, _: &Request, _: &[String], _: i64) -> Outcome {
    Ok(Answer::ok(&json!({ "status": "ok" })))
}

fn greeting(_: &mut World, _: &Request, _: &[String], _: i64) -> Outcome {
    Ok(Answer::text(
        200,
        "Welcome to the Stack Auth API endpoint! This is the usertap sandbox.",
    ))
}

/// A key of the right form. It checks nothing: see `token`.
fn jwks(world: &mut World, _: &Request, params: &[String], _: i64) -> Outcome {
    let id = params.first().map_or("", String::as_str);
    if !world
        .projects
        .iter()
        .any(|project| project.keys.project_id == id && !project.deleted)
    {
        return Err(Failure::text(404, "Project not found"));
    }
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let key = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "sandbox", "x": zero, "y": zero,
    });
    Ok(Answer::ok(&json!({ "keys": [key] })))
}

/// Where newer SDKs then go by themselves: past any proxy that lets this through.
fn backend_urls(world: &mut World, _: &Request, _: &[String], _: i64) -> Outcome {
    Ok(Answer::ok(&json!({ "urls": [world.signer.base] })))
}

fn swallow(_: &mut World, _: &Request, _: &[String], _: i64) -> Outcome {
    Ok(Answer::success())
}

fn read(call: &mut Call<'_>) -> Outcome {
    Ok(Answer::ok(&shown(call.project)))
}

fn shown(project: &Project) -> Value {
    json!({
        "id": project.keys.project_id,
        "display_name": project.display_name,
        "config": {
            "sign_up_enabled": true,
            "credential_enabled": true,
            "magic_link_enabled": true,
            "passkey_enabled": true,
            "client_team_creation_enabled": true,
            "client_user_deletion_enabled": project.client_user_deletion,
            "require_email_verification": project.require_email_verification,
            "create_team_on_sign_up": project.personal_teams,
            "enabled_oauth_providers": [{ "id": "github" }, { "id": "google" }],
        },
    })
}

fn configure(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    apply(call.project, body.get("config").unwrap_or(&body));
    read(call)
}

/// The configuration comes as JSON in a string.
fn override_config(call: &mut Call<'_>) -> Outcome {
    let text = call.text(&call.body()?, "config_override_string")?;
    let config: Value = serde_json::from_str(&text).map_err(|_| Failure::text(400, "Invalid config JSON"))?;
    apply(call.project, &config);
    Ok(Answer::success())
}

/// Changes who is restricted, for as many users as there are, and tells of none.
fn apply(project: &mut Project, config: &Value) {
    let of = |flat: &str, dotted: &str, nested: &str| {
        config
            .get(flat)
            .or_else(|| config.get(dotted))
            .or_else(|| config.pointer(nested))?
            .as_bool()
    };
    let verification = of(
        "require_email_verification",
        "onboarding.requireEmailVerification",
        "/onboarding/requireEmailVerification",
    );
    let teams = of(
        "create_team_on_sign_up",
        "teams.createPersonalTeamOnSignUp",
        "/teams/createPersonalTeamOnSignUp",
    );
    let deletion = of(
        "client_user_deletion_enabled",
        "users.allowClientUserDeletion",
        "/users/allowClientUserDeletion",
    );
    project.require_email_verification = verification.unwrap_or(project.require_email_verification);
    project.personal_teams = teams.unwrap_or(project.personal_teams);
    project.client_user_deletion = deletion.unwrap_or(project.client_user_deletion);
}

fn delete(call: &mut Call<'_>) -> Outcome {
    call.project.remove_all();
    Ok(Answer::success())
}
