//! Where an exchange names a user, and how an id is read there.

use std::borrow::Cow;
use std::cell::OnceCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::pointer::Pointer;
use super::{Answer, Provider, RoutedRequest, Tenant};
use crate::user::{IdType, UserId, json};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A parameter of the path.
    Path(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
    /// A field of a form in the request's body.
    Form(Box<str>),
    /// In the request's JSON body.
    Request(Pointer),
    /// The subject of the token that the request shows.
    Caller,
    /// In the answer's JSON body.
    Answer(Pointer),
    /// The same with a condition on what stands beside it.
    AnswerPath(Box<JsonPath>),
    /// The subject of a token in the answer's JSON body.
    AnswerToken(Pointer),
    /// The last segment of the answer's `Location`.
    Location,
    /// Whatever the route says names its user.
    Named,
    /// Texts, and other places that hold one each.
    Joined(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    At(Source),
}

impl Source {
    pub(super) fn parse(text: &str) -> Option<Source> {
        match text.split_once(':') {
            None => match text {
                "caller" => Some(Source::Caller),
                "location" => Some(Source::Location),
                "named" => Some(Source::Named),
                _ => None,
            },
            Some(("path", name)) => Some(Source::Path(name.into())),
            Some(("query", name)) => Some(Source::Query(name.into())),
            Some(("form", name)) => Some(Source::Form(name.into())),
            Some(("request", pointer)) => Pointer::parse(pointer).map(Source::Request),
            Some(("answer", path)) if path.starts_with('$') => {
                let path = JsonPath::parse(path).ok()?;
                Some(Source::AnswerPath(Box::new(path)))
            }
            Some(("answer", pointer)) => Pointer::parse(pointer).map(Source::Answer),
            Some(("answer-token", pointer)) => Pointer::parse(pointer).map(Source::AnswerToken),
            Some(("joined", pieces)) => Piece::parse(pieces).map(Source::Joined),
            Some(_) => None,
        }
    }

    fn holds_a_text(&self) -> bool {
        use Source::{Answer, Form, Path, Query, Request};
        matches!(self, Path(_) | Query(_) | Form(_) | Request(_) | Answer(_))
    }

    pub(super) fn is_in_request(&self) -> bool {
        !matches!(self, Source::Named) && !self.is_in_answer()
    }

    /// Whether it takes the answer to tell.
    pub(super) fn is_in_answer(&self) -> bool {
        matches!(self, Source::Location) || self.is_in_body()
    }

    /// Whether it takes the answer's body.
    pub(super) fn is_in_body(&self) -> bool {
        use Source::{Answer, AnswerPath, AnswerToken};
        matches!(self, Answer(_) | AnswerPath(_) | AnswerToken(_)) || self.parts().any(Source::is_in_body)
    }

    pub(super) fn needs_request_body(&self) -> bool {
        matches!(self, Source::Form(_) | Source::Request(_)) || self.parts().any(Source::needs_request_body)
    }

    /// The places of which it is made, if it is made of several.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Source> {
        let pieces = match self {
            Source::Joined(pieces) => pieces.as_slice(),
            _ => &[],
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::At(source) => Some(source),
            Piece::Text(_) => None,
        })
    }
}

impl Piece {
    /// `{path:provider}|{path:id}`; at least one place, and only such as hold a text.
    fn parse(text: &str) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, behind) = after.split_once('}')?;
            let source = Source::parse(place).filter(Source::holds_a_text)?;
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.into())));
            pieces.push(Piece::At(source));
            rest = behind;
        }
        if pieces.is_empty() {
            return None;
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.into())));
        Some(pieces)
    }
}

