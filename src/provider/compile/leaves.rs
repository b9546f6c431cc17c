//! The smallest parts of a provider file: header names, pointers, paths, patterns, templates, sources.

use std::fmt::Display;

use http::HeaderName;

use super::super::form::{Reader, Text};
use super::super::pointer::Pointer;
use super::super::requests::Requests;
use super::super::route::Pattern;
use super::super::source::Source;
use super::super::template::Template;
use super::super::view::Place;

impl Reader<'_> {
    pub(super) fn headers<N: FromIterator<HeaderName>>(&mut self, names: &[Text]) -> N {
        let mut headers: Vec<HeaderName> = Vec::new();
        for text in names {
            match self.header(text) {
                Some(name) if headers.contains(&name) => self.mistake(
                    text.span().start,
                    format!("`{name}` stands here twice: take one of them out"),
                ),
                Some(name) => headers.push(name),
                None => {}
            }
        }
        headers.into_iter().collect()
    }

    pub(super) fn header(&mut self, text: &Text) -> Option<HeaderName> {
        let name = HeaderName::try_from(text.get_ref()).ok();
        if name.is_none() {
            self.mistake(
                text.span().start,
                format!("`{}` is no header name", text.get_ref()),
            );
        }
        name
    }

    pub(super) fn pointer(&mut self, text: &Text) -> Pointer {
        let pointer = Pointer::parse(text.get_ref());
        if pointer.is_none() {
            let text_ = format!("`{}` is no JSON pointer: write it as /items/*/id", text.get_ref());
            self.mistake(text.span().start, text_);
        }
        pointer.unwrap_or_default()
    }

    /// A pointer to something within a user.
    pub(super) fn inner_pointer(&mut self, text: &Text) -> Pointer {
        let pointer = self.pointer(text);
        if text.get_ref().is_empty() {
            let told = "this pointer names all of the user: name a field of it, as in /private";
            self.mistake(text.span().start, told);
        }
        pointer
    }

    /// A pointer to one place.
    pub(super) fn single_pointer(&mut self, text: &Text) -> Pointer {
        let pointer = self.pointer(text);
        if !pointer.is_single() {
            self.mistake(
                text.span().start,
                "this pointer must name one place: take the `*` out",
            );
        }
        pointer
    }

    pub(super) fn place(&mut self, text: &Text) -> Place {
        Place::parse(text.get_ref()).unwrap_or_else(|error| {
            self.no_path(text, &error);
            Place::Plain(Pointer::default())
        })
    }

    pub(super) fn no_path(&mut self, text: &Text, error: &impl Display) {
        let text_ = format!(
            "`{}` is no JSONPath (RFC 9535): {error}; write it as $.emails[0].address",
            text.get_ref()
        );
        self.mistake(text.span().start, text_);
    }

    pub(super) fn pattern(&mut self, text: &Text) -> Option<Pattern> {
        let pattern = Pattern::parse(text.get_ref());
        if pattern.is_none() {
            let text_ = format!("`{}` is no route: write it as GET /users/{{id}}", text.get_ref());
            self.mistake(text.span().start, text_);
        }
        pattern
    }

    pub(super) fn requests(&mut self, texts: &[Text]) -> Vec<Requests> {
        texts.iter().filter_map(|text| self.request(text)).collect()
    }

    fn request(&mut self, text: &Text) -> Option<Requests> {
        let request = Requests::parse(text.get_ref());
        if request.is_none() {
            let text_ = format!(
                "`{}` is no request: write it as GET /health, as `* /payments/*` for whatever reads there and everything below, or \
                 as `POST|DELETE /payments/*` for what writes there",
                text.get_ref()
            );
            self.mistake(text.span().start, text_);
        }
        request
    }

    /// Every name in it is one of these.
    pub(super) fn template(&mut self, text: &Text, names: &[&str]) -> Template {
        let template = Template::parse(text.get_ref());
        for name in template.names().filter(|name| !names.contains(name)) {
            let what = format!("`{{{name}}}` has no value here: there are {}", names.join(", "));
            self.mistake(text.span().start, what);
        }
        template
    }

    pub(super) fn sources(&mut self, texts: &[Text]) -> Vec<Source> {
        texts.iter().filter_map(|text| self.source(text)).collect()
    }

    pub(super) fn source(&mut self, text: &Text) -> Option<Source> {
        let source = Source::parse(text.get_ref());
        if source.is_none() {
            let text_ = format!(
                "`{}` names no id: write path:NAME, query:NAME, form:NAME, request:/POINTER, answer:/POINTER or \
                 answer:$.PATH (RFC 9535), answer-token:/POINTER, location, caller, named, or joined: with several of the first four in braces",
                text.get_ref()
            );
            self.mistake(text.span().start, text_);
        }
        source
    }
}
