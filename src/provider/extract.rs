//! What an answer tells of which users.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderMap, StatusCode};

use super::pointer::Pointer;
use super::source::Exchange;
use super::tell::{Kind, Tell};
use super::{Credential, Matched, Proof, Provider, RoutedRequest, Sighting, Tenant};
use crate::user::{Seen, UserId, json};

/// A provider's answer, its body decoded (no content encoding).
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// See [`Provider::effective_status`].
    pub meant: StatusCode,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The users of an answer, and what could not be read of it.
#[derive(Debug, Default)]
pub struct Extraction {
    pub sightings: Vec<Sighting>,
    /// Items without a usable id or shape: counted, logged once by the caller.
    pub malformed: usize,
    /// Those among them that show an id, and one that is none of ours: it is of another type.
    pub unfit: usize,
    /// Of each malformed item of a list: how many sightings stand before it, and what it is known again by.
    pub(super) unread: Vec<(usize, u64)>,
    /// It came as a success, and its body says that it is none.
    pub is_failure: bool,
}

impl Provider {
    /// The status that the provider means, whatever the HTTP status line says. A header can only
    /// turn a success into a failure, never the other way.
    pub fn effective_status(&self, status: StatusCode, headers: &HeaderMap) -> StatusCode {
        if !status.is_success() {
            return status;
        }
        let told = self
            .errors
            .status_headers
            .iter()
            .filter_map(|name| headers.get(name));
        let mut told = told.filter_map(|value| StatusCode::from_bytes(value.as_bytes()).ok());
        told.next().unwrap_or(status)
    }

    /// Whether this answer (by its head alone) can tell of users at all: decides whether its body
    /// is collected. Failing answers of reads by id can (not-found), others usually cannot.
    pub fn tells(
        &self,
        matched: &Matched<'_>,
        credential: Credential,
        meant: StatusCode,
        headers: &HeaderMap,
    ) -> bool {
        if meant.is_success() {
            return matched.route.tells.iter().any(|tell| tell.is_for(credential));
        }
        let absence = matched.route.own_path.is_some() && credential != Credential::Client;
        (absence && self.errors.may_be_not_found(meant, headers))
            || (meant.is_server_error() && matched.route.writes)
            || !matched.route.hides.is_empty()
    }

    /// Everything that an exchange of this tenant tells.
    pub fn extract(&self, request: &RoutedRequest<'_>, answer: &Answer<'_>) -> Extraction {
        let exchange = Exchange::new(self, request, Some(answer));
        let mut out = Extraction {
            is_failure: answer.meant.is_success() && self.errors.is_failure_inside(answer.body),
            ..Extraction::default()
        };
        if answer.meant.is_success() && !out.is_failure {
            let told = request.matched.route.told(&exchange);
            told.for_each(|tell| self.told(tell, &exchange, answer.body, &mut out));
            out.sightings
                .iter_mut()
                .for_each(|told| believed(told, request.credential));
        } else {
            out.sightings = self.told_by_failure(&exchange, answer);
        }
        out
    }

    /// One item that an [`super::ItemSplitter`] cut out of a large answer.
    pub fn extract_item(
        &self,
        tenant: &Tenant,
        matched: &Matched<'_>,
        credential: Credential,
        item: &[u8],
    ) -> Option<Sighting> {
        let tell = matched.route.list().filter(|tell| tell.is_for(credential))?;
        let Kind::List { item: at, proof, .. } = &tell.kind else {
            return None;
        };
        let text = at.raw(std::str::from_utf8(item).ok()?)?;
        let mut told = self.sighting(tenant, text, false, (*proof, tell.unsettled))?;
        believed(&mut told, credential);
        Some(told)
    }

    /// The id alone of an item that is too large.
    pub fn extract_item_id(
        &self,
        tenant: &Tenant,
        matched: &Matched<'_>,
        credential: Credential,
        id: &[u8],
    ) -> Option<Sighting> {
        matched.route.list().filter(|tell| tell.is_for(credential))?;
        self.extract_id(tenant, id)
    }

    /// The id that a splitter cut out of a large answer: of a user who is to be read again.
    pub fn extract_id(&self, tenant: &Tenant, json: &[u8]) -> Option<Sighting> {
        let id: serde_json::Value = serde_json::from_slice(json).ok()?;
        Some(settled(self.id_in(tenant, &id)?, Seen::Touched))
    }

