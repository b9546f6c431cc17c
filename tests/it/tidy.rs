//! The architecture is a test: who may import whom, who may touch the outside world, how long a
//! file may grow. Each failure names the file and what to do instead.

mod source;

use std::collections::BTreeSet;

/// What each module may import. A module may only name those above it, so that there is no circle.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("descriptors", &["clock"]),
    ("failpoint", &[]),
    ("gathered", &[]),
    ("random", &[]),
    ("tasks", &["clock"]),
    ("user", &["clock"]),
    ("provider", &["clock", "random", "user"]),
    ("config", &["provider", "user"]),
    ("telemetry", &["config", "tasks"]),
    (
        "db",
        &[
            "clock",
            "config",
            "failpoint",
            "provider",
            "random",
            "tasks",
            "user",
        ],
    ),
    (
        "upstream",
        &[
            "clock",
            "config",
            "descriptors",
            "gathered",
            "provider",
            "tasks",
            "user",
        ],
    ),
    ("record", &["clock", "config", "db", "failpoint", "tasks", "user"]),
    // It reads what the recorder wrote; neither knows the other.
    ("feed", &["clock", "db", "tasks", "user"]),
    // Nothing that is kept makes an observation: it knows no recorder and no way to the provider.
    ("cache", &["clock", "config", "provider", "random", "user"]),
    ("sandbox", &["clock", "config", "random", "tasks"]),
    ("probe", &["clock", "config", "provider", "upstream", "user"]),
    ("reader", &["provider", "record", "upstream", "user"]),
    // None of these three knows another.
    (
        "refetch",
        &[
            "clock",
            "config",
            "db",
            "failpoint",
            "reader",
            "record",
            "tasks",
            "upstream",
            "user",
        ],
    ),
    (
        "backfill",
        &[
            "clock",
            "config",
            "db",
            "failpoint",
            "provider",
            "reader",
            "record",
            "tasks",
            "upstream",
            "user",
        ],
    ),
    (
        "poll",
        &[
            "clock", "db", "provider", "reader", "record", "tasks", "upstream", "user",
        ],
    ),
    (
        "webhook",
        &["clock", "config", "failpoint", "provider", "record", "user"],
    ),
    // The proxy knows no table: what it needs of them comes through its trait `Local`.
    (
        "proxy",
        &[
            "cache",
            "clock",
            "config",
            "descriptors",
            "failpoint",
            "gathered",
            "provider",
            "random",
            "record",
            "tasks",
            "telemetry",
            "upstream",
            "user",
        ],
    ),
    (
        "station",
        &[
            "backfill",
            "cache",
            "clock",
            "config",
            "db",
            "failpoint",
            "feed",
            "poll",
            "probe",
            "provider",
            "reader",
            "record",
            "refetch",
            "tasks",
            "upstream",
            "user",
            "webhook",
        ],
    ),
    (
        "status",
        &[
            "cache",
            "clock",
            "config",
            "db",
            "descriptors",
            "feed",
            "poll",
            "probe",
            "proxy",
            "record",
            "refetch",
            "station",
            "telemetry",
            "upstream",
            "user",
            "webhook",
        ],
    ),
    (
        "metrics",
        &["clock", "db", "proxy", "record", "station", "status", "upstream"],
    ),
    (
        "ensure",
        &["db", "proxy", "reader", "record", "station", "upstream", "user"],
    ),
    // Users are written through the proxy: it makes no observation.
    (
        "console",
        &[
            "clock",
            "config",
            "db",
            "feed",
            "probe",
            "provider",
            "proxy",
            "random",
            "reader",
            "record",
            "station",
            "status",
            "telemetry",
            "upstream",
            "user",
        ],
    ),
    (
        "admin",
        &[
            "clock", "config", "console", "db", "ensure", "feed", "metrics", "proxy", "station", "status",
            "tasks", "user",
        ],
    ),
    (
        "serve",
        &[
            "admin",
            "clock",
            "config",
            "db",
            "descriptors",
            "ensure",
            "feed",
            "proxy",
            "station",
            "status",
            "tasks",
            "user",
            "webhook",
        ],
    ),
    ("cli", &["config"]),
    (
        "commands",
        &[
            "backfill",
            "cli",
            "clock",
            "config",
            "db",
            "descriptors",
            "probe",
            "provider",
            "proxy",
            "record",
            "sandbox",
            "serve",
            "station",
            "status",
            "tasks",
            "upstream",
            "user",
        ],
    ),
];

