//! Places where a test can end the process as `kill -9` would, and waits that it can shorten.
//!
//! `FAILPOINTS=writer.numbered=3,carried-out=500ms` ends it when it comes to the step
//! `writer.numbered` for the third time, and makes the wait `carried-out` half a second;
//! `writer.numbered=stop` makes it stand still there as `kill -STOP` would, and `writer.numbered=panic` has that task
//! panic. In debug builds alone: in a release build nothing of it is there.

use std::time::Duration;

/// Where a process can be ended, in the order in which a write meets them.
pub const STEPS: &[&str] = &[
    "intents.synced",
    "exchange.answered",
    "journal.appending",
    "journal.synced",
    "writer.begun",
    "writer.rows",
    "writer.numbered",
    "writer.committed",
    "writer.landed",
    "exchange.leaving",
    "writer.connected",
    "purge.numbered",
    "refetch.read",
    "newest.recorded",
    "walk.recorded",
    "share.left",
];

#[cfg(debug_assertions)]
mod armed {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};

    #[derive(Default)]
    pub struct Armed {
        steps: HashMap<String, Step>,
        waits: HashMap<String, Duration>,
    }

    /// What is raised when it is come to for the last time of so many.
    struct Step {
        left: AtomicU32,
        raises: Raises,
    }

    #[derive(Clone, Copy)]
    enum Raises {
        Signal(Signal),
        Panic,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    pub fn arm(text: &str) {
        let mut armed = Armed::default();
        for (name, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            match value.strip_suffix("ms") {
                Some(millis) => {
                    let wait = Duration::from_millis(millis.parse().unwrap_or(0));
                    armed.waits.insert(name.to_owned(), wait);
                }
                None => {
                    armed.steps.insert(name.to_owned(), Step::of(value));
                }
            }
        }
        let _already = ARMED.set(armed);
    }

    pub fn reached(step: &str) {
        debug_assert!(super::STEPS.contains(&step), "{step}");
        let armed = ARMED.get().and_then(|armed| armed.steps.get(step));
        if let Some(step) = armed.filter(|step| step.left.fetch_sub(1, Ordering::Relaxed) == 1) {
            match step.raises {
                Raises::Signal(signal) => drop(raise(signal)),
                Raises::Panic => panic!("at a step where a test wants it"),
            }
        }
    }

    impl Step {
        fn of(value: &str) -> Step {
            let (times, raises) = match value {
                "stop" => (1, Raises::Signal(Signal::SIGSTOP)),
                "panic" => (1, Raises::Panic),
                times => (times.parse().unwrap_or(1), Raises::Signal(Signal::SIGKILL)),
            };
            let left = AtomicU32::new(times);
            Step { left, raises }
        }
    }

    pub fn wait(name: &str, usual: Duration) -> Duration {
        let armed = ARMED.get().and_then(|armed| armed.waits.get(name));
        armed.copied().unwrap_or(usual)
    }
}

/// Reads what a test wants of this process.
#[cfg(debug_assertions)]
pub fn arm(text: &str) {
    armed::arm(text);
}

/// The process has come to a step.
#[inline(always)]
pub fn reached(_step: &str) {
    #[cfg(debug_assertions)]
    armed::reached(_step);
}

/// How long to wait: as usual, unless a test has shortened it.
#[inline(always)]
pub fn wait(_name: &str, usual: Duration) -> Duration {
    #[cfg(debug_assertions)]
    let usual = armed::wait(_name, usual);
    usual
}
