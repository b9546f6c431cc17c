//! The binary: reads what is asked for, starts logging, runs it.

use std::process::ExitCode;

use usertap::cli::{self, Command};
use usertap::telemetry;

fn main() -> ExitCode {
    match cli::from_process() {
        Ok(command) => run(&command),
        Err(usage) => usage.report(),
    }
}

fn run(command: &Command) -> ExitCode {
    telemetry::init(command.log());
    for warning in command.warnings() {
        tracing::warn!("{warning}");
    }
    let name = match command {
        Command::Serve(_) => "serve",
        Command::Backfill { .. } => "backfill",
        Command::Status(_) => "status",
        Command::Doctor { .. } => "doctor",
        Command::Migrate(_) => "migrate",
        Command::Sandbox(_) => "sandbox",
        Command::Demo(_) => "demo",
    };
    eprintln!("usertap {name}: not wired yet");
    ExitCode::FAILURE
}
