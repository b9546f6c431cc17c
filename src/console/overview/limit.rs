//! The provider's limit: how large it is, how much of it is used, and by whom.

use maud::{Markup, html};

use crate::config::Limit;
use crate::console::Console;
use crate::console::history::History;
use crate::console::pieces::{long, number, percent};
use crate::provider::Use;
use crate::status::Status;

pub fn budget(console: &Console, status: &Status) -> Markup {
    let given = &status.budget.given;
    let shares = [
        ("Apps and this console", given.app),
        ("Apps it has not accepted lately", given.stranger),
        ("Reads that were owed", given.refetch),
        ("Backfill and reconcile", given.backfill),
    ];
    let all = shares.iter().map(|(_, count)| count).sum::<u64>();
    html! {
        section.card #budget data-live aria-labelledby="budget-title" {
            header { h2 #budget-title { "The provider's limit" } }
            p.why {
                @match status.budget.pace {
                    Some(pace) => { "None is published. Usertap's own reads go at " (format!("{pace:.1}")) " a second and adapt." }
                    None => { (limits(&console.station.config.rate)) "; shared by apps, re-reads and walks, in that order of right of way." }
                }
                @if let Some(used) = used(&console.station.config.rate, &console.history) { " " (percent(used)) " of it is used now." }
                @if let Some(learned) = status.budget.learned.filter(|learned| *learned < 1.0) {
                    " Only " (percent(learned)) " of it has proved to be there."
                }
            }
            table.shares {
                caption.unseen { "Requests to the provider since the start, by who asked" }
                tbody {
                    @for (who, count) in shares {
                        tr {
                            th scope="row" { (who) }
                            td.bar { meter min="0" max=(all.max(1)) value=(count) aria-label=(who) { (count) } }
                            td.number { (number(count)) }
                        }
                    }
                }
            }
        }
    }
}

/// `1 000 requests in 10 s, 100 writes in 10 s`.
fn limits(limits: &[Limit]) -> String {
    let text = |limit: &Limit| {
        let what = match limit.of {
            None => "requests",
            Some(Use::Read) => "reads",
            Some(Use::Write) => "writes",
        };
        let per = long(limit.rate.per.as_secs().cast_signed());
        format!("{} {what} in {per}", number(limit.rate.requests))
    };
    limits.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// What part of the tightest limit on all requests is asked for at the moment.
fn used(limits: &[Limit], history: &History) -> Option<f64> {
    let (app, own) = history.budget();
    let now = app.last()? + own.last()?;
    let all = limits.iter().filter(|limit| limit.of.is_none());
    let a_second = all.map(|limit| f64::from(limit.rate.requests) / limit.rate.per.as_secs_f64());
    a_second.reduce(f64::min).map(|a_second| now / a_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_what_it_counts() {
        let limit = |of| Limit {
            rate: crate::config::Rate {
                requests: 1_000,
                per: std::time::Duration::from_secs(10),
            },
            of,
        };
        let text = limits(&[limit(None), limit(Some(Use::Write))]);
        assert_eq!(text, "1\u{202f}000 requests in 10 s, 1\u{202f}000 writes in 10 s");
    }
}
