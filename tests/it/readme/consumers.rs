//! The README's consumers run as they stand, but for the address.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::text::{blocks, file};
use crate::support::eventually;
use crate::support::process::Folder;
use crate::support::stack::Stack;

/// A program that runs until the test is over.
struct Consumer {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: Folder,
}

impl Consumer {
    /// The README's block of a language, run by a program that reads it from a file.
    fn start(stack: &Stack, language: &str, marker: &str, program: &[&str], name: &str) -> Consumer {
        let readme = file("README.md");
        let found = blocks(&readme, language)
            .into_iter()
            .find(|block| block.contains(marker));
        let script = found.unwrap_or_else(|| panic!("no {language} consumer in the README"));
        assert!(
            script.lines().filter(|line| !line.is_empty()).count() <= 16,
            "{script}"
        );
        let address = stack.admin_url("");
        let folder = Folder::new();
        let path = folder.path().join(name);
        std::fs::write(&path, script.replace("http://127.0.0.1:8401", &address)).expect("a file");
        let (command, args) = program.split_first().expect("a program");
        let started = Command::new(command)
            .args(args)
            .arg(&path)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut child =
            started.unwrap_or_else(|error| panic!("the test needs {command}, install it: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, read) = (child.stdout.take().expect("piped"), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                read.lock().expect("no panic").push(line);
            }
        });
        Consumer {
            child,
            lines,
            _folder: folder,
        }
    }

    async fn says(&self, what: &[&str]) {
        eventually(&format!("a line with {what:?}"), || async {
            let lines = self.lines.lock().expect("no panic");
            let said = lines
                .iter()
                .any(|line| what.iter().all(|part| line.contains(part)));
            said.then_some(())
        })
        .await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn rename(stack: &Stack, id: uuid::Uuid, name: &str) {
    let path = format!("/users/{id}");
    stack
        .patch(&stack.server(0), &path, json!({ "display_name": name }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_consumer_runs() {
    let curl = Command::new("curl").arg("--version").output();
    assert!(curl.is_ok(), "the test needs curl, install it: {curl:?}");
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let consumer = Consumer::start(&stack, "shell", "curl -sSfN", &["bash"], "consumer.sh");
    consumer.says(&["user.created", "Ada"]).await;
    rename(&stack, id, "Grace").await;
    consumer.says(&["user.updated", "Grace"]).await;
    let place = consumer._folder.path().join("feed.pos");
    let head = crate::feed::head(&stack).await;
    eventually("the consumer keeps its position", || async {
        std::fs::read_to_string(&place)
            .is_ok_and(|at| at.trim() == head)
            .then_some(())
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_consumer_runs() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let consumer = Consumer::start(&stack, "js", "/snapshot", &["node"], "consumer.mjs");
    eventually("it follows", || async {
        let status = stack.status().await;
        (status["feed"]["readers"].as_u64() > Some(0)).then_some(())
    })
    .await;
    rename(&stack, id, "Grace").await;
    consumer.says(&["1 Grace"]).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_consumer_runs() {
    let stack = Stack::new().await;
    let id = stack
        .known_user(json!({ "display_name": "Ada" }))
        .await
        .to_string();
    let consumer = Consumer::start(&stack, "python", "/slots/mailer", &["python3"], "consumer.py");
    consumer.says(&["user.created", &id]).await;
    rename(&stack, id.parse().expect("a uuid"), "Grace").await;
    consumer.says(&["user.updated", &id]).await;
    let head = crate::feed::head(&stack).await;
    eventually("the slot has advanced", || async {
        let slots = crate::feed::page(&stack, "/v1/slots").await;
        (slots["slots"][0]["pos"] == head.as_str()).then_some(())
    })
    .await;
    stack.end().await;
}
