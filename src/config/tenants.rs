//! Several tenants in one settings file: what each has of its own, and that none has another's.
//!
//! A `[[tenant]]` has a name and settings, over those that stand above all of them. What tells a tenant
//! from others, and where it listens and writes, is never shared: it stands in the tenant's own table,
//! or in the environment with the tenant's name before it (`SHOP_STACK_PROJECT_ID` for `shop`).

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::file::File;
use super::known::{self, Known};
use super::settings::Env;
use super::table::PREFIX;
use super::{Config, Database, Mistake, Place};

/// In `DATA_DIR`: a folder for each.
pub const TENANTS: &str = "tenants";

/// Usertap's own settings that are of one tenant alone, beside all of the provider's.
const ALONE: [&str; 7] = [
    "LISTEN",
    "PORT",
    "ADMIN_LISTEN",
    "SCHEMA",
    "STATE_SCHEMA",
    "PUBLIC_URL",
    "WEBHOOK_SECRET",
];

/// Whether a setting is of one tenant alone.
pub fn is_alone(known: &Known) -> bool {
    known.exact || ALONE.contains(&known.name.as_str())
}

/// What of the environment counts for a tenant: that of all unless its own table says otherwise, and
/// over both what has its name before it.
pub fn environment(env: &Env, name: &str, file: &File, known: &[Known]) -> Env {
    let own = |known: &&Known| is_alone(known) || file.is_own(&known.key());
    let left_out = known.iter().filter(own).flat_map(|known| &known.env);
    let left_out: BTreeSet<String> = left_out
        .flat_map(|name| [name.clone(), format!("{name}_FILE")])
        .collect();
    let prefix = prefix(name);
    let shared = env.iter().filter(|(name, _)| !left_out.contains(*name));
    let named = env
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?, value)));
    let named = named.map(|(name, value)| (name.to_owned(), value.clone()));
    let mut all: Env = shared
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in named {
        // A value and the file that it may stand in are one setting.
        let other = match name.strip_suffix("_FILE") {
            Some(bare) => bare.to_owned(),
            None => format!("{name}_FILE"),
        };
        all.remove(&other);
        all.insert(name, value);
    }
    all
}

/// Usertap's own variables that are of one tenant alone and have no tenant's name before them: nobody's.
/// The port that a platform hands out to whatever it runs is not written by anybody.
pub fn nobodys(env: &Env, names: &[&str]) -> Vec<Mistake> {
    let example = prefix(names.first().unwrap_or(&"shop"));
    let all = known::own();
    let alone = all.iter().filter(|known| is_alone(known));
    let refuse = |setting: &str, variable: String| {
        let text =
            format!("is of one tenant alone: put the tenant's name before it, such as {example}{variable}");
        Mistake::new(setting, Some(Place::Env(variable)), text)
    };
    let refused = alone.flat_map(|known| {
        let variables = set(env, known)
            .into_iter()
            .filter(|name| name.starts_with(PREFIX));
        variables.map(|variable| refuse(&known.name, variable))
    });
    refused.collect()
}

/// The same of the provider's, which may be the app's own: told where the tenant has no other.
pub fn passed_over(env: &Env, (name, own): (&str, &Env), file: &File, known: &[Known]) -> Vec<String> {
    let is_without = |known: &&Known| {
        let key = known.key();
        let in_file = file.get(&key).or_else(|| file.get(&format!("{key}_file")));
        known.exact && in_file.is_none() && set(own, known).is_empty()
    };
    let prefix = prefix(name);
    let variables = known.iter().filter(is_without).flat_map(|known| set(env, known));
    let tell = |variable: String| {
        format!(
            "{variable} in the environment is no tenant's, and ignored: for {name} it is called {prefix}{variable}"
        )
    };
    variables.map(tell).collect()
}

/// The variables that say something of a setting.
fn set(env: &Env, known: &Known) -> Vec<String> {
    let names = known
        .env
        .iter()
        .flat_map(|name| [name.clone(), format!("{name}_FILE")]);
    names
        .filter(|name| env.get(name).is_some_and(|value| !value.is_empty()))
        .collect()
}

/// What stands before the names of a tenant's own variables: `SHOP_`.
pub fn prefix(name: &str) -> String {
    format!("{}_", name.to_ascii_uppercase().replace('-', "_"))
}

/// A mistake of one tenant's, with the names that its settings have in the environment and in the file.
pub fn told(mistake: Mistake, name: &str, (env, known): (&Env, &[Known])) -> Mistake {
    let prefix = prefix(name);
    let own = known
        .iter()
        .find(|known| known.name == mistake.setting && is_alone(known));
    let text = match own {
        Some(known) if mistake.is_missing() => format!(
            "is missing: write `{}` below its [[tenant]] in usertap.toml, or set {prefix}{} in the environment. {}",
            known.key(),
            known.env(),
            known.help
        ),
        _ => mistake.text,
    };
    let place = mistake.place.map(|place| match place {
        Place::Env(variable) if env.contains_key(&format!("{prefix}{variable}")) => {
            Place::Env(format!("{prefix}{variable}"))
        }
        place => place,
    });
    Mistake {
        setting: mistake.setting,
        place,
        text,
    }
    .of_tenant(name)
}

