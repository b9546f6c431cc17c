//! Connecting a provider: which one, whether it takes a key, and what is to be done there by hand.
//!
//! A key that is tried is sent to the provider and then forgotten: it is neither kept nor shown, and
//! settings are written by the operator, never by a page. Only the address that usertap is set to, or the
//! provider's own, is asked.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::guard::{Form, Visitor};
use super::link;
use super::page::{Frame, Live, page, proof, query};
use super::pieces::{Mood, lines, notice, pill};
use super::{Console, asked};
use crate::config::Config;
use crate::probe::{Found, REMEDY, probe};
use crate::provider::{Provider, Setting, Tenant};
use crate::upstream::Upstream;
use crate::user::Head;

/// A provider to choose from.
struct Choice {
    provider: Arc<Provider>,
    /// It is the one that usertap is set to.
    is_set: bool,
}

fn choices(console: &Console) -> Vec<Choice> {
    let set = &console.station.config.provider;
    let others = Provider::builtin_names().filter(|name| *name != set.name);
    let others = others.filter_map(Provider::builtin).map(|provider| Choice {
        provider: Arc::new(provider),
        is_set: false,
    });
    let first = Choice {
        provider: set.clone(),
        is_set: true,
    };
    std::iter::once(first).chain(others).collect()
}

fn chosen(console: &Console, name: &str) -> Choice {
    let mut choices = choices(console);
    let at = choices.iter().position(|choice| choice.provider.name == name);
    choices.swap_remove(at.unwrap_or(0))
}

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Response {
    let choice = chosen(&console, &asked(&uri, "provider"));
    shown(&console, &visitor, &choice, None, html! {}).await
}

pub async fn check(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    let choice = chosen(&console, form.get("provider"));
    let result = match tenant(&choice.provider, &form) {
        Err(missing) => notice(
            Mood::Warn,
            html! { p role="status" { "Not asked: " (missing.join(", ")) " is needed." } },
        ),
        Ok(tenant) => tried(&console, &choice, tenant).await,
    };
    shown(&console, &visitor, &choice, Some(&form), result).await
}

/// The tenant that a form names.
fn tenant(provider: &Provider, form: &Form) -> Result<Tenant, Vec<String>> {
    let value = |name: &str| Some(form.get(name).trim().to_owned()).filter(|value| !value.is_empty());
    let missing = |settings: Vec<&Setting>| {
        settings
            .iter()
            .filter_map(|setting| variable(setting))
            .collect::<Vec<_>>()
    };
    let tenant = provider.tenant(provider.id_type, None, &value).map_err(missing)?;
    match &tenant.key {
        Some(_) => Ok(tenant),
        None => Err(key(provider).and_then(variable).into_iter().collect()),
    }
}

fn variable(setting: &Setting) -> Option<String> {
    setting.variables.first().cloned()
}

fn key(provider: &Provider) -> Option<&Setting> {
    provider.settings().iter().find(|setting| setting.name == "key")
}

async fn tried(console: &Console, choice: &Choice, tenant: Tenant) -> Markup {
    let set = &console.station.config;
    let same = choice.is_set && tenant.identity == set.tenant.identity;
    let Some(config) = config(set, choice, tenant) else {
        return notice(
            Mood::Bad,
            html! { p { "The provider's file names no address of its own: set " code { "USERTAP_UPSTREAM" } "." } },
        );
    };
    let upstream = match Upstream::new(&config, Arc::new(Head::default()), config.upstream_ca.as_deref()) {
        Ok(upstream) => upstream,
        Err(error) => return notice(Mood::Bad, html! { p { (error) } }),
    };
    let (mood, text) = match probe(&config, &upstream).await {
        Found::Accepts(_) => {
            let project = project(&config, &upstream).await;
            return accepted(&config, project.as_deref(), same);
        }
        Found::Refuses(status) => (
            Mood::Bad,
            format!("It answered {status} and does not take this key: {REMEDY}."),
        ),
        Found::Away(error) => (Mood::Bad, format!("It could not be asked: {error}.")),
        Found::NoKey => (Mood::Warn, "There is no key to ask with.".into()),
    };
    notice(mood, html! { p role="status" { (text) } })
}

/// This usertap's settings with another tenant.
fn config(set: &Config, choice: &Choice, tenant: Tenant) -> Option<Config> {
    let own = choice
        .provider
        .upstream
        .as_deref()
        .and_then(|own| own.parse().ok());
    Some(Config {
        upstream: if choice.is_set { set.upstream.clone() } else { own? },
        upstream_ca: set.upstream_ca.clone().filter(|_| choice.is_set),
        provider: choice.provider.clone(),
        tenant: Arc::new(tenant),
        id_type: choice.provider.id_type,
        ..set.clone()
    })
}

async fn project(config: &Config, upstream: &Upstream) -> Option<String> {
    let request = config.provider.project_request(&config.tenant)?;
    let answer = upstream.own(request, crate::upstream::Priority::App).await.ok()?;
    config
        .provider
        .project_name(answer.status, &answer.headers, &answer.body)
}

fn accepted(config: &Config, project: Option<&str>, same: bool) -> Markup {
    notice(
        Mood::Good,
        html! {
            p role="status" {
                strong { "It takes the key" }
                @if let Some(project) = project { " for the project “" (project) "”" } "."
                @if same { " This is the tenant that this usertap serves." }
            }
            @if !same {
                p { "A database belongs to one tenant for good: give another one a database, or a SCHEMA and STATE_SCHEMA, of its own." }
            }
            (lines("In the environment of usertap; the key is not repeated here", &environment(config)))
        },
    )
}

