//! What can go wrong, each with the remedy in its text. No password and no statement is ever in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A place that was looked at for Postgres, and why it was not to be had there.
#[derive(Debug, Clone)]
pub struct Step {
    pub place: String,
    pub why: String,
}

impl Step {
    pub(super) fn new(place: impl Into<String>, why: impl fmt::Display) -> Step {
        Step {
            place: place.into(),
            why: why.to_string(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no Postgres {} was found, and none could be fetched:{}\n\
         Install it (Debian, Ubuntu: `apt-get install postgresql`; macOS: `brew install postgresql@17`), \
         set USERTAP_PG_BIN to the folder of its programs, or set DATABASE_URL to a server that runs elsewhere.",
        wanted.map_or("13 or newer".into(), |major| format!("{major} (the version of the data that are there)")),
        listed(steps)
    )]
    NoPrograms { wanted: Option<u32>, steps: Vec<Step> },

    #[error("cannot {doing} {}: {source}. Check its permissions and the space on that disk, or set another data folder", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error(
        "Postgres refuses to run as root, and there is no account `postgres` or `nobody` to run it as. \
         Create one (`useradd --system postgres`), run usertap as an ordinary user, or set DATABASE_URL"
    )]
    NoAccount,

    #[error(
        "Postgres makes no data for an account that has no name, and user id {uid} has none here. \
         Give it one (a line in /etc/passwd: `useradd --uid {uid} usertap`; in a container in the image), run usertap \
         as an account that has one, or set DATABASE_URL to a server that runs elsewhere"
    )]
    Unnamed { uid: u32 },

    #[error("{account}, as whom Postgres runs, cannot use {}: make it and every folder above it passable (`chmod o+x`), or set another data folder", path.display())]
    OutOfReach { account: String, path: PathBuf },

    #[error(
        "{} or what is in it belongs to {owner}, and Postgres is to run as {account}, whose alone both must be. \
         Where no server runs there, give them to {account} (`chown -R {account} {}`), or set another data folder",
        folder.display(), folder.display()
    )]
    OfAnother {
        folder: PathBuf,
        owner: String,
        account: String,
    },

    #[error(
        "the password of the embedded Postgres is gone: {} is empty or missing, as a power cut may leave it, and its data \
         are there. Give it another one: as the account that has the data, and with a word of your own for NEW, run \
         `echo \"ALTER ROLE {role} PASSWORD 'NEW'\" | '{postgres}' --single -D '{data}' postgres && printf %s NEW >'{path}'`, \
         then start again",
        path.display(), role = super::ROLE, postgres = postgres.display(), data = data.display(), path = path.display()
    )]
    NoPassword {
        path: PathBuf,
        data: PathBuf,
        postgres: PathBuf,
    },

    #[error("`{program}` failed: {output}")]
    Program { program: String, output: String },

    #[error("Postgres in {} did not come up; the end of its log ({}):\n{log}", folder.display(), folder.join(super::folder::LOG).display())]
    NotUp { folder: PathBuf, log: String },

    #[error("gave up after {seconds} s waiting for {what} in {}. If no usertap is at work there, end the `postgres` of that folder and start again", folder.display())]
    Timeout {
        what: &'static str,
        folder: PathBuf,
        seconds: u64,
    },
}

impl EmbeddedError {
    /// For `map_err`: what was being done to which file.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
        let path = path.to_path_buf();
        move |source| EmbeddedError::File { doing, path, source }
    }
}

fn listed(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|step| format!("\n  {}: {}", step.place, step.why))
        .collect()
}