/// One exchange of the tenant, its bodies parsed once at most.
pub(super) struct Exchange<'a> {
    pub provider: &'a Provider,
    pub request: RoutedRequest<'a>,
    pub answer: Option<&'a Answer<'a>>,
    asked: OnceCell<Option<Value>>,
    answered: OnceCell<Option<Value>>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        provider: &'a Provider,
        request: &RoutedRequest<'a>,
        answer: Option<&'a Answer<'a>>,
    ) -> Self {
        let (asked, answered) = (OnceCell::new(), OnceCell::new());
        Exchange {
            provider,
            request: *request,
            answer,
            asked,
            answered,
        }
    }

    /// The ids that the first of `sources` which names any names.
    pub(super) fn ids(&self, sources: &[Source]) -> Vec<UserId> {
        let mut ids = sources.iter().map(|source| self.ids_at(source));
        ids.find(|ids| !ids.is_empty()).unwrap_or_default()
    }

    fn ids_at(&self, source: &Source) -> Vec<UserId> {
        match source {
            Source::Named => self.ids(&self.request.matched.route.user),
            Source::Answer(pointer) => self.ids_in(self.answer_json(), pointer),
            Source::AnswerPath(path) => self.ids_by(path),
            Source::Request(pointer) => self.ids_in(self.request_json(), pointer),
            one => self.id_at(one).into_iter().collect(),
        }
    }

    fn id_at(&self, source: &Source) -> Option<UserId> {
        match source {
            Source::Path(name) => self
                .provider
                .id_in_path(self.request.tenant, self.request.matched.param(name)?),
            Source::Query(_) | Source::Form(_) | Source::Joined(_) => self.id(&self.text(source)?),
            Source::Caller => self.caller(),
            Source::AnswerToken(pointer) => self.subject(pointer.find(self.answer_json()?)?.as_str()?),
            Source::Location => self.location(),
            Source::Named | Source::Answer(_) | Source::AnswerPath(_) | Source::Request(_) => None,
        }
    }

    fn text(&self, source: &Source) -> Option<Cow<'_, str>> {
        match source {
            Source::Path(name) => self.request.matched.param(name).map(Cow::Borrowed),
            Source::Query(name) => field(self.request.head.query?.as_bytes(), name).map(Cow::Owned),
            Source::Form(name) => self.form(name).map(Cow::Owned),
            Source::Request(pointer) => self.provider.id_text(pointer.find(self.request_json()?)?),
            Source::Answer(pointer) => self.provider.id_text(pointer.find(self.answer_json()?)?),
            Source::Joined(pieces) => self.joined(pieces).map(Cow::Owned),
            _ => None,
        }
    }

    fn joined(&self, pieces: &[Piece]) -> Option<String> {
        let mut joined = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => joined.push_str(text),
                Piece::At(source) => joined.push_str(&self.text(source).filter(|text| !text.is_empty())?),
            }
        }
        Some(joined)
    }

    pub(super) fn form(&self, name: &str) -> Option<String> {
        field(self.request.body?, name)
    }

    pub(super) fn answer_json(&self) -> Option<&Value> {
        let parse = || json::read_bytes(self.answer?.body);
        self.answered.get_or_init(parse).as_ref()
    }

    fn request_json(&self) -> Option<&Value> {
        let parse = || json::read_bytes(self.request.body?);
        self.asked.get_or_init(parse).as_ref()
    }

    fn ids_in(&self, json: Option<&Value>, pointer: &Pointer) -> Vec<UserId> {
        let mut ids = Vec::new();
        if let Some(json) = json {
            pointer.each(json, &mut |id| ids.extend(self.id_in(id)));
        }
        ids
    }

    fn ids_by(&self, path: &JsonPath) -> Vec<UserId> {
        let found = self.answer_json().map(|json| path.query(json).all());
        let found = found.into_iter().flatten();
        found.filter_map(|id| self.id_in(id)).collect()
    }

    pub(super) fn id(&self, text: &str) -> Option<UserId> {
        self.provider.id(self.request.tenant, text)
    }

    pub(super) fn id_in(&self, id: &Value) -> Option<UserId> {
        self.provider.id_in(self.request.tenant, id)
    }

    fn location(&self) -> Option<UserId> {
        let location = self.answer?.headers.get(http::header::LOCATION)?.to_str().ok()?;
        let path = location.split(['?', '#']).next()?;
        let last = path.trim_end_matches('/').rsplit('/').next()?;
        self.id(&percent_encoding::percent_decode_str(last).decode_utf8().ok()?)
    }

    pub(super) fn caller(&self) -> Option<UserId> {
        let token = self
            .provider
            .token_shown(&self.provider.shown(self.request.head.headers))?;
        self.subject(std::str::from_utf8(token).ok()?)
    }

    /// The id in a token of this tenant. Its signature is for the provider to check, which has
    /// made it or accepted it.
    fn subject(&self, token: &str) -> Option<UserId> {
        let rule = self.provider.token.as_ref()?;
        let claims = claims(token)?;
        let ours = self.provider.claims_are_ours(self.request.tenant, &claims);
        self.id_in(rule.id.find(&claims)?).filter(|_| ours)
    }
}

