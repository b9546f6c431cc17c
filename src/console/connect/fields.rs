//! What the forms of the page ask for. A secret is never written back into a page.

use maud::{Markup, html};
use url::Url;

use super::{Choice, Part, Sent};
use crate::config::value;
use crate::console::Console;
use crate::console::guard::{Form, Visitor};
use crate::console::page::proof;
use crate::provider::{Ask, Provider, Setting, Tenant};

/// Where a form stands, and for whom.
pub struct Place<'a> {
    pub console: &'a Console,
    pub visitor: &'a Visitor,
    pub choice: &'a Choice,
    pub sent: Option<&'a Sent<'a>>,
}

/// What a form's field is called where the provider's address is entered.
const ADDRESS: &str = "address";

/// One field, whatever it is for.
pub struct Field<'a> {
    /// Unique in the page.
    pub id: String,
    pub name: &'a str,
    pub label: String,
    pub note: Markup,
    pub value: &'a str,
    pub secret: bool,
    pub required: bool,
}

impl Place<'_> {
    /// What every form carries.
    pub fn head(&self) -> Markup {
        html! {
            (proof(self.visitor))
            input type="hidden" name="provider" value=(self.choice.provider.name);
        }
    }

    /// What stood in this part's form when it was sent.
    pub fn form(&self, part: Part) -> Option<&Form> {
        self.sent.filter(|sent| sent.part == part).map(|sent| sent.form)
    }

    /// Where the provider is.
    pub fn address(&self, part: Part) -> Markup {
        let usual = self.choice.usual_address(&self.console.station.config);
        let usual = usual.map_or(String::new(), |url| url.to_string());
        let value = self.form(part).map_or(usual.as_str(), |form| form.get(ADDRESS));
        field(&Field {
            id: format!("{}-{ADDRESS}", part.anchor()),
            name: ADDRESS,
            label: "Address of its API".into(),
            note: html! {
                code { (self.variable("USERTAP_UPSTREAM")) }
                @if let Some(own) = &self.choice.provider.upstream { "; the provider's own is " code { (own) } }
            },
            value,
            secret: false,
            required: true,
        })
    }

    /// What a variable is called; of a provider that is not served, nobody has given the tenant a name.
    pub fn variable(&self, name: &str) -> String {
        match self.choice.is_set {
            true => self.console.station.config.variable(name),
            false => name.to_owned(),
        }
    }

    /// What the provider's file has the operator enter.
    pub fn asks(&self, part: Part, asks: &[Ask]) -> Markup {
        let form = self.form(part);
        html! {
            @for ask in asks {
                (field(&Field {
                    id: format!("{}-{}", part.anchor(), ask.name),
                    name: &ask.name,
                    label: ask.label.clone(),
                    note: html! { @if let Some(hint) = &ask.hint { (hint) } },
                    value: form.map_or(ask.default.as_deref().unwrap_or_default(), |form| form.get(&ask.name)),
                    secret: ask.secret,
                    required: true,
                }))
            }
        }
    }

    /// Said before anything is done that cannot be taken back here.
    pub fn sure(&self, part: Part, text: &str) -> Markup {
        let id = format!("{}-sure", part.anchor());
        html! {
            div.field { label.switch for=(id) { input #(id) type="checkbox" name="sure" value="true" required; " " (text) } }
        }
    }
}

pub fn field(field: &Field<'_>) -> Markup {
    let Field { id, note, .. } = field;
    let has_note = !note.0.is_empty();
    let value = if field.secret { "" } else { field.value };
    html! {
        div.field {
            label for=(id) { (field.label) }
            input #(id) name=(field.name) value=(value) type=(if field.secret { "password" } else { "text" })
                required[field.required] autocomplete="off" spellcheck="false"
                aria-describedby=[has_note.then(|| format!("{id}-note"))];
            @if has_note { p.note id={ (id) "-note" } { (note) } }
        }
    }
}

/// The address that a form holds.
///
/// # Errors
/// What is wrong with it.
pub fn address(form: &Form) -> Result<Url, String> {
    base_url(form.get(ADDRESS)).map_err(|wrong| format!("the address of its API {wrong}"))
}

pub fn base_url(text: &str) -> Result<Url, String> {
    match text.trim() {
        "" => Err("is needed".into()),
        text => value::base_url(text),
    }
}

/// A part of the identity, for people.
pub fn label(name: &str) -> String {
    let words = name.replace('-', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// The name by which a setting is known best.
pub fn variable(setting: &Setting) -> &str {
    setting.variables.first().map_or(&setting.name, String::as_str)
}

/// A tenant of whom nothing is known.
pub fn nobody(provider: &Provider) -> Tenant {
    Tenant {
        may_change: Vec::new(),
        provider: provider.name.clone(),
        identity: Vec::new(),
        id_type: provider.id_type,
        upstream: None,
        key: None,
        settings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_a_capital() {
        assert_eq!(
            (label("client-id"), label("")),
            ("Client id".into(), String::new())
        );
    }
}
