//! `/oauth-providers` and `/connected-accounts`: a user's accounts elsewhere.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Outcome, unpaged};
use super::super::call::Call;
use super::super::failure::Failure;
use super::super::token::opaque;
use super::super::user::Account;
use super::{ANY, Route, SERVER, keyed};

pub const ROUTES: &[Route] = &[
    keyed(Method::GET, "/oauth-providers", ANY, list),
    keyed(Method::POST, "/oauth-providers", SERVER, create),
    keyed(Method::GET, "/oauth-providers/{user}/{id}", ANY, read),
    keyed(Method::PATCH, "/oauth-providers/{user}/{id}", ANY, update),
    keyed(Method::DELETE, "/oauth-providers/{user}/{id}", ANY, delete),
    keyed(Method::GET, "/connected-accounts/{user}", ANY, connected),
    keyed(
        Method::POST,
        "/connected-accounts/{user}/{provider}/access-token",
        ANY,
        access_token,
    ),
    keyed(
        Method::POST,
        "/connected-accounts/{user}/{provider}/{account}/access-token",
        ANY,
        access_token,
    ),
];

fn list(call: &mut Call<'_>) -> Outcome {
    let user = call.named(call.request.query("user_id").unwrap_or("me"))?;
    let accounts = call.existing(user)?.oauth.iter();
    Ok(unpaged(accounts.map(|account| account.view(user)).collect()))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let user = call.named(&call.text(&body, "user_id")?)?;
    let flag = |name: &str| body.get(name).and_then(Value::as_bool).unwrap_or(true);
    let account = Account {
        id: Uuid::new_v4(),
        provider: call.text(&body, "provider_config_id")?,
        account_id: call.text(&body, "account_id")?,
        email: body.get("email").and_then(Value::as_str).map(str::to_owned),
        allow_sign_in: flag("allow_sign_in"),
        allow_connected: flag("allow_connected_accounts"),
    };
    let shown = account.view(user);
    call.edit(user, |user| user.oauth.push(account))?;
    Ok(Answer::created(&shown))
}

fn not_found() -> Failure {
    Failure::text(404, "OAuth provider not found for this user")
}

fn addressed(call: &Call<'_>) -> Result<(Uuid, Account), Failure> {
    let user = call.named(call.param(0))?;
    let id = call.uuid(call.param(1))?;
    let account = call.existing(user)?.oauth.iter().find(|account| account.id == id);
    Ok((user, account.ok_or_else(not_found)?.clone()))
}

fn read(call: &mut Call<'_>) -> Outcome {
    let (user, account) = addressed(call)?;
    Ok(Answer::ok(&account.view(user)))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (user, mut account) = addressed(call)?;
    let body = call.body()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| body.get(name).and_then(Value::as_bool);
    account.account_id = text("account_id").unwrap_or(account.account_id);
    account.email = text("email").or(account.email);
    account.allow_sign_in = flag("allow_sign_in").unwrap_or(account.allow_sign_in);
    account.allow_connected = flag("allow_connected_accounts").unwrap_or(account.allow_connected);
    let shown = account.view(user);
    call.edit(user, |user| {
        if let Some(old) = user.oauth.iter_mut().find(|old| old.id == account.id) {
            *old = account;
        }
    })?;
    Ok(Answer::ok(&shown))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (user, account) = addressed(call)?;
    call.edit(user, |user| user.oauth.retain(|other| other.id != account.id))?;
    Ok(Answer::success())
}

fn connected(call: &mut Call<'_>) -> Outcome {
    let user = call.named(call.param(0))?;
    let accounts = call
        .existing(user)?
        .oauth
        .iter()
        .filter(|account| account.allow_connected);
    let shown = accounts.map(|account| {
        json!({
            "user_id": user,
            "provider": account.provider,
            "provider_account_id": account.account_id,
        })
    });
    Ok(unpaged(shown.collect()))
}

fn access_token(call: &mut Call<'_>) -> Outcome {
    let user = call.named(call.param(0))?;
    let provider = call.param(1);
    let linked = call
        .existing(user)?
        .oauth
        .iter()
        .any(|account| account.provider == provider);
    if !linked {
        return Err(Failure::oauth_not_connected());
    }
    Ok(Answer::ok(&json!({ "access_token": opaque() })))
}
