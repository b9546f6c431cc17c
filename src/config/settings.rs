//! What was written: `usertap.toml`, over it the environment, over it flags. The only reader of
//! the environment.
//!
//! A value may also stand in a file of its own, whose path is in `NAME_FILE` (environment) or
//! `name_file` (settings file). An empty variable counts as not set.
//!
//! Everything but [`process_env`] and [`process_read`] is pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::file::File;
use super::known::{self, Known};
use super::mistake::{Mistake, Place, shown};
use super::table::PREFIX;
use super::tenant::{self, ProviderSetting};
use crate::provider::Provider;

/// The environment.
pub type Env = BTreeMap<String, OsString>;

/// Reads a small text file whole.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The environment of this process. A name that is no text cannot be a setting's.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn process_env() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
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

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Written {
    pub text: SecretString,
    pub place: Place,
}

/// The three places in which settings are written.
pub struct Sources<'a> {
    pub file: File,
    pub env: &'a Env,
    /// By flag, without the dashes.
    pub flags: BTreeMap<String, String>,
    pub read: ReadFile<'a>,
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
    let (provider_settings, known) = names(provider.as_ref());
    mistakes.extend(wrong);
    mistakes.extend(unknown(sources, &known, provider.is_some()));
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

/// The names that count with this provider.
pub fn names(provider: Option<&Provider>) -> (Vec<ProviderSetting>, Vec<Known>) {
    match provider {
        Some(provider) => {
            let settings = tenant::settings(provider);
            let known = known::with_provider(&provider.name, &settings);
            (settings, known)
        }
        None => (Vec::new(), known::own()),
    }
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

impl Sources<'_> {
    /// What was written for one setting, in the place that counts most.
    pub fn find(&self, known: &Known) -> Result<Option<Written>, Mistake> {
        let flag = known.flag();
        if let Some(text) = self.flags.get(&flag) {
            return Ok(Some(Written {
                text: text.as_str().into(),
                place: Place::Flag(flag),
            }));
        }
        match self.in_env(known)? {
            Some(written) => Ok(Some(written)),
            None => self.in_file(known),
        }
    }

    fn in_env(&self, known: &Known) -> Result<Option<Written>, Mistake> {
        let mut found: Option<Written> = None;
        for name in &known.env {
            let Some(written) = self.variable(known, name)? else {
                continue;
            };
            match &found {
                Some(first) if known.exact && !same(first, &written) => {
                    let text = format!("says something else than {}: take one of them out", first.place);
                    return Err(Mistake::new(&known.name, Some(written.place), text));
                }
                Some(_) => {}
                None => found = Some(written),
            }
        }
        Ok(found)
    }

    /// `NAME`, or what stands in the file that `NAME_FILE` names.
    fn variable(&self, known: &Known, name: &str) -> Result<Option<Written>, Mistake> {
        let from = format!("{name}_FILE");
        let (value, path) = (self.plain(known, name)?, self.plain(known, &from)?);
        match (value, path) {
            (Some(_), Some(_)) => {
                let text = format!("{name} is set as well: take one of them out");
                Err(Mistake::new(&known.name, Some(Place::Env(from)), text))
            }
            (Some(text), None) => Ok(Some(Written {
                text: text.into(),
                place: Place::Env(name.to_owned()),
            })),
            (None, Some(path)) => self.content(known, path, Place::Env(from)).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn plain(&self, known: &Known, name: &str) -> Result<Option<&str>, Mistake> {
        let Some(value) = self.env.get(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let wrong = || Mistake::new(&known.name, Some(Place::Env(name.to_owned())), "is no UTF-8 text");
        value.to_str().map(Some).ok_or_else(wrong)
    }

    fn in_file(&self, known: &Known) -> Result<Option<Written>, Mistake> {
        let key = known.key();
        match (self.file.get(&key), self.file.get(&format!("{key}_file"))) {
            (Some(_), Some((_, place))) => {
                let text = format!("`{key}` is set as well: take one of them out");
                Err(Mistake::new(&known.name, Some(place), text))
            }
            (Some((text, place)), None) => Ok(Some(Written {
                text: text.into(),
                place,
            })),
            (None, Some((path, place))) => self.content(known, path, place).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// A file's text without the line end that editors put behind it.
    fn content(&self, known: &Known, path: &str, place: Place) -> Result<Written, Mistake> {
        match (self.read)(Path::new(path)) {
            Ok(text) => Ok(Written {
                text: text.trim_end_matches(['\r', '\n']).into(),
                place,
            }),
            Err(error) => {
                let text = format!("the file {} cannot be read: {error}", shown(path, false));
                Err(Mistake::new(&known.name, Some(place), text))
            }
        }
    }
}

fn same(a: &Written, b: &Written) -> bool {
    a.text.expose_secret() == b.text.expose_secret()
}

/// Names that no setting has. Without a provider the file's keys may be the provider's.
fn unknown(sources: &Sources<'_>, known: &[Known], provider: bool) -> Vec<Mistake> {
    let ours = sources.env.keys().filter(|name| name.starts_with(PREFIX));
    let in_env = ours
        .filter(|name| !known.iter().any(|known| is_variable(known, name)))
        .map(|name| refuse(known, name, Place::Env(name.clone()), |k| k.env().to_owned()));
    let keys = sources.file.keys();
    let in_file = keys
        .filter(|(key, _)| !known.iter().any(|known| is_key(known, key)))
        .filter(|(key, _)| provider || known::is_later(key))
        .map(|(key, place)| refuse(known, key, place, Known::key));
    let later = sources.flags.keys().filter(|flag| known::is_later(flag));
    let in_flags = later.map(|flag| refuse(known, flag, Place::Flag(flag.clone()), Known::flag));
    in_env.chain(in_file).chain(in_flags).collect()
}

fn is_variable(known: &Known, name: &str) -> bool {
    let bare = name.strip_suffix("_FILE");
    known
        .env
        .iter()
        .any(|env| env == name || Some(env.as_str()) == bare)
}

fn is_key(known: &Known, name: &str) -> bool {
    let key = known.key();
    key == name || Some(key.as_str()) == name.strip_suffix("_file")
}

fn refuse(known: &[Known], name: &str, place: Place, form: impl Fn(&Known) -> String) -> Mistake {
    let text = match (known::is_later(name), known::nearest(known, name)) {
        (true, _) => "this version does not have that setting yet: take it out".to_owned(),
        (false, Some(meant)) => format!("there is no such setting: did you mean `{}`?", form(meant)),
        (false, None) => {
            "there is no such setting: take it out; `usertap serve -h` lists all there are".to_owned()
        }
    };
    Mistake::new(name, Some(place), text)
}
