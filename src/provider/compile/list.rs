//! The listing of a provider file.

use toml::Spanned;

use super::super::Proof;
use super::super::extract::Codes;
use super::super::form::{CodesForm, ListForm, LostForm, PagingForm, Reader, Text, TotalForm};
use super::super::paging::{List, NextAt, Paging, Total, Window};
use super::super::pointer::Pointer;
use super::super::route::Route;
use super::super::tell::Kind;
use super::super::template::Template;
use super::pairs;
use super::poll::not_known;

impl Reader<'_> {
    pub(super) fn list(&mut self, form: ListForm, routes: &[Route]) -> Option<List> {
        let size = form.size.as_ref().map_or(1, |size| u64::from(size.value.get()));
        let paging = self.paging(form.on.span().start, form.paging, size);
        let total = form
            .total
            .and_then(|total| self.total(form.on.span().start, total));
        let unknown_parameter = form.unknown_parameter.and_then(|codes| self.codes(codes));
        let (at, item, proof) = self.listed(&form.on, routes)?;
        let mut query = pairs(form.query);
        query.extend(form.size.map(|size| (size.param, size.value.to_string())));
        let (_, path) = form.on.get_ref().split_once(' ')?;
        Some(List {
            path: path.to_owned(),
            at,
            item,
            proof,
            query,
            optional: pairs(form.optional),
            newest: form.newest.map(pairs),
            unknown_parameter,
            paging: paging?,
            total,
        })
    }

    /// What the route itself says of its list.
    fn listed(&mut self, on: &Text, routes: &[Route]) -> Option<(Pointer, Pointer, Proof)> {
        let told = told_list(on.get_ref(), routes);
        if told.is_none() {
            self.mistake(
                on.span().start,
                "[list] names a [[route]] that tells a `list`; this is none",
            );
        }
        told
    }

    pub(super) fn paging(&mut self, at: usize, form: PagingForm, size: u64) -> Option<Paging> {
        Some(match form {
            PagingForm::Offset { param } => Paging::Offset { param },
            PagingForm::Page { param, first } => Paging::Page { param, first },
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
                lost,
            } => {
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
                    is_id: inclusive || lost.is_some(),
                    lost: self.lost(at, lost.unwrap_or_else(not_known)),
                }
            }
        })
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

/// Where the list of a route stands, the user in each item, and what it proves.
pub(super) fn told_list(on: &str, routes: &[Route]) -> Option<(Pointer, Pointer, Proof)> {
    let route = routes.iter().find(|route| *route.name == *on)?;
    match &route.list()?.kind {
        Kind::List { at, item, proof } => Some((at.clone(), item.clone(), *proof)),
        _ => None,
    }
}