    /// What an answer tells that is not read: the user whom its request names is to be read again.
    pub fn unread(&self, request: &RoutedRequest<'_>) -> Vec<Sighting> {
        hints(&Exchange::new(self, request, None))
    }

    /// What a write tells that got no answer: the user it names, if it names one. A client writes
    /// only to itself.
    pub fn unanswered(&self, request: &RoutedRequest<'_>) -> Vec<Sighting> {
        match request.matched.route.writes {
            true => self.unread(request),
            false => Vec::new(),
        }
    }

    fn told(&self, tell: &Tell, exchange: &Exchange<'_>, body: &[u8], out: &mut Extraction) {
        match &tell.kind {
            Kind::Whole(_) if is_untold_change(exchange, body) => told_without_body(exchange, out),
            Kind::Whole(at) => self.told_whole(tell, at, exchange.request.tenant, body, out),
            Kind::Partial { at, fields } => self.told_partial(at, fields.as_deref(), exchange, out),
            Kind::List {
                at,
                item,
                proof,
                empty_has,
            } => {
                let list = Listed {
                    tenant: exchange.request.tenant,
                    item,
                    empty_has,
                    proof: *proof,
                    unsettled: tell.unsettled,
                    again: true,
                };
                self.told_list(&list, at, body, out);
            }
            Kind::Deleted(..) | Kind::Touched(_) | Kind::Mentioned(_) => told_ids(tell, exchange, out),
        }
    }

    fn told_whole(&self, tell: &Tell, at: &Pointer, tenant: &Tenant, body: &[u8], out: &mut Extraction) {
        let text = json::text(body).and_then(|text| at.raw(text));
        match text.and_then(|text| self.sighting(tenant, text, true, (Proof::AtSending, tell.unsettled))) {
            Some(sighting) => out.sightings.push(sighting),
            None => {
                out.malformed += 1;
                out.unfit += usize::from(text.is_some_and(|text| self.is_unfit(tenant, text)));
            }
        }
    }

    fn told_partial(
        &self,
        at: &Pointer,
        fields: Option<&[String]>,
        exchange: &Exchange<'_>,
        out: &mut Extraction,
    ) {
        let body = exchange.answer.map(|answer| answer.body).unwrap_or_default();
        let text = json::text(body);
        if text.is_some_and(|text| text.trim_ascii() == "null") {
            return; // of nobody, as where nobody is signed in
        }
        let text = text.and_then(|text| at.raw(text));
        let read = text.and_then(|text| self.partial(exchange.request.tenant, text, fields));
        match read {
            Some((id, seen)) => out.sightings.push(settled(id, seen)),
            None => out.malformed += 1,
        }
    }

    pub(super) fn told_list(
        &self,
        list: &Listed<'_>,
        at: &Pointer,
        body: &[u8],
        out: &mut Extraction,
    ) -> bool {
        let text = json::text(body).and_then(|text| at.raw(text));
        let Some(items) = text.and_then(raw_items) else {
            let is_left_out = text.is_none() && list.is_empty(body);
            out.malformed += usize::from(!is_left_out);
            return is_left_out;
        };
        for item in items {
            let user = list.item.raw(item.get());
            match user
                .and_then(|text| self.sighting(list.tenant, text, list.again, (list.proof, list.unsettled)))
            {
                Some(sighting) => out.sightings.push(sighting),
                None => {
                    out.malformed += 1;
                    out.unfit += usize::from(user.is_some_and(|text| self.is_unfit(list.tenant, text)));
                    out.unread.push((out.sightings.len(), hashed(item.get())));
                }
            }
        }
        true
    }

    fn told_by_failure(&self, exchange: &Exchange<'_>, answer: &Answer<'_>) -> Vec<Sighting> {
        let route = exchange.request.matched.route;
        if self
            .errors
            .says_not_found(answer.meant, answer.headers, answer.body)
        {
            return self.absence(exchange).into_iter().collect();
        }
        let code = self.errors.code(answer.headers, answer.body);
        let hidden = code.is_some_and(|code| route.hides.contains(&code));
        if hidden || (route.writes && answer.meant.is_server_error()) {
            return hints(exchange);
        }
        Vec::new()
    }

