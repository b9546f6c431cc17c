//! The row beside what the provider says at this moment, field by field.

use maud::{Markup, html};
use serde_json::json;

use super::{Here, There};
use crate::console::Console;
use crate::console::compare::{self, Line};
use crate::console::guard::Visitor;
use crate::console::page::{proof, segment};
use crate::console::pieces::{Mood, notice, number, pill};
use crate::user::{UserId, json};

pub fn card(console: &Console, visitor: &Visitor, id: &UserId, (here, there): (&Here, &There)) -> Markup {
    let provider = &console.station.config.provider;
    let content = match (there, here) {
        (There::Unknown(why), _) => notice(
            Mood::Bad,
            html! { p { strong { "The provider does not say: " } (why) "." } },
        ),
        (There::Nobody, _) => html! { p { "The provider says that there is no such user." } },
        (There::User(_), Here::Unknown(_)) => html! {
            p { "The provider has this user. Whether the row says the same is not known while the database does not answer." }
        },
        (There::User(theirs), Here::Row(row)) => {
            let lines = compare::lines(&json::exact(&row.raw_json).unwrap_or_default(), theirs);
            let differing = lines.iter().filter(|line| is_drift(console, line)).count();
            compared(console, (visitor, id), &lines, &verdict(differing), differing > 0)
        }
        (There::User(theirs), Here::Nothing | Here::Removed) => {
            let lines = compare::lines(&json!({}), theirs);
            compared(
                console,
                (visitor, id),
                &lines,
                &pill(Mood::Warn, "There is no row"),
                true,
            )
        }
    };
    html! {
        section.card #beside data-live aria-labelledby="beside-title" {
            header { h2 #beside-title { "Beside what " (provider.title()) " says now" } }
            (content)
        }
    }
}

/// It differs, and not because it moves by itself.
fn is_drift(console: &Console, line: &Line) -> bool {
    line.differs() && !console.station.config.provider.is_volatile(&line.field)
}

fn verdict(differing: usize) -> Markup {
    match differing {
        0 => pill(Mood::Good, "The same in every field"),
        1 => pill(Mood::Warn, "1 field differs"),
        more => pill(Mood::Warn, &format!("{} fields differ", number(more))),
    }
}

fn compared(
    console: &Console,
    (visitor, id): (&Visitor, &UserId),
    lines: &[Line],
    verdict: &Markup,
    can_record: bool,
) -> Markup {
    let (first, rest): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| is_drift(console, line));
    html! {
        div.verdict {
            (verdict)
            @if can_record {
                form method="post" action={ "/users/" (segment(id.as_str())) "/read" } {
                    (proof(visitor))
                    button type="submit" { "Record what the provider says" }
                }
            }
        }
        table.compare {
            caption.unseen { "The user's fields in the database and at the provider" }
            thead { tr { th scope="col" { "Field" } th scope="col" { "In the database" } th scope="col" { "At the provider" } } }
            tbody {
                @for line in first.into_iter().chain(rest) {
                    tr.differs[is_drift(console, line)] {
                        th scope="row" {
                            code { (line.field) }
                            @if line.differs() {
                                " " @if is_drift(console, line) { (pill(Mood::Warn, "differs")) } @else { (pill(Mood::Plain, "moves by itself")) }
                            }
                        }
                        td data-label="In the database" { (value(line.ours.as_deref())) }
                        td data-label="At the provider" { (value(line.theirs.as_deref())) }
                    }
                }
            }
        }
    }
}

fn value(text: Option<&str>) -> Markup {
    html! {
        @match text {
            None => { span.none { "not there" } }
            Some("null") => { span.none { "null" } }
            Some(text) => { span.value { (text) } }
        }
    }
}
