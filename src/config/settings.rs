//! What was written: `usertap.toml`, over it the environment, over it flags. The only reader of
//! the environment.
//!
//! A value may also stand in a file of its own, whose path is in `NAME_FILE` (environment) or
//! `name_file` (settings file). An empty variable counts as not set.
//!
//! Everything but [`process_env`] and [`process_read`] is pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::known::{self, Known};
use super::mistake::Mistake;
use super::sources::{Sources, Written};
use super::tenant::{self, ProviderSetting};
use super::unknown;
use crate::provider::Provider;

/// The environment.
pub type Env = BTreeMap<String, OsString>;

/// Reads a small text file whole.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The environment of this process. A name that is no text cannot be a setting's, nor can what Kubernetes
/// puts there for each Service that it finds.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn process_env() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| !is_service_link(name, value))
        .collect()
}

/// `USERTAP_SERVICE_HOST`, `USERTAP_SERVICE_PORT_HTTP`, `USERTAP_PORT=tcp://…`,
/// `USERTAP_PORT_8400_TCP_ADDR` (the documentation of Kubernetes, Service, environment variables).
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let port = name.rsplit_once("_PORT_").map(|(_, rest)| rest);
    let of_port = port.and_then(|rest| rest.split_once('_'));
    let is_of_port = of_port.is_some_and(|(number, rest)| {
        number.bytes().all(|digit| digit.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"].iter().any(|kind| rest.starts_with(kind))
    });
    let is_address = value.to_str().is_some_and(|value| {
        ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || is_of_port
        || name.ends_with("_PORT") && is_address
}

/// Larger than any settings file, secret, provider file or list of certificates.
const LARGEST: u64 = 4 << 20;

/// Reads from this machine's files, never more than 4 MiB.
pub fn process_read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LARGEST {
        true => Err(io::Error::other("it is larger than 4 MiB")),
        false => Ok(text),
    }
}

/// What was written in all of them, and what was wrong with how.
pub struct Settings {
    /// `None` only with a mistake that says why.
    pub provider: Option<Arc<Provider>>,
    pub provider_settings: Vec<ProviderSetting>,
    pub known: Vec<Known>,
    pub mistakes: Vec<Mistake>,
    values: BTreeMap<String, Written>,
}

impl Settings {
    /// What was written for the setting, if anything.
    pub fn written(&self, name: &str) -> Option<&Written> {
        self.values.get(name)
    }

    /// What holds for the setting: written, or its default.
    pub fn text(&self, name: &str) -> Option<&str> {
        let written = self.values.get(name).map(|written| written.text.expose_secret());
        written.or_else(|| self.known(name)?.fallback.as_deref())
    }

    pub fn known(&self, name: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.name == name)
    }
}

/// Reads all that was written.
pub fn read(sources: &Sources<'_>, mut mistakes: Vec<Mistake>) -> Settings {
    let (provider, wrong) = provider(sources);
    let (provider_settings, known, misnamed) = names(provider.as_ref());
    mistakes.extend(wrong.into_iter().chain(misnamed));
    mistakes.extend(unknown::unknown(sources, &known, provider.is_some()));
    let mut values = BTreeMap::new();
    for known in &known {
        match sources.find(known) {
            Ok(Some(written)) => drop(values.insert(known.name.clone(), written)),
            Ok(None) => {}
            // The provider's has been reported already.
            Err(_) if known.name == "PROVIDER" => {}
            Err(mistake) => mistakes.push(mistake),
        }
    }
    Settings {
        provider: provider.map(Arc::new),
        provider_settings,
        known,
        mistakes,
        values,
    }
}

/// The names that count with this provider, and what is wrong with those that it asks for.
pub fn names(provider: Option<&Provider>) -> (Vec<ProviderSetting>, Vec<Known>, Vec<Mistake>) {
    let Some(provider) = provider else {
        return (Vec::new(), known::own(), Vec::new());
    };
    let mut known = known::own();
    let mut settings = Vec::new();
    let mut mistakes = Vec::new();
    for setting in tenant::settings(provider) {
        match Known::of_provider(&provider.name, &setting, &known) {
            Ok(named) => {
                known.push(named);
                settings.push(setting);
            }
            Err(problem) => mistakes.push(Mistake::new("PROVIDER", None, problem)),
        }
    }
    (settings, known, mistakes)
}

/// The provider that the sources name: it says which further settings there are.
pub fn provider(sources: &Sources<'_>) -> (Option<Provider>, Vec<Mistake>) {
    let own = known::own();
    let Some(setting) = own.iter().find(|known| known.name == "PROVIDER") else {
        return (None, Vec::new());
    };
    let written = match sources.find(setting) {
        Ok(written) => written,
        Err(mistake) => return (None, vec![mistake]),
    };
    let text = written.as_ref().map(|written| written.text.expose_secret());
    let name = text.or(setting.fallback.as_deref()).unwrap_or_default();
    match tenant::load(name, sources.read) {
        Ok(provider) => (Some(provider), Vec::new()),
        Err(texts) => {
            let place = written.as_ref().map(|written| written.place.clone());
            let mistake = |text: String| Mistake::new("PROVIDER", place.clone(), text);
            (None, texts.into_iter().map(mistake).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_puts_there_is_no_setting() {
        let is_link = |name: &str, value: &str| is_service_link(name, OsStr::new(value));
        for (name, value) in [
            ("USERTAP_SERVICE_HOST", "10.0.0.1"),
            ("USERTAP_SERVICE_PORT", "8400"),
            ("USERTAP_SERVICE_PORT_HTTP", "8400"),
            ("USERTAP_PORT", "tcp://10.0.0.1:8400"),
            ("SHOP_PORT_8400_TCP", "tcp://10.0.0.1:8400"),
            ("USERTAP_PORT_8400_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_link(name, value), "{name}");
        }
        for (name, value) in [
            ("SHOP_PORT", "8400"),
            ("USERTAP_LISTEN", "0.0.0.0:8400"),
            ("PORT", "80"),
        ] {
            assert!(!is_link(name, value), "{name}");
        }
    }
}
