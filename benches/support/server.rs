//! A server under test: a process of its own, whose processor time the kernel counts.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// The kernel's ticks in a second, as Linux has them on every machine of today.
const TICKS: f64 = 100.0;

pub struct Server {
    child: Child,
    pub listens: SocketAddr,
}

impl Server {
    /// Starts a program that says on stderr where it listens, as `listen=ADDRESS`. The provider that
    /// it asks meanwhile may live in this very thread.
    pub async fn start(command: &mut Command) -> Server {
        let mut child = command
            .env("TOKIO_WORKER_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let listens = tokio::task::spawn_blocking(|| listens(lines)).await;
        Server {
            child,
            listens: listens.expect("it says where it listens"),
        }
    }

    /// Processor time so far, in seconds.
    pub fn spent(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        ticks / TICKS
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listens(mut lines: Lines<BufReader<ChildStderr>>) -> SocketAddr {
    let mut said = Vec::new();
    let listens = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let at = line.split("listen=").nth(1);
        let at = at.and_then(|at| at.split(' ').next()?.parse().ok());
        said.push(line);
        at
    });
    // What it says later must not fill the pipe.
    tokio::task::spawn_blocking(move || lines.for_each(drop));
    listens.unwrap_or_else(|| panic!("it never said where it listens: {said:#?}"))
}
