//! Command lines to commands.

use std::io;
use std::time::Duration;

use super::*;

fn given(line: &str, env: &[(&str, &str)], file: Option<&str>) -> Result<Command, Usage> {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let env = env
        .iter()
        .map(|(name, value)| (name.to_string(), value.into()))
        .collect();
    let read = |path: &Path| match (path.to_str(), file) {
        (Some("usertap.toml"), Some(text)) => Ok(text.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    parse(&args, &env, &read)
}

#[track_caller]
fn wrong(line: &str, env: &[(&str, &str)]) -> String {
    wrong_in(None, line, env)
}

#[track_caller]
fn wrong_in(file: Option<&str>, line: &str, env: &[(&str, &str)]) -> String {
    match given(line, env, file).expect_err("a mistake") {
        Usage::Line(error) => error.to_string(),
        Usage::Settings(mistakes) => mistakes.iter().map(|mistake| format!("{mistake}\n")).collect(),
    }
}

const ENOUGH: &str = "--database-url embedded --stack-project-id p --stack-secret-server-key k";

#[test]
fn every_setting_is_a_flag() {
    let line = format!("usertap serve {ENOUGH} --listen 127.0.0.1:1 --log=debug --log-format json");
    let command = given(&line, &[], None).unwrap();
    assert!(command.log().json);
    let Command::Serve(tenants) = command else {
        panic!("another command");
    };
    assert_eq!(
        tenants
            .iter()
            .map(|config| config.listen.port())
            .collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn each_command_has_what_it_asks_for() {
    let line = |name: &str| given(&format!("usertap {name} {ENOUGH}"), &[], None).unwrap();
    assert!(matches!(
        line("backfill --json"),
        Command::Backfill { json: true, .. }
    ));
    assert!(matches!(line("doctor"), Command::Doctor { json: false, .. }));
    assert!(matches!(
        line("migrate"),
        Command::Migrate {
            publication: None,
            ..
        }
    ));
    let migrate = "usertap migrate --database-url embedded --stack-project-id p";
    assert!(given(migrate, &[], None).is_ok());
}

#[test]
fn status_needs_only_where_to_ask() {
    let env = [
        ("USERTAP_ADMIN_LISTEN", "0.0.0.0:9000"),
        ("USERTAP_ADMIN_TOKEN", "t"),
    ];
    let Ok(Command::Status(options)) = given("usertap status --json", &env, None) else {
        panic!("no status");
    };
    assert_eq!(options.admin.to_string(), "127.0.0.1:9000");
    assert!(options.json && options.admin_token.is_some());
}

#[test]
fn sandbox_and_demo_need_nothing_and_mind_nothing() {
    let env = [
        ("USERTAP_TIMEOUT", "junk"),
        ("USERTAP_JUNK", "junk"),
        ("DATABASE_URL", "junk"),
    ];
    let line = "usertap sandbox --users 3 --rate 100/10s --latency 20ms --projects 2 --listen 127.0.0.1:0";
    let Ok(Command::Sandbox(options)) = given(line, &env, Some("= junk")) else {
        panic!("no sandbox");
    };
    assert_eq!(
        (options.users, options.projects, options.listen.port()),
        (3, 2, 0)
    );
    assert_eq!(options.latency, Duration::from_millis(20));
    assert_eq!(options.rate.unwrap().requests, 100);
    let Ok(Command::Demo(options)) = given("usertap demo --exit --data-dir /x", &env, Some("= junk")) else {
        panic!("no demo");
    };
    assert!(options.exit && options.data_dir == Path::new("/x") && options.listen.port() == 8400);
    assert!(given("usertap demo", &[("USERTAP_LISTEN", "junk")], None).is_err());
    let Ok(Command::Demo(options)) = given("usertap demo --trusted-proxies 127.0.0.1", &[], None) else {
        panic!("no demo");
    };
    assert!(options.trusted_proxies.has([127, 0, 0, 1].into()));
    assert!(
        wrong("usertap demo --trusted-proxies nginx", &[])
            .contains("TRUSTED_PROXIES (--trusted-proxies): `nginx`")
    );
}

#[test]
fn wrong_options_of_the_sandbox_are_told_at_once() {
    let text = wrong("usertap sandbox --users many --rate fast --projects 3", &[]);
    for flag in ["--users", "--rate", "--projects"] {
        assert!(text.contains(flag), "{text}");
    }
}

#[test]
fn unknown_flags_are_refused() {
    assert!(wrong("usertap serve --listn x", &[]).contains("--listen"));
    assert!(wrong("usertap reconsile", &[]).contains("unrecognized subcommand"));
    assert!(wrong("usertap serve --config gone.toml", &[]).contains("gone.toml cannot be read"));
    let provider = wrong("usertap serve --provider nope --stack-project-id p", &[]);
    assert!(
        provider.contains("PROVIDER (--provider): no provider"),
        "{provider}"
    );
}

#[test]
fn a_key_in_a_mistyped_flag_is_not_shown() {
    for line in [
        "--stack-secret-serverkey=hush",
        "--stack-secret-serverkey hush",
        "--admin-tokn=hush",
    ] {
        assert!(
            !wrong(&format!("usertap serve {line}"), &[]).contains("hush"),
            "{line}"
        );
    }
    let hyphen = "usertap serve --database-url embedded --stack-project-id p --stack-secret-server-key -hush";
    assert!(given(hyphen, &[], None).is_ok());
}

#[test]
fn usage_has_its_exit_codes() {
    let code = |line| given(line, &[], None).unwrap_err().exit_code();
    assert_eq!(code("usertap serve -h"), 0);
    assert_eq!(code("usertap --version"), 0);
    assert_eq!(code("usertap"), 2);
    assert_eq!(code("usertap serve"), 2);
    assert_eq!(code("usertap serve --nonsense"), 2);
}

/// Whoever does as a mistake says must not be told the same again.
#[test]
fn a_mistake_of_one_among_several_names_what_counts_for_it() {
    let file = "database_url = \"embedded\"\n[[tenant]]\nname = \"a-b\"\nlisten = \"127.0.0.1:0\"\n";
    let env = [
        ("A_B_STACK_PROJECT_ID", "p"),
        ("A_B_USERTAP_TIMEOUT", "8"),
        ("STACK_SECRET_SERVER_KEY", "k"),
    ];
    let told = wrong_in(Some(file), "usertap serve", &env);
    assert!(
        told.contains("of tenant a-b: is missing: write `stack_secret_server_key` below its [[tenant]]")
            && told.contains("or set A_B_STACK_SECRET_SERVER_KEY in the environment"),
        "{told}"
    );
    assert!(
        told.contains("TIMEOUT (A_B_USERTAP_TIMEOUT in the environment)"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
    let key = [("A_B_STACK_SECRET_SERVER_KEY", "k"), env[0]];
    assert!(given("usertap serve", &key, Some(file)).is_ok());
    let told = wrong_in(Some(file), "usertap status --tenant c", &[]);
    assert_eq!(told, "--tenant: there is no such [[tenant]]: write one of a-b\n");
}

#[test]
fn what_may_hold_a_password_is_not_shown_wherever_it_stands() {
    for line in [
        "usertap serve postgres://u:hush@h/d",
        "usertap postgres://u:hush@h/d",
        "usertap serve DATABASE_URL=hush",
        "usertap serve --databse-url=postgres://u:hush@h/d",
        "usertap serve --databse-url postgres://u:hush@h/d",
        "usertap sandbox --webhooks http://u:hush@h/",
    ] {
        let told = wrong(line, &[]);
        assert!(!told.contains("hush"), "{told}");
    }
    assert!(wrong("usertap serve hello", &[]).contains("hello"));
}
