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
    match status["healthy"] == true {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(status: &Value) {
    let (provider, recorder) = (&status["provider"], &status["recorder"]);
    let (cache, given) = (&status["cache"], &status["budget"]["given"]);
    say!("usertap {}: {}", text(&status["version"]), health(status));
    say!(
        "provider   {} at {}",
        text(&provider["name"]),
        text(&provider["upstream"])
    );
    say!("database   {}", database(&status["database"]));
    say!("backfill   {}", backfill(status));
    say!(
        "recorder   {} changes committed, {} waiting",
        recorder["committed"],
        recorder["waiting"]
    );
    say!("feed       head {}", head(&status["feed"]));
    for slot in listed(&status["feed"]["slots"]) {
        say!("slot       {}", standing(slot));
    }
    say!(
        "cache      {} hits, {} misses, {} stale; {} answers kept",
        cache["hits"],
        cache["misses"],
        cache["stale"],
        cache["entries"]
    );
    say!(
        "budget     apps {}, strangers {}, re-reads {}, backfill {}",
        given["app"],
        given["stranger"],
        given["refetch"],
        given["backfill"]
    );
    for problem in listed(&status["problems"]) {
        say!(
            "problem    {}\n           {}",
            text(&problem["what"]),
            text(&problem["remedy"])
        );
    }
}

fn health(status: &Value) -> &'static str {
    match status["healthy"] == true {
        true => "healthy",
        false => "not healthy",
    }
}

fn database(database: &Value) -> &'static str {
    match (database["idle"] == true, database["answers"] == true) {
        (true, _) => "left alone: nobody needs it",
        (false, true) => "answers",
        (false, false) => "away",
    }
}

fn backfill(status: &Value) -> String {
    match (status["database"]["answers"] == true, &status["backfill"]) {
        (true, Value::Null) => "never run".into(),
        (_, Value::Null) => "not known while the database is away".into(),
        (_, run) => text(&run["state"]),
    }
}

fn head(feed: &Value) -> &str {
    let head = feed["head"].as_str();
    head.unwrap_or("not known while the database is away")
}

fn standing(slot: &Value) -> String {
    let lag = match &slot["lag"] {
        Value::Null => String::new(),
        lag => format!(", {} changes and {} s behind", lag["events"], lag["seconds"]),
    };
    format!("{} {}{lag}", text(&slot["name"]), text(&slot["status"]))
}

fn listed(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
