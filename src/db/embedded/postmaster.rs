//! What `postmaster.pid` says about the server of a data folder, and whether that is still so.
//!
//! Lines of the file (PostgreSQL's `miscadmin.h`): 1 process, 4 port, 8 status, `ready` once it accepts
//! connections. The file outlives a server that is killed, and its process number may be another's by then.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::{entrusted, environment, run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub pid: Pid,
    pub port: u16,
    ready: bool,
}

/// The live server of this data folder, whether or not it is ready yet.
pub(super) fn alive(data: &Path) -> Option<Postmaster> {
    let postmaster = parse(&entrusted::text(&file(data)).ok()?)?;
    (runs(postmaster.pid) && is_of(postmaster.pid, data)).then_some(postmaster)
}

/// The server of this data folder once it takes connections.
pub(super) fn ready(data: &Path) -> Option<Postmaster> {
    alive(data).filter(|postmaster| postmaster.ready && accepts(postmaster.port))
}

pub(super) fn file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

fn parse(text: &str) -> Option<Postmaster> {
    let line = |number| text.lines().nth(number).map(str::trim);
    let pid = Pid::from_raw(line(0)?.parse().ok().filter(|pid| *pid > 1)?);
    // While it starts, the later lines are not there yet.
    let port = line(3).and_then(|port| port.parse().ok()).unwrap_or(0);
    Some(Postmaster {
        pid,
        port,
        ready: line(7) == Some("ready"),
    })
}

fn runs(pid: Pid) -> bool {
    matches!(kill(pid, None), Ok(()) | Err(Errno::EPERM))
}

/// Whether this process was started on this data folder. Where nothing can tell, we assume so: a server
/// that is wrongly thought dead would mean two on one folder.
fn is_of(pid: Pid, data: &Path) -> bool {
    let words = [b" -D ", data.as_os_str().as_bytes(), b" "].concat();
    command_line(pid).is_none_or(|line| contains(&line, &words))
}

/// Its words, with spaces between them.
fn command_line(pid: Pid) -> Option<Vec<u8>> {
    let of_proc = fs::read(format!("/proc/{pid}/cmdline")).ok();
    let spaced = of_proc.map(|line| {
        line.iter()
            .map(|byte| if *byte == 0 { b' ' } else { *byte })
            .collect()
    });
    spaced.or_else(|| {
        let mut ps = environment::command("ps");
        let output = run::output(
            ps.args(["-ww", "-o", "command=", "-p", &pid.to_string()]),
            Duration::from_secs(5),
        );
        output
            .ok()
            .filter(|output| output.status.success())
            .map(|output| output.stdout)
    })
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len().max(1)).any(|window| window == part)
}

fn accepts(port: u16) -> bool {
    TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(2)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "4242\n/srv/data\n1763900000\n5433\n\n127.0.0.1\n 1234 56\nready   \n";

    #[test]
    fn the_lines_of_a_ready_server_are_read() {
        let expected = Postmaster {
            pid: Pid::from_raw(4242),
            port: 5433,
            ready: true,
        };
        assert_eq!(parse(READY), Some(expected));
    }

    #[test]
    fn a_server_that_starts_is_not_ready() {
        let starting = parse("4242\n/srv/data\n").unwrap();
        assert!(!starting.ready);
        assert!(!parse(&READY.replace("ready   ", "starting")).unwrap().ready);
    }

    #[test]
    fn nonsense_is_no_server() {
        for text in ["", "\n", "x\n", "0\n", "-1\n", "1\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_process_of_something_else_is_not_the_server() {
        assert!(!is_of(Pid::this(), Path::new("/srv/no-such-data")));
    }
}
