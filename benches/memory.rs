//! Peak memory of `usertap backfill` for two numbers of users: it must not grow with them. The
//! sandbox and the backfill are processes of their own. See `README.md`.

mod support {
    pub mod postgres;
    pub mod report;
}

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use support::postgres;
use support::report::{heading, row};

const FEW: usize = 10_000;
const MANY: usize = 100_000;
const PROGRAM: &str = env!("CARGO_BIN_EXE_usertap");

#[tokio::main]
async fn main() {
    let server = postgres::Server::start();
    let mut peaks = Vec::new();
    for users in [FEW, MANY] {
        let url = server.fresh().await;
        peaks.push(
            tokio::task::spawn_blocking(move || peak(users, &url))
                .await
                .expect("no panic"),
        );
    }
    heading(
        "Peak memory of a backfill (VmHWM)",
        "cargo bench --bench memory",
        1,
    );
    let [few, many] = peaks[..] else { return };
    row(&format!("{FEW} users"), few, "kB", "");
    let note = format!("{:.2} x; asked <= 1.2, aim 1.05", many / few);
    row(&format!("{MANY} users"), many, "kB", note);
}

/// In kB, as the kernel counts it.
fn peak(users: usize, database: &SecretString) -> f64 {
    let (mut sandbox, settings) = sandbox(users);
    let backfill = Command::new(PROGRAM)
        .arg("backfill")
        .env_clear()
        .envs(settings)
        .env("DATABASE_URL", database.expose_secret())
        .env("USERTAP_RATE", "100000/1s")
        .env("USERTAP_LOG", "warn")
        .stderr(Stdio::null())
        .spawn();
    let mut backfill = backfill.expect("the program");
    let peak = watch(&mut backfill);
    sandbox.kill().expect("it runs");
    sandbox.wait().expect("it ends");
    peak
}

fn sandbox(users: usize) -> (Child, Vec<(String, String)>) {
    let mut sandbox = Command::new(PROGRAM)
        .args([
            "sandbox",
            "--listen",
            "127.0.0.1:0",
            "--users",
            &users.to_string(),
        ])
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let output = BufReader::new(sandbox.stdout.take().expect("its output"));
    let lines = output.lines().map(|line| line.expect("a line"));
    let settings = lines.take_while(|line| line != "ready").filter_map(|line| {
        line.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    let settings = settings.collect();
    (sandbox, settings)
}

/// The highest until it ends; the kernel keeps it, so looking often loses nothing but the last moment.
fn watch(process: &mut Child) -> f64 {
    let mut highest = 0.0;
    loop {
        if let Some(status) = process.try_wait().expect("it can be waited for") {
            assert!(status.success(), "the backfill failed");
            return highest;
        }
        highest = high_water(process.id()).unwrap_or(0.0).max(highest);
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn high_water(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
