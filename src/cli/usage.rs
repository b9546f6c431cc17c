//! Why no command can be run, and how the user is told.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Mistake;

/// Wrong usage or settings; also a call for help, which is not wrong.
#[derive(Debug)]
pub enum Usage {
    /// The command line, or `-h` and `--version`.
    Line(clap::Error),
    /// All mistakes in the settings.
    Settings(Vec<Mistake>),
}

impl Usage {
    /// Tells the user; 0 for help, 1 for help that cannot be written, 2 for a mistake.
    pub fn report(&self) -> ExitCode {
        let is_told = match self {
            Usage::Line(error) => error.print().is_ok(),
            Usage::Settings(mistakes) => writeln!(io::stderr(), "{}", listed(mistakes)).is_ok(),
        };
        match self.exit_code() {
            0 if !is_told => ExitCode::FAILURE,
            code => ExitCode::from(code),
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Usage::Line(error) if !error.use_stderr() => 0,
            Usage::Line(_) | Usage::Settings(_) => 2,
        }
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    let head = match mistakes.len() {
        1 => "usertap: one mistake in the settings:".to_owned(),
        number => format!("usertap: {number} mistakes in the settings:"),
    };
    let lines = mistakes.iter().map(|mistake| format!("\n  {mistake}"));
    let is_bare = mistakes.iter().all(Mistake::is_missing);
    let start = is_bare.then(|| START.to_owned());
    std::iter::once(head).chain(lines).chain(start).collect()
}

/// For whoever begins.
const START: &str = "\nNothing set up yet? `usertap demo` needs no settings, and the page Connect of its console checks a key and \
    shows the lines to set.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_set_nothing_is_told_where_to_begin() {
        let missing = Mistake::new("DATABASE_URL", None, "is missing: set it");
        let wrong = Mistake::new("LISTEN", None, "is no address");
        assert!(listed(std::slice::from_ref(&missing)).contains("usertap demo"));
        assert!(!listed(&[missing, wrong]).contains("usertap demo"));
    }
}
