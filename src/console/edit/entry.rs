//! A field of the form: how it is shown, what was written in it, and what that means.

use maud::{Markup, html};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::provider::console::{Deed, Field, FieldKind};
use crate::user::json;

/// A field as it was written.
pub struct Entry<'a> {
    pub field: &'a Field,
    /// What stands in the form.
    pub text: String,
    /// What it means, or why it means nothing.
    pub read: Result<Value, &'static str>,
}

pub fn field(entry: &Entry<'_>, focus: bool) -> Markup {
    let Entry { field, text, read } = entry;
    let (id, note) = (format!("f-{}", field.name), format!("n-{}", field.name));
    let wrong = read.as_ref().err();
    let invalid = wrong.map(|_| "true");
    let described = (field.hint.is_some() || wrong.is_some()).then_some(&note);
    html! {
        div.field {
            @if field.kind == FieldKind::Switch {
                label.switch for=(id) {
                    input #(id) type="checkbox" name=(field.name) value="true" checked[text == "true"] aria-describedby=[described];
                    " " (field.label)
                }
            } @else {
                label for=(id) { (field.label) @if field.required { " (needed)" } }
                @match field.kind {
                    FieldKind::Json => {
                        textarea #(id) name=(field.name) rows="5" spellcheck="false" autofocus[focus]
                            aria-invalid=[invalid] aria-describedby=[described] { (text) }
                    }
                    _ => {
                        input #(id) name=(field.name) value=(text) autocomplete="off" spellcheck="false" autofocus[focus]
                            type=(if field.kind == FieldKind::Email { "email" } else { "text" })
                            required[field.required] aria-invalid=[invalid] aria-describedby=[described];
                    }
                }
            }
            @if described.is_some() {
                p.note #(note) {
                    @if let Some(wrong) = wrong { strong.wrong { (wrong) " " } }
                    @if let Some(hint) = &field.hint { (hint) }
                }
            }
        }
    }
}

pub fn value(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Null => { span.none { "nothing" } }
            Value::Bool(true) => { "yes" }
            Value::Bool(false) => { "no" }
            other => { span.value { (json::shown(other)) } }
        }
    }
}

pub fn spelled(kind: FieldKind, value: &Value) -> String {
    match (kind, value) {
        (_, Value::Null) => String::new(),
        (FieldKind::Json, value) => json::pretty(value),
        (_, value) => json::shown(value),
    }
}

pub fn read(field: &Field, text: &str, deed: Deed) -> Result<Value, &'static str> {
    let text = match field.kind {
        FieldKind::Text => text,
        _ => text.trim(),
    };
    match field.kind {
        FieldKind::Switch => Ok(Value::Bool(text == "true")),
        _ if text.is_empty() && field.required && deed == Deed::Create => Err("It is needed."),
        _ if text.is_empty() => Ok(Value::Null),
        FieldKind::Json => {
            let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
            let value = json::exact(text).filter(|_| is_json);
            value.ok_or("It is not JSON: write it as {\"plan\": \"pro\"}.")
        }
        FieldKind::Email if !text.contains('@') => Err("It is not an email address."),
        _ => Ok(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;

    #[test]
    fn what_a_new_user_needs_an_edit_may_leave_out() {
        let provider = Provider::builtin("workos").expect("it is built in");
        let mut fields = provider.fields(Deed::Create);
        let email = fields.find(|field| field.required).expect("an address");
        assert!(read(email, " ", Deed::Create).is_err());
        assert_eq!(read(email, " ", Deed::Edit), Ok(Value::Null));
    }
}
