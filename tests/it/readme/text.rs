//! Pages as text: their blocks, and what stands in the sources that they must tell.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A folder that this checkout leaves out (a published package does) proves nothing.
pub fn exists(path: &str) -> bool {
    let top = path.split('/').next().unwrap_or_default();
    root().join(path).exists() || (path.contains('/') && !root().join(top).exists())
}

/// The fenced blocks of one language.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let parts: Vec<&str> = page.split("```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    fenced
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")).map(str::to_owned))
        .collect()
}

/// The commands of all shell blocks, in order, continued lines in one.
pub fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for block in blocks(page, "sh") {
        let joined = block.replace("\\\n", " ");
        commands.extend(
            joined
                .lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty()),
        );
    }
    assert!(
        !blocks(page, "bash")
            .iter()
            .chain(&blocks(page, "console"))
            .any(|_| true),
        "call it sh"
    );
    commands
}

/// Texts in quotes of a source file, its unit tests aside.
pub fn literals(path: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = file(path);
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    quoted.filter(|text| wanted(text)).map(str::to_owned).collect()
}

/// Every key that may stand in a provider file, as serde reads it.
pub fn keys_of_the_form() -> BTreeSet<String> {
    let text = file("src/provider/form.rs");
    let form = text.split("/// Collects mistakes").next().unwrap_or_default();
    let mut keys = BTreeSet::new();
    let mut renamed = None;
    for line in form.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("#[serde(rename = \"") {
            renamed = name.split('"').next().map(str::to_owned);
            continue;
        }
        let field = line
            .trim_start_matches("pub ")
            .split_once(": ")
            .map(|(name, _)| name);
        let is_field = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if let Some(field) = field.filter(is_field) {
            keys.insert(renamed.take().unwrap_or_else(|| field.to_owned()));
        }
        renamed = None;
    }
    keys
}
