//! `usertap status`: what a running `serve` says of itself.

use std::process::ExitCode;

use serde_json::Value;

use super::serving::{Unasked, status};
use crate::cli::StatusOptions;

pub async fn run(options: StatusOptions) -> ExitCode {
    let status = match status(&options).await {
        Ok(status) => status,
        Err(Unasked::Nobody(error) | Unasked::Refused(error)) => {
            if options.json {
                say!("{}", serde_json::json!({ "healthy": false, "error": error }));
            }
            eprintln!("usertap: {error}");
            return ExitCode::FAILURE;
        }
    };
    match options.json {
        true => say!("{status}"),
        false => print(&status),
    }
    match status["healthy"] == Value::Bool(true) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(status: &Value) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let healthy = if status["healthy"] == Value::Bool(true) {
        "healthy"
    } else {
        "not healthy"
    };
    say!("usertap {}: {healthy}", text(&status["version"]));
    say!(
        "provider   {} at {}",
        text(&status["provider"]["name"]),
        text(&status["provider"]["upstream"])
    );
    say!(
        "database   {}",
        if status["database"]["idle"] == Value::Bool(true) {
            "left alone: nobody needs it"
        } else if status["database"]["answers"] == Value::Bool(true) {
            "answers"
        } else {
            "away"
        }
    );
    say!(
        "backfill   {}",
        match (&status["database"]["answers"], &status["backfill"]) {
            (Value::Bool(true), Value::Null) => "never run".into(),
            (_, Value::Null) => "not known while the database is away".into(),
            (_, run) => text(&run["state"]),
        }
    );
    say!(
        "recorder   {} changes committed, {} waiting",
        status["recorder"]["committed"],
        status["recorder"]["waiting"]
    );
    let head = status["feed"]["head"].as_str();
    say!(
        "feed       head {}",
        head.unwrap_or("not known while the database is away")
    );
    for slot in status["feed"]["slots"].as_array().into_iter().flatten() {
        let lag = match &slot["lag"] {
            Value::Null => String::new(),
            lag => format!(", {} changes and {} s behind", lag["events"], lag["seconds"]),
        };
        say!(
            "slot       {} {}{lag}",
            text(&slot["name"]),
            text(&slot["status"])
        );
    }
    let cache = &status["cache"];
    say!(
        "cache      {} hits, {} misses, {} stale; {} answers kept",
        cache["hits"],
        cache["misses"],
        cache["stale"],
        cache["entries"]
    );
    let given = &status["budget"]["given"];
    say!(
        "budget     apps {}, strangers {}, re-reads {}, backfill {}",
        given["app"],
        given["stranger"],
        given["refetch"],
        given["backfill"]
    );
    for problem in status["problems"].as_array().into_iter().flatten() {
        say!(
            "problem    {}\n           {}",
            text(&problem["what"]),
            text(&problem["remedy"])
        );
    }
}
