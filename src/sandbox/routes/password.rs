//! Passwords and anonymous sign-ups. An anonymous user who signs up keeps its id.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Outcome};
use super::super::call::Call;
use super::super::data::{UserData, normal_address};
use super::super::failure::Failure;
use super::super::project::Purpose;
use super::{ANY, Route, keyed};

pub const ROUTES: &[Route] = &[
    keyed(Method::POST, "/auth/password/sign-up", ANY, sign_up),
    keyed(Method::POST, "/auth/password/sign-in", ANY, sign_in),
    keyed(Method::POST, "/auth/password/set", ANY, set),
    keyed(Method::POST, "/auth/password/update", ANY, update),
    keyed(
        Method::POST,
        "/auth/password/send-reset-code",
        ANY,
        send_reset_code,
    ),
    keyed(Method::POST, "/auth/password/reset", ANY, reset),
    keyed(Method::POST, "/auth/anonymous/sign-up", ANY, anonymous_sign_up),
];

const SHORTEST_PASSWORD: usize = 8;

fn password(call: &Call<'_>, body: &Value, field: &str) -> Result<String, Failure> {
    let password = call.text(body, field)?;
    if password.chars().count() < SHORTEST_PASSWORD {
        return Err(Failure::password_too_short(SHORTEST_PASSWORD));
    }
    Ok(password)
}

fn sign_up(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let email = normal_address(&call.text(&body, "email")?)?;
    let data = UserData {
        primary_email: Some(Some(email)),
        primary_email_auth_enabled: Some(true),
        password: Some(Some(password(call, &body, "password")?)),
        ..UserData::default()
    };
    let user = create_or_upgrade(call, data)?;
    call.sign_in(user, None)
}

/// The anonymous user of the token becomes the new one; everybody else is left alone.
pub fn create_or_upgrade(call: &mut Call<'_>, data: UserData) -> Result<Uuid, Failure> {
    let anonymous = call
        .caller
        .user
        .filter(|id| call.project.user(*id).is_some_and(|user| user.is_anonymous));
    let user = match anonymous {
        Some(user) => {
            call.project.update_user(
                user,
                UserData {
                    is_anonymous: Some(false),
                    ..data
                },
                call.now,
            )?;
            user
        }
        None => call.project.create_user(data, call.now)?,
    };
    call.project.add_personal_team(user, call.now);
    Ok(user)
}

fn sign_in(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let email = call.text(&body, "email")?.to_lowercase();
    let given = call.text(&body, "password")?;
    let user = call
        .project
        .signs_in(&email)
        .filter(|user| user.password.as_ref() == Some(&given));
    let user = user
        .map(|user| user.id)
        .ok_or_else(Failure::email_password_mismatch)?;
    call.sign_in(user, None)
}

fn signed_in(call: &Call<'_>) -> Result<Uuid, Failure> {
    call.caller.user.ok_or_else(Failure::user_authentication_required)
}

fn set(call: &mut Call<'_>) -> Outcome {
    let user = signed_in(call)?;
    let password = password(call, &call.body()?, "password")?;
    if call.existing(user)?.password.is_some() {
        return Err(Failure::text(400, "User already has a password set."));
    }
    call.edit(user, |user| user.password = Some(password))?;
    Ok(Answer::success())
}

fn update(call: &mut Call<'_>) -> Outcome {
    let user = signed_in(call)?;
    let body = call.body()?;
    let old = call.text(&body, "old_password")?;
    let new = password(call, &body, "new_password")?;
    match &call.existing(user)?.password {
        None => return Err(Failure::no_password()),
        Some(password) if *password != old => return Err(Failure::password_mismatch()),
        Some(_) => {}
    }
    call.edit(user, |user| user.password = Some(new))?;
    let current = call.caller.session;
    call.project
        .sessions
        .retain(|_, session| session.user != user || Some(session.id) == current);
    Ok(Answer::success())
}

fn send_reset_code(call: &mut Call<'_>) -> Outcome {
    let email = normal_address(&call.text(&call.body()?, "email")?)?;
    if let Some(user) = call.project.signs_in(&email).map(|user| user.id) {
        call.mail(&email, Purpose::ResetPassword { user });
    }
    Ok(Answer::ok(
        &json!({ "success": "maybe, only if user with e-mail exists" }),
    ))
}

fn reset(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let code = call.text(&body, "code")?;
    let password = password(call, &body, "password")?;
    let user = call.redeem(&code, |purpose| match purpose {
        Purpose::ResetPassword { user } => Some(*user),
        _ => None,
    })?;
    let data = UserData {
        password: Some(Some(password)),
        ..UserData::default()
    };
    call.project.update_user(user, data, call.now)?;
    Ok(Answer::success())
}

fn anonymous_sign_up(call: &mut Call<'_>) -> Outcome {
    let data = UserData {
        is_anonymous: Some(true),
        ..UserData::default()
    };
    let user = call.project.create_user(data, call.now)?;
    call.project.add_personal_team(user, call.now);
    call.open_session(user, None)
}
