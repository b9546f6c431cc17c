//! The small pieces that pages are made of.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::clock;
use crate::db::DbError;

/// How something stands, said in a colour and, always, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    Plain,
    Warn,
    Bad,
}

impl Mood {
    pub fn class(self) -> &'static str {
        match self {
            Mood::Good => "good",
            Mood::Plain => "plain",
            Mood::Warn => "warn",
            Mood::Bad => "bad",
        }
    }
}

pub fn pill(mood: Mood, text: &str) -> Markup {
    html! { span class={ "pill " (mood.class()) } { (text) } }
}

/// A message at the top of a page.
pub fn notice(mood: Mood, text: Markup) -> Markup {
    html! { div class={ "notice " (mood.class()) } role=[(mood == Mood::Bad).then_some("alert")] { (text) } }
}

/// A way to where the provider shows it to people.
pub fn in_the_dashboard(url: &str) -> Markup {
    html! {
        a.button.quiet href=(url) rel="noreferrer" target="_blank" { "In the dashboard" span.unseen { " (opens in a new tab)" } }
    }
}

/// The database did not answer: what a page says in the place of its content.
pub fn away(error: &DbError) -> Markup {
    let body = html! {
        p { strong { "The database does not give this: " } (error) "." }
        p { "Apps are answered on; what their answers tell is kept in the journal until the database is back. \
             Check " code { "DATABASE_URL" } " and that the server runs." }
    };
    notice(Mood::Bad, body)
}

/// `12 s ago`, with the exact time for whoever wants it.
pub fn ago(at: DateTime<Utc>) -> Markup {
    let exact = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! { time datetime=(exact) title=(exact) { (since(at, clock::wall())) } }
}

/// The same, or a dash.
pub fn ago_or_dash(at: Option<DateTime<Utc>>) -> Markup {
    html! { @match at { Some(at) => (ago(at)), None => (dash()) } }
}

pub fn dash() -> Markup {
    html! { span.none aria-label="none" { "–" } }
}

/// What only the database knows, while it does not answer. Never a dash: that says that there is none.
pub fn unknown() -> Markup {
    html! { span.none { "not known" } }
}

pub fn text_or_dash(text: Option<&str>) -> Markup {
    html! { @match text.filter(|text| !text.is_empty()) { Some(text) => (text), None => (dash()) } }
}

fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    match seconds {
        ..=-5 => format!("in {}", long(-seconds)),
        -4..=1 => "just now".into(),
        2..604_800 => format!("{} ago", long(seconds)),
        _ => at.format("%-d %b %Y").to_string(),
    }
}

/// `12 s`, `5 min`, `3 h`, `2 d`.
pub fn long(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// With thin spaces between the thousands.
pub fn number(number: impl TryInto<i64>) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

pub fn bytes(bytes: u64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A sentence in which what is to be typed stands between backticks.
pub fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Lines to copy; the script puts a button beside them.
pub fn lines(title: &str, text: &str) -> Markup {
    html! {
        figure.lines {
            figcaption { (title) }
            pre tabindex="0" role="region" aria-label=(title) { code { (text.trim_end()) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_stands_apart() {
        let shown = prose("run `usertap <x>`, then").into_string();
        assert_eq!(shown, "run <code>usertap &lt;x&gt;</code>, then");
        assert_eq!(prose("plain").into_string(), "plain");
    }

    #[test]
    fn times_and_numbers_are_for_people() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let at = |seconds: i64| now - chrono::TimeDelta::seconds(seconds);
        for (ago, text) in [
            (0, "just now"),
            (59, "59 s ago"),
            (600, "10 min ago"),
            (10_000, "2 h ago"),
            (400_000, "4 d ago"),
            (-30, "in 30 s"),
            (10_000_000, "22 Jul 2023"),
        ] {
            assert_eq!(since(at(ago), now), text);
        }
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            (number(-12), bytes(5 << 20), percent(0.256)),
            ("-12".into(), "5.0 MiB".into(), "26 %".into())
        );
    }
}
