//! JSON pointers (RFC 6901) with `*` for every element, over parsed values and over raw text.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::user::json;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(Box<str>),
    Each,
}

/// Where in a JSON document something stands; empty means the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pointer(pub(super) Vec<Step>);

impl Pointer {
    /// `/items/*/user_id`; nothing if it is neither empty nor begins with a slash.
    pub(super) fn parse(text: &str) -> Option<Pointer> {
        if text.is_empty() {
            return Some(Pointer::default());
        }
        let steps = text.strip_prefix('/')?.split('/').map(Step::parse);
        Some(Pointer(steps.collect()))
    }

    /// Whether it names one place only.
    pub(super) fn is_single(&self) -> bool {
        !self.0.contains(&Step::Each)
    }

    /// The first value it names.
    pub(super) fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let mut found = None;
        visit(value, &self.0, &mut |value| found = found.or(Some(value)));
        found
    }

    /// Every value it names.
    pub(super) fn each<'v>(&self, value: &'v Value, take: &mut dyn FnMut(&'v Value)) {
        visit(value, &self.0, take);
    }

    /// Takes what it names out of `value`.
    pub(super) fn take(&self, value: &mut Value, taken: &mut dyn FnMut(Value)) {
        take(value, &self.0, taken);
    }

    /// Puts a value where it leads; what is missing on the way is made, a list where the step is `0`.
    pub(super) fn put(&self, into: &mut Value, value: Value) {
        put(into, &self.0, value);
    }

    /// The raw text of the one place it names; neither copies nor parses what lies there.
    pub(super) fn raw<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut text = text.trim_ascii();
        for step in &self.0 {
            let Step::Key(key) = step else { return None };
            text = json::members(text)?.remove(&**key)?.get();
        }
        Some(text)
    }

    /// `text` without what it names, every other value's text unchanged.
    pub(super) fn cut<'t>(&self, text: &'t str) -> Cow<'t, str> {
        cut(text, &self.0).map_or(Cow::Borrowed(text), Cow::Owned)
    }
}

impl Step {
    fn parse(text: &str) -> Step {
        match text {
            "*" => Step::Each,
            key => Step::Key(key.replace("~1", "/").replace("~0", "~").into()),
        }
    }

    fn is(&self, key: &str) -> bool {
        match self {
            Step::Each => true,
            Step::Key(own) => &**own == key,
        }
    }
}

fn visit<'v>(value: &'v Value, steps: &[Step], take: &mut dyn FnMut(&'v Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return take(value);
    };
    match (step, value) {
        (Step::Each, Value::Array(items)) => items.iter().for_each(|item| visit(item, rest, take)),
        (Step::Each, Value::Object(map)) => map.values().for_each(|item| visit(item, rest, take)),
        (Step::Key(key), _) => {
            if let Some(next) = child(value, key) {
                visit(next, rest, take);
            }
        }
        _ => {}
    }
}

fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn take(value: &mut Value, steps: &[Step], taken: &mut dyn FnMut(Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(map)) if rest.is_empty() => {
            map.remove(&**key).into_iter().for_each(taken);
        }
        (Step::Key(key), Value::Object(map)) => {
            map.get_mut(&**key)
                .into_iter()
                .for_each(|next| take(next, rest, taken));
        }
        (Step::Each, Value::Object(map)) => map.values_mut().for_each(|next| take(next, rest, taken)),
        (Step::Each, Value::Array(items)) => items.iter_mut().for_each(|next| take(next, rest, taken)),
        _ => {}
    }
}

fn put(into: &mut Value, steps: &[Step], value: Value) {
    let [step, rest @ ..] = steps else {
        *into = value;
        return;
    };
    let Step::Key(key) = step else { return };
    let next = match (into, &**key) {
        (Value::Array(items), _) => items.first_mut(),
        (into @ (Value::Null | Value::Object(_)), "0") if into.as_object().is_none_or(|o| o.is_empty()) => {
            *into = json!([null]);
            into.get_mut(0)
        }
        (into, key) => {
            if !into.is_object() {
                *into = json!({});
            }
            into.as_object_mut()
                .map(|members| members.entry(key.to_owned()).or_insert(Value::Null))
        }
    };
    if let Some(next) = next {
        put(next, rest, value);
    }
}

