//! JSON pointers (RFC 6901) with `*` for every element, over parsed values and over raw text.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::extract::raw_items;
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
        let within = |text: &'t str, step: &Step| match step {
            Step::Key(key) => raw_child(text, key),
            Step::Each => None,
        };
        self.0.iter().try_fold(text.trim_ascii(), within)
    }

    /// `text` without what any of them names, every other value's text unchanged; nothing where there is nothing
    /// of that.
    pub(super) fn cut(all: &[Pointer], text: &str) -> Option<String> {
        let steps: Vec<&[Step]> = all.iter().map(|pointer| &*pointer.0).collect();
        cut(text, &steps)
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

fn raw_child<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let child = match text.starts_with('[') {
        true => raw_items(text)?.get(key.parse::<usize>().ok()?).copied(),
        false => json::members(text)?.remove(key),
    };
    child.map(RawValue::get)
}

/// Of a list all elements are taken, or the place of one is left empty: the others keep theirs.
fn take(value: &mut Value, steps: &[Step], taken: &mut dyn FnMut(Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    match (step, value, rest) {
        (Step::Key(key), Value::Object(map), []) => map.remove(&**key).into_iter().for_each(taken),
        (Step::Each, Value::Object(map), []) => std::mem::take(map).into_values().for_each(taken),
        (Step::Each, Value::Array(items), []) => std::mem::take(items).into_iter().for_each(taken),
        (Step::Each, Value::Object(map), _) => map.values_mut().for_each(|next| take(next, rest, taken)),
        (Step::Each, Value::Array(items), _) => items.iter_mut().for_each(|next| take(next, rest, taken)),
        (Step::Key(key), value, _) => match (child_mut(value, key), rest) {
            (Some(next), []) => taken(next.take()),
            (Some(next), _) => take(next, rest, taken),
            (None, _) => {}
        },
        _ => {}
    }
}

fn child_mut<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Value> {
    match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
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

/// The changed text, or nothing where there was nothing to cut; as [`take`] does it.
fn cut(text: &str, all: &[&[Step]]) -> Option<String> {
    match text.trim_ascii_start().as_bytes().first()? {
        _ if all.is_empty() => None,
        b'{' => cut_members(text, all),
        b'[' => cut_items(text, all),
        _ => None,
    }
}

fn cut_members(text: &str, all: &[&[Step]]) -> Option<String> {
    let mut changed = false;
    let mut kept = String::with_capacity(text.len());
    for (key, raw) in json::members(text)? {
        let rests = after(all, |step| step.is(&key));
        if ends(&rests) {
            changed = true;
            continue;
        }
        let inner = cut(raw.get(), &rests);
        changed |= inner.is_some();
        let comma = if kept.is_empty() { "" } else { "," };
        kept.extend([
            comma,
            &json::key(&key),
            ":",
            inner.as_deref().unwrap_or(raw.get()),
        ]);
    }
    changed.then(|| format!("{{{kept}}}"))
}

fn cut_items(text: &str, all: &[&[Step]]) -> Option<String> {
    let items = raw_items(text)?;
    if ends(&after(all, |step| *step == Step::Each)) {
        return (!items.is_empty()).then(|| "[]".into());
    }
    let cut = |(place, item): (usize, &&RawValue)| {
        let place = place.to_string();
        let rests = after(all, |step| step.is(&place));
        match ends(&rests) {
            true => Some("null".into()),
            false => cut(item.get(), &rests),
        }
    };
    let cuts: Vec<Option<String>> = items.iter().enumerate().map(cut).collect();
    let parts = items.iter().zip(&cuts);
    let parts: Vec<&str> = parts
        .map(|(item, cut)| cut.as_deref().unwrap_or(item.get()))
        .collect();
    let changed = cuts.iter().any(Option::is_some);
    changed.then(|| format!("[{}]", parts.join(",")))
}

/// What is left of those whose first step leads there.
fn after<'s>(all: &[&'s [Step]], leads: impl Fn(&Step) -> bool) -> Vec<&'s [Step]> {
    let steps = all.iter().filter_map(|steps| steps.split_first());
    steps
        .filter(|(step, _)| leads(step))
        .map(|(_, rest)| rest)
        .collect()
}

/// Whether one of them names what it has led to.
fn ends(rests: &[&[Step]]) -> bool {
    rests.iter().any(|rest| rest.is_empty())
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
        assert_eq!(pointer("/a~1b/c/1").raw(text), Some("2"));
        assert_eq!(pointer("/0/id").raw(" [ {\"id\": 1.50}]"), Some("1.50"));
        assert_eq!(pointer("/1").raw("[1]"), None);
    }

    #[test]
    fn a_cut_leaves_the_other_values_as_they_were() {
        let text = r#"{"token": "t", "n": 1.50, "i": [{"secret": 1, "k": "\u0041"}]}"#;
        let cut = |all: &[&str], text| {
            let all: Vec<Pointer> = all.iter().map(|text| pointer(text)).collect();
            Pointer::cut(&all, text)
        };
        let expected = Some(r#"{"i":[{"k":"\u0041"}],"n":1.50}"#.to_owned());
        assert_eq!(cut(&["/i/*/secret", "/token"], text), expected);
        assert_eq!(cut(&["/token", "/absent", "/i/0/secret"], text), expected);
        assert_eq!(cut(&["/absent", "/n/x", "/i/*/absent", "/i/1"], text), None);
        let odd = r#"{"\ud800":{"n":1.0},"token":"t"}"#;
        assert_eq!(cut(&["/token"], odd).as_deref(), Some(r#"{"\ud800":{"n":1.0}}"#));
        assert_eq!(pointer("/token").raw(odd), Some(r#""t""#));
    }

    #[test]
    fn what_is_taken_of_a_value_is_what_is_cut_of_its_text() {
        let value = json!({
            "token": "t", "keys": ["a", "b", ["c"]], "none": [], "by": {"x": {"secret": 1}, "y": {"secret": 2, "z": 3}},
            "list": [{"secret": 1}, {"secret": 2, "z": [1, 2]}, 7],
        });
        for all in [
            &["/token"] as &[&str],
            &["/keys/*"],
            &["/keys/1"],
            &["/keys/0", "/keys/1", "/keys/2/0", "/keys/9", "/keys/x"],
            &["/none/*", "/none/0"],
            &["/by/*"],
            &["/by/*/secret", "/by/y"],
            &["/list/*/secret", "/list/1/z/0", "/list/2"],
            &["/list/1/secret", "/list/*/z/*"],
            &["/*"],
            &["/*/*"],
        ] {
            let all: Vec<Pointer> = all.iter().map(|text| pointer(text)).collect();
            let (mut taken, text) = (value.clone(), value.to_string());
            all.iter().for_each(|pointer| pointer.take(&mut taken, &mut drop));
            let cut = Pointer::cut(&all, &text).unwrap_or(text);
            assert_eq!(serde_json::from_str::<Value>(&cut).unwrap(), taken, "{all:?}");
        }
    }
}