const SQL: &[&str] = &[
    "diesel",
    "diesel_async",
    "diesel_migrations",
    "tokio_postgres",
    "deadpool",
];
const WIRE: &[&str] = &[
    "http",
    "hyper",
    "hyper_util",
    "axum",
    "http_body",
    "http_body_util",
    "url",
];
const RUNTIME: &[&str] = &["tokio", "tokio_util", "hyper", "hyper_util", "axum"];

/// What a module must not use of other people's.
const ABSENT: &[(&str, &[&[&str]])] = &[
    ("user", &[SQL, WIRE]),
    ("provider", &[SQL, RUNTIME]),
    ("record", &[WIRE]),
    ("feed", &[WIRE]),
    ("upstream", &[SQL]),
    ("cache", &[SQL]),
    ("proxy", &[SQL]),
    ("reader", &[SQL]),
    ("refetch", &[SQL]),
    ("backfill", &[SQL]),
    ("webhook", &[SQL, RUNTIME]),
    ("poll", &[SQL, WIRE]),
    ("station", &[SQL]),
    ("status", &[SQL]),
    ("ensure", &[SQL]),
    ("console", &[SQL]),
    ("admin", &[SQL]),
    ("serve", &[SQL]),
    ("cli", &[SQL, WIRE]),
    ("commands", &[SQL]),
    ("sandbox", &[SQL]),
];

/// Calls that only these files may make, and what the others use.
const ONLY: &[(&[&str], &[&str], &str)] = &[
    (
        &["env::var", "env::vars"],
        // PATH and the cache folder are the system's, not settings; nor is a history that is told again.
        &[
            "src/config/settings.rs",
            "src/db/embedded/environment.rs",
            "src/db/embedded/search.rs",
            "src/record/simulation.rs",
        ],
        "read a setting through src/config/settings.rs",
    ),
    (
        &["env::args"],
        &["src/cli.rs"],
        "the command line is read in src/cli.rs",
    ),
    (
        &["Instant::now", "Utc::now", "Local::now", "SystemTime::now"],
        &["src/clock.rs"],
        "ask crate::clock, so that tests can pause it",
    ),
    (
        &["tokio::spawn", "task::spawn(", "JoinSet", "Handle::current"],
        &["src/tasks.rs"],
        "start it with Tasks::spawn, so that a stop waits for it",
    ),
    (
        // They wait for a child process, whom nothing else may wait for.
        &["thread::spawn", "thread::Builder"],
        &["src/db/embedded/run.rs", "src/db/embedded/watchdog.rs"],
        "start a task with Tasks::spawn, or block in spawn_blocking",
    ),
    (
        &["thread::sleep"],
        &["src/db/embedded/run.rs"],
        "wait for a condition with a deadline",
    ),
    (
        &["axum::"],
        &["src/admin.rs", "src/console.rs"],
        "only the admin side is an axum router",
    ),
    (
        &["try_row("],
        &["src/record.rs"],
        "rows are written by the recorder alone",
    ),
];

