//! Ends a server with its last user, however that ends. The kernel counts the users.
//!
//! In the server's folder is a named pipe, `users`. Every user, a process, holds its writing end open;
//! a detached shell, the watchdog, holds its reading end, is the server's parent, and reads. It reads
//! "end of file" exactly when the last writing end is closed: by a drop, an exit, or `kill -9`, for the
//! kernel closes them all. Then it stops the server, and removes the folder of an ephemeral one.
//!
//! - **A reading end is open ⟺ a watchdog is at work.** So opening the pipe for writing tells.
//! - **Joining while it closes.** A user writes a line and *then* looks for the file `closing`; the watchdog
//!   makes that file and *then* reads once more. Whichever comes first, the user sees `closing` and
//!   waits, or the watchdog sees the line and stays.
//! - **A killed starter.** The watchdog runs before the server and starts it, so there is no moment at
//!   which a server runs unwatched.
//! - **A killed watchdog.** The server goes on. The next user finds no reader, and gives the same pipe a new
//!   watchdog for the running server; the old users still hold their ends of it.
//! - **A server that died.** Its watchdog ends with it; the next user finds no reader and starts both anew.
//! - **A stop that tells every process of a service.** The watchdog outlives SIGTERM. The server, which then only waits
//!   for its connections to end, is told to be fast about it once the last user has left.
//!
//! Only a holder of the folder's lock joins or starts a watchdog. The ends are close-on-exec, so neither the
//! server nor any other child counts as a user. The shell has a process group of its own: Ctrl-C in
//! the terminal does not reach the server before its users are done.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::account::Account;
use super::entrusted;
use super::error::EmbeddedError;
use super::folder::Folder;
use super::run;
use super::server::Life;

const SCRIPT: &str = include_str!("watchdog.sh");
/// For a server on its way out; the script turns to an immediate stop after about 30 s.
const CLOSED: Duration = Duration::from_secs(60);
/// For a watchdog to notice that nobody is left; with other users it never does.
const NOTICED: Duration = Duration::from_secs(2);
/// For a server that ends as it should. One that takes longer recovers at its next start.
const ENDED: Duration = Duration::from_secs(20);

/// What a new watchdog is to watch.
pub(super) enum Server {
    /// It starts it, with this command line.
    New(Vec<OsString>),
    /// One that lost its watchdog.
    Orphan(Pid),
}

/// Becomes a user; `None` if no watchdog is at work.
pub(super) fn join(folder: &Folder) -> Result<Option<File>, EmbeddedError> {
    let Some(user) = said_hello(folder).map_err(EmbeddedError::file("open", &users(folder)))? else {
        return Ok(None);
    };
    let stays = || (!closing(folder).exists()).then_some(true);
    let ended = || (!watches(folder)).then_some(false);
    match run::until(CLOSED, || stays().or_else(ended)) {
        Some(true) => Ok(Some(user)),
        Some(false) => Ok(None),
        None => Err(EmbeddedError::Timeout {
            what: "the last server to stop",
            folder: folder.dir().to_path_buf(),
            seconds: CLOSED.as_secs(),
        }),
    }
}

fn said_hello(folder: &Folder) -> io::Result<Option<File>> {
    let Some(mut user) = writing_end(folder)? else {
        return Ok(None);
    };
    match user.write_all(b"user\n") {
        Ok(()) => Ok(Some(user)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a watchdog is at work.
pub(super) fn watches(folder: &Folder) -> bool {
    // Where it cannot be told, yes: a second server would do more harm than a wait.
    !matches!(writing_end(folder), Ok(None))
}

/// Whether there is a watchdog or a user.
pub(super) fn in_use(folder: &Folder) -> bool {
    watches(folder) || has_users(folder)
}

/// Waits for the end of a server whose last user has just left it. Where others use it, not for long.
pub(super) fn ended(folder: &Folder) {
    let has_ended = || (!watches(folder)).then_some(());
    let is_closing = || closing(folder).exists().then_some(());
    if run::until(NOTICED, || is_closing().or_else(has_ended)).is_some() {
        run::until(ENDED, has_ended);
    }
}

fn has_users(folder: &Folder) -> bool {
    let reading_end = entrusted::pipe(&users(folder), File::options().read(true));
    // Without a writer it reads "end of file"; with one, "would block" or its line.
    reading_end.is_ok_and(|mut end| !matches!(end.read(&mut [0]), Ok(0)))
}

/// `None` without a reader.
fn writing_end(folder: &Folder) -> io::Result<Option<File>> {
    match entrusted::pipe(&users(folder), File::options().write(true)) {
        Ok(end) => Ok(Some(end)),
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Starts a watchdog where none is, and becomes its first user.
pub(super) fn start(
    folder: &Folder,
    account: &Account,
    life: Life,
    server: &Server,
) -> Result<File, EmbeddedError> {
    let _ = fs::remove_file(closing(folder));
    make_pipe(folder, account)?;
    let (read, user) = both_ends(folder).map_err(EmbeddedError::file("open", &users(folder)))?;

    let mut shell = account.command("/bin/sh");
    shell.args(["-c", SCRIPT, "usertap-watchdog"]).arg(folder.dir());
    shell.arg(if life == Life::Ephemeral { "remove" } else { "keep" });
    match server {
        Server::New(line) => {
            let log = folder.new_log(account)?;
            let log_too = log
                .try_clone()
                .map_err(EmbeddedError::file("open", &folder.log()))?;
            shell.arg("").args(line).stdout(log).stderr(log_too);
        }
        // It goes on with the log that it has.
        Server::Orphan(pid) => {
            shell
                .arg(pid.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
        }
    }
    shell.stdin(read).process_group(0);
    let mut child = shell
        .spawn()
        .map_err(EmbeddedError::file("run", "/bin/sh".as_ref()))?;
    // Waited for, so that no zombie stays if the server ends before us.
    std::thread::spawn(move || child.wait());
    Ok(user)
}

fn make_pipe(folder: &Folder, account: &Account) -> Result<(), EmbeddedError> {
    let path = users(folder);
    match mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) => entrusted::pipe(&path, File::options().read(true))
            .and_then(|end| account.give(&end, 0o600))
            .map_err(EmbeddedError::file("set owner and mode of", &path)),
        Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(EmbeddedError::file("make a named pipe at", &path)(error.into())),
    }
}

/// The reading end blocks, as the shell needs it, but only once it is open.
fn both_ends(folder: &Folder) -> io::Result<(File, File)> {
    let path = users(folder);
    let read = entrusted::pipe(&path, File::options().read(true))?;
    let write = entrusted::pipe(&path, File::options().write(true))?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((read, write))
}

fn users(folder: &Folder) -> PathBuf {
    folder.dir().join("users")
}

fn closing(folder: &Folder) -> PathBuf {
    folder.dir().join("closing")
}
