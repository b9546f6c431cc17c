//! What the provider's API sets up: every name in a request is entered, known of the tenant, or given by an
//! answer before it.

use http::HeaderName;
use serde_json::Value;

use super::super::form::{CallForm, ProcedureForm, Reader, Text};
use super::super::procedure::{Ask, Call, Procedure};
use super::super::template::Template;

impl Reader<'_> {
    /// `known` are names that have a value from the start.
    pub(super) fn procedure(&mut self, form: ProcedureForm, known: &[&str]) -> Procedure {
        let mut names: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        names.extend(form.ask.iter().map(|ask| ask.name.clone()));
        let calls = form.request.into_iter();
        let calls = calls.filter_map(|call| self.call(call, &mut names)).collect();
        let gives = form.gives.into_iter();
        let gives = gives.map(|(name, value)| (name, self.known_template(&value, &names)));
        let gives = gives.collect();
        let asks = form.ask.into_iter().map(|ask| Ask {
            name: ask.name,
            label: ask.label,
            hint: ask.hint,
            secret: ask.secret,
            default: ask.default,
        });
        Procedure {
            does: form.does,
            asks: asks.collect(),
            calls,
            gives,
            opens: form.opens.map(|opens| self.known_template(&opens, &names)),
        }
    }

    fn call(&mut self, form: CallForm, names: &mut Vec<String>) -> Option<Call> {
        let at = form.on.span().start;
        let read = form.on.get_ref().split_once(' ');
        let read = read.and_then(|(method, path)| Some((method.parse().ok()?, path)));
        let Some((method, path)) = read.filter(|(_, path)| path.starts_with('/')) else {
            self.mistake(at, "`on` is a method and a path: write it as POST /webhooks");
            return None;
        };
        let path = Template::parse(path);
        self.only_known(&path, at, names);
        let basic = form.basic.map(|basic| {
            let user = self.known_template(&basic.user, names);
            (user, self.known_template(&basic.password, names))
        });
        let headers = form.headers.into_iter().filter_map(|(name, value)| {
            let template = self.known_template(&value, names);
            let name = HeaderName::try_from(name);
            if name.is_err() {
                self.mistake(value.span().start, "this is no header's name");
            }
            Some((name.ok()?, template))
        });
        let headers = headers.collect();
        if let Some(body) = &form.body {
            self.body(body, at, names);
        }
        let takes = form.takes.into_iter();
        let takes = takes.map(|(name, pointer)| {
            let pointer = self.single_pointer(&pointer);
            names.push(name.clone());
            (name, pointer)
        });
        Some(Call {
            takes: takes.collect(),
            may_fail: form.may_fail,
            method,
            path,
            at_root: form.at_root,
            own: form.own,
            basic,
            headers,
            body: form.body,
        })
    }

    fn body(&mut self, body: &Value, at: usize, names: &[String]) {
        match body {
            Value::String(text) => self.only_known(&Template::parse(text), at, names),
            Value::Array(items) => items.iter().for_each(|item| self.body(item, at, names)),
            Value::Object(fields) => fields.values().for_each(|field| self.body(field, at, names)),
            _ => {}
        }
    }

    fn known_template(&mut self, text: &Text, names: &[String]) -> Template {
        let template = Template::parse(text.get_ref());
        self.only_known(&template, text.span().start, names);
        template
    }

    fn only_known(&mut self, template: &Template, at: usize, names: &[String]) {
        for name in template
            .names()
            .filter(|name| !names.iter().any(|known| known == name))
        {
            let what = format!(
                "`{{{name}}}` has no value here: ask for it, or take it from an answer before; there are {}",
                names.join(", ")
            );
            self.mistake(at, what);
        }
    }
}
