//! How a provider tells of errors: by the status, by headers, or in the body alone of what came as a success.

use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::Value;

use super::paging::raw_value;
use super::pointer::Pointer;
use crate::user::json;

/// How a provider's errors are told.
#[derive(Debug, Default)]
pub(super) struct Errors {
    pub status_headers: Vec<HeaderName>,
    pub code_headers: Vec<HeaderName>,
    /// Where the body has it: the first that leads to a text counts.
    pub codes_at: Vec<Pointer>,
    pub not_found: Option<Codes>,
    /// What stands in the body of every success.
    pub success: Vec<(Pointer, Value)>,
}

/// A status together with the codes that count with it.
#[derive(Debug)]
pub(super) struct Codes {
    pub status: StatusCode,
    pub codes: Vec<String>,
}

impl Errors {
    /// Whether it is a failure that comes as a success: its body says so.
    pub(super) fn is_failure_inside(&self, body: &[u8]) -> bool {
        let differs = |(at, value): &(Pointer, Value)| raw_value(body, at).is_some_and(|said| said != *value);
        self.success.iter().any(differs)
    }

    /// The provider's own code. A header and a body that contradict each other say nothing.
    pub(super) fn code(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        let body = json::read_bytes(body);
        let body = body.as_ref();
        let in_body = self.codes_at.iter().find_map(|at| code_of(at.find(body?)?));
        match (self.code_in_head(headers), in_body) {
            (Some(head), Some(body)) if head != body => None,
            (head, body) => head.map(str::to_owned).or(body),
        }
    }

    fn code_in_head<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        self.code_headers
            .iter()
            .find_map(|name| headers.get(name)?.to_str().ok())
    }

    pub(super) fn is_not_found(&self, status: StatusCode, code: Option<&str>) -> bool {
        self.not_found
            .as_ref()
            .is_some_and(|rule| rule.fits(status, code))
    }

    /// The same of a whole answer, whose body is read only where its head leaves that open.
    pub(super) fn says_not_found(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        self.may_be_not_found(status, headers)
            && self.is_not_found(status, self.code(headers, body).as_deref())
    }

    pub(super) fn may_be_not_found(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let rule = self.not_found.as_ref().filter(|rule| rule.status == status);
        let code = self.code_in_head(headers);
        rule.is_some_and(|rule| code.is_none() || rule.fits(status, code))
    }
}

/// A text, or a number by its digits.
fn code_of(code: &Value) -> Option<String> {
    match code {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Codes {
    /// Without codes the status is enough.
    pub(super) fn fits(&self, status: StatusCode, code: Option<&str>) -> bool {
        let known = |code: &str| self.codes.iter().any(|own| own == code);
        status == self.status && (self.codes.is_empty() || code.is_some_and(known))
    }
}
