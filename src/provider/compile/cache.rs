//! What may be kept of a provider's answers.

use http::{HeaderName, Method};

use super::super::cache::{CacheRules, Habit, Kept, TRACING};
use super::super::form::{CacheForm, Reader, Text};
use super::super::route::Pattern;
use super::duration;

impl Reader<'_> {
    /// Once all is read in which a caller can show who it is.
    pub(super) fn cache(&mut self, form: CacheForm) -> CacheRules {
        for text in &form.ignore {
            if self
                .shown
                .iter()
                .any(|name| text.get_ref().eq_ignore_ascii_case(name.as_str()))
            {
                let what =
                    "says who asks: an answer must not be given to anybody else, so it cannot be ignored";
                self.mistake(text.span().start, format!("`{}` {what}", text.get_ref()));
            }
        }
        let mut ignore: Vec<HeaderName> = self.headers(&form.ignore);
        let is_of_the_caller = |name: &HeaderName| self.shown.iter().any(|shown| shown == name);
        let tracing = TRACING.map(HeaderName::from_static);
        ignore.extend(tracing.iter().filter(|name| !is_of_the_caller(name)).cloned());
        // Many a server sends the request's own back.
        let once: Vec<HeaderName> = self.headers(&form.once);
        let once = once.into_iter().chain(tracing).collect();
        CacheRules {
            ignore,
            once,
            habit: form.habit.map(|habit| Habit {
                headers: self.headers(&habit.headers),
                values: habit.values,
            }),
            shown: self.shown.iter().cloned().collect(),
        }
    }

    /// How long a route's answers may be kept.
    pub(super) fn kept(&mut self, text: &Text, pattern: &Pattern, writes: bool) -> Option<Kept> {
        if pattern.method != Method::GET || writes {
            self.mistake(
                text.span().start,
                "only the answer to a read by GET can be kept: take `cache` out",
            );
        }
        let at_most = match text.get_ref().as_str() {
            "ttl" => None,
            other => Some(duration(other)).flatten().or_else(|| {
                self.mistake(
                    text.span().start,
                    "`cache` is ttl, or how long at most: write it as 2s",
                );
                None
            }),
        };
        Some(Kept { at_most })
    }
}
