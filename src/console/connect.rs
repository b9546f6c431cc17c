//! Connecting a provider: which one, a new project there, whether it takes a key, its webhooks, and what is
//! to be done by hand.
//!
//! A secret that is entered is sent to the provider and then forgotten: it is neither kept, logged nor
//! shown. One that the provider gives is shown once, on the page that answers the form. Settings are
//! written by the operator, never by a page.

mod check;
mod fields;
mod kept;
mod once;
mod procedure;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use url::Url;

use super::guard::{Form, Visitor};
use super::link;
use super::page::{Frame, Live, page, query};
use super::pieces::{Mood, pill};
use super::{Console, asked};
use crate::config::Config;
use crate::provider::{Provider, Purpose, Tenant};

pub use once::Once;
pub use procedure::{provision, subscribe};

/// A provider to choose from.
struct Choice {
    provider: Arc<Provider>,
    /// It is the one that usertap is set to.
    is_set: bool,
}

/// What a page shows beside what it always shows: the form as it was sent, and what came of it.
struct Sent<'f> {
    form: &'f Form,
    part: Part,
    result: Markup,
    /// It is done, and not to be done again.
    is_done: bool,
}

/// The parts of the page that have a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Provision,
    Check,
    Subscribe,
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

impl Choice {
    /// Where the provider is asked, unless the operator enters another address.
    fn usual_address(&self, set: &Config) -> Option<Url> {
        let own = || self.provider.upstream.as_deref()?.parse().ok();
        if self.is_set {
            Some(set.upstream.clone())
        } else {
            own()
        }
    }

    /// This usertap's settings with another tenant at another address, of which it knows no name.
    fn config(&self, set: &Config, address: Url, tenant: Tenant) -> Config {
        let same_place = self.is_set && address == set.upstream;
        Config {
            upstream_ca: set.upstream_ca.clone().filter(|_| same_place),
            upstream: address,
            provider: self.provider.clone(),
            tenant: Arc::new(tenant),
            id_type: self.provider.id_type,
            name: None,
            ..set.clone()
        }
    }
}

pub async fn show(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Response {
    let choice = chosen(&console, &asked(&uri, "provider"));
    shown(&console, &visitor, &choice, None).await
}

pub async fn check(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    let choice = chosen(&console, form.get("provider"));
    let sent = Sent {
        form: &form,
        part: Part::Check,
        result: check::checked(&console, &choice, &form).await,
        is_done: false,
    };
    shown(&console, &visitor, &choice, Some(&sent)).await
}

async fn shown(console: &Console, visitor: &Visitor, choice: &Choice, sent: Option<&Sent<'_>>) -> Response {
    let said = link::looked_at(console).await;
    let place = fields::Place {
        console,
        visitor,
        choice,
        sent,
    };
    let title = choice.provider.title();
    let body = html! {
        div.title { h1 { "Connect" } }
        (now(console, said))
        h2 #provider { "Choose a provider" }
        (tabs(console, choice))
        @if let Some(sent) = sent.filter(|sent| !has(choice, sent.part)) { (sent.result) }
        div.halves {
            div {
                (part(Part::Check, "Check a key", sent, check::form(&place)))
                @if let Some(form) = procedure::subscribe_form(&place) {
                    (part(Part::Subscribe, "Subscribe its webhooks", sent, form))
                }
                @if let Some(procedure) = choice.provider.procedure(Purpose::Provision) {
                    (part(Part::Provision, &format!("Make a project at {title}"), sent, procedure::provision_form(&place, procedure)))
                }
            }
            (by_hand(console, choice))
        }
    };
    let frame = Frame {
        place: "/connect",
        title: "Connect",
        live: Live::No,
    };
    page(console, visitor, &frame, body).into_response()
}

/// Whether the page has this part for a provider.
fn has(choice: &Choice, part: Part) -> bool {
    let has = |purpose| choice.provider.procedure(purpose).is_some();
    match part {
        Part::Check => true,
        Part::Provision => has(Purpose::Provision),
        Part::Subscribe => choice.is_set && has(Purpose::Subscribe),
    }
}

impl Part {
    /// Where its form stands in the page.
    fn anchor(self) -> &'static str {
        match self {
            Part::Provision => "provision",
            Part::Check => "check",
            Part::Subscribe => "subscribe",
        }
    }
}

fn part(part: Part, title: &str, sent: Option<&Sent<'_>>, form: Markup) -> Markup {
    let (id, sent) = (part.anchor(), sent.filter(|sent| sent.part == part));
    html! {
        section.card #(id) aria-labelledby={ (id) "-title" } {
            header { h3 id={ (id) "-title" } { (title) } }
            @if let Some(sent) = sent { (sent.result) }
            @if part == Part::Check { (form) }
            @else if !sent.is_some_and(|sent| sent.is_done) {
                details open[sent.is_some()] { summary { "By its API" } (form) }
            }
        }
    }
}

fn now(console: &Console, said: Option<link::Said>) -> Markup {
    let config = &console.station.config;
    html! {
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
                @for (part, value) in &config.tenant.identity {
                    dt { (fields::label(part)) @if console.link.project().is_some() && part == "project" { " id" } }
                    dd.mono { (value) }
                }
                dt { "Address" } dd.mono { (config.upstream) }
                dt { "Key" } dd { @if config.tenant.key.is_some() { "set, never shown" } @else { "none" } }
                @if config.provider.has_webhooks() { dt { "Webhooks" } dd { (webhooks(console)) } }
            }
        }
    }
}

fn webhooks(console: &Console) -> &'static str {
    let webhooks = &console.station.webhooks;
    match (webhooks.is_open(), webhooks.has_unkept()) {
        (false, _) => "not taken in: no signing secret is set",
        (true, false) => "taken in",
        (true, true) => "taken in, with a signing secret that is gone when usertap ends",
    }
}

fn tabs(console: &Console, choice: &Choice) -> Markup {
    html! {
        nav.tabs aria-label="Providers" {
            @for one in choices(console) {
                a href={ "/connect?" (query(&[("provider", &one.provider.name)])) "#provider" }
                    aria-current=[(one.provider.name == choice.provider.name).then_some("page")] { (one.provider.title()) }
            }
        }
    }
}

fn by_hand(console: &Console, choice: &Choice) -> Markup {
    let config = &console.station.config;
    let nobody = fields::nobody(&choice.provider);
    let tenant = if choice.is_set { &config.tenant } else { &nobody };
    let steps = choice.provider.steps(tenant, &console.base());
    html! {
        section.card aria-labelledby="steps-title" {
            header { h3 #steps-title { "By hand, at " (choice.provider.title()) } }
            ol.steps {
                @for step in steps {
                    li {
                        p { (if choice.is_set { config.named(&step.text) } else { step.text }) }
                        @if let Some(url) = step.url { p { a href=(url) rel="noreferrer" target="_blank" { (url) span.unseen { " (opens in a new tab)" } } } }
                    }
                }
                li { p { "Check the key here, and start usertap with the lines that come with the answer." } }
                li {
                    p { "Point the app at the proxy" @if choice.is_set { ": the page " a href="/setup" { "Setup" } " has the lines." } @else { "." } }
                }
            }
            p.links {
                @for (label, url) in choice.provider.links(tenant) {
                    a href=(url) rel="noreferrer" target="_blank" { (label) span.unseen { " (opens in a new tab)" } }
                }
            }
        }
    }
}
