//! A user's JSON, read without losing any of it.
//!
//! `serde_json` rounds numbers to doubles and so merges different ones, refuses those that are larger,
//! refuses half a surrogate pair and deep nesting; all of it is legal JSON that a provider can send
//! and only the database may judge. So numbers are compared in a decimal form that is equal exactly
//! for equal numbers (`1.0`, `1` and `1e0` are one), as marked strings; and what cannot be parsed is a
//! marked string of its text, a key too, so that it hides nothing of what stands beside it. A mark begins with U+0000,
//! which no string in a database has.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// In JSON's own spelling.
const NUMBER: &str = "\\u0000number:";
const NUMBER_READ: &str = "\0number:";
const UNPARSED: &str = "\0unparsed:";

/// What some programs write before their JSON, of which it is no part (RFC 8259, 8.1).
pub const ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// So many zeros at most are written out.
const ZEROS: usize = 40;
/// What lies deeper is one text where something in it cannot be parsed: nothing that a provider's file names stands
/// there.
const LEVELS: usize = 16;

/// The value; what cannot be parsed has its text in its place.
pub fn read(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .ok()
        .or_else(|| piecewise(text, LEVELS))
}

/// The same of bytes.
pub fn read_bytes(json: &[u8]) -> Option<Value> {
    read(text(json)?)
}

/// What bytes say, without an [`ORDER_MARK`].
pub fn text(json: &[u8]) -> Option<&str> {
    std::str::from_utf8(json.strip_prefix(ORDER_MARK).unwrap_or(json)).ok()
}

/// An object's members as they stand, the last of each key; a key that cannot be parsed is marked.
pub fn members(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    let plain = serde_json::from_str(text).ok();
    plain.or_else(|| serde_json::from_str(text).ok().map(|Members(odd)| odd))
}

/// A key of [`members`] as JSON again.
pub fn key(name: &str) -> String {
    unparsed_key(name).map_or_else(|| serde_json::to_string(name).unwrap_or_default(), str::to_owned)
}

/// The same, numbers marked where `serde_json` may round them.
pub fn exact(text: &str) -> Option<Value> {
    read(&mark_numbers(text))
}

/// Whether it holds what was no text, or could not be read as one.
pub fn is_marked(text: &str) -> bool {
    text.contains(UNPARSED) || text.contains(NUMBER_READ)
}

/// A value with marks as JSON again.
pub fn written(value: &Value) -> String {
    serde_json::to_string(&Written(value)).unwrap_or_default()
}

/// The same, a line for each member.
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(&Written(value)).unwrap_or_default()
}

/// A text as it is, anything else as JSON.
pub fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) if unmarked(text).is_none() => text.to_owned(),
        _ => written(value),
    }
}

struct Written<'v>(&'v Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => match unmarked(text) {
                Some(json) => json.serialize(to),
                None => to.serialize_str(text),
            },
            Value::Array(items) => to.collect_seq(items.iter().map(Written)),
            Value::Object(members) if members.keys().any(|name| unparsed_key(name).is_some()) => {
                odd(members).serialize(to)
            }
            Value::Object(members) => {
                to.collect_map(members.iter().map(|(name, member)| (name, Written(member))))
            }
            plain => plain.serialize(to),
        }
    }
}

/// As it is written where no key but a text can be.
fn odd(members: &serde_json::Map<String, Value>) -> Option<Box<RawValue>> {
    let member = |(name, value): (&String, &Value)| format!("{}:{}", key(name), written(value));
    let members: Vec<String> = members.iter().map(member).collect();
    RawValue::from_string(format!("{{{}}}", members.join(","))).ok()
}

/// What stood in the place of this marked key. What would have been read as a text is somebody's own.
fn unparsed_key(name: &str) -> Option<&str> {
    let json = name.strip_prefix(UNPARSED).filter(|json| json.starts_with('"'))?;
    if serde_json::from_str::<String>(json).is_ok() {
        return None;
    }
    serde_json::from_str::<&RawValue>(json).ok().map(RawValue::get)
}