fn environment(config: &Config) -> String {
    let provider = &config.provider;
    let mut text = format!("USERTAP_PROVIDER='{}'\n", provider.name);
    for setting in provider.settings() {
        let part = config
            .tenant
            .identity
            .iter()
            .find(|(part, _)| *part == setting.name);
        let value = part.map(|(_, value)| value.as_str());
        if let (Some(variable), Some(value)) = (
            variable(setting),
            value.filter(|value| setting.default.as_deref() != Some(value)),
        ) {
            text.push_str(&format!("{variable}='{}'\n", value.replace('\'', "'\\''")));
        }
    }
    if let Some(variable) = key(provider).and_then(variable) {
        text.push_str(&format!("{variable}_FILE='/run/secrets/provider-key'\n"));
    }
    text
}

async fn shown(
    console: &Console,
    visitor: &Visitor,
    choice: &Choice,
    form: Option<&Form>,
    result: Markup,
) -> Response {
    let said = link::looked_at(console).await;
    let config = &console.station.config;
    let provider = &choice.provider;
    let body = html! {
        div.title { h1 { "Connect" } }
        section.card aria-labelledby="now-title" {
            header {
                h2 #now-title { "Now: " (config.provider.title()) }
                @match said.as_ref().map(|said| said.what) {
                    None => (pill(Mood::Plain, "Asking")),
                    Some(what) if what.is_good() => (pill(Mood::Good, "Connected")),
                    Some(_) => (pill(Mood::Bad, "Not connected")),
                }
            }
            @if let Some((why, remedy)) = said.and_then(|said| said.what.problem()) { p.why { (why) ": " (remedy) "." } }
            dl.wide {
                @if let Some(project) = console.link.project() { dt { "Project" } dd { (project) } }
                @for (part, value) in &config.tenant.identity { dt { (part) } dd.mono { (value) } }
                dt { "Address" } dd.mono { (config.upstream) }
                dt { "Key" } dd { @if config.tenant.key.is_some() { "set, never shown" } @else { "none" } }
            }
        }
        section.card #check aria-labelledby="check-title" {
            header { h2 #check-title { "Check a key" } }
            p.why { "It is sent to the provider once, and neither kept, logged nor shown." }
            (result)
            (providers(console, choice))
            form.write method="post" action="/connect#check" {
                (proof(visitor))
                input type="hidden" name="provider" value=(provider.name);
                @for setting in provider.settings().iter().filter(|setting| setting.name == "key" || !setting.secret) {
                    (asked_for(console, choice, setting, form))
                }
                div.actions { button.primary type="submit" { "Check it" } }
            }
        }
        (steps(console, choice))
    };
    let frame = Frame {
        place: "/connect",
        title: "Connect",
        live: Live::No,
    };
    page(console, visitor, &frame, body).into_response()
}

fn providers(console: &Console, choice: &Choice) -> Markup {
    let choices = choices(console);
    html! {
        @if choices.len() > 1 {
            nav.tabs aria-label="Providers" {
                @for one in &choices {
                    a href={ "/connect?" (query(&[("provider", &one.provider.name)])) "#check" }
                        aria-current=[(one.provider.name == choice.provider.name).then_some("page")] { (one.provider.title()) }
                }
            }
        }
    }
}

fn asked_for(console: &Console, choice: &Choice, setting: &Setting, form: Option<&Form>) -> Markup {
    let variable = variable(setting).unwrap_or_default();
    let set = console
        .station
        .config
        .tenant
        .identity
        .iter()
        .find(|(part, _)| *part == setting.name);
    let set = set.filter(|_| choice.is_set).map(|(_, value)| value.as_str());
    // A key is never written back into a page.
    let value = match form {
        _ if setting.secret => "",
        Some(form) => form.get(&variable),
        None => set.or(setting.default.as_deref()).unwrap_or_default(),
    };
    let id = format!("f-{}", setting.name);
    html! {
        div.field {
            label for=(id) { @if setting.name == "key" { "Server key" } @else { (setting.name) } }
            input #(id) name=(variable) value=(value) type=(if setting.secret { "password" } else { "text" })
                required[setting.required || setting.secret] autocomplete="off" spellcheck="false" aria-describedby={ (id) "-note" };
            p.note id={ (id) "-note" } { code { (variable) } }
        }
    }
}

fn steps(console: &Console, choice: &Choice) -> Markup {
    let config = &console.station.config;
    let steps = match choice.is_set {
        true => choice.provider.steps(&config.tenant, &console.base()),
        false => Vec::new(),
    };
    html! {
        @if !steps.is_empty() {
            section.card aria-labelledby="steps-title" {
                header { h2 #steps-title { "By hand, at " (choice.provider.title()) } }
                p.why { "What the provider's API does not let usertap do." }
                ol.steps {
                    @for step in steps {
                        li {
                            p { (step.text) }
                            @if let Some(url) = step.url { p { a href=(url) rel="noreferrer" target="_blank" { (url) span.unseen { " (opens in a new tab)" } } } }
                        }
                    }
                    li { p { "Point the app at the proxy: the page " a href="/setup" { "Setup" } " has the lines." } }
                }
            }
        }
    }
}
