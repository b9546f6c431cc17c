//! Every recorded request, in order, answered as it was: ids, tokens and times are the sandbox's own,
//! everything else is equal.

use std::collections::HashMap;

use ::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use usertap::sandbox::Options;

use super::Bench;
use crate::support::http::{self, Reply};

const RECORDINGS: &str = include_str!("../../fixtures/stack-auth/recordings.jsonl");

/// What the sandbox has in place of what was recorded.
#[derive(Default)]
struct Own {
    ids: HashMap<String, String>,
    access_token: String,
    refresh_token: String,
}

#[tokio::test]
async fn every_recorded_exchange_comes_out_the_same() {
    let bench = Bench::new(Options::default()).await;
    let mut own = Own::default();
    let mut by_sdk = HashMap::<String, usize>::new();
    for (index, line) in RECORDINGS.lines().enumerate() {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let what = format!(
            "{index} {} {}",
            exchange["request"]["method"], exchange["request"]["target"]
        );
        own.learn_project(&exchange, &bench);
        let reply = replay(&bench, &own, &exchange["request"]).await;
        compare(&mut own, &reply, &exchange["response"], &what);
        *by_sdk.entry(exchange["sdk"].to_string()).or_default() += 1;
        let at = usertap::clock::wall().timestamp_millis();
        while usertap::clock::wall().timestamp_millis() == at {
            // Two users must not sign up in one millisecond: they would be listed by their ids.
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(by_sdk.into_values().sum::<usize>(), 70);
}

impl Own {
    fn learn_project(&mut self, exchange: &Value, bench: &Bench) {
        let headers = exchange["request"]["headers"].as_object().unwrap();
        let id = headers
            .iter()
            .find(|(name, _)| name.to_lowercase().ends_with("-project-id"));
        if let Some((_, id)) = id {
            self.ids.insert(
                id.as_str().unwrap().to_owned(),
                bench.setting(0, "STACK_PROJECT_ID"),
            );
        }
    }

    fn put_in(&self, recorded: &str) -> String {
        self.ids.iter().fold(recorded.to_owned(), |text, (theirs, ours)| {
            text.replace(theirs, ours)
        })
    }

    fn header(&self, bench: &Bench, name: &str, recorded: &str) -> String {
        match name
            .trim_start_matches("x-stack-")
            .trim_start_matches("x-hexclave-")
        {
            "publishable-client-key" => bench.setting(0, "STACK_PUBLISHABLE_CLIENT_KEY"),
            "secret-server-key" => bench.setting(0, "STACK_SECRET_SERVER_KEY"),
            "access-token" => self.access_token.clone(),
            "refresh-token" => self.refresh_token.clone(),
            _ => self.put_in(recorded),
        }
    }
}

async fn replay(bench: &Bench, own: &Own, request: &Value) -> Reply {
    let headers: Vec<(String, String)> = request["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap()))
        .filter(|(name, _)| !["connection", "content-length", "transfer-encoding"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), own.header(bench, &name, value)))
        .collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let target = own.put_in(request["target"].as_str().unwrap());
    let body = own
        .put_in(request["body"].as_str().unwrap_or_default())
        .replace(
            "refresh_token=removed",
            &format!("refresh_token={}", own.refresh_token),
        )
        .replace(
            "client_secret=removed",
            &format!(
                "client_secret={}",
                bench.setting(0, "STACK_PUBLISHABLE_CLIENT_KEY")
            ),
        );
    let url = format!("{}{}", bench.setting(0, "USERTAP_UPSTREAM"), target);
    http::request(method, &url, &headers, body).await.unwrap()
}

fn compare(own: &mut Own, reply: &Reply, recorded: &Value, what: &str) {
    assert_eq!(
        u64::from(reply.status.as_u16()),
        recorded["status"].as_u64().unwrap(),
        "{what}: {}",
        reply.text()
    );
    for name in [
        "content-type",
        "cache-control",
        "transfer-encoding",
        "x-stack-actual-status",
        "x-stack-known-error",
    ] {
        assert_eq!(
            reply.header(name),
            recorded["headers"][name].as_str(),
            "{what}: {name}"
        );
    }
    assert!(
        reply
            .header("x-stack-request-id")
            .is_some_and(|id| id.len() == 16),
        "{what}"
    );
    let recorded_body = recorded["body"].as_str().unwrap();
    if recorded["headers"]["x-stack-known-error"].is_string() {
        assert_eq!(reply.text(), recorded_body, "{what}");
    }
    let body = reply.json();
    same(own, &serde_json::from_str(recorded_body).unwrap(), &body, what);
    for (field, kept) in [
        ("access_token", &mut own.access_token),
        ("refresh_token", &mut own.refresh_token),
    ] {
        if let Some(token) = body[field].as_str() {
            *kept = token.to_owned();
        }
    }
}

fn same(own: &mut Own, recorded: &Value, ours: &Value, path: &str) {
    match (recorded, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(theirs), names(ours), "{path}");
            for (name, value) in theirs {
                same(own, value, &ours[name], &format!("{path}.{name}"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.len(), ours.len(), "{path}");
            for (index, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                same(own, theirs, ours, &format!("{path}[{index}]"));
            }
        }
        (Value::String(theirs), Value::String(ours)) => same_text(own, theirs, ours, path),
        (Value::Number(_), Value::Number(_)) if is_time(path) => {}
        _ => assert_eq!(recorded, ours, "{path}"),
    }
}

fn same_text(own: &mut Own, theirs: &str, ours: &str, path: &str) {
    if path.ends_with("_token") {
        if let Some(claims) = claims(theirs) {
            same(own, &claims, &claims_of(ours), &format!("{path}(claims)"));
        }
    } else if path.ends_with("refresh_token_id") || path.ends_with(".iss") {
        let kind = |text: &str| text.split('/').count();
        assert_eq!(kind(theirs), kind(ours), "{path}");
    } else if uuid::Uuid::try_parse(theirs).is_ok() {
        let known = own
            .ids
            .entry(theirs.to_owned())
            .or_insert_with(|| ours.to_owned());
        assert_eq!(known, ours, "{path}");
    } else {
        assert_eq!(theirs, ours, "{path}");
    }
}

fn is_time(path: &str) -> bool {
    ["_millis", ".iat", ".exp", ".signed_up_at", ".expires_in"]
        .iter()
        .any(|end| path.ends_with(end))
}

fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn claims_of(token: &str) -> Value {
    assert_eq!(token.split('.').count(), 3);
    claims(token).unwrap()
}
