//! What each of the 70 recorded exchanges with a real server tells.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

const RECORDINGS: &str = include_str!("../../fixtures/stack-auth/recordings.jsonl");

#[derive(Deserialize)]
struct Recorded {
    request: Request,
    response: Response,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

fn map(recorded: &BTreeMap<String, String>) -> HeaderMap {
    let pairs: Vec<_> = recorded
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers(&pairs)
}

/// The keys are shortened in the recordings, the same way in each.
fn recorded_tenant(provider: &Provider) -> Tenant {
    let all = RECORDINGS
        .lines()
        .map(|line| serde_json::from_str::<Recorded>(line).unwrap());
    let key = all.flat_map(|recorded| recorded.request.headers);
    let key = key
        .into_iter()
        .find(|(name, _)| name.ends_with("-secret-server-key"))
        .unwrap()
        .1;
    tenant_with(
        provider,
        &[("STACK_PROJECT_ID", PROJECT), ("STACK_SECRET_SERVER_KEY", &key)],
    )
}

fn told(provider: &Provider, tenant: &Tenant, line: &str) -> (String, Extraction) {
    let recorded: Recorded = serde_json::from_str(line).unwrap();
    let (path, query) = recorded
        .request
        .target
        .split_once('?')
        .unwrap_or((&recorded.request.target, ""));
    let exchange = Exchange {
        method: &recorded.request.method,
        path,
        query: Some(query),
        headers: map(&recorded.request.headers),
        request: recorded.request.body.as_deref().unwrap_or_default(),
        status: recorded.response.status,
        answered: map(&recorded.response.headers),
        answer: recorded.response.body.as_deref().unwrap_or_default(),
    };
    let name = exchange
        .matched(provider)
        .expect("every recorded call has a route")
        .route
        .name
        .to_string();
    (name, exchange.told(provider, tenant))
}

#[test]
fn each_recorded_exchange_tells_what_it_showed() {
    let provider = stack();
    let tenant = recorded_tenant(&provider);
    let mut told_of = Vec::new();
    for line in RECORDINGS.lines() {
        let (_, extraction) = told(&provider, &tenant, line);
        assert_eq!(extraction.malformed, 0);
        told_of.push(words(&extraction));
    }
    assert_eq!(told_of, EXPECTED);
}

#[test]
fn whole_users_have_their_columns() {
    let provider = stack();
    let tenant = recorded_tenant(&provider);
    let mut wholes = 0;
    for line in RECORDINGS.lines() {
        for sighting in told(&provider, &tenant, line).1.sightings {
            let Seen::Whole(view) = &sighting.seen else {
                continue;
            };
            let raw: serde_json::Value = serde_json::from_str(&view.raw).unwrap();
            let created = view.profile.created_at.unwrap().timestamp_millis();
            assert_eq!(raw["id"], sighting.id.as_str());
            assert_eq!(raw["display_name"].as_str(), view.profile.name.as_deref());
            assert_eq!(raw["primary_email"].as_str(), view.profile.email.as_deref());
            assert_eq!(raw["signed_up_at_millis"], created);
            assert_eq!((view.profile.updated_at, view.version), (None, None));
            wholes += 1;
        }
    }
    assert!(wholes > 30, "{wholes}");
}

#[test]
fn reads_that_differ_in_key_order_and_activity_alone_are_the_same() {
    let provider = stack();
    let tenant = recorded_tenant(&provider);
    let ada: Vec<_> = [6, 9, 15]
        .map(|at| {
            let line = RECORDINGS.lines().nth(at).unwrap();
            told(&provider, &tenant, line).1.sightings.remove(0)
        })
        .into();
    let hashes: Vec<_> = ada
        .iter()
        .map(|sighting| match &sighting.seen {
            Seen::Whole(view) => view.content,
            other => panic!("{other:?}"),
        })
        .collect();
    // The contact channel changed the e-mail between the first two; the team changed nothing.
    assert_ne!(hashes[0], hashes[1]);
    assert_eq!(hashes[1], hashes[2]);
}

#[rustfmt::skip]
const EXPECTED: [&str; 70] = [
    "", "whole! 3520", "whole! d8d2", "whole 3520", "whole 3520", "whole 3520", "whole 3520",
    "touched 3520", "touched 3520", "whole 3520", "whole d8d2", "whole 3520", "missing 0000", "",
    "mentioned 3520", "whole 3520", "whole 3520", "whole 3520", "whole! 569e", "touched b7e8",
    "partial b7e8", "partial b7e8", "touched b7e8", "mentioned b7e8", "partial b7e8", "",
    "mentioned b7e8", "", "whole d8d2", "deleted d8d2", "missing d8d2", "whole 3520",
    "deleted 3520", "missing 3520",
    "whole 569e, whole b7e8", "whole! 10fe", "whole! d20f", "whole 10fe", "whole 10fe", "whole 10fe",
    "whole 10fe", "touched 10fe", "touched 10fe", "whole 10fe", "whole d20f", "whole 569e, whole 10fe",
    "missing 0000", "", "mentioned 10fe", "whole 10fe", "whole 10fe", "whole 10fe", "whole! 0416",
    "touched 7fce", "partial 7fce", "partial 7fce", "partial 7fce", "touched 7fce",
    "mentioned 7fce", "partial 7fce", "", "mentioned 7fce", "partial 7fce", "", "whole d20f",
    "deleted d20f", "missing d20f", "whole 10fe", "deleted 10fe", "missing 10fe",
];
