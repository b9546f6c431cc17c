//! The repository's files as text, and the little that tidiness needs to read in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One file. `path` is relative to the repository, with slashes.
pub struct Source {
    pub path: String,
    pub text: String,
    /// Without comments and unit tests, which may know more than the file.
    code: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that this checkout leaves out (a published package does) proves nothing.
pub fn exists(path: &str) -> bool {
    let top = path.split('/').next().unwrap_or_default();
    root().join(path).exists() || !root().join(top).exists()
}

/// What becomes the product: everything below `src` but modules that only tests have.
pub fn product() -> Vec<Source> {
    let found = below(&["src"], &["rs"]);
    let tests: BTreeSet<String> = found.iter().flat_map(Source::test_modules).collect();
    let product: Vec<Source> = found
        .into_iter()
        .filter(|source| !tests.contains(&source.path))
        .collect();
    assert!(
        product.len() > 100 && !tests.is_empty(),
        "the walk over src misses files"
    );
    product
}

pub fn rust() -> Vec<Source> {
    below(&["src", "tests", "benches"], &["rs"])
}

/// All that people wrote here, recordings aside.
pub fn everything() -> Vec<Source> {
    let kinds = ["rs", "toml", "sql", "sh", "md", "mjs", "ts", "js", "run"];
    let mut all = below(&["src", "tests", "benches", "migrations", ".ci"], &kinds);
    let top = std::fs::read_dir(root()).expect("the repository").flatten();
    all.extend(top.filter_map(|entry| read(&entry.path(), &["md", "toml"])));
    all
}

fn below(folders: &[&str], kinds: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if entry.file_name() == "node_modules" => {}
                true => folders.push(path),
                false => found.extend(read(&path, kinds)),
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A file of one of these kinds; one without an extension goes by its name.
fn read(path: &Path, kinds: &[&str]) -> Option<Source> {
    let kind = path.extension().or(path.file_name())?.to_str()?;
    if !path.is_file() || !kinds.contains(&kind) {
        return None;
    }
    let text = std::fs::read_to_string(path).expect("a text file");
    let relative = path.strip_prefix(root()).expect("below the root");
    Some(Source {
        path: relative.to_str()?.replace('\\', "/"),
        code: code_of(&text),
        text,
    })
}

fn code_of(text: &str) -> String {
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match line {
            // `mod tests;`, or everything up to its closing brace.
            "#[cfg(test)]" => {
                lines.find(|line| *line == "}" || line.ends_with(';') && !line.starts_with(' '));
            }
            line if line.trim_start().starts_with("//") => {}
            line => code.push(line),
        }
    }
    code.join("\n")
}

impl Source {
    /// `proxy` for `src/proxy.rs` and everything in `src/proxy/`.
    pub fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// The file itself, or what it was split into: a page stands for its folder too.
    pub fn is_one_of(&self, files: &[&str]) -> bool {
        files.iter().any(|file| {
            let folder = file.trim_end_matches(".rs");
            let inside = self.path.strip_prefix(folder);
            inside.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    }

    /// Files of modules that are declared for tests alone.
    fn test_modules(&self) -> Vec<String> {
        let folder = self.path.trim_end_matches(".rs").trim_end_matches("/lib");
        let declared = self.text.split("#[cfg(test)]\nmod ").skip(1);
        let names = declared.filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
        names.map(|name| format!("{folder}/{name}.rs")).collect()
    }

    pub fn has(&self, needle: &str) -> bool {
        has_word(&self.code, needle)
    }

    /// Whether it names anything of this crate.
    pub fn uses(&self, name: &str) -> bool {
        self.has(&format!("{name}::"))
    }

    /// The modules of this crate that it names, whether as `crate::x` or by climbing to the root.
    pub fn imports(&self) -> BTreeSet<String> {
        let climb = "super::".repeat(self.path.matches('/').count());
        let after = |start: &str| -> Vec<String> {
            let found = self.code.match_indices(start);
            let rests = found.filter_map(|(at, _)| self.code.get(at + start.len()..));
            rests.flat_map(first_names).collect()
        };
        let climbed = if climb.is_empty() {
            Vec::new()
        } else {
            after(&climb)
        };
        let climbed = climbed
            .into_iter()
            .filter(|name| root().join(format!("src/{name}.rs")).exists());
        after("crate::").into_iter().chain(climbed).collect()
    }

    /// What its SQL inserts into, updates, deletes from or truncates.
    pub fn written_tables(&self) -> Vec<String> {
        let words: Vec<&str> = self.code.split_whitespace().collect();
        let mut tables = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let verb = word.trim_start_matches(['"', '(']);
            let skip = match verb {
                "INSERT" | "DELETE" if words.get(at + 1).is_some_and(|w| matches!(*w, "INTO" | "FROM")) => 2,
                "UPDATE" | "TRUNCATE" | "MERGE" => 1,
                _ => continue,
            };
            let mut rest = words.iter().skip(at + skip);
            let table = rest.find(|word| !matches!(**word, "ONLY" | "TABLE" | "INTO"));
            tables.extend(table.map(|table| table.trim_end_matches(['"', ',', ';', '(']).replace('"', "")));
        }
        tables
    }

    /// Files of this repository that it names by their path.
    pub fn named_files(&self) -> Vec<String> {
        let cuts = |c: char| c.is_whitespace() || "`'\"()[]<>,;|".contains(c);
        let words = self
            .text
            .split(cuts)
            .map(|word| word.trim_end_matches(['.', ':']));
        let named = words.filter(|word| {
            let known = ["src/", "tests/", "benches/", "migrations/"]
                .iter()
                .any(|top| word.starts_with(top));
            let file = [".rs", ".sql", ".toml", ".md", ".jsonl"]
                .iter()
                .any(|end| word.ends_with(end));
            known && file && !word.contains(['*', '…', '{', '%'])
        });
        named.map(str::to_owned).collect()
    }
}

/// The names at the start of a path: one, or those in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect()
    };
    let names = match rest.strip_prefix('{') {
        None => vec![name(rest)],
        Some(inside) => in_braces(inside).iter().map(|part| name(part)).collect(),
    };
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

/// The parts between commas up to the closing brace, inner braces left whole.
fn in_braces(text: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0_usize, vec![String::new()]);
    for c in text.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(String::new()),
            c => {
                depth = if c == '{' {
                    depth + 1
                } else {
                    depth - usize::from(c == '}')
                };
                let part = parts.pop().unwrap_or_default() + &c.to_string();
                parts.push(part);
            }
        }
    }
    parts
}

