//! `usertap serve` as a process of its own, so that what it costs can be told from what asks it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use secrecy::{ExposeSecret, SecretString};
use usertap::sandbox::Sandbox;

pub struct Serving {
    child: Child,
    pub admin: SocketAddr,
    folder: PathBuf,
}

impl Serving {
    pub fn start(sandbox: &Sandbox, database: &SecretString) -> Serving {
        let folder = std::env::temp_dir().join(format!("usertap-bench-serve-{}", std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_usertap"))
            .arg("serve")
            .env_clear()
            .envs(sandbox.settings(0))
            .env("DATABASE_URL", database.expose_secret())
            .env("USERTAP_DATA_DIR", &folder)
            .env("USERTAP_LISTEN", "127.0.0.1:0")
            .env("USERTAP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("USERTAP_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut lines = lines.map_while(Result::ok);
        let said = lines.find_map(|line| {
            let said: serde_json::Value = serde_json::from_str(&line).ok()?;
            said["admin"].as_str()?.parse().ok()
        });
        // Read on, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Serving {
            child,
            admin: said.expect("it says where it serves"),
            folder,
        }
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> f64 {
        const TICKS: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let fields: Vec<f64> = after_name
            .split(' ')
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        // utime and stime, fields 14 and 15 of the whole line.
        fields
            .get(11..13)
            .map_or(0.0, |times| times.iter().sum::<f64>() / TICKS)
    }

    /// Resident memory in kB.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.map(|line| line.trim().trim_end_matches(" kB"));
        number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
