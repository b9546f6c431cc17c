//! The three places in which a setting may be written, and which of them counts.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::file::File;
use super::known::Known;
use super::mistake::{Mistake, Place};
use super::settings::{Env, ReadFile};

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

    /// A file's text without the line end that editors put behind it, and the byte order mark before it.
    fn content(&self, known: &Known, path: &str, place: Place) -> Result<Written, Mistake> {
        match (self.read)(Path::new(path)) {
            Ok(text) => Ok(Written {
                text: text
                    .trim_start_matches('\u{feff}')
                    .trim_end_matches(['\r', '\n'])
                    .into(),
                place,
            }),
            Err(error) => {
                let text = format!("the file that it names cannot be read: {error}");
                Err(Mistake::new(&known.name, Some(place), text))
            }
        }
    }
}

fn same(a: &Written, b: &Written) -> bool {
    a.text.expose_secret() == b.text.expose_secret()
}
