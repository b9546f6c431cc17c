//! A time as consumers read it: RFC 3339, which knows the years 0 to 9999 alone. Other times, which
//! Postgres keeps all the same, are told as none at all: a parser would break on them.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// Its text, where it has one.
pub fn told(at: DateTime<Utc>) -> Option<String> {
    let is_told = (0..=9_999).contains(&at.year());
    is_told.then(|| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The same, for a field.
pub fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    at.and_then(told).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(text: &str) -> Option<String> {
        told(text.parse().unwrap())
    }

    #[test]
    fn a_year_of_more_than_four_digits_is_none() {
        for plain in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(told_of(plain).as_deref(), Some(plain));
        }
        for odd in ["+10000-01-01T00:00:00Z", "-0001-12-31T23:59:59Z"] {
            assert_eq!(told_of(odd), None);
        }
    }
}