/// Whether `needle` stands there and is not the end of a longer name or path.
pub fn has_word(text: &str, needle: &str) -> bool {
    text.match_indices(needle).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let starts_name = needle.starts_with(|c: char| c.is_ascii_alphanumeric());
        !starts_name || before.is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'))
    })
}

#[test]
fn imports_are_found_in_every_spelling() {
    let text = "use crate::{clock::{self, now}, user::Head};\nfn f() { crate::record::x() }\nuse super::db;\n\
                // crate::comment\n#[cfg(test)]\nmod tests {\n    use crate::tests_only;\n}\nuse crate::after;";
    let source = Source {
        path: "src/proxy.rs".into(),
        text: text.into(),
        code: code_of(text),
    };
    assert_eq!(
        Vec::from_iter(source.imports()),
        ["after", "clock", "db", "record", "user"]
    );
    assert_eq!(source.module(), "proxy");
    assert!(
        source.is_one_of(&["src/proxy.rs"]) && !source.is_one_of(&["src/record.rs", "src/proxy/body.rs"])
    );
}

#[test]
fn writes_are_found_in_sql() {
    let text = "\"UPDATE {users} AS u SET x\" \"WITH a AS (DELETE FROM {state}.changes WHERE\" \"INSERT INTO\n  t (a)\"";
    let source = Source {
        path: "src/proxy.rs".into(),
        text: text.into(),
        code: code_of(text),
    };
    assert_eq!(source.written_tables(), ["{users}", "{state}.changes", "t"]);
}
