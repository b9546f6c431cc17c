//! Structured logs, to stderr: stdout belongs to what commands print.
//!
//! What must never be logged: a body, an e-mail address, a token, a key. Other crates stay at
//! `warn` for that reason unless `LOG` names them. Nor may anybody who reaches a port fill a disk with them.

mod defects;
mod strangers;

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Log;

pub use defects::defects;
pub use strangers::Strangers;

/// Starts logging for the whole process, panics included; a second call changes nothing.
pub fn init(log: &Log) {
    defects::watch();
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = match (log.json, std::io::stderr().is_terminal()) {
        (true, _) => layer.json().flatten_event(true).boxed(),
        (false, true) => layer.boxed(),
        (false, false) => layer.with_ansi(false).boxed(),
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(log.levels.clone()));
    // Only a second call fails.
    let _ = registry.try_init();
}
