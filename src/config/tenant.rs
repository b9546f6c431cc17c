//! The seam to the provider's descriptor: which settings it asks for and what tenant they make.
//!
//! Everything that the settings need of a provider goes through these functions.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::Rate;
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
    Other,
}

/// Loads a built-in provider by name, or the file at a path (with a `/`, or ending in `.toml`).
/// The errors are whole sentences; those of a file start with `file:line`.
pub(super) fn load(name: &str, read: ReadFile<'_>) -> Result<Provider, Vec<String>> {
    match name.contains('/') || name.ends_with(".toml") {
        true => load_file(Path::new(name), read),
        false => builtin(name).ok_or_else(|| vec![UNKNOWN.to_owned()]),
    }
}

const UNKNOWN: &str = "no provider of that name is built in: write `stack-auth`, or the path of a provider file, \
                       such as `./my-provider.toml`";

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
    (name == "stack-auth").then(|| Provider {
        name: name.to_owned(),
        id_type: IdType::Uuid,
        upstream: Some("https://api.stack-auth.com".to_owned()),
    })
}

/// The settings that `provider` asks for.
pub(super) fn settings(_provider: &Provider) -> Vec<ProviderSetting> {
    let setting = |name: &str, env: &[&str], kind, help: &str| ProviderSetting {
        name: name.to_owned(),
        env: env.iter().map(|&name| name.to_owned()).collect(),
        required: kind != Kind::Other,
        secret: kind == Kind::Key,
        kind,
        default: None,
        help: help.to_owned(),
    };
    let project = ["STACK_PROJECT_ID", "NEXT_PUBLIC_STACK_PROJECT_ID"];
    let client = [
        "STACK_PUBLISHABLE_CLIENT_KEY",
        "NEXT_PUBLIC_STACK_PUBLISHABLE_CLIENT_KEY",
    ];
    vec![
        setting(
            "project",
            &project,
            Kind::Identity,
            "The project's id, from the dashboard",
        ),
        ProviderSetting {
            required: false,
            default: Some("main".to_owned()),
            ..setting(
                "branch",
                &["STACK_BRANCH_ID"],
                Kind::Identity,
                "The project's branch",
            )
        },
        setting(
            "secret_server_key",
            &["STACK_SECRET_SERVER_KEY"],
            Kind::Key,
            "The project's secret server key, from the dashboard",
        ),
        setting(
            "publishable_client_key",
            &client,
            Kind::Other,
            "The project's publishable client key, where it asks for one",
        ),
    ]
}

/// The tenant that `values` (by the descriptor's names; defaults filled in, checked to be text
/// that a header can hold) make.
pub(super) fn tenant(provider: &Provider, values: &[(&ProviderSetting, SecretString)]) -> Tenant {
    let of = |kind| {
        values
            .iter()
            .filter(move |(setting, _)| setting.kind == kind)
            .map(|(setting, value)| (setting.name.clone(), value.expose_secret().to_owned()))
    };
    Tenant {
        provider: provider.name.clone(),
        identity: of(Kind::Identity).collect(),
        key: of(Kind::Key).next().map(|(_, value)| value.into()),
        settings: of(Kind::Other).collect(),
    }
}

/// The limits that the provider publishes.
pub(super) fn published_rates(_provider: &Provider) -> Vec<Rate> {
    Vec::new()
}
