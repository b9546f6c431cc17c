//! The provider's clock, as its answers show it. Ours may be wrong by any amount; what the provider says
//! has changed bears the time of its own, and so does what it says of a time to come.

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use http::header::DATE;

/// What the clocks showed when an answer came.
#[derive(Debug)]
pub struct Clocks {
    ours: DateTime<Utc>,
    /// In whole seconds.
    pub provider: Option<DateTime<Utc>>,
}

impl Clocks {
    pub fn of(headers: &HeaderMap, ours: DateTime<Utc>) -> Clocks {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date.trim()).ok());
        Clocks {
            ours,
            provider: date.map(|date| date.with_timezone(&Utc)),
        }
    }

    /// The provider's, ours where its answer does not show it.
    pub fn now(&self) -> DateTime<Utc> {
        self.provider.unwrap_or(self.ours)
    }

    /// How much later ours is; less than nothing where it is behind.
    pub fn ahead(&self) -> TimeDelta {
        self.ours - self.now()
    }
}
