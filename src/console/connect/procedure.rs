//! What the provider's API sets up: a project with its keys, a subscription to webhooks.
//!
//! It is done by a task of its own, so that a browser that goes away does not leave it half done. What it
//! gives is in the page that answers the form and nowhere else; the log says that it was done.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};

use super::fields::{self, Field, Place};
use super::kept::{self, Key, line};
use super::{Choice, Part, Sent, check, chosen, once::Once, shown};
use crate::config::Config;
use crate::console::Console;
use crate::console::guard::{Form, Visitor};
use crate::console::pieces::{Mood, lines, notice};
use crate::provider::{Known, Outcome, Procedure, Purpose};
use crate::random;
use crate::station::Station;
use crate::upstream::{Priority, Upstream};

const ONCE: &str = "once";
const PUBLIC: &str = "public";
/// What the signing secret of webhooks is called wherever it comes from.
const WEBHOOK_SECRET: &str = "USERTAP_WEBHOOK_SECRET";

pub fn provision_form(place: &Place<'_>, procedure: &Procedure) -> Markup {
    let part = Part::Provision;
    html! {
        p.why { (procedure.does) }
        form.write method="post" action="/connect/provision#provision" {
            (place.head())
            input type="hidden" name=(ONCE) value=(Once::mark());
            (place.address(part))
            (place.asks(part, &procedure.asks))
            (place.sure(part, "Make it: the console cannot take it back"))
            div.actions { button.primary type="submit" { "Make the project" } }
        }
    }
}

/// For the provider that usertap serves: it takes in no other's webhooks.
pub fn subscribe_form(place: &Place<'_>) -> Option<Markup> {
    let procedure = place.choice.provider.procedure(Purpose::Subscribe);
    let procedure = procedure.filter(|_| place.choice.is_set)?;
    let (part, base) = (Part::Subscribe, place.console.base());
    let is_public = place.console.station.config.public_url.is_some();
    let public = Field {
        id: "subscribe-public".into(),
        name: PUBLIC,
        label: "Where the provider reaches usertap".into(),
        note: html! {
            "Its webhooks go to " code { "/_usertap/webhooks" } " there."
            @if !is_public { " " code { (place.variable("USERTAP_PUBLIC_URL")) } " is not set: this is where usertap listens, which the provider may not reach." }
        },
        value: place.form(part).map_or(base.as_str(), |form| form.get(PUBLIC)),
        secret: false,
        required: true,
    };
    Some(html! {
        p.why { (procedure.does) }
        form.write method="post" action="/connect/subscribe#subscribe" {
            (place.head())
            input type="hidden" name=(ONCE) value=(Once::mark());
            (fields::field(&public))
            (place.asks(part, &procedure.asks))
            (place.sure(part, "Subscribe them: the console cannot take it back"))
            div.actions { button.primary type="submit" { "Subscribe them" } }
        }
    })
}

pub async fn provision(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    let choice = chosen(&console, form.get("provider"));
    let result = provisioned(&console, &choice, &form).await;
    answered(&console, &visitor, &choice, &form, (Part::Provision, result)).await
}

pub async fn subscribe(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    let choice = chosen(&console, form.get("provider"));
    let result = subscribed(&console, &choice, &form).await;
    answered(&console, &visitor, &choice, &form, (Part::Subscribe, result)).await
}

/// The page with what came of it, or why nothing did.
async fn answered(
    console: &Console,
    visitor: &Visitor,
    choice: &Choice,
    form: &Form,
    (part, result): (Part, Result<Markup, String>),
) -> Response {
    let is_done = result.is_ok();
    let not_done = |why| notice(Mood::Warn, html! { p role="status" { "Not done: " (why) "." } });
    let sent = Sent {
        form,
        part,
        result: result.unwrap_or_else(not_done),
        is_done,
    };
    shown(console, visitor, choice, Some(&sent)).await
}

