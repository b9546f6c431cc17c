//! `usertap.toml`: which keys it holds, with the line of each.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Place};

/// The tables of tenants, and the key of each one's name.
const TENANT: &str = "tenant";
const NAME: &str = "name";

/// A settings file that was read, or an empty one.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub path: PathBuf,
    /// By key; secrets among them, so this never prints.
    entries: BTreeMap<String, Entry>,
    /// Of one tenant: the keys that stand in its own table.
    own: BTreeSet<String>,
    tenants: Vec<(String, File)>,
}

#[derive(Clone)]
struct Entry {
    text: String,
    line: usize,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}", self.line)
    }
}

impl File {
    /// Reads `text`; what is readable of it, and every mistake.
    pub fn parse(path: &Path, text: &str) -> (File, Vec<Mistake>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut file = File {
            path: path.to_owned(),
            ..File::default()
        };
        let mut mistakes = Vec::new();
        for error in errors {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            mistakes.push(file.broken(line, error.message()));
        }
        let (tenants, shared): (Vec<_>, Vec<_>) = table
            .into_inner()
            .into_iter()
            .partition(|(key, _)| key.get_ref() == TENANT);
        for (key, value) in shared {
            file.enter(text, key, &value, &mut mistakes);
        }
        for (key, value) in tenants {
            let line = line_at(text, key.span().start);
            file.tenants = file.read_tenants(text, line, value.into_inner(), &mut mistakes);
        }
        (file, mistakes)
    }

    fn enter(
        &mut self,
        text: &str,
        key: Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        mistakes: &mut Vec<Mistake>,
    ) {
        let line = line_at(text, key.span().start);
        let key = key.into_inner().into_owned();
        match plain(value.get_ref()) {
            Some(text) => {
                self.own.insert(key.clone());
                self.entries.insert(key, Entry { text, line });
            }
            None => mistakes.push(self.no_value(&key, line)),
        }
    }

    /// What stands in each, over what stands above all of them.
    fn read_tenants(
        &self,
        text: &str,
        line: usize,
        tables: DeValue<'_>,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<(String, File)> {
        let mut tenants: Vec<(String, File)> = Vec::new();
        let wrong = |told: &str| Mistake::new(TENANT, Some(self.place(line)), told);
        let DeValue::Array(tables) = tables else {
            mistakes.push(wrong("is a table for each tenant: write [[tenant]]"));
            return tenants;
        };
        for table in tables {
            let at = line_at(text, table.span().start);
            let DeValue::Table(table) = table.into_inner() else {
                mistakes.push(wrong("is a table for each tenant: write [[tenant]]"));
                continue;
            };
            let mut file = File {
                own: BTreeSet::new(),
                tenants: Vec::new(),
                ..self.clone()
            };
            for (key, value) in table {
                file.enter(text, key, &value, mistakes);
            }
            let name = file
                .entries
                .remove(NAME)
                .map(|entry| entry.text)
                .unwrap_or_default();
            let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty()
                || !name.bytes().all(is_name)
                || tenants.iter().any(|(other, _)| *other == name)
            {
                let told = "needs a `name` of its own, of lower-case letters, digits and `-`, such as name = \"shop\"";
                mistakes.push(Mistake::new(TENANT, Some(self.place(at)), told));
            }
            tenants.push((name, file));
        }
        tenants
    }

    /// Each tenant by its name, where the file has several.
    pub fn tenants(&self) -> &[(String, File)] {
        &self.tenants
    }

    /// Whether a key, or the one that names its file, stands in the tenant's own table.
    pub fn is_own(&self, key: &str) -> bool {
        self.own.contains(key) || self.own.contains(&format!("{key}_file"))
    }

    /// Without what is of one tenant alone and does not stand in its own table.
    pub fn without_shared(mut self, is_alone: impl Fn(&str) -> bool) -> (File, Vec<Mistake>) {
        let own = &self.own;
        let wrong: Vec<String> = self
            .entries
            .keys()
            .filter(|key| !own.contains(*key) && is_alone(key))
            .cloned()
            .collect();
        let mut mistakes = Vec::new();
        for key in wrong {
            if let Some(entry) = self.entries.remove(&key) {
                let told = "is of one tenant alone: write it below its [[tenant]]";
                mistakes.push(Mistake::new(&key, Some(self.place(entry.line)), told));
            }
        }
        (self, mistakes)
    }

    pub fn get(&self, key: &str) -> Option<(&str, Place)> {
        let entry = self.entries.get(key)?;
        Some((entry.text.as_str(), self.place(entry.line)))
    }

    pub fn keys(&self) -> impl Iterator<Item = (&str, Place)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), self.place(entry.line)))
    }

    fn place(&self, line: usize) -> Place {
        Place::File {
            path: self.path.clone(),
            line,
        }
    }

    fn broken(&self, line: usize, message: &str) -> Mistake {
        // The parser's first line says what it expected; it never quotes a value.
        let message = message.lines().next().unwrap_or("no TOML");
        let text = format!("is no TOML here: {message}; write `name = \"value\"`");
        Mistake::new("the settings file", Some(self.place(line)), text)
    }

    fn no_value(&self, key: &str, line: usize) -> Mistake {
        let text = "must be text, a number, or a list of texts: write `name = \"value\"`, without sections";
        Mistake::new(key, Some(self.place(line)), text)
    }
}

/// The text of a value; a list's parts are joined as the other places write them.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| part.get_ref().as_str()).collect();
            parts.map(|parts| parts.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_lines() {
        let text = "# usertap\nlisten = \"127.0.0.1:1\"\n\nport = 8080\nrate = [\"1/1s\", \"2/2s\"]\n";
        let (file, mistakes) = File::parse(Path::new("usertap.toml"), text);
        assert_eq!(mistakes, []);
        let place = |line| Place::File {
            path: "usertap.toml".into(),
            line,
        };
        assert_eq!(file.get("listen"), Some(("127.0.0.1:1", place(2))));
        assert_eq!(file.get("port"), Some(("8080", place(4))));
        assert_eq!(file.get("rate"), Some(("1/1s,2/2s", place(5))));
    }

    #[test]
    fn every_mistake_has_its_line() {
        let text = "listen = hush\nport = 1.5\n[stack]\nproject = \"x\"\nrate = \n";
        let (_, mistakes) = File::parse(Path::new("f.toml"), text);
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        for place in ["(f.toml:1)", "port (f.toml:2)", "stack (f.toml:3)", "(f.toml:5)"] {
            assert!(shown.iter().any(|m| m.contains(place)), "{place} in {shown:#?}");
        }
        assert!(!shown.concat().contains("hush"), "{shown:#?}");
    }

    #[test]
    fn what_is_broken_is_not_shown() {
        for text in [
            "a = \"hush",
            "a = 'hush",
            "a = \"hush\\hush\"",
            "a = hush\"",
            "a = \"b\" hush",
            "a = \"\"\"hush",
            "a = 12hush",
            "a = [\"hush\"",
            "a = \"hush\"\na = \"hush\"",
            "a = \"hush\u{1}\"",
        ] {
            let (_, mistakes) = File::parse(Path::new("f.toml"), text);
            let shown: String = mistakes.iter().map(ToString::to_string).collect();
            assert!(!shown.is_empty() && !shown.contains("hush"), "{text}: {shown}");
        }
    }
}
