//! Running other programs, and waiting: never without a deadline.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clock;

/// Runs a program to its end in a process group of its own, which is killed at the deadline.
pub(super) fn output(command: &mut Command, at_most: Duration) -> io::Result<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let (ended, end) = mpsc::sync_channel(1);
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    end.recv_timeout(at_most).unwrap_or_else(|_| {
        // Its leader has not been waited for, so the number still is this group's.
        killpg(group, Signal::SIGKILL)?;
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no end after {} s", at_most.as_secs()),
        ))
    })
}

/// What a program that failed has said, in one piece and not too long.
pub(super) fn said(output: &Output) -> String {
    let text = [&output.stderr[..], b"\n", &output.stdout[..]].concat();
    tail(&String::from_utf8_lossy(&text), 800)
}

/// The last `bytes` of a text, from the start of a character.
pub(super) fn tail(text: &str, bytes: usize) -> String {
    let text = text.trim();
    let from = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    text.get(from..).unwrap_or_default().to_string()
}

/// Asks again and again until there is an answer; `None` at the deadline.
pub(super) fn until<T>(at_most: Duration, mut answer: impl FnMut() -> Option<T>) -> Option<T> {
    let end = clock::now() + at_most;
    loop {
        if let Some(found) = answer() {
            return Some(found);
        }
        if clock::now() >= end {
            return None;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the wait of `until`, which has a deadline"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let mut sleeper = Command::new("sh");
        let ended = output(
            sleeper.args(["-c", "sleep 60 & wait"]),
            Duration::from_millis(100),
        );
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_tail_starts_at_a_character() {
        assert_eq!(tail("aé", 1), "");
        assert_eq!(tail(" aéb\n", 3), "éb");
    }

    #[test]
    fn until_gives_up_at_the_deadline() {
        assert_eq!(until(Duration::ZERO, || None::<()>), None);
        assert_eq!(until(Duration::ZERO, || Some(1)), Some(1));
    }
}
