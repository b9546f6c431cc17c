//! Descriptors: each connection and each open file takes one, and a process may have so many.
//!
//! Connections of apps get what the rest leaves, so that whoever is let in can be answered; of requests that come at once
//! over one, by HTTP/2, each counts as a connection. What must never be: nobody answered for want of them without a word.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock::{self, Instant};

/// More connections wait in the kernel: each one here holds a descriptor and some buffers.
const MOST: usize = 10_000;
/// All that macOS gives where no limit is set (its setrlimit(2)).
const OPEN_MAX: u64 = 10_240;
/// Of the process, whatever it serves: what it writes to, signals, and files that are open for a moment.
const OF_PROCESS: usize = 12;
/// Of each tenant: two listeners, the journal, connections to the database.
const OF_TENANT: usize = 18;
/// One of an app, its request's to the provider, and one of the admin side.
const OF_CONNECTION: usize = 3;
/// Fewer connections at once are no more than a trial needs.
const FEW: usize = 64;
/// So long a shortage is worth telling: whoever is to be told may have to wait for it to end.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// When a connection could not be taken, the last time.
static MET: Mutex<Option<(Instant, Lack)>> = Mutex::new(None);

/// Of what there is none left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Process,
    System,
    Memory,
}

/// What is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shortage {
    pub what: String,
    pub remedy: &'static str,
}

/// What to do where this process has as many as it may.
pub const RAISE: &str = "raise the limit on open files (`ulimit -n`, LimitNOFILE= of a systemd unit, --ulimit nofile= of Docker) and \
                     restart usertap";

/// As many as may be had: many systems give a thousand to a process that asks for no more.
pub fn take() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let mut all = [hard, hard.min(OPEN_MAX)].into_iter().filter(|most| *most > soft);
        // Where none is taken, it takes fewer connections.
        let _taken = all.any(|most| setrlimit(Resource::RLIMIT_NOFILE, most, hard).is_ok());
    }
}

/// How many this process may have.
pub fn allowed() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft);
    soft.map_or(usize::MAX, |soft| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// How many connections each side of each tenant takes at once.
pub fn room(tenants: usize) -> usize {
    left(allowed(), tenants).clamp(1, MOST)
}

fn left(allowed: usize, tenants: usize) -> usize {
    let tenants = tenants.max(1);
    allowed.saturating_sub(OF_PROCESS + OF_TENANT * tenants) / OF_CONNECTION / tenants
}

/// Where there are too few for so many tenants.
pub fn too_few(tenants: usize) -> Option<Shortage> {
    lacking(allowed(), tenants)
}

fn lacking(allowed: usize, tenants: usize) -> Option<Shortage> {
    (left(allowed, tenants) < 1).then(|| {
        let needed = OF_PROCESS + (OF_TENANT + OF_CONNECTION) * tenants.max(1);
        Shortage {
            what: format!(
                "this process may have {allowed} files and connections open at once, and needs {needed}: requests \
                 wait or fail"
            ),
            remedy: RAISE,
        }
    })
}

/// Where what is there is little for so many tenants.
pub fn few(tenants: usize) -> Option<&'static str> {
    (room(tenants) < FEW).then_some(RAISE)
}

/// A connection could not be taken. The first time in a while the log says why.
pub fn missed(error: &io::Error) {
    let Some(lack) = lack(error) else {
        tracing::debug!(%error, "a connection ended before it was taken");
        return;
    };
    let now = clock::now();
    let before = met().replace((now, lack));
    if !before.is_some_and(|(at, _)| is_told(at, now)) {
        let Shortage { what, remedy } = lack.told();
        tracing::warn!("{what}; {remedy}");
    }
}

/// Where connections could not be taken lately.
pub fn short() -> Option<Shortage> {
    let (at, lack) = (*met())?;
    is_told(at, clock::now()).then(|| lack.told())
}

fn met() -> MutexGuard<'static, Option<(Instant, Lack)>> {
    MET.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_told(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < TOLD_FOR
}

fn lack(error: &io::Error) -> Option<Lack> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE => Some(Lack::Process),
        Errno::ENFILE => Some(Lack::System),
        Errno::ENOMEM | Errno::ENOBUFS => Some(Lack::Memory),
        _ => None,
    }
}

/// Whether it is this that an opened file or connection failed for.
pub fn is_short(error: &io::Error) -> bool {
    lack(error).is_some()
}

impl Lack {
    fn told(self) -> Shortage {
        let (of, remedy) = match self {
            Lack::Process => (
                format!("this process has the {} open files that it may have", allowed()),
                RAISE,
            ),
            Lack::System => (
                "this machine has as many open files as it may have".to_owned(),
                "find what holds them, or raise fs.file-max",
            ),
            Lack::Memory => (
                "the kernel has no memory for another connection".to_owned(),
                "give this machine or container more memory",
            ),
        };
        Shortage {
            what: format!("new connections wait, or waited lately: {of}"),
            remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_in_can_be_answered() {
        for (allowed, tenants, room) in [
            (1024, 1, 331),
            (40, 1, 3),
            (33, 1, 1),
            (32, 1, 0),
            (1024, 10, 27),
            (0, 0, 0),
        ] {
            assert_eq!(left(allowed, tenants), room, "{allowed}, {tenants}");
        }
        assert!(left(usize::MAX, 3) > MOST);
        assert_eq!(lacking(33, 1), None);
        assert!(lacking(32, 1).unwrap().what.contains("needs 33"));
        assert!(lacking(70, 3).unwrap().what.contains("needs 75"));
    }

    #[test]
    fn only_a_shortage_is_one() {
        let of = |errno: Errno| lack(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(of(Errno::EMFILE), Some(Lack::Process));
        assert_eq!(of(Errno::ENFILE), Some(Lack::System));
        assert_eq!(of(Errno::ECONNABORTED), None);
        assert_eq!(lack(&io::ErrorKind::Other.into()), None);
        let at = clock::now();
        assert!(is_told(at, at) && !is_told(at, at + TOLD_FOR));
    }
}
