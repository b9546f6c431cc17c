//! A shell that knows what the README uses: `export`, `usertap`, `curl`. Addresses and secrets are
//! those of the test; everything else is as the README has it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::support::http;

/// The slowest command is a start; it migrates.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Session {
    /// What stands for the README's placeholders.
    real: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    /// The README's addresses and where those servers really listen.
    addresses: Vec<(&'static str, String)>,
    running: Vec<Running>,
    folder: PathBuf,
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Session {
    /// Starts the sandbox, which says where the rest is.
    pub fn begin(sandbox: &str, database: &SecretString) -> Session {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder below target");
        let env = [
            ("USERTAP_LISTEN", "127.0.0.1:0"),
            ("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
            ("USERTAP_LOG_FORMAT", "json"),
        ];
        let mut session = Session {
            real: BTreeMap::from([
                ("DATABASE_URL".into(), database.expose_secret().to_owned()),
                // The README's own cannot be one.
                (
                    "USERTAP_WEBHOOK_SECRET".into(),
                    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
                ),
            ]),
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
            addresses: Vec::new(),
            running: Vec::new(),
            folder,
        };
        session.sandbox(sandbox);
        session
    }

    pub fn set(&mut self, name: &str, value: String) {
        self.env.insert(name.into(), value);
    }

    /// Runs a command; fails the test if it fails.
    pub async fn run(&mut self, command: &str) {
        let value = |name: &str| self.env.get(name).cloned();
        let words = words(command, &value);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["export", assignment] => self.export(assignment),
            ["usertap", "serve", rest @ ..] => self.serve(rest),
            ["usertap", rest @ ..] => self.to_its_end(rest),
            ["curl", rest @ ..] => self.curl(rest).await,
            _ => panic!("no test runs `{command}`: add it to tests/it/readme.rs or to .ci/run"),
        }
    }

    fn export(&mut self, assignment: &str) {
        let (name, _) = assignment.split_once('=').expect("export NAME=value");
        let real = self
            .real
            .get(name)
            .unwrap_or_else(|| panic!("nothing stands for {name}"));
        self.env.insert(name.into(), real.clone());
    }

    fn usertap(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usertap"));
        command
            .args(args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    fn sandbox(&mut self, command: &str) {
        let words = words(command, &|_| None);
        let args: Vec<&str> = words
            .iter()
            .skip(1)
            .map(String::as_str)
            .chain(["--listen", "127.0.0.1:0"])
            .collect();
        let started = self.usertap(&args).stdout(Stdio::piped()).spawn();
        let mut child = started.expect("the sandbox starts");
        let lines = lines(child.stdout.take().expect("piped"));
        self.running.push(Running(child));
        loop {
            let line = lines.recv_timeout(DEADLINE).expect("the sandbox gets ready");
            match line.split_once('=') {
                Some((name, value)) if name.starts_with("USERTAP_") => self.set(name, value.into()),
                Some((name, value)) => drop(self.real.insert(name.into(), value.into())),
                None => break assert_eq!(line, "ready"),
            }
        }
    }

    /// Until it says where it listens.
    fn serve(&mut self, args: &[&str]) {
        let args = [&["serve"], args].concat();
        let mut child = self
            .usertap(&args)
            .stderr(Stdio::piped())
            .spawn()
            .expect("serve starts");
        let lines = lines(child.stderr.take().expect("piped"));
        self.running.push(Running(child));
        let serving = loop {
            let line = lines.recv_timeout(DEADLINE).expect("serve gets ready");
            let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if said["message"] == "serving" {
                break said;
            }
        };
        let address = |key: &str| serving[key].as_str().expect("an address").to_owned();
        self.addresses = vec![
            ("127.0.0.1:8400", address("listen")),
            ("127.0.0.1:8401", address("admin")),
        ];
        self.set("USERTAP_ADMIN_LISTEN", address("admin"));
    }

    fn to_its_end(&self, args: &[&str]) {
        let output = self.usertap(args).output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "usertap {args:?}\n{}",
            String::from_utf8_lossy(&said)
        );
    }

    async fn curl(&self, args: &[&str]) {
        let (mut headers, mut url) = (Vec::new(), None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "-H" => headers.extend(args.next().and_then(|header| header.split_once(": "))),
                option if option.starts_with('-') => panic!("curl {option} is not known here"),
                there => url = Some(there),
            }
        }
        let mut url = (*url.expect("a URL")).to_owned();
        for (written, real) in &self.addresses {
            url = url.replace(written, real);
        }
        let reply = http::get(&url, &headers).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// The lines of a pipe, read by a thread that ends with it.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens any more; what follows is read all the same, so that the pipe never fills.
            let _ = send.send(line);
        }
    });
    lines
}

/// The words of a command: quotes, `$NAME`, comments.
pub fn words(command: &str, value: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let joined = command.replace("\\\n", " ");
    let mut chars = joined.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('$', None | Some('"')) => {
                let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
                let name: String = std::iter::from_fn(|| chars.next_if(is_name)).collect();
                let value = value(&name).unwrap_or_else(|| panic!("${name} is not set"));
                word.get_or_insert_default().push_str(&value);
            }
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
