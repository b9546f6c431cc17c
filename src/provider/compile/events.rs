//! The sections on events of a provider file.

use chrono::TimeDelta;
use http::HeaderName;
use serde_json_path::JsonPath;
use toml::Spanned;

use super::super::caller::Part;
use super::super::event::{EventMap, EventRule, EventTold, IdsAt};
use super::super::form::{ChallengeForm, EventForm, EventsForm, Reader, SignatureForm, Text, WebhooksForm};
use super::super::pointer::Pointer;
use super::super::webhook::{Challenge, Scheme, Webhooks};
use super::duration;

/// As the senders of webhooks recommend it.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

impl Reader<'_> {
    pub(super) fn webhooks(&mut self, form: WebhooksForm) -> Option<Webhooks> {
        let tolerance = match &form.tolerance {
            Some(text) => self.tolerance(text)?,
            None => TOLERANCE,
        };
        Some(Webhooks {
            id: form.id.map(|id| self.single_pointer(&id)),
            scheme: self.scheme(form.signature)?,
            tolerance,
            challenge: form.challenge.and_then(|challenge| self.challenge(challenge)),
        })
    }

    fn challenge(&mut self, form: ChallengeForm) -> Option<Challenge> {
        Some(Challenge {
            header: self.signature_header(&form.header)?,
            field: form.field,
        })
    }

    fn scheme(&mut self, form: SignatureForm) -> Option<Scheme> {
        Some(match form {
            SignatureForm::Standard {} => Scheme::Standard,
            SignatureForm::Timed { header } => Scheme::Timed {
                header: self.signature_header(&header)?,
            },
            SignatureForm::Plain {
                header,
                encoding,
                prefix,
            } => Scheme::Plain {
                header: self.signature_header(&header)?,
                encoding,
                prefix,
            },
            SignatureForm::Secret { header, prefix } => Scheme::Secret {
                header: self.signature_header(&header)?,
                prefix,
            },
        })
    }

    fn signature_header(&mut self, name: &str) -> Option<HeaderName> {
        let header = HeaderName::try_from(name).ok();
        if header.is_none() {
            self.mistake(0, format!("[webhooks]: `{name}` is no header name"));
        }
        header
    }

    fn tolerance(&mut self, text: &Text) -> Option<TimeDelta> {
        let tolerance = duration(text.get_ref()).and_then(|time| TimeDelta::from_std(time).ok());
        if tolerance.is_none() {
            self.mistake(text.span().start, "`tolerance` is a time: write it as 5m");
        }
        tolerance
    }

    pub(super) fn event_map(&mut self, form: EventsForm, identity: &[Part]) -> EventMap {
        let kind = match &form.kind {
            Some(at) => self.single_pointer(at),
            None => Pointer::parse("/type").unwrap_or_default(),
        };
        let mut tenant = Vec::new();
        for (part, at) in form.tenant {
            if !identity.iter().any(|known| known.part == part) {
                self.mistake(
                    at.span().start,
                    format!("`{part}` is no part of the identity: name one that [[identity]] has"),
                );
            }
            tenant.push((part, self.single_pointer(&at)));
        }
        let list = form.list.map(|at| self.single_pointer(&at));
        EventMap { kind, list, tenant }
    }

    pub(super) fn event_rule(&mut self, form: Spanned<EventForm>) -> EventRule {
        let at = form.span().start;
        let form = form.into_inner();
        for on in form.on.iter().filter(|on| !is_type(on.get_ref())) {
            let text = format!(
                "`{}` is no type of events: write it as user.created, or user.* for all that begin so",
                on.get_ref()
            );
            self.mistake(on.span().start, text);
        }
        if form.on.is_empty() {
            self.mistake(
                at,
                "an [[event]] names the types it is about: add on = [\"user.created\"]",
            );
        }
        let mut told = Vec::new();
        told.extend(form.whole.map(|at| EventTold::Whole(self.single_pointer(&at))));
        told.extend(
            form.partial
                .map(|at| EventTold::Partial(self.single_pointer(&at))),
        );
        told.extend(form.deleted.map(|ids| EventTold::Touched(self.ids_at(&ids))));
        told.extend(form.touched.map(|ids| EventTold::Touched(self.ids_at(&ids))));
        told.extend(form.mentioned.map(|ids| EventTold::Mentioned(self.ids_at(&ids))));
        let more = told.len() > 1;
        let told = told.pop().unwrap_or(EventTold::Nothing);
        if more {
            self.mistake(
                at,
                "an [[event]] tells at most one of whole, partial, deleted, touched and mentioned",
            );
        }
        let when = form.when.into_iter();
        EventRule {
            on: form.on.into_iter().map(|on| on.into_inner()).collect(),
            when: when
                .map(|(at, value)| (self.single_pointer(&at), value))
                .collect(),
            told,
        }
    }

    fn ids_at(&mut self, texts: &[Text]) -> Vec<IdsAt> {
        let mut places = Vec::new();
        for text in texts {
            if !text.get_ref().starts_with('$') {
                places.push(IdsAt::Pointer(self.pointer(text)));
                continue;
            }
            match JsonPath::parse(text.get_ref()) {
                Ok(path) => places.push(IdsAt::Path(Box::new(path))),
                Err(error) => self.no_path(text, &error),
            }
        }
        places
    }
}

fn is_type(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty() && !name.contains(['*', ' '])
}
