//! The note in `DATA_DIR` of where this process stands in the database's history.
//!
//! Written when a history begins here and when the process ends. What must never be: a note that says
//! it is the last while its process goes on committing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::Note;
use crate::record::Shared;

const NAME: &str = "history";

/// What an earlier process left; one that cannot be read says nothing.
pub(in crate::record::writer) fn read(folder: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
}

fn write(folder: &Path, note: &Note) -> io::Result<()> {
    let (named, made) = (folder.join(NAME), folder.join("history.new"));
    let mut file = File::create(&made)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.sync_all()?;
    fs::rename(made, named)?;
    File::open(folder)?.sync_all()
}

impl Shared {
    /// Where there is a folder of this process's own.
    pub(in crate::record::writer) async fn write_note(&self, is_last: bool) {
        let folder = self.keeper.as_ref().and_then(|keeper| keeper.folder());
        let (Some(folder), Some(note)) = (folder, self.past.note_due(self.head.sent(), is_last)) else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || write(&folder, &note)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "DATA_DIR takes no note of the history: after a failover at a stop a reconcile may be owed unsaid");
        }
    }
}
