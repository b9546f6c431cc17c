//! What of a provider file says how to ask for changes. Inside a tagged table nothing has a place of
//! its own: its mistakes are told with the line on which it begins.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use toml::Spanned;

use super::super::form::{AfterForm, PagingForm, PlainTimeForm, PollForm, Reader, SinceForm};
use super::super::paging::List;
use super::super::pointer::Pointer;
use super::super::poll::{Changed, Log, Poll, Since};
use super::super::route::Route;
use super::super::template::Template;
use super::super::view::TimeAt;
use super::{duration, pairs};

/// Clocks differ, and what is written last may be shown late.
const OVERLAP: TimeDelta = TimeDelta::minutes(1);

impl Reader<'_> {
    pub(super) fn poll(&mut self, form: Spanned<PollForm>, routes: &[Route]) -> Option<Poll> {
        let at = form.span().start;
        match form.into_inner() {
            PollForm::Log {
                path,
                query,
                events,
                after: AfterForm { param, id },
                since,
                overlap,
            } => {
                if !path.starts_with('/') {
                    self.mistake(at, "[poll]: `path` begins with a slash: write it as /events");
                }
                Some(Poll::Log(Log {
                    path,
                    query: pairs(query),
                    events: self.place_in_answer(at, &events)?,
                    id: self.place_in_answer(at, &id)?,
                    after: param,
                    since: self.since(at, since)?,
                    overlap: self.overlap(at, overlap)?,
                }))
            }
            PollForm::Changed {
                on,
                query,
                paging,
                at: PlainTimeForm { at: field, unit },
                since,
                overlap,
            } => {
                let field = Pointer::parse(&field).map(super::super::view::Place::Plain);
                if field.is_none() {
                    self.mistake(
                        at,
                        "[poll]: `at` holds a JSON pointer into a user: write it as /updated_at",
                    );
                }
                let list = self.polled_list(at, &on, query, paging, routes)?;
                Some(Poll::Changed(Box::new(Changed {
                    list,
                    at: TimeAt { at: field?, unit },
                    since: self.since(at, since)?,
                    overlap: self.overlap(at, overlap)?,
                })))
            }
        }
    }

    fn polled_list(
        &mut self,
        at: usize,
        on: &str,
        query: BTreeMap<String, String>,
        paging: PagingForm,
        routes: &[Route],
    ) -> Option<List> {
        let paging = self.paging(at, paging, 1);
        let Some((users, item, proof)) = super::list::told_list(on, routes) else {
            self.mistake(at, "[poll] names a [[route]] that tells a `list`; `on` is none");
            return None;
        };
        let (_, path) = on.split_once(' ')?;
        Some(List {
            path: path.to_owned(),
            at: users,
            item,
            proof,
            query: pairs(query),
            optional: Vec::new(),
            newest: None,
            unknown_parameter: None,
            paging: paging?,
            total: None,
        })
    }

    fn since(&mut self, at: usize, form: Option<SinceForm>) -> Option<Option<Since>> {
        let Some(form) = form else { return Some(None) };
        let text = Template::parse(&form.text);
        if text.names().ne(["time"]) {
            self.mistake(
                at,
                "[poll]: `text` of `since` has {time} in it, once, and no other name",
            );
            return None;
        }
        Some(Some(Since {
            param: form.param,
            text,
            unit: form.unit,
        }))
    }

    fn overlap(&mut self, at: usize, text: Option<String>) -> Option<TimeDelta> {
        let Some(text) = text else { return Some(OVERLAP) };
        let overlap = duration(&text).and_then(|time| TimeDelta::from_std(time).ok());
        if overlap.is_none() {
            self.mistake(at, "[poll]: `overlap` is a time: write it as 1m");
        }
        overlap
    }

    fn place_in_answer(&mut self, at: usize, text: &str) -> Option<Pointer> {
        let pointer = Pointer::parse(text).filter(Pointer::is_single);
        if pointer.is_none() {
            let told = format!("[poll]: `{text}` is no JSON pointer to one place: write it as /data");
            self.mistake(at, told);
        }
        pointer
    }
}
