//! Bodies that a real backend handed to its sender, and what the shipped file makes of each.

use serde_json::Value;
use usertap::provider::{Provider, Tells};
use usertap::user::Seen;

use crate::provider::{stack, tenant};

const RECORDED: &str = include_str!("../../fixtures/stack-auth/webhooks.jsonl");

/// Name of the rule, what it tells, of whom.
fn told(provider: &Provider, line: &str) -> (String, &'static str, Vec<String>) {
    let event = provider
        .webhook_events(&tenant(provider), line.as_bytes())
        .remove(0);
    let (what, ids) = match event.tells {
        Tells::Users(sightings) => {
            let what = match sightings.first().map(|sighting| &sighting.seen) {
                Some(Seen::Whole(_)) => "whole",
                Some(Seen::Touched) => "touched",
                Some(Seen::Mentioned) => "mentioned",
                _ => "else",
            };
            let ids = sightings.iter().map(|sighting| sighting.id.to_string());
            (what, ids.collect())
        }
        Tells::Nothing => ("nothing", Vec::new()),
        Tells::Unknown => ("unknown", Vec::new()),
        Tells::Foreign => ("foreign", Vec::new()),
        Tells::Malformed => ("malformed", Vec::new()),
    };
    (event.name.to_owned(), what, ids)
}

#[test]
fn every_recorded_event_tells_what_it_is_about() {
    let provider = stack();
    let mut seen = std::collections::BTreeMap::new();
    for line in RECORDED.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let kind = event["type"].as_str().expect("a type");
        let data = &event["data"];
        let (what, id) = match kind {
            "user.created" | "user.updated" => ("whole", &data["id"]),
            "user.deleted" => ("touched", &data["id"]),
            "team_membership.deleted" => ("touched", &data["user_id"]),
            "team_membership.created" | "team_permission.created" => ("mentioned", &data["user_id"]),
            _ => ("nothing", &Value::Null),
        };
        let ids: Vec<String> = id.as_str().map(str::to_owned).into_iter().collect();
        let plain = told(&provider, line);
        assert_eq!(told(&provider, &format!("\u{feff}{line}")), plain, "{kind}");
        let (name, told, of) = plain;
        assert_eq!((told, of), (what, ids), "{kind}");
        assert!(!name.is_empty(), "{kind}");
        *seen.entry(what).or_insert(0) += 1;
    }
    assert_eq!(
        seen,
        [("mentioned", 8), ("nothing", 6), ("touched", 8), ("whole", 8)].into()
    );
}
