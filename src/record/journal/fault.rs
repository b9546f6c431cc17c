//! Why the journal takes nothing, and what to do about it.

use std::io;

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
    #[error("the journal in DATA_DIR cannot be written ({0}): make room or mend the folder")]
    Io(String),
}

impl From<io::Error> for JournalFault {
    fn from(error: io::Error) -> JournalFault {
        // Its kind alone: a message may name a path.
        JournalFault::Io(error.kind().to_string())
    }
}
