//! What a page is asked for with: parameters of the query, and of a list by POST also places in its body,
//! whose names are pointers.

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::{Cursor, List, Paging};
use crate::provider::pointer::Pointer;

/// Names and values; a name that begins with a slash is a pointer into the request's body.
pub(in crate::provider) type Params = Vec<(String, Value)>;

/// One page's request.
pub(super) struct Asked {
    /// Path and query.
    pub target: String,
    pub body: Value,
}

impl List {
    /// `instead` stands in the place of parameters of the same name.
    pub(super) fn asked(&self, cursor: Option<&Cursor>, plain: bool, instead: &[(String, Value)]) -> Asked {
        let mut query = Serializer::new(String::new());
        let mut body = json!({});
        for (name, value) in self.params(cursor, plain, instead) {
            match Pointer::parse(&name) {
                Some(place) if self.is_in_body(&name) => place.put(&mut body, value),
                _ => {
                    query.append_pair(&name, &text(&value));
                }
            }
        }
        let query = match (&self.paging, cursor) {
            (Paging::Link { .. }, Some(cursor)) => cursor.at.clone(),
            _ => query.finish(),
        };
        let target = match query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        Asked { target, body }
    }

    fn is_in_body(&self, name: &str) -> bool {
        self.method == http::Method::POST && name.starts_with('/')
    }

    fn params(&self, cursor: Option<&Cursor>, plain: bool, instead: &[(String, Value)]) -> Params {
        let place = self.place(cursor);
        let over = |later: &[(String, Value)], name: &str| later.iter().any(|(other, _)| other == name);
        let stays = |(name, _): &&(String, Value)| !over(instead, name) && !over(&place, name);
        let instead = instead.iter().filter(|(name, _)| !over(&place, name));
        let optional = self.optional.iter().filter(|_| !plain);
        let all = self.query.iter().filter(stays).chain(instead).chain(optional);
        all.chain(&place).cloned().collect()
    }

    /// The parameters that say which page it is.
    fn place(&self, cursor: Option<&Cursor>) -> Params {
        let (param, first) = match &self.paging {
            Paging::Cursor { param, text, .. } => {
                let at = cursor.and_then(|cursor| text.fill(&|_| Some(cursor.at.clone())));
                let at = at.map(Value::from);
                return at.map(|at| (param.clone(), at)).into_iter().collect();
            }
            Paging::Offset { param } => (param, None),
            Paging::Page { param, first, .. } => (param, Some(Value::from(*first))),
            Paging::Link { .. } => return Vec::new(),
            Paging::Window(window) => return window.query(cursor),
        };
        let at = cursor.map(|cursor| number(&cursor.at)).or(first);
        at.map(|at| (param.clone(), at)).into_iter().collect()
    }
}

impl Paging {
    /// The names of what says which page it is.
    pub(in crate::provider) fn params(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Paging::Offset { param } | Paging::Page { param, .. } | Paging::Cursor { param, .. } => {
                (Some(param), None)
            }
            Paging::Window(window) => (Some(&window.param), Some(&window.page)),
            Paging::Link { .. } => (None, None),
        };
        one.into_iter().chain(other).map(String::as_str)
    }
}

/// A body has numbers where a query has texts.
fn number(at: &str) -> Value {
    at.parse::<u64>().map_or_else(|_| at.into(), Value::from)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
