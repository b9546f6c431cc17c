//! What of a provider file says how to ask for changes. Inside a tagged table nothing has a place of
//! its own: its mistakes are told with the line on which it begins.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use toml::Spanned;

use super::super::form::{
    AfterForm, LostForm, PagingForm, PlainTimeForm, PollForm, Reader, SinceForm, SizeForm, ValuesForm,
};
use super::super::paging::List;
use super::super::pointer::Pointer;
use super::super::poll::{Changed, Log, Poll, Since};
use super::super::route::Route;
use super::super::template::Template;
use super::super::view::TimeAt;
use super::duration;

/// Clocks differ, and what is written last may be shown late.
const OVERLAP: TimeDelta = TimeDelta::minutes(1);

impl Reader<'_> {
    pub(super) fn poll(&mut self, form: Spanned<PollForm>, routes: &[Route]) -> Option<Poll> {
        let at = form.span().start;
        match form.into_inner() {
            PollForm::Log {
                path,
                query,
                size,
                events,
                after: AfterForm { param, id },
                since,
                overlap,
                keeps,
                lost,
            } => {
                if !path.starts_with('/') {
                    self.mistake(at, "[poll]: `path` begins with a slash: write it as /events");
                }
                Some(Poll::Log(Box::new(Log {
                    path,
                    page: size
                        .as_ref()
                        .and_then(|size| usize::try_from(size.value.get()).ok()),
                    query: repeated(query, size),
                    events: self.place_in_answer(at, &events)?,
                    id: self.place_in_answer(at, &id)?,
                    after: param,
                    since: self.since(at, since)?,
                    overlap: self.time(at, "overlap", overlap)?.unwrap_or(OVERLAP),
                    keeps: self.time(at, "keeps", keeps)?,
                    lost: self.lost(at, lost.unwrap_or_else(not_known)),
                })))
            }
            PollForm::Changed {
                on,
                query,
                size,
                paging,
                at: PlainTimeForm { at: field, unit },
                since,
                overlap,
            } => {
                let said = field.clone();
                let field = Pointer::parse(&field).map(super::super::view::Place::Plain);
                if field.is_none() {
                    self.mistake(
                        at,
                        "[poll]: `at` holds a JSON pointer into a user: write it as /updated_at",
                    );
                }
                let ordered = matches!(paging, PagingForm::Window { steps: true, .. });
                let page = size
                    .as_ref()
                    .filter(|_| ordered)
                    .and_then(|size| usize::try_from(size.value.get()).ok());
                let list = self.polled_list(at, &on, (query, size), paging, routes)?;
                Some(Poll::Changed(Box::new(Changed {
                    list,
                    page,
                    at: TimeAt {
                        at: field?,
                        unit,
                        said,
                    },
                    since: self.since(at, since)?,
                    overlap: self.time(at, "overlap", overlap)?.unwrap_or(OVERLAP),
                })))
            }
        }
    }

    fn polled_list(
        &mut self,
        at: usize,
        on: &str,
        (query, size): (BTreeMap<String, ValuesForm>, Option<SizeForm>),
        paging: PagingForm,
        routes: &[Route],
    ) -> Option<List> {
        let paging = self.paging(
            at,
            paging,
            size.as_ref().map_or(1, |size| u64::from(size.value.get())),
        );
        let Some(told) = super::list::told_list(on, routes) else {
            self.mistake(at, "[poll] names a [[route]] that tells a `list`; `on` is none");
            return None;
        };
        self.check_question(at, &told);
        let query = repeated(query, size).into_iter();
        let list = List {
            query: query.map(|(name, value)| (name, value.into())).collect(),
            ..told.list(paging?)
        };
        self.check_params(at, &list);
        Some(list)
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

    /// `None` only with a mistake.
    fn time(&mut self, at: usize, name: &str, text: Option<String>) -> Option<Option<TimeDelta>> {
        let Some(text) = text else { return Some(None) };
        let time = duration(&text).and_then(|time| TimeDelta::from_std(time).ok());
        if time.is_none() {
            self.mistake(at, format!("[poll]: `{name}` is a time: write it as 1m, or 30d"));
        }
        time.map(Some)
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

/// What a provider may say of an event that it does not know, where its file does not tell.
pub(super) fn not_known() -> LostForm {
    LostForm {
        statuses: vec![400, 404, 410, 422],
        codes: Vec::new(),
    }
}

fn repeated(query: BTreeMap<String, ValuesForm>, size: Option<SizeForm>) -> Vec<(String, String)> {
    let values = |form: ValuesForm| match form {
        ValuesForm::One(value) => vec![value],
        ValuesForm::Many(values) => values,
    };
    let each = |(name, form): (String, ValuesForm)| {
        let of = move |value| (name.clone(), value);
        values(form).into_iter().map(of)
    };
    let size = size.map(|size| (size.param, size.value.to_string()));
    query.into_iter().flat_map(each).chain(size).collect()
}