    /// Not found at the user's own path: evidence with the tenant's own key, a hint with another
    /// server key, nothing from a client. In answer to a change it is a hint: what is not there can be
    /// anything that this names, such as an address. So it is where the key itself may not be taken.
    fn absence(&self, exchange: &Exchange<'_>) -> Option<Sighting> {
        let route = exchange.request.matched.route;
        let own = route.own_path.as_ref()?;
        let id = exchange.ids(std::slice::from_ref(own)).into_iter().next()?;
        match exchange.request.credential {
            Credential::Client => None,
            Credential::OwnServer if !route.changes() && self.key_opens.is_none() => {
                Some(settled(id, Seen::Missing))
            }
            Credential::OwnServer | Credential::Server => Some(settled(id, Seen::Touched)),
        }
    }
}

/// What all items of one list have in common.
pub(super) struct Listed<'a> {
    pub tenant: &'a Tenant,
    pub item: &'a Pointer,
    /// What an answer has that leaves the list out because nobody is on it.
    pub empty_has: &'a [Pointer],
    pub proof: Proof,
    pub unsettled: bool,
    /// An app's, who asks for the same users often.
    pub again: bool,
}

impl Listed<'_> {
    fn is_empty(&self, body: &[u8]) -> bool {
        let has = |at: &Pointer| json::text(body).is_some_and(|text| at.raw(text).is_some());
        !self.empty_has.is_empty() && self.empty_has.iter().all(has)
    }
}

pub(super) fn raw_items(text: &str) -> Option<Vec<&serde_json::value::RawValue>> {
    serde_json::from_str(text).ok()
}

fn hashed(item: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    item.hash(&mut hasher);
    hasher.finish()
}

/// Ids are told by what stays: a touched one is not also mentioned.
fn told_ids(tell: &Tell, exchange: &Exchange<'_>, out: &mut Extraction) {
    let seen = match tell.kind {
        Kind::Deleted(..) => Seen::Deleted,
        Kind::Touched(_) => Seen::Touched,
        _ => Seen::Mentioned,
    };
    let ids = exchange.ids(tell.sources());
    let unread = match &tell.kind {
        Kind::Deleted(_, done) => !done.is_said(exchange, &ids),
        _ => ids.is_empty() && tell.reads_body() && exchange.answer_json().is_none(),
    };
    if unread {
        out.malformed += 1;
        return;
    }
    for id in ids {
        if !out.sightings.iter().any(|other| other.id == id) {
            out.sightings.push(settled(id, seen.clone()));
        }
    }
}

/// Whether it is a write, and answered with nothing at all.
fn is_untold_change(exchange: &Exchange<'_>, body: &[u8]) -> bool {
    exchange.request.matched.route.writes && body.trim_ascii().is_empty()
}

/// A change whose answer shows nobody: whoever the request names is read again, and somebody must be named.
fn told_without_body(exchange: &Exchange<'_>, out: &mut Extraction) {
    for hint in hints(exchange) {
        if !out.sightings.iter().any(|other| other.id == hint.id) {
            out.sightings.push(hint);
        }
    }
    out.malformed += usize::from(out.sightings.is_empty());
}

/// That somebody is gone is believed of an answer to the tenant's own key; otherwise it is a hint.
fn believed(told: &mut Sighting, credential: Credential) {
    if matches!(told.seen, Seen::Missing) && credential != Credential::OwnServer {
        told.seen = Seen::Touched;
    }
}

/// The user that a write names, which may have been carried out.
fn hints(exchange: &Exchange<'_>) -> Vec<Sighting> {
    let request = &exchange.request;
    let ids = exchange.ids(&request.matched.route.user).into_iter();
    let may_write =
        |id: &UserId| request.credential != Credential::Client || exchange.caller().as_ref() == Some(id);
    let ids = ids.filter(may_write);
    ids.map(|id| settled(id, Seen::Touched)).collect()
}

pub(super) fn settled(id: UserId, seen: Seen) -> Sighting {
    Sighting {
        id,
        seen,
        proof: Proof::AtSending,
        unsettled: false,
    }
}
