//! Why no command can be run, and how the user is told.

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
    /// Tells the user; 0 for help, 2 for a mistake.
    pub fn report(&self) -> ExitCode {
        match self {
            Usage::Line(error) => {
                // Where even that cannot be written, the exit code says it.
                let _ = error.print();
            }
            Usage::Settings(mistakes) => eprintln!("{}", listed(mistakes)),
        }
        ExitCode::from(self.exit_code())
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
    std::iter::once(head).chain(lines).collect()
}
