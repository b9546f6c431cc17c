//! Times of the users' table. Postgres keeps more of them than any calendar here knows: `infinity`, and the
//! last of its years. Such a one is read as the end of the calendar, and told to nobody (see
//! [`crate::user::time`]): one row must not keep all others from being read.

use chrono::{DateTime, Utc};
use diesel::data_types::PgTimestamp;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Nullable, Timestamptz};

/// From where Postgres counts, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// A column that holds a time, or nothing.
#[derive(Debug, FromSqlRow)]
pub struct Time(Option<DateTime<Utc>>);

impl FromSql<Nullable<Timestamptz>, Pg> for Time {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Time> {
        let PgTimestamp(micros) = FromSql::<Timestamptz, Pg>::from_sql(bytes)?;
        Ok(Time(Some(time(micros))))
    }

    fn from_nullable_sql(bytes: Option<PgValue<'_>>) -> deserialize::Result<Time> {
        match bytes {
            Some(bytes) => Time::from_sql(bytes),
            None => Ok(Time(None)),
        }
    }
}

impl From<Time> for Option<DateTime<Utc>> {
    fn from(time: Time) -> Self {
        time.0
    }
}

fn time(micros: i64) -> DateTime<Utc> {
    let known = DateTime::from_timestamp_micros(micros.saturating_add(EPOCH));
    known.unwrap_or(match micros < 0 {
        true => DateTime::<Utc>::MIN_UTC,
        false => DateTime::<Utc>::MAX_UTC,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_postgres_holds_is_a_time() {
        assert_eq!(time(0).to_rfc3339(), "2000-01-01T00:00:00+00:00");
        assert_eq!(time(-EPOCH).timestamp_micros(), 0);
        for (micros, end) in [
            (i64::MAX, DateTime::<Utc>::MAX_UTC),
            (i64::MIN, DateTime::<Utc>::MIN_UTC),
        ] {
            assert_eq!(time(micros), end);
            assert_eq!(crate::user::time::told(time(micros)), None);
        }
    }
}
