//! The only reader of the clock. Timers elsewhere go through tokio, so that tests can pause it.

pub use tokio::time::Instant;

use chrono::{DateTime, Utc};

/// Monotonic; for intervals.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall clock, for people to read. Never orders anything: positions do.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn wall() -> DateTime<Utc> {
    Utc::now()
}
