//! Kept answers as an app meets them: whose they are, what ends them, and what never becomes one.

mod anyone;
mod budget;
mod ended;
mod mangled;
mod outage;
mod shared;
mod strangers;
mod wishes;

use crate::support::http::Reply;
use crate::support::stack::{Setup, Stack};
use usertap::sandbox::Options;

/// A stack whose answers are kept longer than any test lasts.
async fn keeping() -> Stack {
    with(&[]).await
}

async fn with(more: &[(&'static str, &'static str)]) -> Stack {
    let settings = [("USERTAP_CACHE_TTL", "10m")]
        .iter()
        .chain(more)
        .copied()
        .collect();
    Stack::with(Setup {
        settings,
        sandbox: Options {
            projects: 2,
            ..Options::default()
        },
        ..Setup::default()
    })
    .await
}

trait Told {
    /// What `x-usertap-cache` says.
    fn cached(&self) -> &str;
}

impl Told for Reply {
    fn cached(&self) -> &str {
        self.header("x-usertap-cache").unwrap_or_default()
    }
}
