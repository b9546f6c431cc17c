//! The row beside what the provider says: where they differ, field by field.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::user::json;

/// One field of a user in both places.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Dots for what lies inside: `selected_team.display_name`.
    pub field: String,
    pub ours: Option<String>,
    pub theirs: Option<String>,
}

impl Line {
    pub fn differs(&self) -> bool {
        self.ours != self.theirs
    }
}

/// Every field of either; nested objects are taken apart, lists are not.
pub fn lines(ours: &Value, theirs: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    walk("", Some(ours), Some(theirs), &mut lines);
    lines
}

fn walk(path: &str, ours: Option<&Value>, theirs: Option<&Value>, lines: &mut Vec<Line>) {
    let members = |value: Option<&Value>| {
        let members = value
            .and_then(Value::as_object)
            .filter(|members| !members.is_empty());
        members.map(|members| members.keys().cloned().collect::<BTreeSet<String>>())
    };
    let is_plain = |value: Option<&Value>| value.is_some_and(|value| !value.is_object());
    let names = match (members(ours), members(theirs)) {
        (None, None) => None,
        // An object on one side and a plain value on the other are one difference.
        _ if is_plain(ours) || is_plain(theirs) => None,
        (ours, theirs) => Some(&ours.unwrap_or_default() | &theirs.unwrap_or_default()),
    };
    let Some(names) = names else {
        let (ours, theirs) = (ours.map(json::shown), theirs.map(json::shown));
        let field = path.to_owned();
        lines.push(Line { field, ours, theirs });
        return;
    };
    for name in names {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        let of = |value: Option<&Value>| value.and_then(|value| value.get(&name)).cloned();
        walk(&path, of(ours).as_ref(), of(theirs).as_ref(), lines);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_compared_one_by_one() {
        let ours =
            json!({ "id": "u", "name": "Ada", "team": { "id": 1, "name": "A" }, "list": [1], "gone": null });
        let theirs = json!({ "id": "u", "name": "Countess", "team": { "id": 1, "name": "B" }, "list": [1, 2], "new": {} });
        let differing: Vec<_> = lines(&ours, &theirs)
            .into_iter()
            .filter(Line::differs)
            .map(|line| (line.field, line.ours, line.theirs))
            .collect();
        let line = |field: &str, ours: Option<&str>, theirs: Option<&str>| {
            (
                field.to_owned(),
                ours.map(str::to_owned),
                theirs.map(str::to_owned),
            )
        };
        let expected = [
            line("gone", Some("null"), None),
            line("list", Some("[1]"), Some("[1,2]")),
            line("name", Some("Ada"), Some("Countess")),
            line("new", None, Some("{}")),
            line("team.name", Some("A"), Some("B")),
        ];
        assert_eq!(differing, expected);
    }

    #[test]
    fn an_object_that_became_null_is_one_difference() {
        let lines = lines(
            &json!({ "team": { "id": 1, "name": "A" } }),
            &json!({ "team": null }),
        );
        assert_eq!(lines.len(), 1);
        assert!(lines[0].differs());
    }
}