/// What stood in the place of this marked string.
fn unmarked(text: &str) -> Option<Box<RawValue>> {
    let json = match text.strip_prefix(NUMBER_READ) {
        Some(number) => spelled(number),
        None => text.strip_prefix(UNPARSED)?.to_owned(),
    };
    RawValue::from_string(json).ok()
}

/// A number as people write it.
fn spelled(number: &str) -> String {
    let (sign, decimal) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let parts = decimal.split_once('e');
    let Some((digits, power)) = parts.and_then(|(digits, power)| Some((digits, power.parse::<i64>().ok()?)))
    else {
        return number.to_owned();
    };
    let behind_point = usize::try_from(power.unsigned_abs()).unwrap_or(usize::MAX);
    let before_point = digits.len().saturating_sub(behind_point);
    match power {
        _ if behind_point > ZEROS + digits.len() => number.to_owned(),
        0.. => format!("{sign}{digits}{}", "0".repeat(behind_point)),
        _ if before_point == 0 => format!("{sign}0.{digits:0>behind_point$}"),
        _ => {
            let (whole, fraction) = digits.split_at(before_point);
            format!("{sign}{whole}.{fraction}")
        }
    }
}

/// An object or a list, part by part.
fn piecewise(text: &str, levels: usize) -> Option<Value> {
    let levels = levels.checked_sub(1)?;
    if text.trim_ascii_start().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        return Some(items.into_iter().map(|raw| part(raw.get(), levels)).collect());
    }
    let members = members(text)?.into_iter();
    let members = members.map(|(name, raw)| (name, part(raw.get(), levels)));
    Some(Value::Object(members.collect()))
}

fn part(text: &str, levels: usize) -> Value {
    let parsed = serde_json::from_str(text).ok();
    let parsed = parsed.or_else(|| piecewise(text, levels));
    let parsed = parsed.or_else(|| serde_json::from_str(&mark_numbers(text)).ok());
    parsed.unwrap_or_else(|| Value::String(format!("{UNPARSED}{text}")))
}

/// Each key is read by itself.
struct Members<'t>(BTreeMap<String, &'t RawValue>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(from: D) -> Result<Members<'t>, D::Error> {
        from.deserialize_map(Members(BTreeMap::new()))
    }
}

impl<'t> Visitor<'t> for Members<'t> {
    type Value = Members<'t>;

    fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(mut self, mut object: A) -> Result<Members<'t>, A::Error> {
        while let Some((key, raw)) = object.next_entry::<&RawValue, &RawValue>()? {
            let name = serde_json::from_str(key.get());
            let name = name.unwrap_or_else(|_| format!("{UNPARSED}{}", key.get()));
            self.0.insert(name, raw);
        }
        Ok(self)
    }
}

