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
    /// Where the body has it: the first that leads to a text counts, and where none does, to a number.
    pub codes_at: Vec<Pointer>,
    pub not_found: Option<Codes>,
    /// It has no body: what has one is somebody else's.
    pub empty_not_found: bool,
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
        let in_body = json::read_bytes(body).and_then(|body| self.code_in_body(&body));
        match (self.code_in_head(headers), in_body) {
            (Some(head), Some(body)) if head != body => None,
            (head, body) => head.map(str::to_owned).or(body),
        }
    }

    /// Where one caller is told the code, another may be told the status by its number.
    fn code_in_body(&self, body: &Value) -> Option<String> {
        let said = || self.codes_at.iter().filter_map(|at| at.find(body));
        let text = said().find_map(Value::as_str).map(str::to_owned);
        text.or_else(|| said().find_map(Value::as_number).map(ToString::to_string))
    }

    fn code_in_head<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        self.code_headers
            .iter()
            .find_map(|name| headers.get(name)?.to_str().ok())
    }

    /// The body is read only where the head leaves it open.
    pub(super) fn says_not_found(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        let fits = |rule: &Codes| rule.fits(status, self.code(headers, body).as_deref());
        self.may_be_not_found(status, headers)
            && (body.is_empty() || !self.empty_not_found)
            && self.not_found.as_ref().is_some_and(fits)
    }

    pub(super) fn may_be_not_found(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let rule = self.not_found.as_ref().filter(|rule| rule.status == status);
        let code = self.code_in_head(headers);
        rule.is_some_and(|rule| code.is_none() || rule.fits(status, code))
    }
}

impl Codes {
    /// Without codes the status is enough.
    pub(super) fn fits(&self, status: StatusCode, code: Option<&str>) -> bool {
        let known = |code: &str| self.codes.iter().any(|own| own == code);
        status == self.status && (self.codes.is_empty() || code.is_some_and(known))
    }
}
