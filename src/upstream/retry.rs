//! Whether, and after how long, a request is sent once more.

use std::time::Duration;

use http::{Method, StatusCode};

use super::UpstreamError;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// What an attempt came to, as far as the decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Answered(StatusCode),
    Failed,
}

impl Came {
    pub fn of<T>(result: &Result<T, UpstreamError>, status: impl Fn(&T) -> StatusCode) -> Came {
        result
            .as_ref()
            .map_or(Came::Failed, |answer| Came::Answered(status(answer)))
    }
}

/// Whether it can be sent twice, as far as its method says.
pub(super) fn is_harmless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The wait before the next attempt of a request of usertap's own, nothing if this was the last. A 429 needs no wait of its
/// own beside what the provider said. `jitter` is from 0 to 1.
pub(super) fn after(method: &Method, attempt: u32, came: Came, jitter: f64) -> Option<Duration> {
    let worth = match came {
        Came::Failed => true,
        Came::Answered(status) => status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
    };
    if !worth || !is_harmless(method) {
        return None;
    }
    match came {
        Came::Answered(StatusCode::TOO_MANY_REQUESTS) => Some(Duration::ZERO),
        _ => Some(backoff(attempt).mul_f64(0.5 + jitter / 2.0)),
    }
}

fn backoff(attempt: u32) -> Duration {
    FIRST.saturating_mul(2u32.saturating_pow(attempt)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_are_repeated_and_only_where_it_can_help() {
        let answered = |code| Came::Answered(StatusCode::from_u16(code).unwrap());
        assert_eq!(after(&Method::POST, 0, Came::Failed, 0.0), None);
        for code in [200, 301, 401, 404] {
            assert_eq!(after(&Method::GET, 0, answered(code), 0.0), None);
        }
        assert_eq!(after(&Method::GET, 3, answered(429), 1.0), Some(Duration::ZERO));
        assert!(after(&Method::GET, 0, answered(503), 0.0).is_some());
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        let wait = |attempt, jitter| after(&Method::GET, attempt, Came::Failed, jitter).unwrap();
        assert_eq!(wait(0, 1.0), FIRST);
        assert_eq!(wait(0, 0.0), FIRST / 2);
        assert_eq!(wait(2, 1.0), FIRST * 4);
        assert_eq!(wait(4_000_000_000, 1.0), LONGEST);
    }
}