/// A file that a reader takes in at one sitting.
const CEILING: usize = 400;
#[test]
fn each_module_imports_only_from_below() {
    let mut wrong = Vec::new();
    for source in source::product() {
        let module = source.module();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            // The binary and the front page name everything.
            if !matches!(module, "main" | "lib") {
                wrong.push(format!(
                    "{}: `{module}` has no place in LAYERS of tests/it/tidy.rs",
                    source.path
                ));
            }
            continue;
        };
        for import in source.imports() {
            if import != module && !allowed.contains(&import.as_str()) {
                wrong.push(format!(
                    "{}: `{module}` must not know `crate::{import}`",
                    source.path
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_layers_have_no_circle() {
    let mut above = BTreeSet::new();
    for (module, allowed) in LAYERS {
        for import in *allowed {
            assert!(above.contains(import), "{module} stands above {import} in LAYERS");
        }
        above.insert(module);
    }
}

#[test]
fn the_front_page_names_every_module() {
    let mut product = source::product().into_iter();
    let front = product.find(|source| source.path == "src/lib.rs");
    let front = front.expect("the front page");
    for (module, _) in LAYERS {
        assert!(
            front.text.contains(&format!("[`{module}`]")),
            "the code map of src/lib.rs lacks `{module}`"
        );
    }
}

#[test]
fn each_module_leaves_out_what_is_not_its_business() {
    let mut wrong = Vec::new();
    for (module, absent) in ABSENT {
        for source in source::product()
            .iter()
            .filter(|source| source.module() == *module)
        {
            for name in absent.iter().copied().flatten().filter(|name| source.uses(name)) {
                wrong.push(format!("{}: `{module}` must not know `{name}`", source.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_outside_world_is_touched_in_one_place_each() {
    let mut wrong = Vec::new();
    for (calls, files, instead) in ONLY {
        for source in source::product().iter().filter(|source| !source.is_one_of(files)) {
            for call in calls.iter().filter(|call| source.has(call)) {
                wrong.push(format!(
                    "{}: `{call}` belongs to {}: {instead}",
                    source.path,
                    files.join(", ")
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn only_the_recorder_writes_users_and_changes() {
    let mut wrong = Vec::new();
    for source in source::product()
        .iter()
        .filter(|source| !source.is_one_of(&["src/record/sql.rs"]))
    {
        for table in source.written_tables() {
            // Notes of what was changed by hand are anybody's: triggers make them.
            let kept = |kept: &&str| table.ends_with(kept);
            if table == "changes" || ["users_sync", "{users}", ".changes"].iter().any(kept) {
                wrong.push(format!(
                    "{}: writes {table}: only src/record/sql.rs does",
                    source.path
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn files_read_like_a_page() {
    let mut wrong = Vec::new();
    for source in source::product() {
        let lines = source.text.lines().count();
        if lines > CEILING {
            wrong.push(format!(
                "{}: {lines} lines; split it, {CEILING} is the ceiling",
                source.path
            ));
        }
    }
    none(&wrong);
}

#[test]
fn files_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in source::rust() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!(
                "{}: begin it with `//!` and what it promises",
                source.path
            ));
        }
        let stem = source
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        for vague in ["util", "helper", "manager", "common", "misc"] {
            if stem.split('_').any(|word| word.trim_end_matches('s') == vague) {
                wrong.push(format!("{}: name it after what it does", source.path));
            }
        }
        if stem == "mod" {
            wrong.push(format!("{}: write foo.rs beside foo/", source.path));
        }
    }
    none(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // In two pieces, or this file would be found.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("/wo", "rk/"),
        concat!("/tmp/bash", "_jobs"),
    ];
    let mut wrong = Vec::new();
    for source in source::everything() {
        for (at, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| source::has_word(line, word)) {
                wrong.push(format!(
                    "{}:{}: `{word}`: do it, or take it out",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    none(&wrong);
}

/// Comments lie when files move.
#[test]
fn files_that_are_named_exist() {
    let mut wrong = Vec::new();
    for source in source::everything() {
        for path in source.named_files() {
            if !source::exists(&path) {
                wrong.push(format!("{}: names {path}, which does not exist", source.path));
            }
        }
    }
    none(&wrong);
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
