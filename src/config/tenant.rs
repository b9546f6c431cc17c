//! The seam to the provider's descriptor: which settings it asks for and what tenant they make.
//!
//! Everything that the settings need of a provider goes through these functions.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::mistake::shown;
use super::settings::ReadFile;
use crate::provider::{Provider, Tenant};
use crate::user::IdType;

/// A setting that the provider's descriptor asks for.
#[derive(Debug, Clone)]
pub struct ProviderSetting {
    /// The descriptor's name for it: `project`.
    pub name: String,
    /// Names in the environment; the first also gives the file's key and the flag.
    pub env: Vec<String>,
    pub required: bool,
    pub secret: bool,
    pub kind: Kind,
    pub default: Option<String>,
    /// What it is and where the user finds it.
    pub help: String,
}

/// What a provider's setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tells this tenant from others.
    Identity,
    /// The server key: nothing but `migrate` can do without it, where it is required.
    Key,
    /// It signs the provider's webhooks.
    WebhookSecret,
    Other,
}

/// Loads a built-in provider by name, or the file at a path (with a `/`, or ending in `.toml`).
/// The errors are whole sentences; those of a file start with `file:line`.
pub(super) fn load(name: &str, read: ReadFile<'_>) -> Result<Provider, Vec<String>> {
    match name.contains('/') || name.ends_with(".toml") {
        true => load_file(Path::new(name), read),
        false => builtin(name).ok_or_else(|| vec![unknown()]),
    }
}

fn unknown() -> String {
    let names: Vec<String> = Provider::builtin_names()
        .map(|name| format!("`{name}`"))
        .collect();
    format!(
        "no provider of that name is built in: write {}, or the path of a provider file, such as \
         `./my-provider.toml`",
        names.join(", ")
    )
}

fn load_file(path: &Path, read: ReadFile<'_>) -> Result<Provider, Vec<String>> {
    let shown = shown(&path.to_string_lossy(), false);
    let text = read(path).map_err(|error| {
        vec![format!(
            "{shown} cannot be read: {error}; write the path of a provider file"
        )]
    })?;
    Provider::parse(&text).map_err(|mistakes| {
        let line = |m: crate::provider::Mistake| format!("{}:{}: {}", path.display(), m.line, m.text);
        mistakes.into_iter().map(line).collect()
    })
}

fn builtin(name: &str) -> Option<Provider> {
    Provider::builtin(name)
}

/// The settings that `provider` asks for.
pub(super) fn settings(provider: &Provider) -> Vec<ProviderSetting> {
    let setting = |setting: &crate::provider::Setting| {
        let kind = kind(provider, &setting.name);
        ProviderSetting {
            name: setting.name.clone(),
            env: setting.variables.clone(),
            required: setting.required || (kind == Kind::Key && !provider.may_do_without_key()),
            secret: setting.secret,
            default: setting.default.clone(),
            kind,
            help: help(&provider.name, setting, kind),
        }
    };
    provider.settings().iter().map(setting).collect()
}

fn kind(provider: &Provider, name: &str) -> Kind {
    match name {
        "key" => Kind::Key,
        name if provider.signs_webhooks(name) => Kind::WebhookSecret,
        name if provider.tells_tenants_apart(name) => Kind::Identity,
        _ => Kind::Other,
    }
}

fn help(provider: &str, setting: &crate::provider::Setting, kind: Kind) -> String {
    let name = &setting.name;
    match kind {
        Kind::Key => match &setting.label {
            Some(label) => format!("{label}, from {provider}"),
            None => format!("The secret server key, from {provider}'s dashboard"),
        },
        Kind::Identity => format!("Which {name} of {provider} this is"),
        Kind::WebhookSecret => format!("The signing secret of {provider}'s webhooks, as WEBHOOK_SECRET"),
        Kind::Other => format!("The {name} of {provider}, where it asks for one"),
    }
}

/// The tenant that `values` (checked to be text that a header can hold) make.
pub(super) fn tenant(
    provider: &Provider,
    id_type: IdType,
    upstream: Option<url::Url>,
    values: &[(&ProviderSetting, SecretString)],
) -> Option<Tenant> {
    let value = |name: &str| {
        let of = |(setting, _): &&(&ProviderSetting, SecretString)| setting.env.iter().any(|env| env == name);
        values
            .iter()
            .find(of)
            .map(|(_, value)| value.expose_secret().to_owned())
    };
    provider.tenant(id_type, upstream, &value).ok()
}
