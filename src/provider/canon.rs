//! One spelling of a JSON value, so that equal values have equal hashes.
//!
//! Keys are sorted, there is no white space, strings have serde_json's escapes. Whole numbers of
//! 64 bits are printed as such; all others must have been marked ([`crate::user::json`]).

use std::io::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::user::ContentHash;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::json;

    fn canonical(json: &str) -> String {
        let mut out = Vec::new();
        let value: Value = serde_json::from_str(json).unwrap();
        if !write(&value, &mut out) {
            out.clear();
            let value: Value = json::exact(json).unwrap();
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
}
