//! Published limits.

use super::super::form::{KeyForm, Reader, Text};
use super::super::{Limit, Rate};
use super::duration;

impl Reader<'_> {
    pub(super) fn key_rates(&mut self, form: Option<&KeyForm>) -> Vec<(String, Vec<Limit>)> {
        let limits = form.iter().flat_map(|form| &form.limits);
        limits
            .map(|(begins, limits)| {
                let limits = limits.iter().filter_map(|limit| self.rate(limit));
                (begins.clone(), limits.collect())
            })
            .collect()
    }

    pub(super) fn rate(&mut self, text: &Text) -> Option<Limit> {
        let rate = |text: &str| {
            let rate = text.split_once('/').and_then(|(requests, per)| {
                Some(Rate {
                    requests: requests.parse().ok().filter(|n| *n > 0)?,
                    per: duration(per)?,
                })
            });
            rate.ok_or("a limit is so many requests in a time: write it as 1000/10s, or writes=100/10s")
        };
        let limit = Limit::read(text.get_ref(), rate);
        limit.map_err(|what| self.mistake(text.span().start, what)).ok()
    }
}