/// The changed text, or nothing where there was nothing to cut.
fn cut(text: &str, steps: &[Step]) -> Option<String> {
    let (step, rest) = steps.split_first()?;
    match text.trim_ascii_start().as_bytes().first()? {
        b'{' => cut_members(text, step, rest),
        b'[' if *step == Step::Each => cut_items(text, rest),
        _ => None,
    }
}

fn cut_members(text: &str, step: &Step, rest: &[Step]) -> Option<String> {
    let members = json::members(text)?;
    let mut changed = false;
    let mut parts = Vec::with_capacity(members.len());
    for (key, raw) in &members {
        let named = step.is(key);
        if named && rest.is_empty() {
            changed = true;
            continue;
        }
        let inner = if named { cut(raw.get(), rest) } else { None };
        changed |= inner.is_some();
        let key = json::key(key);
        parts.push(format!("{key}:{}", inner.as_deref().unwrap_or(raw.get())));
    }
    changed.then(|| format!("{{{}}}", parts.join(",")))
}

fn cut_items(text: &str, rest: &[Step]) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let cuts: Vec<_> = items.iter().map(|item| cut(item.get(), rest)).collect();
    let changed = cuts.iter().any(Option::is_some);
    let parts = items.iter().zip(&cuts);
    let parts: Vec<&str> = parts
        .map(|(item, cut)| cut.as_deref().unwrap_or(item.get()))
        .collect();
    changed.then(|| format!("[{}]", parts.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_put_where_the_pointer_leads() {
        let mut body = json!({});
        for (at, value) in [
            ("/name/first", "Ada"),
            ("/name/last", "Lovelace"),
            ("/emails/0", "a@b"),
        ] {
            Pointer::parse(at).unwrap().put(&mut body, json!(value));
        }
        let expected = json!({ "name": { "first": "Ada", "last": "Lovelace" }, "emails": ["a@b"] });
        assert_eq!(body, expected);
    }

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    #[test]
    fn a_star_names_every_element() {
        let value = json!({"items": [{"id": 1}, {"x": 0}, {"id": 2}]});
        let mut ids = Vec::new();
        pointer("/items/*/id").each(&value, &mut |id| ids.push(id.clone()));
        assert_eq!(ids, [json!(1), json!(2)]);
        assert_eq!(pointer("/items/2/id").find(&value), Some(&json!(2)));
        assert_eq!(Pointer::parse("items"), None);
    }

    #[test]
    fn raw_text_is_found_as_it_stands() {
        let text = r#" {"a/b": {"c": [1.0,  2]}, "d": 1} "#;
        assert_eq!(pointer("/a~1b/c").raw(text), Some("[1.0,  2]"));
        assert_eq!(pointer("").raw(" [1] "), Some("[1]"));
        assert_eq!(pointer("/nope").raw(text), None);
    }

    #[test]
    fn a_cut_leaves_the_other_values_as_they_were() {
        let text = r#"{"token": "t", "n": 1.50, "i": [{"secret": 1, "k": "\u0041"}]}"#;
        let text = pointer("/i/*/secret").cut(text).into_owned();
        assert_eq!(pointer("/token").cut(&text), r#"{"i":[{"k":"\u0041"}],"n":1.50}"#);
        assert!(matches!(pointer("/absent").cut(&text), Cow::Borrowed(_)));
        let odd = r#"{"\ud800":{"n":1.0},"token":"t"}"#;
        assert_eq!(pointer("/token").cut(odd), r#"{"\ud800":{"n":1.0}}"#);
        assert_eq!(pointer("/token").raw(odd), Some(r#""t""#));
    }
}
