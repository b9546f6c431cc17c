//! The integration API: makes projects and their keys, and subscribes webhooks, for a partner that shows
//! its client id and secret. The clients are those of the provider's own development server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::super::answer::{Answer, Outcome};
use super::super::call::{Call, Request};
use super::super::failure::Failure;
use super::super::project::{Keys, Project};
use super::super::world::World;
use super::{ADMIN, Route, keyed, open};

pub const ROUTES: &[Route] = &[
    open(Method::POST, "/integrations/custom/projects/provision", provision),
    open(Method::POST, "/integrations/neon/projects/provision", provision),
    keyed(Method::POST, "/internal/api-keys", ADMIN, make_keys),
    keyed(Method::POST, "/integrations/neon/webhooks", ADMIN, subscribe),
];

const CLIENTS: [(&str, &str); 2] = [
    ("custom-local", "custom-local-secret"),
    ("neon-local", "neon-local-secret"),
];

fn check_client(headers: &HeaderMap) -> Result<(), Failure> {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let pair = shown.and_then(|shown| STANDARD.decode(shown.strip_prefix("Basic ")?).ok());
    let known = |(id, secret): &(&str, &str)| pair.as_deref() == Some(format!("{id}:{secret}").as_bytes());
    match CLIENTS.iter().any(known) {
        true => Ok(()),
        false => Err(Failure::schema("Invalid client_id:client_secret values")),
    }
}

fn provision(world: &mut World, request: &Request, _: &[String], _: i64) -> Outcome {
    check_client(&request.headers)?;
    let body = request.body()?;
    let name = body.get("display_name").and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Failure::schema("body.display_name must be defined"))?;
    let mut project = Project::new(Keys::random());
    project.display_name = name.to_owned();
    let answer = json!({
        "project_id": project.keys.project_id,
        "super_secret_admin_key": project.keys.super_secret_admin_key,
    });
    world.add(project);
    Ok(Answer::ok(&answer))
}

/// In clear this once.
fn make_keys(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let description = call.text(&body, "description")?;
    let expires = body.get("expires_at_millis").and_then(Value::as_i64);
    let expires = expires.ok_or_else(|| Failure::schema("body.expires_at_millis must be defined"))?;
    let made = Keys::random();
    let mut set = json!({
        "id": made.project_id,
        "description": description,
        "created_at_millis": call.now,
        "expires_at_millis": expires,
    });
    for (wanted, name, key) in [
        (
            "has_publishable_client_key",
            "publishable_client_key",
            made.publishable_client_key,
        ),
        (
            "has_secret_server_key",
            "secret_server_key",
            made.secret_server_key,
        ),
        (
            "has_super_secret_admin_key",
            "super_secret_admin_key",
            made.super_secret_admin_key,
        ),
    ] {
        if body.get(wanted).and_then(Value::as_bool) == Some(true) {
            set[name] = key.as_str().into();
            call.project.keys.others.push(key);
        }
    }
    Ok(Answer::ok(&set))
}

fn subscribe(call: &mut Call<'_>) -> Outcome {
    check_client(&call.request.headers)?;
    let url = call.text(&call.body()?, "url")?;
    if url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some()) {
        call.project.webhooks.send_to(&url);
        return Ok(Answer::ok(&json!({ "secret": call.project.webhooks.secret() })));
    }
    Err(Failure::schema("body.url must be a valid URL"))
}
