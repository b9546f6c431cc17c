//! One spelling of a JSON value, so that equal values have equal hashes.
//!
//! Keys are sorted, there is no white space, strings have serde_json's escapes. Whole numbers of
//! 64 bits are printed as such. `serde_json` would round all other numbers to doubles and so merge
//! different ones; they are rewritten, before parsing, to strings with a mark in front, in a
//! decimal form that is equal exactly for equal numbers (`1.0`, `1` and `1e0` are one).

use std::io::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::user::ContentHash;

/// No string in a database can begin so.
const MARK: &str = "\\u0000number:";

pub(super) fn hash(bytes: &[u8]) -> ContentHash {
    let digest = Sha256::digest(bytes);
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_slice()[..16]);
    ContentHash(first)
}

/// Appends the canonical form. False if it met a number that may have been rounded.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Null => plain(out, b"null"),
        Value::Bool(true) => plain(out, b"true"),
        Value::Bool(false) => plain(out, b"false"),
        Value::Number(number) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{number}");
            !number.is_f64()
        }
        Value::String(text) => string(text, out),
        Value::Array(items) => array(items, out),
        Value::Object(map) => object(map, out),
    }
}

fn plain(out: &mut Vec<u8>, text: &[u8]) -> bool {
    out.extend_from_slice(text);
    true
}

fn string(text: &str, out: &mut Vec<u8>) -> bool {
    let escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().any(escaped) {
        return serde_json::to_writer(out, text).is_ok();
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    true
}

fn array(items: &[Value], out: &mut Vec<u8>) -> bool {
    let mut exact = true;
    out.push(b'[');
    for item in items {
        exact &= write(item, out);
        out.push(b',');
    }
    out.push(b']');
    exact
}

fn object(map: &serde_json::Map<String, Value>, out: &mut Vec<u8>) -> bool {
    out.push(b'{');
    // Some other crate may switch on serde_json's insertion order.
    let exact = if map.keys().is_sorted() {
        members(map.iter(), out)
    } else {
        let mut sorted: Vec<_> = map.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        members(sorted.into_iter(), out)
    };
    out.push(b'}');
    exact
}

fn members<'v>(members: impl Iterator<Item = (&'v String, &'v Value)>, out: &mut Vec<u8>) -> bool {
    let mut exact = true;
    for (key, value) in members {
        string(key, out);
        out.push(b':');
        exact &= write(value, out);
        out.push(b',');
    }
    exact
}

/// `json` (valid JSON) with every number that is not a plain integer of at most 18 digits turned
/// into a marked string.
pub(super) fn mark_numbers(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 64);
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        let length = token_length(here);
        let (token, after) = here.split_at(length);
        push_token(token, &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn token_length(here: &str) -> usize {
    match here.strip_prefix('"') {
        Some(inside) => 1 + string_length(inside.as_bytes()),
        None => here
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(here.len()),
    }
}

/// Up to and with the closing quote.
fn string_length(inside: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in inside.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

fn push_token(token: &str, out: &mut String) {
    if token.starts_with('"') || (token != "-0" && is_whole(token)) {
        return out.push_str(token);
    }
    let number = decimal(token);
    if is_whole(&number) {
        return out.push_str(&number);
    }
    out.push('"');
    out.push_str(MARK);
    out.push_str(&number);
    out.push('"');
}

/// Whether serde_json holds it exactly.
fn is_whole(number: &str) -> bool {
    number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
}

/// Digits and a power of ten, without superfluous zeros; plain where it is a whole number of 64
/// bits.
fn decimal(token: &str) -> String {
    let (sign, token) = token.strip_prefix('-').map_or(("", token), |rest| ("-", rest));
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return "0".to_owned();
    }
    // An exponent beyond 64 bits means zero, which stays a number apart, or was refused before.
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MIN);
    let dropped = digits.len() - kept.len();
    let power = exponent
        .saturating_add(dropped as i64)
        .saturating_sub(fraction.len() as i64);
    plain_digits(sign, kept, power).unwrap_or_else(|| format!("{sign}{kept}e{power}"))
}

fn plain_digits(sign: &str, kept: &str, power: i64) -> Option<String> {
    let zeros = usize::try_from(power).ok().filter(|zeros| *zeros <= 20)?;
    let plain = format!("{sign}{kept}{}", "0".repeat(zeros));
    is_whole(&plain).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut out = Vec::new();
        let value: Value = serde_json::from_str(json).unwrap();
        if !write(&value, &mut out) {
            out.clear();
            let value: Value = serde_json::from_str(&mark_numbers(json)).unwrap();
            assert!(write(&value, &mut out));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn equal_values_have_one_spelling() {
        let same = [
            (r#"{"b":1,"a":[1,2]}"#, r#" { "a" : [1 , 2], "b" : 1 } "#),
            (r#"["\u0041\/"]"#, r#"["A/"]"#),
            ("[1.0, 100, 1e-1]", "[1, 1e2, 0.10]"),
            ("[-0, -0.0, 0e5]", "[0, 0, 0]"),
            (
                "[123456789012345678901234567890]",
                "[1.2345678901234567890123456789e29]",
            ),
            ("[9007199254740993000, 1.0]", "[9007199254740993000, 1]"),
        ];
        for (one, other) in same {
            assert_eq!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn different_numbers_stay_different() {
        let different = [
            ("[9007199254740993.0]", "[9007199254740992.0]"),
            ("[123456789012345678901]", "[123456789012345678902]"),
            ("[0.1]", "[0.10000000000000000001]"),
            ("[1.5]", r#"["1.5"]"#),
            ("[18446744073709551616]", "[18446744073709551617]"),
        ];
        for (one, other) in different {
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn numbers_inside_strings_are_left_alone() {
        assert_eq!(mark_numbers(r#"{"1.5\"2.5":"3.5"}"#), r#"{"1.5\"2.5":"3.5"}"#);
        assert_eq!(mark_numbers("[1.5]"), r#"["\u0000number:15e-1"]"#);
    }
}
