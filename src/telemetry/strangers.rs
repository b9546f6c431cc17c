//! Lines that whoever reaches a port can cause: some of each kind in a minute, then one that says how many more there
//! were.
//!
//! What must never be: a log that grows as fast as a stranger asks; a kind that came and does not stand in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::tasks::Tasks;

/// Of a kind: enough to see what it is, and that it goes on.
const LINES: u64 = 10;
const WHILE: Duration = Duration::from_secs(60);

/// What was caused lately, by kind; there are as many as the code has words for.
#[derive(Debug, Clone, Default)]
pub struct Strangers {
    seen: Arc<Mutex<HashMap<&'static str, u64>>>,
    tasks: Tasks,
}

impl Strangers {
    pub fn new(tasks: Tasks) -> Strangers {
        Strangers {
            seen: Arc::default(),
            tasks,
        }
    }

    /// Whether one more of this kind is written. All are counted.
    pub fn may_write(&self, kind: &'static str) -> bool {
        let seen = {
            let mut seen = self.seen();
            let of_kind = seen.entry(kind).or_default();
            *of_kind += 1;
            *of_kind
        };
        if seen == 1 {
            self.tasks.spawn(self.clone().told(kind));
        }
        seen <= LINES
    }

    /// A minute begins with its first line. At a stop it is over.
    async fn told(self, kind: &'static str) {
        tokio::select! {
            () = tokio::time::sleep(WHILE) => {}
            () = self.tasks.stopping() => {}
        }
        let seen = self.seen().remove(kind).unwrap_or_default();
        if seen > LINES {
            let more = seen - LINES;
            tracing::info!(
                kind,
                more,
                "that many more came within a minute, of whoever reaches the port, and have no line each"
            );
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<&'static str, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_kind_has_some_lines_a_minute() {
        let strangers = Strangers::default();
        let written = |kind| (0..1_000).filter(|_| strangers.may_write(kind)).count() as u64;
        assert_eq!(
            (written("one"), written("one"), written("two")),
            (LINES, 0, LINES)
        );
        tokio::time::sleep(WHILE * 2).await;
        assert!(
            strangers.seen().is_empty(),
            "nothing is kept of a minute that is over"
        );
        assert_eq!(written("one"), LINES);
        strangers.tasks.stop();
        assert!(
            strangers.tasks.ended(WHILE / 2).await,
            "no stop waits for a minute's end"
        );
    }
}
