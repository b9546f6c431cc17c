//! `usertap feed`.

use serde_json::{Value, json};

use super::text;
use crate::support::process::{Folder, Process, Settings, setting};
use crate::support::stack::{Setup, Stack};

fn settings(stack: &Stack) -> Settings {
    let admin = stack.serving().admin;
    vec![
        setting("USERTAP_ADMIN_LISTEN", admin),
        setting("USERTAP_ADMIN_TOKEN", "t0ken"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_what_is_there_and_follows_what_comes() {
    let setup = Setup::set(&[("USERTAP_ADMIN_TOKEN", "t0ken")]);
    let stack = Stack::with(setup).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(
            stack
                .known_user(json!({ "display_name": format!("{n}") }))
                .await
                .to_string(),
        );
    }
    let folder = Folder::new();
    let feed = |args: &[&str]| {
        let args: Vec<&str> = ["feed"].iter().chain(args).copied().collect();
        Process::start(folder.path(), &args, &settings(&stack))
    };
    let all = feed(&[]).ended().await.with_code(0);
    let changes: Vec<Value> = all
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        changes
            .iter()
            .map(|change| text(&change["key"]["id"]))
            .collect::<Vec<_>>(),
        ids
    );

    // A disk that is full is no reader who has had enough.
    let script = ["-c", r#""$0" feed >/dev/full"#, env!("CARGO_BIN_EXE_usertap")];
    let unwritten = Process::run("/bin/sh", folder.path(), &script, &settings(&stack));
    unwritten
        .ended()
        .await
        .failed_saying(&["cannot be written to standard output"]);

    let rest = feed(&["--since", &text(&changes[1]["pos"])])
        .ended()
        .await
        .with_code(0);
    assert_eq!(rest.stdout, all.stdout[2..]);
    let none = feed(&["--since", "now"]).ended().await.with_code(0);
    assert!(none.stdout.is_empty());

    let follows = feed(&["--since", "oldest", "--follow"]);
    follows.line(&ids[2]).await;
    let id = stack.known_user(json!({ "display_name": "later" })).await;
    follows.line(&id.to_string()).await;
    assert!(
        follows
            .output()
            .stdout
            .iter()
            .all(|line| !line.contains("bookmark"))
    );
    drop(follows);

    let foreign = format!("{}-deadbeef", &text(&changes[1]["pos"])[..16]);
    for args in [vec!["--since", &*foreign], vec!["--since", &*foreign, "--follow"]] {
        feed(&args)
            .ended()
            .await
            .failed_saying(&["snapshot", "oldest position"]);
    }
    let wrong = feed(&["--since", "yesterday"]).ended().await.with_code(2);
    assert!(wrong.log().contains("--since"), "{}", wrong.log());
    let token = [setting("USERTAP_ADMIN_LISTEN", stack.serving().admin)];
    let refused = Process::start(folder.path(), &["feed"], &token).ended().await;
    refused.failed_saying(&["ADMIN_TOKEN"]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_was_when_serve_comes_back() {
    let mut stack = Stack::new().await;
    let before = stack
        .known_user(json!({ "display_name": "before" }))
        .await
        .to_string();
    let folder = Folder::new();
    let admin = stack.serving().admin;
    let settings = [setting("USERTAP_ADMIN_LISTEN", admin)];
    let follows = Process::start(folder.path(), &["feed", "--follow"], &settings);
    follows.line(&before).await;
    stack
        .restart_with("USERTAP_ADMIN_LISTEN", &admin.to_string())
        .await;
    let after = stack
        .known_user(json!({ "display_name": "after" }))
        .await
        .to_string();
    follows.line(&after).await;
    let printed = follows.output().stdout;
    assert_eq!(printed.len(), 2, "each once: {printed:?}");
    stack.end().await;
}
