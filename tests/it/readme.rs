//! The README is true: its commands and its SQL run as they stand, its tables leave nothing out.

mod consumers;
mod providers;
mod shell;
pub mod text;

use std::io;
use std::path::Path;

use usertap::cli::{self, Command};
use usertap::config::{Deleted, known, table};
use usertap::provider::Provider;
use usertap::user::IdType;

use super::support::postgres::{self, TestDatabase};
use shell::{Session, words};
use text::{blocks, commands, file, literals};

/// Commands that would take this test into itself, or minutes: `.ci/run` runs them, spelled so.
const ELSEWHERE: [(&str, &str); 3] = [
    ("cargo run -- demo", "cargo run --locked -- demo --exit"),
    ("cargo test", "cargo test --locked"),
    (
        "cargo install --locked --path .",
        "cargo install --locked --path .",
    ),
];

fn readme() -> String {
    file("README.md")
}

#[test]
fn the_first_two_commands_are_the_two_commands() {
    let readme = readme();
    let all = commands(&readme);
    assert_eq!(
        all.get(..2),
        Some(&["cargo run -- demo".to_owned(), "cargo test".to_owned()][..])
    );
    let run = file(".ci/run");
    for (command, as_run) in ELSEWHERE {
        assert!(
            all.iter().any(|one| one == command),
            "`{command}` is not in the README"
        );
        assert!(run.contains(as_run), "`{as_run}` is not in .ci/run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_runs_as_written() {
    let readme = readme();
    let mut all = commands(&readme);
    all.retain(|command| !ELSEWHERE.iter().any(|(elsewhere, _)| command == elsewhere));
    let sandbox = all
        .iter()
        .position(|command| command.starts_with("usertap sandbox "));
    let sandbox = all.remove(sandbox.expect("the README starts a sandbox"));
    let database = postgres::empty().await;
    let mut session = Session::begin(&sandbox, &database);
    let client = postgres::client(&database).await;
    for command in &all {
        if command.contains("$USER_ID") {
            let row = client
                .query_one("SELECT min(id::text) FROM neon_identity.users_sync", &[])
                .await;
            session.set("USER_ID", row.expect("the backfill ran before").get(0));
        }
        session.run(command).await;
    }
    let row = client
        .query_one("SELECT count(*) FROM neon_identity.users_sync", &[])
        .await;
    assert_eq!(
        row.expect("the table").get::<_, i64>(0),
        1000,
        "users of the README's sandbox"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_sql_runs_and_the_reader_may_read_and_reference_and_no_more() {
    let database = TestDatabase::new(IdType::Uuid).await;
    let readme = readme();
    for block in blocks(&readme, "sql") {
        let ran = database.client.batch_execute(&block).await;
        ran.unwrap_or_else(|error| panic!("{error:?} in\n{block}"));
    }
    let may = "CREATE SCHEMA app AUTHORIZATION app_reader; SET ROLE app_reader;
               CREATE TABLE app.notes (author uuid REFERENCES neon_identity.users_sync(id));
               SELECT raw_json FROM neon_identity.users_sync";
    database
        .client
        .batch_execute(may)
        .await
        .expect("what the README grants");
    let writes = "DELETE FROM neon_identity.users_sync";
    assert!(
        database.client.batch_execute(writes).await.is_err(),
        "a reader could write"
    );
}

#[test]
fn the_documented_foreign_keys_stand_there_as_they_are() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = words(&blocks(&readme(), "sql").join("\n"));
    let fixture = file("tests/fixtures/foreign-keys.sql");
    let plain: Vec<&str> = fixture.lines().filter(|line| !line.starts_with("--")).collect();
    let statements = plain.join("\n");
    let statements: Vec<&str> = statements
        .split_inclusive(';')
        .filter(|one| one.contains("CREATE"))
        .collect();
    assert_eq!(statements.len(), 2);
    for statement in statements {
        assert!(
            readme.contains(&words(statement)),
            "not in the README:\n{statement}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_exactly_the_columns_that_it_lists() {
    let database = TestDatabase::new(IdType::Uuid).await;
    let columns = "SELECT column_name::text, data_type::text FROM information_schema.columns
                   WHERE table_schema = 'neon_identity' AND table_name = 'users_sync' ORDER BY ordinal_position";
    let rows = database.client.query(columns, &[]).await.expect("columns");
    let made: Vec<String> = rows
        .iter()
        .map(|row| format!("| `{}` | `{}`", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect();
    let readme = readme();
    let table = readme
        .split("| column | type |")
        .nth(1)
        .expect("the table of columns");
    let listed: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(listed.len(), made.len());
    for (listed, made) in listed.iter().zip(&made) {
        assert!(
            listed.starts_with(made.as_str()),
            "{listed}\nbut the column is {made}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_its_own_has_its_line() {
    let database = TestDatabase::new(IdType::Uuid).await;
    let tables = "SELECT relname::text FROM pg_class
                  WHERE relnamespace = 'usertap'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition";
    let rows = database.client.query(tables, &[]).await.expect("tables");
    let readme = readme();
    let own = readme
        .split("Everything of usertap's own is in schema `usertap`")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("what is in that schema");
    assert!(rows.len() > 10);
    for name in rows.iter().map(|row| row.get::<_, &str>(0)) {
        assert!(own.contains(&format!("`{name}`")), "`{name}` is not explained");
    }
}

#[test]
fn every_setting_stands_there_with_its_default() {
    let readme = readme();
    for known in known::own() {
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{}`", known.env())));
        let row = row.unwrap_or_else(|| panic!("{} has no row", known.env()));
        let default = row.split(" | ").nth(1).unwrap_or_default();
        assert_eq!(
            plain(default),
            plain(&known.default),
            "default of {}",
            known.env()
        );
        for also in known.env.iter().skip(1) {
            assert!(row.contains(also), "{also} is another name of {}", known.env());
        }
    }
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `USERTAP_"))
        .count();
    let prefixed = table::table().iter().filter(|setting| setting.prefixed).count();
    assert_eq!(rows, prefixed, "a row of a setting that there is not");
    let provider = Provider::builtin("stack-auth").expect("built in");
    for name in provider.settings().iter().flat_map(|setting| &setting.variables) {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

fn plain(text: &str) -> String {
    text.replace('`', "")
}

#[test]
fn its_settings_file_is_one() {
    let readme = readme();
    let text = blocks(&readme, "toml").pop().expect("a settings file");
    let read = |path: &Path| match path.to_str() {
        Some("usertap.toml") => Ok(text.clone()),
        Some("/run/secrets/database-url") => Ok("postgres://app@db.example/app".to_owned()),
        Some("/run/secrets/stack-key") => Ok("ssk_1".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let command = cli::parse(&["usertap".into(), "serve".into()], &Default::default(), &read);
    let Ok(Command::Serve(tenants)) = command else {
        panic!("{command:?}");
    };
    assert!(matches!(tenants[0].deleted, Deleted::Purge { after } if after.as_secs() == 30 * 86_400));
}

#[test]
fn every_word_of_the_headers_is_explained() {
    let readme = readme();
    let words_of = |path| {
        literals(path, |word| {
            word.split("; ")
                .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        })
    };
    let mut outcomes = words_of("src/proxy/outcome.rs");
    outcomes.extend(words_of("src/cache/word.rs"));
    let errors = ["src/proxy/wire.rs", "src/proxy/own.rs"].map(|path| {
        literals(path, |word| {
            let kebab = word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && word.contains('-');
            kebab && !word.starts_with("x-usertap")
        })
    });
    assert!(
        outcomes.len() > 10 && errors.iter().all(|words| words.len() > 2),
        "{outcomes:?} {errors:?}"
    );
    for word in outcomes.iter().chain(errors.iter().flatten()) {
        assert!(readme.contains(word.as_str()), "`{word}` is not explained");
    }
}

#[test]
fn every_problem_has_its_line() {
    let (readme, source) = (readme(), file("src/status/problems.rs"));
    let words = source
        .split("pub const WORDS: &[&str] = &[")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .expect("the words of the problems");
    let words: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
    assert!(words.len() > 20, "{words:?}");
    for word in words {
        assert!(readme.contains(&format!("`{word}`")), "`{word}` is not explained");
    }
}

#[test]
fn every_command_is_listed() {
    let readme = readme();
    for command in [
        "serve", "backfill", "status", "feed", "doctor", "migrate", "sandbox", "demo",
    ] {
        assert!(readme.contains(&format!("| `usertap {command}` |")), "{command}");
    }
}

#[test]
fn links_lead_somewhere() {
    for (page, folder) in [("README.md", ""), ("src/provider/FILES.md", "src/provider/")] {
        let text = file(page);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let path = format!("{folder}{link}");
            assert!(text::exists(&path), "{page} links to {path}");
        }
    }
}

#[test]
fn the_example_of_a_provider_file_is_one() {
    let text = file("src/provider/FILES.md");
    let example = blocks(&text, "toml").pop().expect("an example");
    Provider::parse(&example).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
}

#[test]
fn every_key_of_a_provider_file_is_explained() {
    let text = file("src/provider/FILES.md");
    let keys = text::keys_of_the_form();
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        let named = [
            format!("`{key}`"),
            format!("[{key}]"),
            format!("{key} = "),
            format!(", {key} }}"),
        ];
        assert!(
            named.iter().any(|name| text.contains(name)),
            "`{key}` is not explained"
        );
    }
}

#[test]
fn the_shell_of_these_tests_reads_as_a_shell_does() {
    let value = |name: &str| (name == "A").then(|| "1 2".to_owned());
    assert_eq!(
        words("x  'a $A' \"b $A\" $A \\\n c # d", &value),
        ["x", "a $A", "b 1 2", "1 2", "c"]
    );
}
