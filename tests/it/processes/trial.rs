//! `usertap doctor --provider file.toml`: what a provider file makes of a live provider.

use usertap::sandbox::{Options, Plays};

use super::World;
use crate::support::process::Output;

const OWN: &str = include_str!("../../../src/provider/builtin/stack-auth.toml");

/// The doctor's word on a file with one thing in it changed.
async fn tried(from: &str, to: &str, code: i32) -> Output {
    assert!(OWN.contains(from), "{from}");
    let world = World::with_users(250).await;
    let file = world.folder.path().join("mine.toml");
    std::fs::write(&file, OWN.replacen(from, to, 1)).unwrap();
    let file = file.display().to_string();
    let ended = world.start(&["doctor", "--provider", &file]).ended().await;
    ended.with_code(code)
}

fn has(output: &Output, line: &str) {
    assert!(
        output.stdout.iter().any(|own| own.contains(line)),
        "{line}: {output:#?}"
    );
}

#[tokio::test]
async fn the_doctor_shows_what_was_read_and_masks_it() {
    let output = tried("name", "name", 0).await;
    has(
        &output,
        "ok   list: the first page has 200 users, and the next one can be asked for",
    );
    has(&output, "ok   user: name from $.display_name: ");
    has(
        &output,
        "ok   user: created_at from $.signed_up_at_millis: 2023-01-01",
    );
    has(&output, "ok   user: no version in the first one");
    let all = output.stdout.join(" ");
    assert!(
        !all.contains("@example.com") && !all.contains("Lovelace"),
        "{all}"
    );
}

#[tokio::test]
async fn the_doctor_names_what_of_a_file_does_not_fit_and_the_remedy() {
    let wrong = tried("list = \"/items\"", "list = \"/users\"", 1).await;
    has(&wrong, "FAIL list: the listing is not the JSON");
    has(&wrong, "correct `list` of its [[route]]");
    let partial = tried(
        "whole_has = [\"/server_metadata\"]",
        "whole_has = [\"/nothing_such\"]",
        1,
    )
    .await;
    has(&partial, "correct `whole_has` of [user]");
    let unit = tried(
        "\"$.signed_up_at_millis\", unit = \"ms\"",
        "\"$.signed_up_at_millis\", unit = \"rfc3339\"",
        1,
    )
    .await;
    has(
        &unit,
        "FAIL user: created_at: what stands at $.signed_up_at_millis is no time of its `unit`",
    );
}

#[tokio::test]
async fn the_doctor_asks_what_has_changed_as_the_file_says() {
    const CLERK: &str = include_str!("../../../src/provider/builtin/clerk.toml");
    let world = World::new(Options {
        plays: Plays::Clerk,
        users: 3,
        ..Options::default()
    })
    .await;
    for (to, code, line) in [
        (
            "-updated_at",
            0,
            "ok   poll: what changed of late can be asked for: 3 users",
        ),
        ("-nonsense", 1, "FAIL poll: the provider answered 422"),
    ] {
        let file = world.folder.path().join("mine.toml");
        let text = CLERK.replacen("order_by = \"-updated_at\"", &format!("order_by = \"{to}\""), 1);
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let ended = world.start(&["doctor", "--provider", &file]).ended().await;
        has(&ended.with_code(code), line);
    }
}
