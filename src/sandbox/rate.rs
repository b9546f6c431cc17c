//! So many requests in any stretch of the given length, counted per project.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Instant;
use crate::config::Rate;

/// A sliding window over the requests that were let through.
#[derive(Debug)]
pub struct Window {
    rate: Rate,
    seen: HashMap<String, VecDeque<Instant>>,
}

impl Window {
    pub fn new(rate: Rate) -> Window {
        Window {
            rate,
            seen: HashMap::new(),
        }
    }

    /// # Errors
    /// How long until there is room again.
    pub fn admit(&mut self, project: &str, now: Instant) -> Result<(), Duration> {
        let seen = self.seen.entry(project.to_owned()).or_default();
        while seen
            .front()
            .is_some_and(|first| now.duration_since(*first) >= self.rate.per)
        {
            seen.pop_front();
        }
        if seen.len() < self.rate.requests as usize {
            seen.push_back(now);
            return Ok(());
        }
        let since_first = seen
            .front()
            .map_or(Duration::ZERO, |first| now.duration_since(*first));
        Err(self.rate.per.saturating_sub(since_first))
    }
}

/// For `Retry-After`: never less than what is left, never zero.
pub fn whole_seconds(left: Duration) -> u64 {
    (left.as_secs() + u64::from(left.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_projects_do_not_share_it() {
        let mut window = Window::new(Rate {
            requests: 2,
            per: Duration::from_secs(10),
        });
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(window.admit("a", at(0)), Ok(()));
        assert_eq!(window.admit("a", at(6)), Ok(()));
        assert_eq!(window.admit("a", at(7)), Err(Duration::from_secs(3)));
        assert_eq!(window.admit("b", at(7)), Ok(()));
        assert_eq!(window.admit("a", at(10)), Ok(()));
        assert_eq!(window.admit("a", at(11)), Err(Duration::from_secs(5)));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 1);
    }
}
