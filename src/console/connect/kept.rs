//! Lines for the operator to keep: what usertap is started with.

use std::fmt::Write;

use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};

use super::fields::variable;
use crate::config::Config;
use crate::console::pieces::lines;
use crate::provider::Provider;

/// Where the key comes from.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    /// The operator entered it, and it is not shown again.
    Entered,
    /// The provider gave these settings, which nobody has seen yet.
    Given(&'a [(String, SecretString)]),
}

const ENTERED: &str = "what you entered";

/// The environment of usertap, and what to run in it.
pub fn start(config: &Config, key: Key<'_>) -> Markup {
    let title = match key {
        Key::Entered => "The environment of usertap; put your key and your database in",
        Key::Given(_) => "The environment of usertap; put your database in",
    };
    let (doctor, backfill) = (
        config.command("usertap doctor"),
        config.command("usertap backfill"),
    );
    let commands = format!("{doctor}\nusertap serve\n{backfill}");
    html! {
        (lines(title, &environment(config, key)))
        (lines("Look whether all is well, serve, and copy everyone (in another terminal)", &commands))
    }
}

fn environment(config: &Config, key: Key<'_>) -> String {
    let provider = &config.provider;
    let mut text = line(&config.variable("USERTAP_PROVIDER"), &provider.name);
    if provider
        .upstream
        .as_ref()
        .and_then(|own| own.parse().ok())
        .as_ref()
        != Some(&config.upstream)
    {
        text += &line(
            &config.variable("USERTAP_UPSTREAM"),
            config.upstream.as_str().trim_end_matches('/'),
        );
    }
    match key {
        Key::Entered => text += &entered(config),
        Key::Given(settings) => {
            for (name, value) in settings.iter().filter(|(name, _)| is_read(provider, name)) {
                text += &line(&config.variable(name), value.expose_secret());
            }
        }
    }
    text + &line(
        "DATABASE_URL",
        "postgres://user:password@host/database?sslmode=require",
    )
}

fn entered(config: &Config) -> String {
    let (provider, tenant) = (&config.provider, &config.tenant);
    let mut text = String::new();
    for setting in provider.settings() {
        let others = tenant.identity.iter().chain(&tenant.settings);
        let mut others = others.filter(|(name, _)| *name == setting.name);
        let value = match setting.name.as_str() {
            "key" => tenant.key.as_ref().map(|_| ENTERED),
            _ if setting.secret => others.next().map(|_| ENTERED),
            _ => others.next().map(|(_, value)| value.as_str()),
        };
        if let Some(value) = value.filter(|value| setting.default.as_deref() != Some(value)) {
            text += &line(&config.variable(variable(setting)), value);
        }
    }
    text
}

/// Whether usertap reads a variable.
pub fn is_read(provider: &Provider, name: &str) -> bool {
    let mut all = provider.settings().iter().flat_map(|setting| &setting.variables);
    name.starts_with("USERTAP_") || all.any(|variable| variable == name)
}

/// A line for a shell.
pub fn line(name: &str, value: &str) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "export {name}='{}'", value.replace('\'', "'\\''"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_quotes() {
        assert_eq!(line("A", "it's"), "export A='it'\\''s'\n");
    }
}