/// `json` (valid JSON) with every number that is no whole one of 64 bits turned into a marked string.
fn mark_numbers(json: &str) -> String {
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
    out.push_str(NUMBER);
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

    #[test]
    fn numbers_inside_strings_are_left_alone() {
        assert_eq!(mark_numbers(r#"{"1.5\"2.5":"3.5"}"#), r#"{"1.5\"2.5":"3.5"}"#);
        assert_eq!(mark_numbers("[1.5]"), r#"["\u0000number:15e-1"]"#);
    }

    #[test]
    fn numbers_are_equal_by_value_however_large() {
        let same = |one: &str, other: &str| exact(one).unwrap() == exact(other).unwrap();
        let plain = format!(r#"{{"n":1{}}}"#, "0".repeat(400));
        assert!(same(r#"{"n":1e400}"#, &plain) && same("[1e2]", "[100]") && same("[0.10]", "[0.1]"));
        assert!(!same("[1e400]", "[1e401]") && !same("[1e2]", "[101]"));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for number in [
            "1.5",
            "-0.5",
            "-0.00012",
            "12345678901234567890.123",
            "1e400",
            "-1e-400",
            "12345678901234567890123",
            "7",
        ] {
            assert_eq!(
                written(&exact(&format!("[{number}]")).unwrap()),
                format!("[{number}]")
            );
        }
        assert_eq!(
            written(&exact("[1.10, 1E+2, -0, 12e30]").unwrap()),
            format!("[1.1,100,0,12{}]", "0".repeat(30))
        );
        let odd = r#"{"a":{"b":"\ud800"},"n":1e400,"s":"\u0000"}"#;
        assert_eq!(written(&exact(odd).unwrap()), odd);
        let odd = r#"{"\u0000unparsed:1":{"\udc00":[0.5]},"a":2}"#;
        assert_eq!(written(&exact(odd).unwrap()), odd);
        let odd = r#"{"\u0000unparsed:\"x\"":0.5,"x":2}"#;
        assert_eq!(written(&exact(odd).unwrap()), odd);
        let odd = exact(r#"{"\u0041":{"\udc00":[0.5]},"b":2}"#).unwrap();
        assert_eq!(pretty(&odd), "{\n  \"A\": {\"\\udc00\":[0.5]},\n  \"b\": 2\n}");
        assert_eq!(pretty(&exact(r#"{"n":0.1}"#).unwrap()), "{\n  \"n\": 0.1\n}");
        let told = exact(r#"["Ada", 1.5, null]"#).unwrap();
        assert_eq!([0, 1, 2].map(|at| shown(&told[at])), ["Ada", "1.5", "null"]);
    }

    #[test]
    fn what_cannot_be_parsed_spares_the_rest() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let odd = r#""\ud800""#;
        let whole = read(&format!(r#"{{"id":"u","odd":[{odd},{{"b":{odd}}}],"n":1.5}}"#)).unwrap();
        assert_eq!((&whole["id"], &whole["n"]), (&"u".into(), &1.5.into()));
        assert_eq!(whole["odd"][0], format!("\0unparsed:{odd}"));
        assert_eq!(whole["odd"][1]["b"], format!("\0unparsed:{odd}"));
        let keyed = read(&format!(
            r#"{{"id":"u",{odd}:1,"in":{{{odd}:{{"b":2}},"n":1.5}}}}"#
        ))
        .unwrap();
        let key = format!("\0unparsed:{odd}");
        assert_eq!((&keyed["id"], &keyed[&key]), (&"u".into(), &1.into()));
        assert_eq!(
            (&keyed["in"][&key]["b"], &keyed["in"]["n"]),
            (&2.into(), &1.5.into())
        );
        let nested = read(&format!(r#"{{"id":"u","odd":{}}}"#, deep(100_000))).unwrap();
        let inner = (1..LEVELS).fold(&nested["odd"], |inner, _| &inner[0]);
        assert_eq!(
            (&nested["id"], &written(&nested)[10..]),
            (&"u".into(), &format!(r#""odd":{}}}"#, deep(100_000))[..])
        );
        assert_eq!(*inner, format!("\0unparsed:{}", deep(100_001 - LEVELS)));
        assert_eq!(read(r#"{"n":1e400}"#).unwrap()["n"], "\0number:1e400");
        assert!(is_marked("Ada \0unparsed:\"\\ud800\"") && is_marked("\0number:1e400"));
        assert!(!is_marked("\0") && !is_marked("number:1"));
        assert_eq!(read("[\"\\ud800\"]").unwrap()[0], "\0unparsed:\"\\ud800\"");
        assert_eq!(read_bytes("\u{feff}{\"a\":1}".as_bytes()).unwrap()["a"], 1);
        for junk in [
            "",
            "<html>",
            "\u{feff}",
            "\u{feff}{}",
            "{\"\\ud800\":1,}",
            "\"\\ud800\"",
            "{\"a\":1",
            "[1",
            "{\"a\":01}",
        ] {
            assert_eq!(read(junk), None, "{junk}");
        }
    }
}
