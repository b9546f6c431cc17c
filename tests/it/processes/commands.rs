//! The commands that show and check: what they print, how they end, what they leave.

use std::net::TcpStream;

use ::http::Method;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{World, recorded};
use crate::support::eventually;
use crate::support::http;
use crate::support::process::{Folder, Output, Process, setting};

fn quiet_demo(folder: &Folder, args: &[&str]) -> Process {
    let ports = [
        setting("USERTAP_LISTEN", "127.0.0.1:0"),
        setting("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    Process::start(folder.path(), &[&["demo"], args].concat(), &ports)
}

/// The port of the demo's Postgres and of its proxy.
fn ports(output: &Output) -> Vec<u16> {
    let lines = output.stdout.iter();
    let found = lines.filter_map(|line| {
        let rest = line
            .rsplit_once("@127.0.0.1:")
            .or_else(|| line.split_once("http://127.0.0.1:"))?
            .1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    found.collect()
}

async fn all_gone(ports: &[u16]) {
    assert!(ports.len() >= 2, "{ports:?}");
    for port in ports {
        eventually("nobody listens any more", || async {
            TcpStream::connect(("127.0.0.1", *port)).is_err().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_demo_shows_the_rows_and_leaves_nothing() {
    let folder = Folder::new();
    let output = quiet_demo(&folder, &["--exit"]).ended().await.with_code(0);
    let shown = output.stdout.join("\n");
    for part in [
        "25 users fetched: 25 inserted",
        "POST /users -> 201 Created   x-usertap-recorded: committed",
        "name=Ada Lovelace email=ada@example.com deleted_at=null",
        "name=Countess Lovelace",
        "POST /auth/password/sign-up -> 200 OK   x-usertap-recorded: committed",
        "email=grace@example.com deleted_at=null",
        "DELETE /users/{id} -> 200 OK   x-usertap-recorded: committed",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(!shown.contains("deleted_at=20") || shown.contains("name=Countess Lovelace"));
    all_gone(&ports(&output)).await;
}

#[tokio::test]
async fn the_demo_of_clerk_has_a_webhook_bring_who_signs_up_there() {
    let folder = Folder::new();
    let demo = quiet_demo(&folder, &["--provider", "clerk", "--exit"]);
    let output = demo.ended().await.with_code(0);
    let shown = output.stdout.join("\n");
    for part in [
        "25 users fetched: 25 inserted",
        "POST /users -> 200 OK   x-usertap-recorded: committed",
        "name=Ada Lovelace email=ada@example.com deleted_at=null",
        "name=Countess Lovelace",
        "name=Grace email=grace@example.com deleted_at=null",
        "DELETE /users/{id} -> 200 OK   x-usertap-recorded: committed",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    all_gone(&ports(&output)).await;
    let unknown = quiet_demo(&folder, &["--provider", "okta", "--exit"])
        .ended()
        .await;
    let said = unknown.with_code(2).log();
    assert!(
        said.contains("`okta` is unknown: write `stack-auth` or `clerk`"),
        "{said}"
    );
}

#[tokio::test]
async fn a_demo_whose_port_is_taken_says_so_before_anything_is_started() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--admin-listen"] {
        let ended = quiet_demo(&folder, &["--exit", option, &address]).ended().await;
        let output = ended.failed_saying(&[&address, "cannot be listened on", option]);
        assert_eq!(output.stdout, [""; 0]);
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing half-done");
}

#[tokio::test]
async fn what_cannot_be_read_of_the_demos_settings_is_named() {
    let folder = Folder::new();
    for name in ["USERTAP_ADMIN_TOKEN", "USERTAP_LISTEN"] {
        let file = [setting(
            &format!("{name}_FILE"),
            folder.path().join("nowhere").display(),
        )];
        let demo = Process::start(folder.path(), &["demo", "--exit"], &file);
        let said = demo.ended().await.with_code(2).log();
        assert!(
            said.contains(&format!("{name}_FILE")) && said.contains("cannot be read"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_demo_beside_another_needs_nothing_of_it() {
    let folder = Folder::new();
    let demo = quiet_demo(&folder, &[]);
    demo.line("It goes on serving").await;
    quiet_demo(&folder, &["--exit"]).ended().await.with_code(0);
    demo.signal(Signal::SIGINT);
    demo.ended().await.with_code(0);
    let left = std::fs::read_dir(folder.path().join(".usertap")).unwrap();
    assert_eq!(left.count(), 0, "what was theirs went with them");
}

#[tokio::test]
async fn the_demo_goes_on_serving_until_it_is_told_to_end() {
    let folder = Folder::new();
    let demo = quiet_demo(&folder, &[]);
    demo.line("It goes on serving").await;
    let ports = ports(&demo.output());
    assert!(
        ports
            .iter()
            .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
    );
    demo.signal(Signal::SIGINT);
    demo.ended().await.with_code(0);
    all_gone(&ports).await;
}

#[tokio::test]
async fn the_sandbox_prints_its_settings_then_ready_and_nothing_after() {
    let folder = Folder::new();
    let line = [
        "sandbox",
        "--users",
        "7",
        "--projects",
        "2",
        "--listen",
        "127.0.0.1:0",
    ];
    let sandbox = Process::start(folder.path(), &line, &[]);
    sandbox.line("ready").await;
    let names = |prefix: &str| {
        [
            "USERTAP_PROVIDER",
            "USERTAP_UPSTREAM",
            "STACK_PROJECT_ID",
            "STACK_PUBLISHABLE_CLIENT_KEY",
            "STACK_SECRET_SERVER_KEY",
        ]
        .map(|name| format!("{prefix}{name}"))
    };
    let printed = sandbox.output().stdout;
    let printed: Vec<_> = printed
        .iter()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .collect();
    let expected: Vec<String> = [names(""), names("OTHER_")].concat();
    let found: Vec<&str> = printed.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        found,
        [expected.iter().map(String::as_str).collect(), vec!["ready"]].concat()
    );
    let of = |name: &str| printed.iter().find(|(key, _)| *key == name).unwrap().1;
    let headers = [
        ("x-stack-access-type", "server"),
        ("x-stack-project-id", of("STACK_PROJECT_ID")),
        ("x-stack-secret-server-key", of("STACK_SECRET_SERVER_KEY")),
    ];
    let url = format!("{}/api/v1/users?include_anonymous=true", of("USERTAP_UPSTREAM"));
    let users = http::get(&url, &headers).await.json();
    assert_eq!(users["items"].as_array().unwrap().len(), 7);
    let ended = sandbox.terminated().await.with_code(0);
    assert_eq!(ended.stdout.last().map(String::as_str), Some("ready"));
}

#[tokio::test]
async fn a_sandbox_whose_port_is_taken_says_so() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Process::start(folder.path(), &["sandbox", "--listen", &address], &[])
        .ended()
        .await;
    ended.failed_saying(&[&address, "cannot be listened on"]);
}

async fn status(world: &World, admin: &str, args: &[&str]) -> crate::support::process::Ended {
    let at = [setting("USERTAP_ADMIN_LISTEN", admin)];
    world.start_with(&[&["status"], args].concat(), &at).ended().await
}

#[tokio::test]
async fn help_that_cannot_be_written_is_no_success() {
    let folder = Folder::new();
    for line in ["--help", "serve --help", "--version"] {
        for (to, code) in [("/dev/full", 1), ("/dev/null", 0)] {
            let script = format!("\"$0\" {line} >{to}");
            let script = ["-c", &script, env!("CARGO_BIN_EXE_usertap")];
            let run = Process::run("/bin/sh", folder.path(), &script, &[]);
            run.ended().await.with_code(code);
        }
    }
}

#[tokio::test]
async fn status_says_healthy_or_what_is_wrong() {
    let world = World::with_users(3).await;
    let nobody = status(&world, "127.0.0.1:9", &["--json"]).await;
    let told = nobody
        .failed_saying(&[
            "no serve can be asked at ADMIN_LISTEN=127.0.0.1:9",
            "usertap serve",
        ])
        .json();
    assert!(told["healthy"] == false && told["error"].is_string(), "{told}");
    let server = world.serve().await;
    let shown = status(&world, &server.admin, &[])
        .await
        .with_code(0)
        .stdout
        .join("\n");
    assert!(
        shown.contains("healthy") && shown.contains("never run"),
        "{shown}"
    );
    world.backfill().await;
    let json = status(&world, &server.admin, &["--json"])
        .await
        .with_code(0)
        .json();
    assert_eq!(
        (&json["healthy"], &json["backfill"]["state"]),
        (&true.into(), &"done".into())
    );
    // Somebody moves the table away.
    world
        .client
        .batch_execute("ALTER TABLE neon_identity.users_sync RENAME TO mine")
        .await
        .unwrap();
    let reply = server.create(&world, "Ada").await;
    assert_eq!(
        (reply.status.as_u16(), recorded(&reply).as_str()),
        (201, "journaled")
    );
    let ended = status(&world, &server.admin, &[]).await;
    let shown = ended.with_code(1).stdout.join("\n");
    assert!(
        shown.contains("not healthy") && shown.contains("problem "),
        "{shown}"
    );
    world
        .client
        .batch_execute("ALTER TABLE neon_identity.mine RENAME TO users_sync")
        .await
        .unwrap();
    eventually("healthy again", || async {
        (status(&world, &server.admin, &["--json"]).await.code == Some(0)).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn status_shows_the_token_it_is_given() {
    let world = World::with_users(0).await.and("USERTAP_ADMIN_TOKEN", "letmein");
    let server = world.serve().await;
    status(&world, &server.admin, &[]).await.with_code(0);
    let wrong = [
        setting("USERTAP_ADMIN_LISTEN", &server.admin),
        setting("USERTAP_ADMIN_TOKEN", "hush"),
    ];
    let output = world
        .start_with(&["status"], &wrong)
        .ended()
        .await
        .failed_saying(&["refuses the token"]);
    assert!(!output.log().contains("hush"));
    let bare = http::get(&format!("http://{}/v1/status", server.admin), &[]).await;
    assert_eq!(bare.status, 401);
    server.stop().await;
}

pub(super) fn checks(output: &Output) -> Vec<(String, bool, String)> {
    let json = output.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = json["checks"].as_array().unwrap().iter();
    checks
        .map(|check| {
            (
                text(&check["what"]),
                check["ok"] == true,
                text(&check["found"]) + " " + &text(&check["remedy"]),
            )
        })
        .collect()
}

/// Postgres makes none for a reference. Where no row ever goes, none is needed.
#[tokio::test]
async fn the_doctor_hints_at_references_without_an_index() {
    let world = World::with_users(1).await;
    world.backfill().await;
    let refer = "CREATE TABLE public.todos (\"of User\" uuid REFERENCES neon_identity.users_sync);
                 CREATE TABLE public.posts (number int, author uuid REFERENCES neon_identity.users_sync);
                 CREATE INDEX ON public.posts (number, author);
                 CREATE TABLE public.visits (day date, visitor uuid REFERENCES neon_identity.users_sync)
                     PARTITION BY RANGE (day);
                 CREATE TABLE public.first_visits PARTITION OF public.visits DEFAULT;
                 CREATE TABLE public.found (id uuid PRIMARY KEY REFERENCES neon_identity.users_sync,
                     by uuid REFERENCES neon_identity.users_sync, of uuid REFERENCES neon_identity.users_sync);
                 CREATE INDEX ON public.found (by, id);
                 CREATE INDEX ON public.found (of) WHERE of IS NOT NULL";
    world.client.batch_execute(refer).await.expect("tables");
    let hints = async |deleted: &str| {
        let also = [setting("USERTAP_DELETED", deleted)];
        let output = world.start_with(&["doctor"], &also).ended().await.with_code(0);
        let lines = output.stdout.into_iter();
        lines
            .filter(|line| line.starts_with("ok   references: "))
            .collect::<Vec<_>>()
    };
    assert_eq!(hints("keep").await, Vec::<String>::new());
    let hints = hints("purge-after=30d").await;
    let said = |what: &str, remedy: &str| {
        format!(
            "ok   references: {what} has no index: each removal of a user's row reads that whole table -> run {remedy} ON \
             {what}"
        )
    };
    let concurrently = "CREATE INDEX CONCURRENTLY";
    assert_eq!(
        hints,
        [
            said("posts (author)", concurrently),
            said("todos (\"of User\")", concurrently),
            said("visits (visitor)", "CREATE INDEX"),
        ]
    );
    for hint in hints {
        let (_, remedy) = hint.rsplit_once(" -> run ").expect("a remedy");
        world.client.batch_execute(remedy).await.expect("an index");
    }
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_and_changes_nothing() {
    let world = World::with_users(1).await;
    let output = world.start(&["doctor"]).ended().await.with_code(0);
    assert!(
        output.stdout.iter().all(|line| line.starts_with("ok  ")),
        "{output:?}"
    );
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'usertap'";
    assert_eq!(world.count(made).await, 0);
    world.backfill().await;
    let output = world.start(&["doctor", "--json"]).ended().await.with_code(0);
    let names: Vec<String> = checks(&output).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(
        names,
        [
            "settings",
            "DATA_DIR",
            "open files",
            "database",
            "rights",
            "table",
            "provider key",
            "clock",
            "list",
            // Its id, name, email and two times.
            "user",
            "user",
            "user",
            "user",
            "user",
            "webhooks",
            "serve"
        ]
    );
    assert_eq!(output.json()["ok"], true);
    assert_eq!(world.rows().await, 1);
}

#[tokio::test]
async fn whoever_stops_listening_changes_nothing() {
    let world = World::with_users(1).await;
    let script = r#"("$0" doctor --json; echo "code $?" >&2) | true"#;
    let binary = env!("CARGO_BIN_EXE_usertap");
    let args = ["-c", script, binary];
    let process = Process::run("/bin/sh", world.folder.path(), &args, &world.settings());
    let said = process.ended().await.with_code(0).log();
    assert!(said.contains("code 0") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn the_doctor_makes_no_database() {
    let world = World::with_users(0).await;
    let fresh = world.folder.path().join("fresh");
    let embedded = [
        setting("DATABASE_URL", "embedded"),
        setting("USERTAP_DATA_DIR", fresh.display()),
    ];
    let output = world
        .start_with(&["doctor"], &embedded)
        .ended()
        .await
        .with_code(0);
    assert!(
        output
            .stdout
            .iter()
            .any(|line| line.contains("no embedded Postgres yet")),
        "{output:?}"
    );
    assert!(!fresh.exists());
    std::fs::create_dir(&fresh).expect("a folder");
    world
        .start_with(&["doctor"], &embedded)
        .ended()
        .await
        .with_code(0);
    assert_eq!(std::fs::read_dir(&fresh).expect("a folder").count(), 0);
}

#[tokio::test]
async fn the_doctor_names_each_thing_that_is_wrong_with_its_remedy() {
    let world = World::with_users(1).await;
    for (name, value, what, part) in [
        (
            "STACK_SECRET_SERVER_KEY",
            "ssk_wrong_one",
            "provider key",
            "correct the key",
        ),
        (
            "USERTAP_UPSTREAM",
            "http://127.0.0.1:9",
            "provider",
            "check UPSTREAM",
        ),
        (
            "DATABASE_URL",
            "postgres://app:hush@127.0.0.1:9/app",
            "database",
            "check DATABASE_URL",
        ),
    ] {
        let is_away = name == "USERTAP_UPSTREAM";
        let patience = setting("USERTAP_TIMEOUT", if is_away { "1s" } else { "30s" });
        let wrong = [setting(name, value), patience];
        let output = world
            .start_with(&["doctor", "--json"], &wrong)
            .ended()
            .await
            .with_code(1);
        let failed: Vec<_> = checks(&output).into_iter().filter(|(_, ok, _)| !ok).collect();
        assert!(
            matches!(&failed[..], [(failed, _, found)] if failed == what && found.contains(part)),
            "{failed:?}"
        );
        let plain = world.start_with(&["doctor"], &wrong).ended().await.with_code(1);
        let line = plain
            .stdout
            .iter()
            .filter(|line| line.starts_with("FAIL"))
            .collect::<Vec<_>>();
        assert!(matches!(&line[..], [line] if line.contains(" -> ")), "{plain:?}");
        assert!(!format!("{plain:?}").contains("hush"));
    }
}

#[tokio::test]
async fn migrate_makes_the_tables_and_no_more() {
    let world = World::with_users(3).await;
    let output = world.start(&["migrate"]).ended().await.with_code(0);
    assert_eq!(
        output.stdout,
        ["migrated: neon_identity.users_sync with uuid ids"]
    );
    assert_eq!(world.rows().await, 0);
    assert_eq!(world.control().count(&Method::GET, "/users"), 0);
    world.start(&["migrate"]).ended().await.with_code(0);
}
