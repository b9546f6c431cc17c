//! What programs that are run find in their environment: how to reach what they fetch from, and where they may write.
//!
//! What must never be: a key, a password or an address of usertap's or of the app's in it. A package client runs what
//! its user has set up, and hands on what it finds.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// Whole names, written in any case.
const NAMES: [&str; 34] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TMP",
    "TEMP",
    "TZ",
    "LANG",
    "LANGUAGE",
    // How to reach a registry.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NETRC",
    // What files of npm's settings name for the registry's password.
    "NPM_TOKEN",
    "NODE_AUTH_TOKEN",
    // Where the programs have their own parts.
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "NVM_DIR",
    "VOLTA_HOME",
];
/// Beginnings of names.
const FAMILIES: [&str; 5] = ["LC_", "XDG_", "NPM_CONFIG_", "PIP_", "ASDF_"];

/// A program with nothing else in its environment.
#[expect(clippy::disallowed_methods, reason = "these are the system's, not settings")]
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(env::vars_os().filter(|(name, _)| is_needed(name)));
    command
}

fn is_needed(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    NAMES.contains(&name.as_str()) || FAMILIES.iter().any(|family| name.starts_with(family))
}