/// Served by one process: each knows which journals are the others'.
pub fn beside(configs: &mut [Config]) {
    let all: Vec<_> = configs.iter().map(|config| config.journal_dir.clone()).collect();
    for config in configs {
        config.beside.clone_from(&all);
        config.beside.retain(|folder| *folder != config.journal_dir);
    }
}

/// Nothing of one may reach another.
pub fn apart(configs: &[Config]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (at, one) in configs.iter().enumerate() {
        for other in &configs[..at] {
            let names = (other.tenant_name(), one.tenant_name());
            mistakes.extend(shared(other, one).into_iter().map(|(setting, what)| {
                let text = format!("tenants {} and {} {what}: give each its own", names.0, names.1);
                Mistake::new(setting, None, text)
            }));
        }
    }
    mistakes
}

fn shared(one: &Config, other: &Config) -> Vec<(&'static str, &'static str)> {
    let mut shared = Vec::new();
    let places = |config: &Config| [config.listen, config.admin_listen].map(Some);
    let taken = places(one)
        .into_iter()
        .flatten()
        .any(|place| place.port() != 0 && places(other).contains(&Some(place)));
    if taken {
        shared.push(("LISTEN", "listen at one address"));
    }
    let schemas = |config: &Config| [config.schema.clone(), config.state_schema.clone()];
    if same_database(one, other) && schemas(one).iter().any(|schema| schemas(other).contains(schema)) {
        shared.push(("SCHEMA", "have a schema of one database in common"));
    }
    if one.tenant.provider == other.tenant.provider {
        if one.tenant.identity == other.tenant.identity {
            shared.push(("PROVIDER", "are one and the same at the provider"));
        }
        let key = |config: &Config| {
            config
                .tenant
                .key
                .as_ref()
                .map(|key| key.expose_secret().to_owned())
        };
        if key(one).is_some() && key(one) == key(other) {
            shared.push(("PROVIDER", "have one server key"));
        }
    }
    if one
        .webhook_secrets
        .iter()
        .any(|secret| other.webhook_secrets.contains(secret))
    {
        shared.push(("WEBHOOK_SECRET", "have one signing secret"));
    }
    shared
}

fn same_database(one: &Config, other: &Config) -> bool {
    match (&one.database, &other.database) {
        (Database::Embedded, Database::Embedded) => one.data_dir == other.data_dir,
        (Database::Url { url: one, .. }, Database::Url { url: other, .. }) => {
            one.url.expose_secret() == other.url.expose_secret()
        }
        _ => false,
    }
}

impl Config {
    /// Of one among several tenants: its journal has a folder of its own.
    pub fn of_tenant(mut self, name: &str) -> Config {
        self.journal_dir = self.data_dir.join(TENANTS).join(name);
        self.name = Some(name.to_owned());
        self
    }

    /// What a variable is called in the environment that this tenant is served from.
    pub fn variable(&self, name: &str) -> String {
        self.name.as_deref().map_or(String::new(), prefix) + name
    }

    /// A sentence that tells of usertap's variables, with the names that they have for this tenant.
    pub fn named(&self, text: &str) -> String {
        text.replace(PREFIX, &self.variable(PREFIX))
    }

    /// What is typed for this tenant.
    pub fn command(&self, line: &str) -> String {
        match &self.name {
            Some(name) => format!("{line} --tenant {name}"),
            None => line.to_owned(),
        }
    }

    fn tenant_name(&self) -> &str {
        self.name.as_deref().unwrap_or("one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_of_one_tenant_alone_is_not_taken_from_all() {
        let (file, _) = File::parse(
            Path::new("usertap.toml"),
            "sync_timeout = \"1s\"\n[[tenant]]\nname = \"shop\"\ntimeout = \"2s\"\nadmin_token_file = \"t\"\n",
        );
        let shop = &file.tenants()[0];
        assert_eq!(shop.0, "shop");
        let env: Env = [
            ("USERTAP_LISTEN", "127.0.0.1:1"),
            ("USERTAP_TIMEOUT", "9s"),
            ("USERTAP_LOG", "debug"),
            ("USERTAP_DRAIN", "9s"),
            ("USERTAP_ADMIN_TOKEN", "everybody's"),
            ("PORT", "80"),
            ("SHOP_USERTAP_DRAIN_FILE", "d"),
            ("SHOP_USERTAP_LISTEN", "127.0.0.1:2"),
            ("SHOP_STACK_PROJECT_ID", "p"),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
        let counts = environment(&env, "shop", &shop.1, &known::own());
        let value = |name: &str| counts.get(name).and_then(|value| value.to_str());
        assert_eq!(value("USERTAP_LISTEN"), Some("127.0.0.1:2"));
        assert_eq!(value("USERTAP_TIMEOUT"), None);
        assert_eq!((value("PORT"), value("USERTAP_ADMIN_TOKEN")), (None, None));
        assert_eq!(value("USERTAP_DRAIN"), None, "its own stands in a file");
        assert_eq!(value("USERTAP_DRAIN_FILE"), Some("d"));
        assert_eq!(value("USERTAP_LOG"), Some("debug"));
        assert_eq!(value("STACK_PROJECT_ID"), Some("p"));
        assert_eq!(shop.1.get("sync_timeout").map(|(text, _)| text), Some("1s"));
        let told: Vec<String> = nobodys(&env, &["shop"]).iter().map(Mistake::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("such as SHOP_USERTAP_LISTEN"), "{told:?}");
    }
}
