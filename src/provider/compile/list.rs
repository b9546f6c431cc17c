//! The listing of a provider file.

use http::Method;
use toml::Spanned;

use super::super::Proof;
use super::super::errors::Codes;
use super::super::form::{CodesForm, ListForm, LostForm, PagingForm, Reader, Text, TotalForm};
use super::super::paging::{List, NextAt, Paging, Params, Total, Window};
use super::super::pointer::Pointer;
use super::super::route::Route;
use super::super::tell::Kind;
use super::super::template::Template;
use super::poll::not_known;

impl Reader<'_> {
    pub(super) fn list(&mut self, form: ListForm, routes: &[Route]) -> Option<List> {
        let size = form.size.as_ref().map_or(1, |size| u64::from(size.value.get()));
        let paging = self.paging(form.on.span().start, form.paging, size);
        let total = form
            .total
            .and_then(|total| self.total(form.on.span().start, total));
        let unknown_parameter = form.unknown_parameter.and_then(|codes| self.codes(codes));
        let route = self.listed(&form.on, routes)?;
        let mut query: Params = form.query.into_iter().collect();
        query.extend(form.size.map(|size| (size.param, size.value.get().into())));
        let list = List {
            query,
            optional: form.optional.into_iter().collect(),
            newest: form.newest.map(|newest| newest.into_iter().collect()),
            unknown_parameter,
            total,
            ..route.list(paging?)
        };
        self.check_params(form.on.span().start, &list);
        Some(list)
    }

    /// What is asked for stands in the query, or in one place of a body that is sent.
    pub(super) fn check_params(&mut self, at: usize, list: &List) {
        let newest = list.newest.iter().flatten();
        let given = list.query.iter().chain(&list.optional).chain(newest);
        let names = given.map(|(name, _)| name.as_str()).chain(list.paging.params());
        for name in names.filter(|name| name.starts_with('/')) {
            let is_single = Pointer::parse(name).is_some_and(|place| place.is_single());
            let text = match list.method == Method::POST {
                true if is_single => continue,
                true => format!("`{name}` names several places, and a value is put into one: take its * out"),
                false => format!(
                    "`{name}` is a place in a request's body, and a GET has none: take its slash off, or list on a POST"
                ),
            };
            self.mistake(at, text);
        }
    }

    /// Asking changes nothing, and may be done again.
    pub(super) fn check_question(&mut self, at: usize, told: &ListedBy<'_>) {
        if told.route.writes {
            let text = "a list by POST changes nothing: say so on its [[route]], writes = false";
            self.mistake(at, text);
        }
    }

    /// What the route itself says of its list.
    fn listed<'r>(&mut self, on: &Text, routes: &'r [Route]) -> Option<ListedBy<'r>> {
        let told = told_list(on.get_ref(), routes);
        if told.is_none() {
            self.mistake(
                on.span().start,
                "[list] names a [[route]] that tells a `list`; this is none",
            );
        }
        told.inspect(|told| self.check_question(on.span().start, told))
    }

    pub(super) fn paging(&mut self, at: usize, form: PagingForm, size: u64) -> Option<Paging> {
        Some(match form {
            PagingForm::Offset { param } => Paging::Offset { param },
            PagingForm::Page {
                param,
                first,
                behind_last,
            } => Paging::Page {
                param,
                first,
                behind_last: behind_last.map_or_else(Vec::new, |answers| self.behind_last(at, answers)),
            },
            PagingForm::Link { lost } => Paging::Link {
                lost: self.lost(at, lost.unwrap_or_else(not_known)),
            },
            PagingForm::Window {
                param,
                within,
                page,
                first,
                most,
                created_at,
                steps,
            } => {
                let pages = most / size.max(1);
                let created_at = Pointer::parse(&created_at).filter(Pointer::is_single);
                if created_at.is_none() || pages == 0 || !within.contains("{from}") {
                    let text = "a window needs `within` with {from} in it, `created_at`, a JSON pointer as /created_at, \
                                and `most`, no less than a page has";
                    self.mistake(at, text);
                }
                Paging::Window(Window {
                    param,
                    within: Template::parse(&within),
                    page,
                    first,
                    most,
                    pages,
                    created_at: created_at?,
                    steps,
                })
            }
            PagingForm::Cursor {
                param,
                next,
                last_item,
                inclusive,
                text,
                lost,
            } => {
                let text = Template::parse(text.as_deref().unwrap_or("{cursor}"));
                if text.names().ne(["cursor"]) {
                    self.mistake(
                        at,
                        "`text` of a cursor has {cursor} in it, once, and no other name",
                    );
                }
                let next = match (next, last_item) {
                    (Some(next), None) => Pointer::parse(&next).map(NextAt::Body),
                    (None, Some(last)) => Pointer::parse(&last).map(NextAt::LastItem),
                    _ => None,
                };
                if next.is_none() {
                    let text = "a cursor comes from either `next` or `last_item`, a JSON pointer as /next";
                    self.mistake(at, text);
                }
                Paging::Cursor {
                    param,
                    next: next?,
                    inclusive,
                    text,
                    is_id: inclusive || lost.is_some(),
                    lost: self.lost(at, lost.unwrap_or_else(not_known)),
                }
            }
        })
    }

    /// A status by itself can be anybody's, and the list would seem to be at its end.
    fn behind_last(&mut self, at: usize, form: LostForm) -> Vec<Codes> {
        if form.codes.is_empty() {
            let text =
                "`behind_last` needs `codes`, by which the provider itself says that there is no such page";
            self.mistake(at, text);
        }
        self.lost(at, form)
    }

    pub(super) fn lost(&mut self, at: usize, form: LostForm) -> Vec<Codes> {
        let codes = form.codes;
        let statuses = form.statuses.into_iter();
        let answers = statuses.filter_map(|status| {
            self.codes(CodesForm {
                status: Spanned::new(at..at, status),
                codes: codes.clone(),
            })
        });
        answers.collect()
    }

    fn total(&mut self, at: usize, form: TotalForm) -> Option<Total> {
        let body = form.body.map(|body| self.single_pointer(&body));
        match (form.header, form.path, body) {
            (Some(header), None, None) => self.header(&header).map(Total::Header),
            (None, None, Some(body)) => Some(Total::Body(body)),
            (None, Some(path), Some(body)) => Some(Total::Path(path.into_inner(), body)),
            _ => {
                self.mistake(at, "`total` has `header`, or `body`, or `path` and `body`");
                None
            }
        }
    }
}

/// A route that tells a list, and what it says of it.
pub(super) struct ListedBy<'r> {
    route: &'r Route,
    at: &'r Pointer,
    item: &'r Pointer,
    proof: Proof,
    empty_has: &'r [Pointer],
}

pub(super) fn told_list<'r>(on: &str, routes: &'r [Route]) -> Option<ListedBy<'r>> {
    let route = routes.iter().find(|route| *route.name == *on)?;
    match &route.list()?.kind {
        Kind::List {
            at,
            item,
            proof,
            empty_has,
        } => Some(ListedBy {
            route,
            at,
            item,
            proof: *proof,
            empty_has,
        }),
        _ => None,
    }
}

impl ListedBy<'_> {
    /// The listing, which goes on so.
    pub(super) fn list(&self, paging: Paging) -> List {
        let (_, path) = self.route.name.split_once(' ').unwrap_or_default();
        List {
            method: self.route.pattern.method.clone(),
            path: path.to_owned(),
            at: self.at.clone(),
            item: self.item.clone(),
            empty_has: self.empty_has.to_vec(),
            proof: self.proof,
            query: Params::new(),
            optional: Params::new(),
            newest: None,
            unknown_parameter: None,
            paging,
            total: None,
        }
    }
}
