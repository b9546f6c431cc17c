//! Signing in with `ADMIN_TOKEN`, and out.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::guard::{Form, Visitor, set_cookie};
use super::{Console, page};

/// Whoever tries tokens waits so long for each.
const WRONG: Duration = Duration::from_millis(500);

/// The login page that leads back to where somebody wanted to go.
pub fn path(to: &Uri) -> String {
    match to.path_and_query().map_or("/", |path| path.as_str()) {
        "/" => "/login".into(),
        path => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("to", path)
                .finish();
            format!("/login?{query}")
        }
    }
}

/// A program with the token may read the pages too.
pub fn is_bearer(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    given.is_some_and(|given| is_token(given, token))
}

fn is_token(given: &str, token: &SecretString) -> bool {
    given.as_bytes().ct_eq(token.expose_secret().as_bytes()).into()
}

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let to = back(&super::asked(&uri, "to"));
    if console.station.config.admin_token.is_none() || visitor.signed_in {
        return Redirect::to(&to).into_response();
    }
    let is_from_elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site");
    page::bare(
        "Sign in",
        html! {
            // Behind such a link the browser keeps the session to itself.
            @if is_from_elsewhere { p { "Signed in already? " a href=(to) { "Go on" } "." } }
            (form(&visitor, &to, false))
        },
    )
    .into_response()
}

pub async fn enter(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(given): Extension<Form>,
) -> Response {
    let to = back(given.get("to"));
    let Some(token) = &console.station.config.admin_token else {
        return Redirect::to(&to).into_response();
    };
    if !is_token(given.get("token").trim(), token) {
        if console.strangers.may_write("console-token") {
            tracing::warn!("somebody tried to sign in to the console with a wrong token");
        }
        tokio::time::sleep(WRONG).await;
        let page = page::bare("Sign in", form(&visitor, &to, true));
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    let value = console.sessions.open();
    let mut response = Redirect::to(&to).into_response();
    set_cookie(
        &mut response,
        &console.sessions.set_session(&value, visitor.secure),
    );
    response
}

pub async fn leave(State(console): State<Console>, Extension(visitor): Extension<Visitor>) -> Response {
    console.sessions.close(&visitor.value);
    Redirect::to("/login").into_response()
}

/// A path of this server and nothing else: `//elsewhere` and `\\elsewhere` are hosts to a browser.
fn back(to: &str) -> String {
    let is_path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    let is_clean = to.bytes().all(|byte| byte.is_ascii_graphic());
    match is_path && is_clean && !to.starts_with("/login") {
        true => to.to_owned(),
        false => "/".into(),
    }
}

fn form(visitor: &Visitor, to: &str, wrong: bool) -> Markup {
    html! {
        form.narrow method="post" action="/login" {
            (page::proof(visitor))
            input type="hidden" name="to" value=(to);
            div.field {
                label for="token" { "Admin token" }
                input #token type="password" name="token" required autofocus autocomplete="current-password"
                    aria-invalid=[wrong.then_some("true")] aria-describedby="token-note";
                p #token-note.note.wrong[wrong] role=[wrong.then_some("alert")] {
                    @if wrong { "That is not the token." }
                    @else { "The value of " code { "USERTAP_ADMIN_TOKEN" } " that this usertap was started with." }
                }
            }
            button.primary type="submit" { "Sign in" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_back_to_pages_of_this_server_alone() {
        for elsewhere in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "/login",
            "/a b",
            "/\n",
        ] {
            assert_eq!(back(elsewhere), "/", "{elsewhere}");
        }
        assert_eq!(back("/users?q=a%20b&after=1"), "/users?q=a%20b&after=1");
        assert_eq!(path(&"/users?q=a".parse().unwrap()), "/login?to=%2Fusers%3Fq%3Da");
    }
}
