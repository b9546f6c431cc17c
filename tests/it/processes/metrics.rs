//! The metrics: every name documented, the dashboard's expressions among them, and what they count.

use std::collections::{BTreeMap, BTreeSet};

use ::http::{Method, StatusCode};
use serde_json::{Value, json};

use usertap::sandbox::{Action, Fault};

use super::{Server, World, id_of};
use crate::support::http::{self, Reply};
use crate::support::{eventually, process::setting};

const README: &str = include_str!("../../../README.md");
const DASHBOARD: &str = include_str!("../../../src/metrics/grafana.json");

/// Values by name and labels, as they are written.
struct Scrape {
    values: BTreeMap<String, f64>,
    /// Of whole families, without the endings that their type adds.
    names: BTreeSet<String>,
}

impl Scrape {
    async fn of(server: &Server) -> Scrape {
        let (asked, url) = (
            "application/openmetrics-text; version=1.0.0",
            format!("http://{}/metrics", server.admin),
        );
        let reply = http::get(&url, &[("accept", asked)]).await;
        assert_eq!(reply.status, StatusCode::OK);
        let content = reply.header("content-type").unwrap_or_default();
        assert!(content.starts_with(asked), "{content}");
        let scrape = Scrape::read(&reply.text());
        scrape.is_told_to_everybody(&http::get(&url, &[]).await);
        scrape
    }

    /// The older text has the same samples, each counter's family under the name of its samples.
    fn is_told_to_everybody(&self, reply: &Reply) {
        let content = reply.header("content-type").unwrap_or_default();
        assert!(content.starts_with("text/plain; version=0.0.4"), "{content}");
        let text = reply.text();
        for said in ["# TYPE ", "# HELP "] {
            let said = text.lines().filter_map(|line| line.strip_prefix(said));
            let names: BTreeSet<&str> = said.filter_map(|line| line.split(' ').next()).collect();
            assert!(names.iter().eq(&self.names), "{names:?}");
        }
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let names: BTreeSet<&str> = samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, _)| name)
            .collect();
        assert!(
            self.values.keys().all(|name| names.contains(name.as_str())),
            "{text}"
        );
    }

    fn read(text: &str) -> Scrape {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let families = types.map(|line| {
            let (name, kind) = line.split_once(' ').expect("a type");
            match kind {
                "counter" => format!("{name}_total"),
                _ => name.to_owned(),
            }
        });
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        };
        Scrape {
            names: families.collect(),
            values: samples.map(value).collect(),
        }
    }

    fn at(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }
}

async fn get(world: &World, server: &Server, path: &str) -> Reply {
    let headers = world.server_headers();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    http::get(&format!("http://{}/api/v1{path}", server.listen), &headers).await
}

/// The first column of the README's table.
fn documented() -> BTreeSet<String> {
    let names = README.lines().filter_map(|line| line.strip_prefix("| `usertap_"));
    names
        .filter_map(|line| line.split(['`', '{']).next())
        .map(|name| format!("usertap_{name}"))
        .collect()
}

