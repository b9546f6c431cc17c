//! What a user sees who set something wrong, and who asks for help.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use usertap::config::{Known, known, table};

/// The binary in an empty folder, with nothing in its environment but `env`.
fn usertap(args: &[&str], env: &[(&str, &str)]) -> Output {
    in_folder(&folder("empty"), args, env)
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings").join(name);
    std::fs::create_dir_all(&folder).expect("a folder below target");
    folder
}

fn in_folder(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_usertap"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn all_mistakes_at_once_and_no_secret() {
    let env = [
        ("DATABASE_URL", "postgres://app:hush@db.example:port/app"),
        ("STACK_SECRET_SERVER_KEY", "hush hush"),
        ("USERTAP_SYNC", "sometimes"),
        ("USERTAP_UPSTREAM", "https://user:hush@api.example"),
        ("USERTAP_LISTENN", "hush"),
    ];
    let output = usertap(
        &["serve", "--timeout", "soon", "--admin-token", "hush\u{7}"],
        &env,
    );
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(output.stdout.is_empty());
    for part in [
        "8 mistakes",
        "DATABASE_URL (DATABASE_URL in the environment): this value cannot be read",
        "STACK_PROJECT_ID: is missing",
        "STACK_SECRET_SERVER_KEY (STACK_SECRET_SERVER_KEY in the environment): this value must be visible",
        "SYNC (USERTAP_SYNC in the environment): `sometimes` is unknown: write `before-response` or `async`",
        "UPSTREAM (USERTAP_UPSTREAM in the environment): this value must not hold a user or password",
        "USERTAP_LISTENN in the environment): there is no such setting: did you mean `USERTAP_LISTEN`?",
        "TIMEOUT (--timeout): `soon` is no duration",
        "ADMIN_TOKEN (--admin-token): this value",
    ] {
        assert!(shown.contains(part), "{part}\nin\n{shown}");
    }
    assert!(!shown.contains("hush"), "{shown}");
}

/// As `docker --env-file` leaves them in a value. A key in quotes is refused by the provider, and nobody sees why.
#[test]
fn quotes_around_a_value_are_named() {
    let env = [
        ("DATABASE_URL", "\"postgres://app:hush@db.example/app\""),
        ("STACK_PROJECT_ID", "'0c6e8a3d'"),
        ("STACK_SECRET_SERVER_KEY", "\"ssk_hush\""),
        ("USERTAP_SCHEMA", "\"people\""),
        ("USERTAP_LISTEN", "'127.0.0.1:0'"),
    ];
    let output = usertap(&["serve"], &env);
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert_eq!(
        shown.matches("stands in quotes: take them out").count(),
        env.len(),
        "{shown}"
    );
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn who_cannot_be_believed_is_named_wherever_it_is_written() {
    let folder = folder("proxies");
    let file = "trusted_proxies = [\"127.0.0.1\", \"proxy.internal\"]\n\n[[tenant]]\nname = \"shop\"\n\n[[tenant]]\n\
                name = \"school\"\ntrusted_proxies = \"fd00::1/8\"\n";
    std::fs::write(folder.join("several.toml"), file).unwrap();
    std::fs::write(folder.join("list"), "10.0.0.0/8,10.0.0.1:443\n").unwrap();
    let said = |args: &[&str], env: &[(&str, &str)]| {
        let output = in_folder(&folder, args, env);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let none =
        "is neither an address nor a network: write each one such as `10.0.0.1`, `10.0.0.0/8` or `fd00::/8`";
    let flag = said(&["serve", "--trusted-proxies", "::1, 10.0.0.1/8, *"], &[]);
    for part in [
        "TRUSTED_PROXIES (--trusted-proxies): `10.0.0.1/8` is an address in a network: write `10.0.0.0/8` for the whole \
         network, or `10.0.0.1` for the address alone",
        &format!("TRUSTED_PROXIES (--trusted-proxies): `*` {none}"),
        "STACK_PROJECT_ID: is missing",
    ] {
        assert!(flag.contains(part), "{part}\nin\n{flag}");
    }
    let list = said(&["serve"], &[("USERTAP_TRUSTED_PROXIES_FILE", "list")]);
    let part =
        format!("TRUSTED_PROXIES (USERTAP_TRUSTED_PROXIES_FILE in the environment): `10.0.0.1:443` {none}");
    assert!(list.contains(&part), "{part}\nin\n{list}");
    let tenants = said(&["serve", "--config", "several.toml"], &[]);
    for part in [
        &format!("TRUSTED_PROXIES (several.toml:1): `proxy.internal` {none}"),
        "TRUSTED_PROXIES (several.toml:8): `fd00::1/8` is an address in a network: write `fd00::/8`",
    ] {
        assert!(tenants.contains(part), "{part}\nin\n{tenants}");
    }
}

#[test]
fn mistakes_in_the_file_have_their_line() {
    let folder = folder("wrong-file");
    std::fs::write(folder.join("usertap.toml"), "# mine\nlog = \"loud\"\nlogs = 1\n").unwrap();
    let output = in_folder(&folder, &["status"], &[]);
    let named = in_folder(&folder, &["status", "--config", "other.toml"], &[]);
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(
        shown.contains("LOG (usertap.toml:2): `loud` is no level"),
        "{shown}"
    );
    assert!(
        shown.contains("logs (usertap.toml:3): there is no such setting: did you mean `log`?"),
        "{shown}"
    );
    assert_eq!(named.status.code(), Some(2));
    assert!(text(&named.stderr).contains("other.toml cannot be read"));
}

#[test]
fn every_setting_stands_in_the_help_of_serve() {
    let output = usertap(&["serve", "-h"], &[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for setting in table::table() {
        let known = known::own()
            .into_iter()
            .find(|k| k.name == setting.name)
            .expect("it has names");
        assert_explained(&shown, &known);
    }
    for flag in ["--stack-project-id", "--stack-secret-server-key", "--config"] {
        assert!(shown.contains(flag), "{flag}");
    }
}

fn assert_explained(shown: &str, known: &Known) {
    let line = shown.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(&format!("--{}", known.flag()))
    });
    assert!(line.is_some(), "--{} has no line of its own", known.flag());
    for part in [known.help.as_str(), known.env(), known.default.as_str()] {
        assert!(shown.contains(part), "{part} for --{}", known.flag());
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands = [
        "serve",
        "backfill",
        "reconcile",
        "status",
        "feed",
        "doctor",
        "migrate",
        "sandbox",
        "demo",
    ];
    let all = text(&usertap(&["-h"], &[]).stdout);
    for command in commands {
        assert!(all.contains(&format!("  {command} ")), "{command} in\n{all}");
        let output = usertap(&[command, "-h"], &[]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(
            shown.contains("Example: ") && shown.contains(&format!("usertap {command}")),
            "{shown}"
        );
    }
}
