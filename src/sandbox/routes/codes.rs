//! Sign-ins without a password: mailed codes, passkeys, second factors.
//!
//! Mail goes nowhere; the last code of an address is in the project's mailbox. A passkey is whatever
//! is shown for one, and any second factor but `000000` is right.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Outcome};
use super::super::call::Call;
use super::super::data::{UserData, normal_address};
use super::super::failure::Failure;
use super::super::project::Purpose;
use super::super::token::opaque;
use super::{ANY, Route, keyed, password};

pub const ROUTES: &[Route] = &[
    keyed(
        Method::POST,
        "/auth/otp/send-sign-in-code",
        ANY,
        send_sign_in_code,
    ),
    keyed(Method::POST, "/auth/otp/sign-in", ANY, sign_in),
    keyed(Method::POST, "/auth/mfa/sign-in", ANY, second_factor),
    keyed(
        Method::POST,
        "/auth/passkey/initiate-passkey-registration",
        ANY,
        initiate_passkey,
    ),
    keyed(Method::POST, "/auth/passkey/register", ANY, register_passkey),
    keyed(
        Method::POST,
        "/auth/passkey/initiate-passkey-authentication",
        ANY,
        initiate_passkey,
    ),
    keyed(Method::POST, "/auth/passkey/sign-in", ANY, passkey_sign_in),
];

fn send_sign_in_code(call: &mut Call<'_>) -> Outcome {
    let email = normal_address(&call.text(&call.body()?, "email")?)?;
    call.mail(&email, Purpose::SignIn { email: email.clone() });
    Ok(Answer::ok(&json!({ "nonce": opaque() })))
}

fn sign_in(call: &mut Call<'_>) -> Outcome {
    let code = call.text(&call.body()?, "code")?;
    let email = call.redeem(&code, |purpose| match purpose {
        Purpose::SignIn { email } => Some(email.clone()),
        _ => None,
    })?;
    let known = call.project.signs_in(&email).map(|user| user.id);
    let user = match known {
        Some(user) => user,
        None => password::create_or_upgrade(call, by_code(&email))?,
    };
    call.edit(user, |user| {
        user.otp = true;
        for channel in user.channels.iter_mut().filter(|channel| channel.value == email) {
            channel.verified = true;
        }
    })?;
    call.sign_in(user, Some(known.is_none()))
}

fn by_code(email: &str) -> UserData {
    UserData {
        primary_email: Some(Some(email.to_owned())),
        primary_email_verified: Some(true),
        primary_email_auth_enabled: Some(true),
        otp_auth_enabled: Some(true),
        ..UserData::default()
    }
}

fn second_factor(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let code = call.text(&body, "code")?;
    if call.text(&body, "totp")? == "000000" {
        return Err(Failure::invalid_totp());
    }
    let user = call.redeem(&code, |purpose| match purpose {
        Purpose::SecondFactor { user } => Some(*user),
        _ => None,
    })?;
    call.open_session(user, Some(false))
}

fn initiate_passkey(_: &mut Call<'_>) -> Outcome {
    Ok(Answer::ok(
        &json!({ "options_json": { "challenge": opaque() }, "code": opaque() }),
    ))
}

fn register_passkey(call: &mut Call<'_>) -> Outcome {
    let user = call
        .caller
        .user
        .ok_or_else(Failure::user_authentication_required)?;
    call.edit(user, |user| user.passkey = true)?;
    Ok(Answer::ok(&json!({ "user_handle": user })))
}

/// `authentication_response.response.userHandle` says who it is, as a real key would.
fn passkey_sign_in(call: &mut Call<'_>) -> Outcome {
    let failed = || Failure::known(400, "PASSKEY_AUTHENTICATION_FAILED", "Passkey not found");
    let body = call.body()?;
    let handle = body
        .pointer("/authentication_response/response/userHandle")
        .and_then(Value::as_str);
    let user = handle
        .and_then(|handle| Uuid::try_parse(handle).ok())
        .ok_or_else(failed)?;
    if !call.project.user(user).is_some_and(|user| user.passkey) {
        return Err(failed());
    }
    call.sign_in(user, None)
}
