//! The binary: reads what is asked for, starts logging, runs it.

use std::process::ExitCode;
use std::time::Duration;

use usertap::{cli, commands, descriptors, telemetry};
#[cfg(debug_assertions)]
use usertap::{config::settings::process_env, failpoint};

/// What is still at work in a thread of its own once a command has ended, as a migration of a start that was
/// told to end, is not waited for longer than this.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = match cli::from_process() {
        Ok(command) => command,
        Err(usage) => return usage.report(),
    };
    #[cfg(debug_assertions)]
    if let Some(wanted) = process_env().get("FAILPOINTS").and_then(|wanted| wanted.to_str()) {
        failpoint::arm(wanted);
    }
    descriptors::take();
    telemetry::init(command.log());
    for warning in command.warnings() {
        tracing::warn!("{warning}");
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(commands::run(command));
            runtime.shutdown_timeout(LEFT_BEHIND);
            code
        }
        Err(error) => {
            eprintln!("usertap: no threads can be started: {error}");
            ExitCode::FAILURE
        }
    }
}