async fn provisioned(console: &Console, choice: &Choice, form: &Form) -> Result<Markup, String> {
    let procedure = choice.provider.procedure(Purpose::Provision);
    let known = entered(procedure, form)?;
    let address = fields::address(form)?;
    let config = choice.config(
        &console.station.config,
        address.clone(),
        fields::nobody(&choice.provider),
    );
    first_time(console, form)?;
    let (outcome, stopped) = carried_out(console, config.clone(), Purpose::Provision, known).await?;
    let given = |name: &str| {
        let mut settings = outcome.settings.iter();
        let found = settings.find(|(own, _)| own == name);
        found.map(|(_, value)| value.expose_secret().to_owned())
    };
    let tenant = choice
        .provider
        .tenant(config.id_type, Some(address.clone()), &given);
    let verdict = match tenant {
        Ok(tenant) => {
            let config = choice.config(&config, address, tenant);
            check::takes_it(&console.station, &config).await.map(|_| ())
        }
        Err(_) => Err("What it gave does not make a whole set of settings.".into()),
    };
    let verdict = match stopped {
        Some(why) => Err(format!(
            "It was made in part, for {why}. Keep what there is, and make the rest by hand."
        )),
        None => verdict,
    };
    Ok(made(&config, &outcome.settings, verdict))
}

fn made(config: &Config, settings: &[(String, SecretString)], verdict: Result<(), String>) -> Markup {
    let provider = &config.provider;
    let others = settings.iter().filter(|(name, _)| !kept::is_read(provider, name));
    let others: String = others
        .map(|(name, value)| line(name, value.expose_secret()))
        .collect();
    let mood = if verdict.is_ok() { Mood::Good } else { Mood::Warn };
    notice(
        mood,
        html! {
            p role="status" {
                strong { "The project is made" }
                @match &verdict { Ok(()) => { ", and the provider takes its key." }, Err(why) => { ". " (why) } }
            }
            (this_once())
            (kept::start(config, Key::Given(settings)))
            @if !others.is_empty() { (lines("Not for usertap to run with; subscribing webhooks asks for it", &others)) }
        },
    )
}

fn this_once() -> Markup {
    html! { p { strong { "Shown this once." } " usertap keeps none of it: copy it to where your settings are before you leave this page." } }
}

async fn subscribed(console: &Console, choice: &Choice, form: &Form) -> Result<Markup, String> {
    if !choice.is_set {
        return Err("usertap serves another provider, and takes in no other's webhooks".into());
    }
    let procedure = choice.provider.procedure(Purpose::Subscribe);
    let mut known = entered(procedure, form)?;
    let public = fields::base_url(form.get(PUBLIC))
        .map_err(|wrong| format!("where the provider reaches usertap {wrong}"))?;
    let url = format!("{}/_usertap/webhooks", public.as_str().trim_end_matches('/'));
    known.put("url", url.as_str());
    // For the provider to sign with, where it makes no secret itself.
    known.put("random", random::text());
    first_time(console, form)?;
    let config = console.station.config.as_ref().clone();
    let (outcome, stopped) = carried_out(console, config, Purpose::Subscribe, known).await?;
    match stopped {
        Some(why) => Err(format!("it began, and stopped: {why}")),
        None if outcome.settings.is_empty() && outcome.opens.is_none() => {
            Err("the provider's answer holds neither a secret nor a page to open".into())
        }
        None => Ok(goes_on(&outcome, &url, &console.station.config)),
    }
}

