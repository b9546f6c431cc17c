//! The binary as users run it: its settings, its lines, its end. No process outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use usertap::config::settings::process_env;

use super::eventually;

pub type Settings = Vec<(String, String)>;

pub fn setting(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// A running `usertap`; killed when dropped.
pub struct Process {
    child: Child,
    output: Arc<Mutex<Output>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// What it wrote so far.
#[derive(Debug, Clone, Default)]
pub struct Output {
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

impl Output {
    pub fn log(&self) -> String {
        self.stderr.join("\n")
    }

    /// The last line as JSON.
    pub fn json(&self) -> serde_json::Value {
        let last = self
            .stdout
            .last()
            .unwrap_or_else(|| panic!("nothing printed; log:\n{}", self.log()));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
    }
}

/// How it ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub output: Output,
}

impl Ended {
    #[track_caller]
    pub fn with_code(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "{:#?}", self.output);
        self.output
    }

    /// It failed with one clear error that has all of these.
    #[track_caller]
    pub fn failed_saying(self, parts: &[&str]) -> Output {
        let output = self.with_code(1);
        for part in parts {
            assert!(output.log().contains(part), "{part} in\n{}", output.log());
        }
        assert!(!output.log().contains("panicked"), "{}", output.log());
        output
    }
}

impl Process {
    /// Starts the binary in a folder with nothing in its environment but these settings and what a
    /// shell needs to find programs.
    pub fn start(folder: &Path, args: &[&str], settings: &[(String, String)]) -> Process {
        Process::run(env!("CARGO_BIN_EXE_usertap"), folder, args, settings)
    }

    /// The same for another program.
    pub fn run(program: &str, folder: &Path, args: &[&str], settings: &[(String, String)]) -> Process {
        let system = process_env()
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "TMPDIR" | "XDG_CACHE_HOME"));
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(system)
            .envs(settings.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} runs: {error}"));
        let output = Arc::new(Mutex::new(Output::default()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let readers = vec![
            read(out.expect("piped"), output.clone(), |output| &mut output.stdout),
            read(err.expect("piped"), output.clone(), |output| &mut output.stderr),
        ];
        Process {
            child,
            output,
            readers,
        }
    }

    pub fn output(&self) -> Output {
        self.output.lock().expect("no panic").clone()
    }

    /// Waits for a line, on either side, that has this text.
    pub async fn line(&self, text: &str) -> String {
        let found = || async {
            let output = self.output();
            let mut lines = output.stdout.into_iter().chain(output.stderr);
            lines.find(|line| line.contains(text))
        };
        let found = tokio::select! {
            found = eventually(text, found) => Some(found),
            () = self.gone(text) => None,
        };
        found.expect("a line")
    }

    /// Fails the test if the process ends without having said so.
    async fn gone(&self, text: &str) {
        let pid = self.pid();
        eventually(text, || async { is_in_state(pid, 'Z').then_some(()) }).await;
        let output = self.output();
        let said = output
            .stdout
            .iter()
            .chain(&output.stderr)
            .any(|line| line.contains(text));
        assert!(said, "it ended without `{text}`: {:#?}", self.output());
        std::future::pending::<()>().await;
    }

    /// It has ended; by itself, where nobody ended it.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Waits until it stands still, as after `kill -STOP`.
    pub async fn stands_still(&self) {
        let pid = self.pid();
        eventually("it stands still", || async {
            is_in_state(pid, 'T').then_some(())
        })
        .await;
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let child = Mutex::new(&mut self.child);
        let status = eventually("the process ends", || async {
            child.lock().expect("no panic").try_wait().expect("a child")
        })
        .await;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ended {
            code: status.code(),
            output: self.output(),
        }
    }

    /// `kill -9`.
    pub async fn killed(self) -> Output {
        self.signal(Signal::SIGKILL);
        self.ended().await.output
    }

    pub async fn terminated(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As `ps` names it.
fn is_in_state(pid: Pid, state: char) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with(state))
}

fn read(
    from: impl Read + Send + 'static,
    output: Arc<Mutex<Output>>,
    side: fn(&mut Output) -> &mut Vec<String>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            side(&mut output.lock().expect("no panic")).push(line);
        }
    })
}

/// A folder of the test's own, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
        std::fs::create_dir_all(&folder).expect("a folder below target");
        Folder(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
