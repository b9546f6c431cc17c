//! Panics: each is a defect of usertap's own, whatever came from outside.
//!
//! One ends the task that it happens in and nothing else; what that task did stays undone until a restart. So
//! the log says where it was, and the status says that it was. What must never be: a panic's own words in the
//! log. That of a text cut at the wrong place quotes the text.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use std::sync::atomic::{AtomicU64, Ordering};

static SEEN: AtomicU64 = AtomicU64::new(0);

/// Of this process, since its start.
pub fn defects() -> u64 {
    SEEN.load(Ordering::Relaxed)
}

pub(super) fn watch() {
    set_hook(Box::new(|panic| note(panic, &Backtrace::capture())));
}

fn note(panic: &PanicHookInfo<'_>, trace: &Backtrace) {
    SEEN.fetch_add(1, Ordering::Relaxed);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(
        place,
        "a defect of usertap's has ended one of its tasks: please report this line"
    );
    // Asked for with RUST_BACKTRACE.
    if trace.status() == BacktraceStatus::Captured {
        tracing::error!("it came there so:\n{trace}");
    }
}
