//! OAuth: the token endpoint, and a browser's way through a provider that consents at once.
//!
//! As upstream, the way back demands a cookie that was set on the host of the way out, unless the
//! caller fetched the way out as JSON.

use http::Method;
use http::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Outcome};
use super::super::call::{Call, Request};
use super::super::data::UserData;
use super::super::failure::Failure;
use super::super::project::{Code, Project, Purpose};
use super::super::token::{ACCESS_TOKEN_SECONDS, Bearer, opaque};
use super::super::user::Account;
use super::super::world::World;
use super::{ANY, Route, keyed, open};

pub const ROUTES: &[Route] = &[
    open(Method::POST, "/auth/oauth/token", token),
    open(Method::GET, "/auth/oauth/authorize/{provider}", authorize),
    open(Method::GET, "/auth/oauth/callback/{provider}", callback),
    open(Method::POST, "/auth/oauth/callback/{provider}", callback),
    keyed(
        Method::POST,
        "/auth/oauth/callback/apple/native",
        ANY,
        apple_native,
    ),
];

/// A form without any of the provider's own headers.
fn token(world: &mut World, request: &Request, _: &[String], now: i64) -> Outcome {
    let form = request.body()?;
    let field = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let (project, signer) = world.project_of_client(field("client_id"))?;
    let secret = field("client_secret");
    if secret != project.keys.publishable_client_key && secret != "__stack_public_client__" {
        return Err(Failure::invalid_key(
            "INVALID_PUBLISHABLE_CLIENT_KEY",
            "publishable key",
            &project.keys.project_id,
        ));
    }
    let (bearer, new_session) = match field("grant_type") {
        "refresh_token" => {
            let bearer = project.refresh(field("refresh_token"), now);
            (bearer.ok_or_else(Failure::refresh_token_not_found)?, None)
        }
        "authorization_code" => exchange(project, field("code"), now)?,
        _ => {
            return Err(Failure::schema(
                "body.grant_type must be one of the supported values",
            ));
        }
    };
    let access_token = signer.access_token(project, bearer, now, ACCESS_TOKEN_SECONDS);
    Ok(tokens(
        &access_token.ok_or_else(Failure::refresh_token_not_found)?,
        new_session,
    ))
}

/// A refresh token and whether the user is new.
type NewSession = Option<(String, bool)>;

fn exchange(project: &mut Project, code: &str, now: i64) -> Result<(Bearer, NewSession), Failure> {
    let found = project
        .codes
        .remove(code)
        .ok_or_else(Failure::invalid_authorization_code)?;
    let Purpose::Oauth { user, is_new } = found.purpose else {
        return Err(Failure::invalid_authorization_code());
    };
    project
        .user(user)
        .ok_or_else(Failure::invalid_authorization_code)?;
    let (refresh_token, bearer) = project.open_session(user, now);
    Ok((bearer, Some((refresh_token, is_new))))
}

fn tokens(access_token: &str, new_session: NewSession) -> Answer {
    let mut body = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": 3599,
        "scope": "legacy",
        "afterCallbackRedirectUrl": null,
        "after_callback_redirect_url": null,
    });
    if let (Some((refresh_token, is_new)), Some(fields)) = (new_session, body.as_object_mut()) {
        fields.insert("refresh_token".into(), refresh_token.into());
        fields.insert("is_new_user".into(), is_new.into());
        fields.insert("newUser".into(), is_new.into());
    }
    let mut answer = Answer::ok(&body);
    answer.set(http::header::CACHE_CONTROL, "no-store");
    answer
}

