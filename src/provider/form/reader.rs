//! Reads a provider file's text into its form.
//!
//! Each section and each entry of a list is read by itself, and read again without what was wrong in it,
//! so that one mistake hides no other.

use std::ops::Range;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::Form;
use crate::provider::Mistake;

/// Mistakes that are told of one section: one with more is no provider's.
const MOST: usize = 20;

/// Collects mistakes with the lines they stand on.
pub(in crate::provider) struct Reader<'t> {
    text: &'t str,
    pub mistakes: Vec<Mistake>,
    /// Every header in which a caller can show who it is, as far as it is read.
    pub shown: Vec<HeaderName>,
}

impl<'t> Reader<'t> {
    pub(in crate::provider) fn new(text: &'t str) -> Self {
        Reader {
            text,
            mistakes: Vec::new(),
            shown: vec![AUTHORIZATION, COOKIE],
        }
    }

    pub(in crate::provider) fn mistake(&mut self, at: usize, text: impl Into<String>) {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        self.mistakes.push(Mistake {
            line,
            text: text.into(),
        });
    }

    pub(in crate::provider) fn form(&mut self) -> Form {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.error("the file", &error);
        }
        let mut form = Form::default();
        for (key, value) in table.into_inner() {
            self.section(&mut form, key.span().start, key.get_ref(), value);
        }
        form
    }

    fn section(&mut self, form: &mut Form, at: usize, key: &str, value: Spanned<DeValue<'_>>) {
        match key {
            "provider" => form.provider = self.one(key, value),
            "identity" => form.identity = self.many(key, value),
            "key" => form.key = self.one(key, value),
            "setting" => form.setting = self.many(key, value),
            "credential" => form.credential = self.many(key, value),
            "own" => form.own = self.many(key, value),
            "login" => form.login = self.one(key, value),
            "token" => form.token = self.one(key, value),
            "errors" => form.errors = self.one(key, value).unwrap_or_default(),
            "own_errors" => form.own_errors = self.one(key, value),
            "user" => form.user = self.one(key, value),
            "list" => form.list = self.one(key, value),
            "dashboard" => form.dashboard = self.one(key, value).unwrap_or_default(),
            "console" => form.console = self.one(key, value).unwrap_or_default(),
            "provision" => form.provision = self.one(key, value),
            "subscribe" => form.subscribe = self.one(key, value),
            "cache" => form.cache = self.one(key, value).unwrap_or_default(),
            "webhooks" => form.webhooks = self.one(key, value),
            "events" => form.events = self.one(key, value).unwrap_or_default(),
            "poll" => form.poll = self.one(key, value),
            "event" => form.event = self.many(key, value),
            "answer" => form.answer = self.many(key, value),
            "route" => form.route = self.many(key, value),
            _ => self.mistake(
                at,
                format!("`{key}` is no section of a provider file: take it out"),
            ),
        }
    }

    fn one<T: for<'d> Deserialize<'d>>(&mut self, key: &str, mut value: Spanned<DeValue<'_>>) -> Option<T> {
        let start = value.span().start;
        let mut taken: Vec<String> = Vec::new();
        while taken.len() < MOST {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let at = error.span().map_or(start, |span| span.start);
            // What is missing because it was wrong has been told.
            if !taken
                .iter()
                .any(|name| error.message() == format!("missing field `{name}`"))
            {
                self.mistake(at, format!("[{key}]: {}", plainly(error.message())));
            }
            taken.push(take_out(value.get_mut(), &error.span()?)?);
        }
        None
    }

    fn many<T: for<'d> Deserialize<'d>>(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> Vec<T> {
        let start = value.span().start;
        let DeValue::Array(items) = value.into_inner() else {
            self.mistake(
                start,
                format!("`{key}` is a list: write its entries as [[{key}]]"),
            );
            return Vec::new();
        };
        let mut read = Vec::new();
        for item in items {
            read.extend(self.one(key, item));
        }
        read
    }

    fn error(&mut self, what: &str, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span| span.start);
        self.mistake(at, format!("{what} is not TOML: {}", error.message()));
    }
}

/// Without the words of this program's own language.
fn plainly(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let expected = match expected {
        "a sequence" => "a list, in [ ]",
        "a map" => "a table, in { }",
        "a nonzero u32" => "a whole number above 0",
        "u16" | "u32" | "u64" => "a whole number",
        table if ["struct ", "enum "].iter().any(|kind| table.contains(kind)) => "a table, in { }",
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// Takes the entry out that stands there, and gives its key; none where nothing below does.
fn take_out(value: &mut DeValue<'_>, at: &Range<usize>) -> Option<String> {
    match value {
        DeValue::Table(table) => {
            let all = std::mem::take(table).into_iter();
            let (found, rest): (Vec<_>, Vec<_>) =
                all.partition(|(key, value)| key.span() == *at || value.span() == *at);
            table.extend(rest);
            let found = found
                .into_iter()
                .next()
                .map(|(key, _)| key.into_inner().into_owned());
            found.or_else(|| {
                table
                    .iter_mut()
                    .find_map(|(_, value)| take_out(value.get_mut(), at))
            })
        }
        DeValue::Array(items) => {
            let all = std::mem::replace(items, DeArray::new()).into_iter();
            let (found, rest): (Vec<_>, Vec<_>) = all.partition(|item| item.span() == *at);
            rest.into_iter().for_each(|item| items.push(item));
            match found.is_empty() {
                // It has no key.
                false => Some(String::new()),
                true => items.iter_mut().find_map(|item| take_out(item.get_mut(), at)),
            }
        }
        _ => None,
    }
}
