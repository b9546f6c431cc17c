//! `/auth/sessions`.

use http::Method;
use serde_json::json;
use uuid::Uuid;

use super::super::access;
use super::super::answer::{Answer, Outcome, unpaged};
use super::super::call::Call;
use super::super::failure::Failure;
use super::{ANY, Route, SERVER, keyed};

pub const ROUTES: &[Route] = &[
    keyed(Method::GET, "/auth/sessions", ANY, list),
    keyed(Method::POST, "/auth/sessions", SERVER, create),
    keyed(Method::DELETE, "/auth/sessions/current", ANY, end_current),
    keyed(
        Method::POST,
        "/auth/sessions/current/refresh",
        ANY,
        refresh_current,
    ),
    keyed(Method::DELETE, "/auth/sessions/{id}", ANY, end),
];

fn list(call: &mut Call<'_>) -> Outcome {
    let user = call.named(call.request.query("user_id").unwrap_or("me"))?;
    let current = call.caller.session;
    let sessions = call
        .project
        .sessions
        .values()
        .filter(|session| session.user == user);
    let shown = sessions.map(|session| {
        json!({
            "id": session.id,
            "user_id": user,
            "created_at": session.created_at,
            "is_impersonation": false,
            "is_current_session": Some(session.id) == current,
        })
    });
    Ok(unpaged(shown.collect()))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let user = call.text(&call.body()?, "user_id")?;
    let user = call.named(&user)?;
    let (refresh_token, bearer) = call.project.open_session(user, call.now);
    let access_token = call.access_token(bearer)?;
    Ok(Answer::ok(
        &json!({ "refresh_token": refresh_token, "access_token": access_token }),
    ))
}

fn end_current(call: &mut Call<'_>) -> Outcome {
    let session = call
        .caller
        .session
        .ok_or_else(Failure::user_authentication_required)?;
    match end_by_id(call, session, call.caller.user) {
        true => Ok(Answer::success()),
        false => Err(Failure::refresh_token_not_found()),
    }
}

fn end(call: &mut Call<'_>) -> Outcome {
    let user = call.named(call.request.query("user_id").unwrap_or("me"))?;
    let session = call.uuid(call.param(0))?;
    if call.caller.session == Some(session) {
        return Err(Failure::cannot_delete_current_session());
    }
    match end_by_id(call, session, Some(user)) {
        true => Ok(Answer::success()),
        false => Err(Failure::text(404, "Session not found.")),
    }
}

/// Whether there was one.
fn end_by_id(call: &mut Call<'_>, id: Uuid, user: Option<Uuid>) -> bool {
    let before = call.project.sessions.len();
    call.project
        .sessions
        .retain(|_, session| session.id != id || Some(session.user) != user);
    call.project.sessions.len() < before
}

fn refresh_current(call: &mut Call<'_>) -> Outcome {
    let token = access::header(&call.request.headers, "refresh-token").unwrap_or_default();
    let bearer = call
        .project
        .refresh(token, call.now)
        .ok_or_else(Failure::refresh_token_not_found)?;
    Ok(Answer::ok(&json!({ "access_token": call.access_token(bearer)? })))
}