fn authorize(world: &mut World, request: &Request, params: &[String], _: i64) -> Outcome {
    let want = |name: &str| {
        request
            .query(name)
            .ok_or_else(|| Failure::schema(format!("query.{name} must be defined")))
    };
    world.project_of_client(want("client_id")?)?;
    let provider = params.first().map_or("", String::as_str);
    let state = opaque();
    let mut back = url::form_urlencoded::Serializer::new(String::new());
    back.append_pair("state", &state)
        .append_pair("client_id", want("client_id")?);
    back.append_pair("redirect_uri", want("redirect_uri")?)
        .append_pair("outer_state", want("state")?);
    back.append_pair("account", request.query("login_hint").unwrap_or("somebody"));
    let by_json = request.query("stack_response_mode") == Some("json");
    back.append_pair("pkce", if by_json { "true" } else { "false" });
    let location = format!(
        "{}/api/v1/auth/oauth/callback/{provider}?{}",
        world.signer.base,
        back.finish()
    );
    if by_json {
        return Ok(Answer::ok(&json!({ "location": location })));
    }
    let mut answer = Answer::redirect(&location);
    answer.set(
        SET_COOKIE,
        &format!("stack-oauth-inner-{state}=true; Path=/; Max-Age=600; HttpOnly; Secure"),
    );
    Ok(answer)
}

fn callback(world: &mut World, request: &Request, params: &[String], now: i64) -> Outcome {
    let of = |name: &str| request.query(name).unwrap_or_default();
    let cookie = format!("stack-oauth-inner-{}=", of("state"));
    let cookies = request
        .headers
        .get(COOKIE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if of("pkce") != "true" && !cookies.contains(&cookie) {
        return Err(Failure::text(
            400,
            "Inner OAuth cookie not found. This is likely because you refreshed the page during the OAuth sign in process.",
        ));
    }
    let (project, _) = world.project_of_client(of("client_id"))?;
    let provider = params.first().map_or("", String::as_str);
    let code = issue_code(project, account(provider, of("account")), now)?;
    let mut target = url::Url::parse(of("redirect_uri")).map_err(|_| {
        Failure::known(
            400,
            "REDIRECT_URL_NOT_WHITELISTED",
            "Redirect URL not whitelisted.",
        )
    })?;
    target
        .query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", of("outer_state"));
    Ok(Answer::redirect(target.as_str()))
}

fn account(provider: &str, name: &str) -> Account {
    Account {
        id: Uuid::new_v4(),
        provider: provider.to_owned(),
        account_id: name.to_owned(),
        email: Some(format!("{}@example.com", name.to_lowercase())),
        allow_sign_in: true,
        allow_connected: true,
    }
}

/// Signs an account in or up, and gives the code that an app exchanges for tokens.
///
/// # Errors
/// If another user signs in with the account's address.
pub fn issue_code(project: &mut Project, account: Account, now: i64) -> Result<String, Failure> {
    let (user, is_new) = find_or_create(project, account, now)?;
    let code = opaque();
    project.codes.insert(
        code.clone(),
        Code {
            purpose: Purpose::Oauth { user, is_new },
            used: false,
        },
    );
    Ok(code)
}

fn find_or_create(project: &mut Project, account: Account, now: i64) -> Result<(Uuid, bool), Failure> {
    let same = |other: &Account| {
        other.allow_sign_in && other.provider == account.provider && other.account_id == account.account_id
    };
    let known = project
        .ids()
        .into_iter()
        .find(|id| project.user(*id).is_some_and(|user| user.oauth.iter().any(same)));
    if let Some(user) = known {
        return Ok((user, false));
    }
    let data = UserData {
        primary_email: Some(account.email.clone()),
        primary_email_verified: account.email.is_some().then_some(true),
        primary_email_auth_enabled: account.email.is_some().then_some(true),
        ..UserData::default()
    };
    let user = project.create_user(data, now)?;
    project.edit(user, |user| user.oauth.push(account));
    project.add_personal_team(user, now);
    Ok((user, true))
}

fn apple_native(call: &mut Call<'_>) -> Outcome {
    let name = call.text(&call.body()?, "id_token")?;
    let (user, is_new) = find_or_create(call.project, account("apple", &name), call.now)?;
    call.sign_in(user, Some(is_new))
}
