//! The commands: each a page that puts parts together and says what came of it.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed.

/// A line of the result. Whoever has stopped listening (`| head`) is told no more, and nothing else changes.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::commands::said(format_args!($($text)*))
    };
}

mod account;
mod backfill;
mod client;
mod demo;
mod doctor;
mod feed;
mod migrate;
mod sandbox;
mod serving;
mod show_status;
mod trial;

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use crate::cli::Command;
use crate::serve;
use backfill::Asked;

/// Runs a command to its end.
pub async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve(tenants) => ended(serve::run(tenants).await),
        Command::Backfill { config, json } => backfill::run(*config, Asked::BACKFILL, json).await,
        Command::Reconcile { config, json, yes } => backfill::run(*config, Asked::reconcile(yes), json).await,
        Command::Status(options) => show_status::run(options).await,
        Command::Doctor { config, json } => doctor::run(*config, json).await,
        Command::Feed(options) => ended(feed::run(options).await),
        Command::Migrate { config, publication } => ended(migrate::run(*config, publication).await),
        Command::Sandbox(options) => ended(sandbox::run(options).await),
        Command::Demo(options) => ended(demo::run(options).await),
    }
}

fn said(line: Arguments<'_>) {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("usertap: what came of it cannot be written to standard output: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// What a command that failed says, and its exit code.
fn ended<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("usertap: {error}");
            ExitCode::FAILURE
        }
    }
}
