//! The names under which a setting may be written, whether usertap's own or the provider's.

use super::table::{self, Default, Setting};
use super::tenant::ProviderSetting;

/// A setting with all its names.
#[derive(Debug, Clone)]
pub struct Known {
    /// As messages call it: `SYNC_TIMEOUT`, `STACK_PROJECT_ID`.
    pub name: String,
    /// Names in the environment; the first is the one that users are told.
    pub env: Vec<String>,
    pub secret: bool,
    /// What stands for the value in help.
    pub value: String,
    pub help: String,
    pub group: String,
    /// In words, for help.
    pub default: String,
    /// A value that holds where nothing is written.
    pub fallback: Option<String>,
    /// Two names in the environment that say different things are a mistake: a tenant is never
    /// guessed.
    pub exact: bool,
}

impl Known {
    /// The key in `usertap.toml`.
    pub fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The flag, without its dashes.
    pub fn flag(&self) -> String {
        self.key().replace('_', "-")
    }

    /// The name in the environment that users are told.
    pub fn env(&self) -> &str {
        self.env.first().map_or(&self.name, |name| name)
    }

    fn own(setting: &Setting) -> Known {
        let also = setting.also.iter().map(|name| (*name).to_owned());
        Known {
            name: setting.name.to_owned(),
            env: std::iter::once(setting.env()).chain(also).collect(),
            secret: setting.secret,
            value: setting.value.to_owned(),
            help: setting.help.to_owned(),
            group: setting.group.to_owned(),
            default: setting.default.words().to_owned(),
            fallback: match setting.default {
                Default::Value(value) => Some(value.to_owned()),
                Default::Words(_) => None,
            },
            exact: false,
        }
    }

    /// A setting that a provider asks for, unless its names cannot be told from those `taken`.
    pub fn of_provider(provider: &str, setting: &ProviderSetting, taken: &[Known]) -> Result<Known, String> {
        let compulsory = if setting.required {
            "none: compulsory"
        } else {
            "none"
        };
        let known = Known {
            name: setting.env.first().unwrap_or(&setting.name).clone(),
            env: setting.env.clone(),
            secret: setting.secret,
            value: "TEXT".to_owned(),
            help: setting.help.clone(),
            group: format!("Of the provider {provider}"),
            default: setting.default.clone().unwrap_or_else(|| compulsory.to_owned()),
            fallback: setting.default.clone(),
            exact: true,
        };
        match known.env.is_empty() || known.env.iter().any(|name| !may_be_asked_for(name, taken)) {
            true => Err(format!(
                "its setting `{}` has no usable name in the environment: write one of capital letters, digits and \
                 `_` that usertap itself does not use",
                setting.name
            )),
            false => Ok(known),
        }
    }
}

/// Flags that are no settings.
const RESERVED: &[&str] = &["config", "help", "json", "tenant", "version"];

fn may_be_asked_for(name: &str, taken: &[Known]) -> bool {
    let key = name.to_ascii_lowercase();
    let form = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let used = taken
        .iter()
        .any(|known| known.key() == key || known.env.iter().any(|env| env == name));
    form && !used && !name.starts_with(table::PREFIX) && !RESERVED.contains(&key.as_str())
}

/// Usertap's own settings.
pub fn own() -> Vec<Known> {
    table::table().iter().map(Known::own).collect()
}

/// The setting that somebody who wrote `name` most likely meant.
pub fn nearest<'a>(known: &'a [Known], name: &str) -> Option<&'a Known> {
    let plain = plain(name);
    known
        .iter()
        .map(|k| (strsim::normalized_damerau_levenshtein(&k.key(), &plain), k))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// A name of any form as the file writes it.
fn plain(name: &str) -> String {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    let bare = lower.strip_prefix("usertap_").unwrap_or(&lower);
    bare.strip_suffix("_file").unwrap_or(bare).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tenant::Kind;
    use super::*;

    #[test]
    fn one_name_gives_key_flag_and_environment() {
        let known = own();
        let timeout = known.iter().find(|k| k.name == "SYNC_TIMEOUT").unwrap();
        assert_eq!(timeout.key(), "sync_timeout");
        assert_eq!(timeout.flag(), "sync-timeout");
        assert_eq!(timeout.env(), "USERTAP_SYNC_TIMEOUT");
        let direct = known.iter().find(|k| k.name == "DATABASE_DIRECT_URL").unwrap();
        assert_eq!(direct.env, ["DATABASE_DIRECT_URL", "DATABASE_URL_UNPOOLED"]);
    }

    #[test]
    fn a_provider_cannot_take_names_that_are_in_use() {
        let asks = |env: &[&str]| {
            let setting = ProviderSetting {
                name: "project".to_owned(),
                env: env.iter().map(|&name| name.to_owned()).collect(),
                required: true,
                secret: false,
                kind: Kind::Identity,
                default: None,
                help: String::new(),
            };
            Known::of_provider("mine", &setting, &own())
        };
        assert_eq!(asks(&["MY_PROJECT"]).unwrap().flag(), "my-project");
        for name in [
            "LISTEN",
            "PORT",
            "USERTAP_X",
            "CONFIG",
            "DATABASE_URL_UNPOOLED",
            "DATABASE_IDLE",
            "",
            "a b",
            "--X",
        ] {
            assert!(asks(&["MY_PROJECT", name]).is_err(), "{name}");
        }
        assert!(asks(&[]).is_err());
    }

    #[test]
    fn finds_what_was_meant() {
        let known = own();
        let meant = |name| nearest(&known, name).map(|k| k.name.as_str());
        assert_eq!(meant("USERTAP_LISTN"), Some("LISTEN"));
        assert_eq!(meant("USERTAP_DATABASE_URL"), Some("DATABASE_URL"));
        assert_eq!(meant("admin-tokn"), Some("ADMIN_TOKEN"));
        assert_eq!(meant("USERTAP_XYZZY"), None);
    }
}