fn goes_on(outcome: &Outcome, url: &str, config: &Config) -> Markup {
    let settings = outcome.settings.iter();
    let settings: String = settings
        .map(|(name, value)| line(&config.variable(name), value.expose_secret()))
        .collect();
    notice(
        Mood::Good,
        html! {
            @if let Some(page) = &outcome.opens {
                p role="status" { strong { "Webhooks are switched on." } " Go on at the provider, with this link, which is good for a while:" }
                p { a.button href=(page.expose_secret()) rel="noreferrer" target="_blank" { "Open the page" span.unseen { " (opens in a new tab)" } } }
                (lines("The endpoint to add there", url))
                p { "Then copy its signing secret from there into the environment of usertap, and start it anew:" }
                (lines("In the environment of usertap", &line(&config.variable(WEBHOOK_SECRET), "whsec_…")))
            } @else {
                p role="status" { strong { "Subscribed." } " What the provider sends is taken in from now on, by this process." }
                (this_once())
                (lines("In the environment of usertap, before it is started next", &settings))
            }
        },
    )
}

/// What the operator entered, once all is there and the box is ticked.
fn entered(procedure: Option<&Procedure>, form: &Form) -> Result<Known, String> {
    let procedure = procedure.ok_or("the provider's file does not say how")?;
    let mut known = Known::default();
    for ask in &procedure.asks {
        match form.get(&ask.name).trim() {
            "" => return Err(format!("{} is needed", ask.label)),
            text => known.put(&ask.name, text),
        }
    }
    match form.get("sure") {
        "true" => Ok(known),
        _ => Err("tick the box that says that you mean it".into()),
    }
}

fn first_time(console: &Console, form: &Form) -> Result<(), String> {
    match console.once.is_first(form.get(ONCE)) {
        true => Ok(()),
        false => {
            Err("this form was sent before, and what it made was shown then; it makes nothing again".into())
        }
    }
}

/// What it gave, and why it stopped where it did not come to its end.
///
/// # Errors
/// Where nothing came of it.
async fn carried_out(
    console: &Console,
    config: Config,
    purpose: Purpose,
    known: Known,
) -> Result<(Outcome, Option<String>), String> {
    let station = console.station.clone();
    let task = console.station.tasks.spawn(async move {
        let (outcome, stopped) = run(&station, &config, purpose, known).await?;
        let secret = outcome.settings.iter().find(|(name, _)| name == WEBHOOK_SECRET);
        if let Some((_, secret)) = secret.filter(|_| purpose == Purpose::Subscribe) {
            station.webhooks.accept(secret.expose_secret());
        }
        let provider = &config.provider.name;
        tracing::info!(
            provider,
            what = purpose.as_str(),
            "set up at the provider, as the console was asked to"
        );
        Ok((outcome, stopped))
    });
    task.await.unwrap_or_else(|_| Err("it broke off".into()))
}

async fn run(
    station: &Station,
    config: &Config,
    purpose: Purpose,
    mut known: Known,
) -> Result<(Outcome, Option<String>), String> {
    let procedure = config.provider.procedure(purpose);
    let procedure = procedure.ok_or("the provider's file does not say how")?;
    let upstream = station.way_for(config);
    let upstream = upstream.map_err(|error| error.to_string())?;
    for done in 0..procedure.len() {
        if let Err(why) = step(config, &upstream, procedure, done, &mut known).await {
            let outcome = procedure.outcome(&known);
            return match outcome.settings.is_empty() {
                true => Err(why),
                false => Ok((outcome, Some(why))),
            };
        }
    }
    Ok((procedure.outcome(&known), None))
}

async fn step(
    config: &Config,
    upstream: &Upstream,
    procedure: &Procedure,
    done: usize,
    known: &mut Known,
) -> Result<(), String> {
    let request = config
        .provider
        .next_request(procedure, done, &config.tenant, known);
    let request = request.ok_or("something that was entered cannot stand in a request")?;
    let answer = upstream
        .own(request, Priority::App)
        .await
        .map_err(|error| match error.leaves_doubt() {
            true => format!("{error}; it may have been done all the same: look there before you try again"),
            false => error.to_string(),
        })?;
    let told = (answer.status, &answer.headers, &answer.body[..]);
    let learned = config.provider.learn(procedure, done, told, known);
    learned.map_err(|stopped| stopped.to_string())
}