impl Provider {
    /// An id in its canonical spelling: a uuid's where the provider's ids or the table's column are uuids.
    /// Words that stand for the caller are none, nor are dots, which would lead out of the path that a read
    /// puts them in.
    pub fn id(&self, tenant: &Tenant, text: &str) -> Option<UserId> {
        let word = self.is_word(text) || matches!(text, "." | "..");
        let digits = self.numeric_ids.then(|| digits(text));
        let text = match &digits {
            Some(digits) => digits.as_deref()?,
            None => text,
        };
        let id = match tenant.id_type {
            IdType::Uuid => UserId::parse(text, IdType::Uuid),
            IdType::Text => UserId::parse(text, self.id_type).or_else(|| UserId::parse(text, IdType::Text)),
        };
        id.filter(|_| !word)
    }

    /// An id where JSON has it.
    pub(super) fn id_in(&self, tenant: &Tenant, id: &Value) -> Option<UserId> {
        self.id(tenant, &self.id_text(id)?)
    }

    /// A text; a number only of a provider that has such.
    pub(super) fn id_text<'v>(&self, id: &'v Value) -> Option<Cow<'v, str>> {
        match id {
            Value::String(text) => Some(text.into()),
            Value::Number(number) if self.numeric_ids => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// It stands for the caller in the place of an id.
    pub(super) fn is_word(&self, text: &str) -> bool {
        self.not_ids.iter().any(|word| word == text)
    }

    fn claims_are_ours(&self, tenant: &Tenant, claims: &Value) -> bool {
        self.identity
            .iter()
            .filter(|part| !part.claims.is_empty())
            .all(|part| {
                let claim = part.claims.iter().find_map(|name| claims.get(name));
                match (claim, tenant.part(&part.part)) {
                    (Some(Value::Array(among)), Some(ours)) => among.iter().any(|one| one == ours),
                    (Some(claim), Some(ours)) => claim == ours,
                    (None, ours) => ours.is_some() && ours == part.default.as_deref(),
                    (Some(_), None) => false,
                }
            })
    }
}

/// A whole number as it is spelled, however many zeros came before it.
fn digits(text: &str) -> Option<String> {
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = text.parse().ok().filter(|_| is_whole)?;
    Some(number.to_string())
}

/// The value of a form's or query's field; nothing if it stands there twice.
pub(super) fn field(form: &[u8], name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(form).filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    json::read_bytes(&payload).filter(|_| parts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_given_twice_has_no_value() {
        assert_eq!(field(b"a=1&b=x%23y", "b").as_deref(), Some("x#y"));
        assert_eq!(field(b"a=1&a=1", "a"), None);
    }

    #[test]
    fn an_id_of_several_places_is_a_template_of_them() {
        let joined = Source::parse("joined:{path:provider}|{request:/user_id}").unwrap();
        assert_eq!(joined.parts().count(), 2);
        assert!(joined.needs_request_body() && joined.is_in_request());
        let told = Source::parse("joined:auth0|{answer:/_id}").unwrap();
        assert!(
            told.is_in_body() && told.is_in_answer() && !told.is_in_request() && !told.needs_request_body()
        );
        for bad in [
            "joined:",
            "joined:text",
            "joined:{path:a",
            "joined:{location}",
            "joined:{caller}",
            "joined:{}",
        ] {
            assert_eq!(Source::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_three_parts_make_a_token() {
        assert_eq!(claims("x.eyJzdWIiOiJhIn0.y").unwrap()["sub"], "a");
        assert_eq!(claims("eyJzdWIiOiJhIn0"), None);
        assert_eq!(claims("x.eyJzdWIiOiJhIn0.y.z"), None);
        assert_eq!(claims("x.\u{1f600}.y"), None);
    }
}
