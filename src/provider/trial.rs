//! What a provider file makes of a live answer, for whoever writes one.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::view::{TextAt, TimeAt};
use super::{Provider, Sighting};
use crate::user::{Seen, json};

/// What one column of a user is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// The path that gave it; nothing where none did.
    pub from: Option<String>,
    /// Shown so that it is recognised and not told.
    pub masked: Option<String>,
    /// The path at which something stands that is no time of its unit.
    pub unread: Option<String>,
}

impl Provider {
    /// Where the columns of a whole user come from.
    pub fn columns(&self, seen: &Sighting) -> Vec<Column> {
        let Seen::Whole(view) = &seen.seen else {
            return Vec::new();
        };
        let Some(user) = json::read(&view.raw) else {
            return Vec::new();
        };
        let map = &self.user;
        vec![
            text("name", &map.name, &user),
            text("email", &map.email, &user),
            time("created_at", map.created_at.as_ref(), &user),
            time("updated_at", map.updated_at.as_ref(), &user),
            time("version", map.version.as_ref(), &user),
        ]
    }
}

fn text(name: &'static str, places: &[TextAt], user: &Value) -> Column {
    let found = places
        .iter()
        .find_map(|at| Some((at.said.clone(), at.read(user)?)));
    Column {
        name,
        masked: found.as_ref().map(|(_, text)| masked(text)),
        from: found.map(|(from, _)| from),
        unread: None,
    }
}

fn time(name: &'static str, at: Option<&TimeAt>, user: &Value) -> Column {
    let found = at.and_then(|at| Some((at.said.clone(), at.time(user)?)));
    Column {
        name,
        masked: found.as_ref().map(|(_, time)| day(time)),
        from: found.map(|(from, _)| from),
        unread: at.filter(|at| at.is_unread(user)).map(|at| at.said.clone()),
    }
}

/// The first letter, and how many there are; of an address on both sides of the `@`.
fn masked(text: &str) -> String {
    let part = |text: &str| match text.chars().next() {
        Some(first) => format!("{first}…({})", text.chars().count()),
        None => String::new(),
    };
    match text.split_once('@') {
        Some((name, host)) => format!("{}@{}", part(name), part(host)),
        None => part(text),
    }
}

fn day(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recognised_and_not_told() {
        assert_eq!(masked("Ada Lovelace"), "A…(12)");
        assert_eq!(masked("ada@example.com"), "a…(3)@e…(11)");
        assert_eq!(masked("李"), "李…(1)");
    }
}
