//! The two spellings of the metrics: OpenMetrics for whoever asks for it, as Prometheus does, and
//! Prometheus' older text for everybody else.
//!
//! What must never be: a sample in one that the other lacks, or has under another name.

use std::collections::BTreeSet;

const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is written as OpenMetrics, as whoever accepts this (the header's value) reads it: the content type and the
/// text.
pub fn spelt(text: String, accepted: &str) -> (&'static str, String) {
    match accepted.to_ascii_lowercase().contains(OPEN_METRICS) {
        true => (OPEN_METRICS_TYPE, text),
        false => (PLAIN_TYPE, plain(&text)),
    }
}

/// Version 0.0.4 of the text format: there a counter's family is called what its samples are called, and a text has no
/// end of its own.
fn plain(text: &str) -> String {
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: BTreeSet<&str> = typed.filter_map(|typed| typed.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len() + text.len() / 16);
    for line in text.lines().filter(|line| *line != "# EOF") {
        plain.push_str(line_of_family(line, &counters).as_deref().unwrap_or(line));
        plain.push('\n');
    }
    plain
}

/// The line, where it is of a counter's family.
fn line_of_family(line: &str, counters: &BTreeSet<&str>) -> Option<String> {
    let mut words = line.splitn(4, ' ');
    let (mark, says, name, rest) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_of_family = mark == "#" && matches!(says, "HELP" | "TYPE") && counters.contains(name);
    is_of_family.then(|| format!("# {says} {name}_total {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP told Of # TYPE.\n# TYPE told counter\ntold_total{to=\"a b\"} 1\n\
                        # HELP now Now.\n# TYPE now gauge\nnow 1.5\n# EOF\n";

    #[test]
    fn whoever_asks_for_open_metrics_gets_it_and_everybody_else_the_older_text() {
        let accepted = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.4";
        assert_eq!(
            spelt(TEXT.to_owned(), accepted),
            (OPEN_METRICS_TYPE, TEXT.to_owned())
        );
        let expected = "# HELP told_total Of # TYPE.\n# TYPE told_total counter\ntold_total{to=\"a b\"} 1\n\
                        # HELP now Now.\n# TYPE now gauge\nnow 1.5\n";
        for accepted in ["", "*/*", "text/plain"] {
            assert_eq!(
                spelt(TEXT.to_owned(), accepted),
                (PLAIN_TYPE, expected.to_owned())
            );
        }
    }
}
