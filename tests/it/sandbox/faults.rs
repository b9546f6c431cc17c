//! Faults happen to the request they are meant for, once.

use std::io::Read;
use std::time::Duration;

use ::http::Method;
use serde_json::json;
use usertap::sandbox::{Action, Canned, Fault, Gate, Options};

use super::{Bench, borrowed};
use crate::support::http;

const CREATE: &str = "/api/v1/users";

async fn create(bench: &Bench) -> Result<http::Reply, String> {
    let mut headers = bench.server(0);
    headers.push(("content-type", "application/json".to_owned()));
    let reply = http::request(Method::POST, &bench.url("/users"), &borrowed(&headers), "{}").await;
    reply.map_err(|error| error.to_string())
}

async fn created_with(action: Action) -> (Bench, Result<http::Reply, String>) {
    let bench = Bench::new(Options::default()).await;
    bench
        .control()
        .fault(Fault::on(CREATE, action).method(Method::POST));
    assert_eq!(bench.get("/users", &bench.server(0)).await.status, 200);
    assert_eq!(bench.control().faults_left(), 1);
    let reply = create(&bench).await;
    assert_eq!(bench.control().faults_left(), 0);
    (bench, reply)
}

fn users(bench: &Bench) -> usize {
    bench.control().ids(0).len()
}

#[tokio::test]
async fn a_rejected_request_is_not_performed() {
    let canned = Canned::new(503, "away").header("retry-after", "7");
    let (bench, reply) = created_with(Action::Reject(canned)).await;
    let reply = reply.unwrap();
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.header("retry-after"),
            reply.text().as_str()
        ),
        (503, Some("7"), "away")
    );
    assert_eq!(users(&bench), 0);
    assert_eq!(create(&bench).await.unwrap().status, 201);
}

#[tokio::test]
async fn a_dropped_request_is_not_performed_unless_it_was_before() {
    let (bench, reply) = created_with(Action::Drop).await;
    assert!(reply.is_err());
    assert_eq!(users(&bench), 0);
    let (bench, reply) = created_with(Action::PerformThenDrop).await;
    assert!(reply.is_err());
    assert_eq!(users(&bench), 1);
}

#[tokio::test]
async fn it_can_do_and_then_fail() {
    let (bench, reply) = created_with(Action::PerformThen(Canned::new(502, "bad gateway"))).await;
    assert_eq!((reply.unwrap().status.as_u16(), users(&bench)), (502, 1));
}

#[tokio::test]
async fn an_answer_can_break_off() {
    let (bench, reply) = created_with(Action::Cut(20)).await;
    assert!(reply.is_err());
    assert_eq!(users(&bench), 1);
}

#[tokio::test]
async fn an_answer_can_hold_anything() {
    let (bench, reply) = created_with(Action::Body("{\"id\":".into())).await;
    let reply = reply.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str(), users(&bench)),
        (201, "{\"id\":", 1)
    );
    assert_eq!(
        reply.header("content-type"),
        Some("application/json; charset=utf-8")
    );
}

#[tokio::test]
async fn an_answer_can_be_compressed() {
    let (bench, reply) = created_with(Action::Gzip).await;
    let reply = reply.unwrap();
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&reply.body[..])
        .read_to_string(&mut text)
        .unwrap();
    let user: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(user["id"], json!(bench.control().ids(0)[0]));
}

#[tokio::test]
async fn a_request_can_come_late() {
    let start = usertap::clock::now();
    let (_, reply) = created_with(Action::Delay(Duration::from_millis(100))).await;
    assert!(reply.unwrap().status == 201 && start.elapsed() >= Duration::from_millis(100));
}

async fn held(action: fn(Gate) -> Action, users_meanwhile: usize) {
    let bench = Bench::new(Options::default()).await;
    let gate = Gate::new();
    bench.control().fault(Fault::on(CREATE, action(gate.clone())));
    let meanwhile = async {
        gate.reached().await;
        assert_eq!(users(&bench), users_meanwhile);
        gate.release();
    };
    let (reply, ()) = tokio::join!(create(&bench), meanwhile);
    assert_eq!((reply.unwrap().status.as_u16(), users(&bench)), (201, 1));
}

#[tokio::test]
async fn a_request_can_be_held_before_or_after_it_is_performed() {
    held(Action::HoldBefore, 0).await;
    held(Action::HoldAfter, 1).await;
}

#[tokio::test]
async fn traffic_is_counted_by_route_and_logged_without_secrets() {
    let bench = Bench::with_users(1).await;
    let id = bench.control().ids(0)[0];
    bench.get(&format!("/users/{id}"), &bench.server(0)).await;
    bench.get("/users/me", &bench.client(0, None)).await;
    bench.get("/nowhere", &bench.server(0)).await;
    assert_eq!(bench.control().count(&Method::GET, "/users/{id}"), 1);
    assert_eq!(bench.control().count(&Method::GET, "/users/me"), 1);
    let log = bench.control().log();
    let routes: Vec<_> = log.iter().map(|logged| logged.route).collect();
    assert_eq!(routes, [Some("/users/{id}"), Some("/users/me"), None]);
    assert_eq!(log[0].target, format!("/api/v1/users/{id}"));
    assert!(
        log[0]
            .header_names
            .contains(&"x-stack-secret-server-key".to_owned())
    );
    assert!(!format!("{log:?}").contains(&bench.setting(0, "STACK_SECRET_SERVER_KEY")));
    bench.control().forget_traffic();
    assert_eq!(
        (
            bench.control().log().len(),
            bench.control().count(&Method::GET, "/users/me")
        ),
        (0, 0)
    );
}
