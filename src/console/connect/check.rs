//! Whether the provider takes a key, and what usertap is to be started with then.

use maud::{Markup, html};

use super::fields::{self, Field, Place, label, variable};
use super::kept::{self, Key};
use super::{Choice, Part};
use crate::config::Config;
use crate::console::Console;
use crate::console::guard::Form;
use crate::console::pieces::{Mood, notice};
use crate::probe::{Found, REMEDY, probe};
use crate::provider::Setting;
use crate::station::Station;
use crate::upstream::{Priority, Upstream};

pub fn form(place: &Place<'_>) -> Markup {
    let choice = place.choice;
    let asked = choice.provider.settings().iter();
    let asks = |setting: &&Setting| {
        let name = &setting.name;
        choice.provider.tells_tenants_apart(name) || choice.provider.asks_with(name)
    };
    let asked = asked.filter(asks);
    html! {
        p.why { "It is sent to the provider once, and neither kept, logged nor shown." }
        form.write method="post" action="/connect#check" {
            (place.head())
            (place.address(Part::Check))
            @for setting in asked { (asked_for(place, setting)) }
            div.actions { button.primary type="submit" { "Check it" } }
        }
    }
}

fn is_key(setting: &Setting) -> bool {
    setting.name == "key"
}

fn asked_for(place: &Place<'_>, setting: &Setting) -> Markup {
    let config = &place.console.station.config;
    let identity = config
        .tenant
        .identity
        .iter()
        .find(|(part, _)| *part == setting.name);
    let set = identity
        .filter(|_| place.choice.is_set)
        .map(|(_, value)| value.as_str());
    let name = variable(setting);
    let optional = is_key(setting) && place.choice.provider.may_do_without_key();
    fields::field(&Field {
        id: format!("f-{}", setting.name),
        name,
        label: match &setting.label {
            Some(label) => label.clone(),
            None if is_key(setting) => "Server key".into(),
            None => label(&setting.name),
        },
        note: html! { code { (place.variable(name)) } @if optional { "; none where the provider asks for none" } },
        value: match place.form(Part::Check) {
            Some(form) => form.get(name),
            None => set.or(setting.default.as_deref()).unwrap_or_default(),
        },
        secret: setting.secret,
        required: !optional && (setting.required || setting.secret),
    })
}

/// What came of it.
pub async fn checked(console: &Console, choice: &Choice, form: &Form) -> Markup {
    let not_asked = |why: &str| {
        let text = html! { p role="status" { "Not asked: " (why) "." } };
        notice(Mood::Warn, text)
    };
    let address = match fields::address(form) {
        Ok(address) => address,
        Err(wrong) => return not_asked(&wrong),
    };
    let value = |name: &str| Some(form.get(name).trim().to_owned()).filter(|value| !value.is_empty());
    let provider = &choice.provider;
    let names = |settings: Vec<&Setting>| settings.into_iter().map(variable).collect::<Vec<_>>().join(", ");
    let tenant = match provider.tenant(provider.id_type, Some(address.clone()), &value) {
        Ok(tenant) if tenant.key.is_some() || provider.may_do_without_key() => tenant,
        Ok(_) => {
            let key = provider.settings().iter().filter(|setting| is_key(setting));
            return not_asked(&format!("{} is needed", names(key.collect())));
        }
        Err(missing) => return not_asked(&format!("{} is needed", names(missing))),
    };
    let set = &console.station.config;
    let same = choice.is_set && tenant.identity == set.tenant.identity;
    let config = choice.config(set, address, tenant);
    let name = set.name.clone().filter(|_| same);
    let config = Config { name, ..config };
    match takes_it(&console.station, &config).await {
        Ok(project) => accepted(&config, project.as_deref(), same),
        Err(why) => notice(Mood::Bad, html! { p role="status" { (why) } }),
    }
}

/// Whether the provider takes the key; then what the project is called, where it says so.
///
/// # Errors
/// A sentence that says why not.
pub async fn takes_it(station: &Station, config: &Config) -> Result<Option<String>, String> {
    let upstream = station.way_for(config);
    let upstream = upstream.map_err(|error| format!("{error}."))?;
    match probe(config, &upstream).await {
        Found::Accepts(_) => Ok(project(config, &upstream).await),
        Found::Refuses(status) => Err(format!(
            "It answered {status} and does not take this key: {REMEDY}."
        )),
        Found::Away(error) => Err(format!("It could not be asked: {error}.")),
        Found::NoKey => Err("There is no key to ask with.".into()),
    }
}

async fn project(config: &Config, upstream: &Upstream) -> Option<String> {
    let provider = &config.provider;
    let request = provider.project_request(&config.tenant)?;
    let answer = upstream.own(request, Priority::App).await.ok()?;
    provider.project_name(answer.status, &answer.headers, &answer.body)
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
            (kept::start(config, Key::Entered))
        },
    )
}
