//! Why the journal takes nothing, and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;

use super::LIMIT;

/// Why the journal takes nothing.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// Its bound is reached.
    #[error("the journal is full ({} MiB): bring the database back; until then answers are not recorded", LIMIT >> 20)]
    Full,
    #[error("somebody removed the journal's files: leave DATA_DIR alone, and run `usertap reconcile`")]
    Robbed,
    #[error("another usertap uses this DATA_DIR: give each process its own")]
    Locked,
    #[error(
        "the journal in DATA_DIR holds observations of another project or provider: give this one its own DATA_DIR, \
         or serve the other one until its journal is empty"
    )]
    Foreign,
    #[error(
        "the journal in DATA_DIR cannot be read ({0}): mend the folder, and give all in it to usertap's account"
    )]
    Unread(String),
    #[error("the journal in DATA_DIR cannot be written ({0}): make room or mend the folder")]
    Unwritten(String),
}

impl JournalFault {
    pub fn unread(path: &Path, error: &io::Error) -> JournalFault {
        JournalFault::Unread(told(path, error))
    }

    pub fn unwritten(path: &Path, error: &io::Error) -> JournalFault {
        JournalFault::Unwritten(told(path, error))
    }

    /// What is doing it has failed itself.
    pub fn broken(error: impl fmt::Display) -> JournalFault {
        JournalFault::Unwritten(error.to_string())
    }

    /// The folder is nobody else's and may be mended: it is tried again.
    pub fn may_pass(&self) -> bool {
        matches!(self, JournalFault::Unread(_) | JournalFault::Unwritten(_))
    }
}

/// The error's kind alone, as its message may name a path; and the file as it stands in `DATA_DIR`.
fn told(path: &Path, error: &io::Error) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let from = parts.iter().rposition(|part| part == "journal").unwrap_or(0);
    let inside = parts.get(from..).unwrap_or_default();
    format!("{}: {}", inside.join("/"), error.kind())
}
