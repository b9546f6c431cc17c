//! What a station has in `DATA_DIR`: its journal, and a note that it has served.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::config::tenants::TENANTS;
use crate::record::{JournalPlace, is_left};

pub(super) fn journal_place(config: &Config) -> JournalPlace {
    let (provider, identity) = (&config.tenant.provider, &config.tenant.identity);
    let mut tenant = Sha256::new();
    for part in std::iter::once(provider).chain(identity.iter().flat_map(|(name, value)| [name, value])) {
        tenant.update(part.len().to_le_bytes());
        tenant.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&tenant.finalize()[..16]);
    JournalPlace {
        data_dir: config.journal_dir.clone(),
        tenant: short,
        patience: config.sync_timeout,
    }
}

/// In `DATA_DIR` once a `serve` has reached its database: from then on it may start without it.
const SERVED: &str = "served";

pub(super) fn has_served(data_dir: &Path) -> bool {
    data_dir.join(SERVED).exists()
}

/// Notes that this `DATA_DIR` has served.
pub fn note_served(data_dir: &Path) {
    let noted = std::fs::create_dir_all(data_dir).and_then(|()| std::fs::write(data_dir.join(SERVED), []));
    if let Err(error) = noted {
        tracing::warn!(folder = %data_dir.display(), %error, "DATA_DIR cannot be written: a start needs the database");
    }
}

/// Journals in a tenant's `DATA_DIR` that this process does not take over: of a tenant that has another name now
/// or is none any more, or of settings with no tenants, or with some.
pub fn left_behind(config: &Config) -> Vec<PathBuf> {
    let tenants = std::fs::read_dir(config.data_dir.join(TENANTS));
    let tenants = tenants.into_iter().flatten();
    let tenants = tenants.filter_map(|tenant| Some(tenant.ok()?.path()));
    let is_taken = |folder: &PathBuf| *folder == config.journal_dir || config.beside.contains(folder);
    std::iter::once(config.data_dir.clone())
        .chain(tenants)
        .filter(|folder| !is_taken(folder) && is_left(folder))
        .collect()
}

/// Whether this folder can be made and written. What is made for it goes again.
///
/// # Errors
/// As the file system gives them.
pub fn try_folder(data_dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = data_dir
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    let file = data_dir.join(format!(".doctor-{}", std::process::id()));
    let written = std::fs::create_dir_all(data_dir).and_then(|()| std::fs::write(&file, b"ok"));
    // It may not be there, and somebody else may have begun to use a folder meanwhile.
    let _ = std::fs::remove_file(&file);
    for folder in missing {
        let _ = std::fs::remove_dir(folder);
    }
    written
}