/// Every name in the dashboard's expressions.
fn drawn() -> BTreeSet<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let expressions = targets.map(|target| target["expr"].as_str().expect("an expression"));
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    expressions
        .flat_map(|expression| expression.split(move |letter| !is_name(letter)))
        .filter(|word| word.starts_with("usertap_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_the_dashboard_knows_no_other() {
    let world = World::with_users(2).await;
    world.start(&["reconcile"]).ended().await.with_code(0);
    let server = world.serve().await;
    let slot = format!("http://{}/v1/slots/mailer", server.admin);
    http::send(Method::PUT, &slot, &[], &json!({})).await;
    server
        .ask(&world, Method::GET, "/users?limit=2", &Value::Null)
        .await;
    world.control().fault(Fault::on("/users", Action::Drop));
    let broken = server.ask(&world, Method::POST, "/users", &json!({})).await;
    assert!(broken.status.is_server_error(), "{}", broken.text());
    let mut names = Scrape::of(&server).await.names;
    server.stop().await;
    // Where no limit is known, its own pace stands in the place of what it has learned.
    let unlimited = [setting("USERTAP_RATE", "writes=1000/1s")];
    let server = Server::of(world.start_with(&["serve"], &unlimited)).await;
    names.extend(Scrape::of(&server).await.names);
    assert_eq!(names, documented());
    let unknown: Vec<_> = drawn().difference(&names).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[tokio::test]
async fn the_metrics_count_what_apps_were_told() {
    let world = World::with_users(1).await;
    let server = world.serve().await;
    let id = server.known(&world, "Ada").await;
    let path = format!("/users/{id}");
    let kept = |reply: Reply| reply.header("x-usertap-cache").map(str::to_owned);
    for words in ["miss; absent", "hit; fresh", "hit; fresh"] {
        let reply = get(&world, &server, &path).await;
        assert_eq!(kept(reply).as_deref(), Some(words));
    }
    server
        .ask(&world, Method::GET, "/payments/none", &Value::Null)
        .await;
    http::get(&format!("http://{}/_usertap/healthz", server.listen), &[]).await;
    let scrape = Scrape::of(&server).await;
    for (name, value) in [
        (r#"usertap_requests_total{cache="hit",reason="fresh"}"#, 2.0),
        (r#"usertap_requests_total{cache="miss",reason="absent"}"#, 1.0),
        (r#"usertap_requests_total{cache="bypass",reason="method"}"#, 1.0),
        (
            r#"usertap_requests_total{cache="bypass",reason="own-answer"}"#,
            1.0,
        ),
        (r#"usertap_request_seconds_count{cache="hit"}"#, 2.0),
        (
            r#"usertap_recorded_total{recorded="committed",reason="changed"}"#,
            1.0,
        ),
        (
            r#"usertap_recorded_total{recorded="committed",reason="unchanged"}"#,
            1.0,
        ),
        ("usertap_commit_wait_seconds_count", 2.0),
        ("usertap_upstream_seconds_count", 3.0),
        ("usertap_changes_total", 1.0),
        ("usertap_healthy", 1.0),
        ("usertap_database_up", 1.0),
        (r#"usertap_problems{problem="set-aside"}"#, 0.0),
    ] {
        assert_eq!(scrape.at(name), value, "{name} in {:#?}", scrape.values);
        assert!(scrape.values.contains_key(name), "{name}");
    }
    // No label comes from outside.
    assert!(!scrape.values.keys().any(|name| name.contains(&id.to_string())));
}

#[tokio::test]
async fn a_problem_is_counted_under_its_word_and_the_doctor_tells_it() {
    let world = World::with_users(1).await;
    let server = world.serve().await;
    let admin = [setting("USERTAP_ADMIN_LISTEN", &server.admin)];
    let sql = "ALTER TABLE neon_identity.users_sync ADD CHECK (name <> 'Nemo')";
    world.client.batch_execute(sql).await.expect("a constraint");
    let refused = server.create(&world, "Nemo").await;
    assert_eq!(refused.recorded(), "none; set-aside");
    eventually("the problem is counted", || async {
        let scrape = Scrape::of(&server).await;
        (scrape.at(r#"usertap_problems{problem="set-aside"}"#) == 1.0 && scrape.at("usertap_healthy") == 0.0)
            .then_some(())
    })
    .await;
    let told = world.start_with(&["doctor"], &admin).ended().await.with_code(1);
    let told = told.stdout.join("\n");
    let id = id_of(&refused).to_string();
    assert!(
        told.contains("FAIL serve: user") && told.contains(&id) && told.contains(" -> "),
        "{told}"
    );
}

#[tokio::test]
async fn the_metrics_and_the_dashboard_want_the_token() {
    let world = World::with_users(0)
        .await
        .and("USERTAP_ADMIN_TOKEN", "operators-only");
    let server = world.serve().await;
    for path in ["metrics", "grafana.json"] {
        let url = format!("http://{}/{path}", server.admin);
        assert_eq!(http::get(&url, &[]).await.status, StatusCode::UNAUTHORIZED);
        let bearer = [("authorization", "Bearer operators-only")];
        assert_eq!(http::get(&url, &bearer).await.status, StatusCode::OK);
    }
}
