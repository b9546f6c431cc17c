//! Text with `{names}` in it. A brace that is not round a bare name stands for itself, so that
//! JSON can be written as it is.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Template {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_name(rest) {
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Template(pieces)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Nothing if a name has no value.
    pub(super) fn fill(&self, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => out.push_str(&value(name)?),
            }
        }
        Some(out)
    }
}

fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('{')?;
        let inside = text.get(open + 1..)?;
        let end = inside.find(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == '-'));
        match end {
            Some(end) if end > 0 && inside[end..].starts_with('}') => {
                return Some((&text[..open], &inside[..end], &inside[end + 1..]));
            }
            _ => from = open + 1,
        }
    }
}

/// `text` as it stands inside the quotes of a JSON string.
pub(super) fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inside = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inside.unwrap_or_default().to_owned()
}

/// `text` as one segment of a path or one value of a query.
pub(super) fn percent_encoded(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_json_stand_for_themselves() {
        let template = Template::parse(r#"{"urls":["{public}"],"{}":{ }}"#);
        assert_eq!(template.names().collect::<Vec<_>>(), ["public"]);
        let filled = template.fill(&|_| Some("https://x".into()));
        assert_eq!(filled.as_deref(), Some(r#"{"urls":["https://x"],"{}":{ }}"#));
        assert_eq!(template.fill(&|_| None), None);
    }

    #[test]
    fn values_cannot_break_out() {
        assert_eq!(json_escaped("\"a\"\n"), r#"\"a\"\n"#);
        assert_eq!(percent_encoded("a/b?c=d.."), "a%2Fb%3Fc%3Dd..");
    }
}
