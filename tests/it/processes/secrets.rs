//! What must never stand in a log, however much is logged.

use ::http::Method;
use serde_json::json;
use usertap::sandbox::{Action, Canned, Fault};

use super::{Server, World, id_of};
use crate::console::browser::Browser;
use crate::support::http;

const PASSWORD: &str = "planted-password-9x";
const EMAIL: &str = "planted.person";
const TOKEN: &str = "planted-token-4k";
const QUERY: &str = "planted-query-7q";
const NAME: &str = "Planted Personage";
const COOKIE: &str = "planted-cookie-2c";

async fn traffic(world: &World, server: &Server) {
    let email = format!("{EMAIL}@example.com");
    let created = server
        .ask(
            world,
            Method::POST,
            "/users",
            &json!({ "display_name": NAME, "primary_email": email }),
        )
        .await;
    let id = id_of(&created);
    server
        .ask(
            world,
            Method::PATCH,
            &format!("/users/{id}?x={QUERY}"),
            &json!({ "display_name": NAME }),
        )
        .await;
    let sign_up = json!({ "email": format!("{EMAIL}2@example.com"), "password": PASSWORD });
    let signed = server
        .ask_as_client(world, "/auth/password/sign-up", &sign_up)
        .await;
    assert_eq!(signed.status, 200, "{}", signed.text());
    let wrong = json!({ "email": email, "password": PASSWORD });
    server
        .ask_as_client(world, "/auth/password/sign-in", &wrong)
        .await;
    let url = format!("http://{}/api/v1/users/me?code={QUERY}", server.listen);
    for token in [TOKEN, signed.json()["access_token"].as_str().unwrap()] {
        let headers = [
            ("x-stack-access-token", token),
            ("cookie", COOKIE),
            ("authorization", TOKEN),
        ];
        http::get(&url, &headers).await;
    }
    for fault in [
        Action::Drop,
        Action::Cut(30),
        Action::Body(format!("{{\"{NAME}").into()),
    ] {
        world
            .control()
            .fault(Fault::on(&format!("/users/{id}"), fault).method(Method::GET));
        let headers = world.server_headers();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let url = format!("http://{}/api/v1/users/{id}?x={QUERY}", server.listen);
        // Some of these answers break off.
        let _ = http::request(Method::GET, &url, &headers, "").await;
    }
    server
        .ask(
            world,
            Method::GET,
            &format!("/_usertap/users/{id}?ensure=1"),
            &json!({}),
        )
        .await;
    server
        .ask(world, Method::DELETE, &format!("/users/{id}"), &json!({}))
        .await;
}

/// What an operator enters in the console, and the secrets that come of it.
async fn console(world: &World, server: &Server) -> Vec<String> {
    let mut browser = Browser::of(format!("http://{}", server.admin));
    browser.page("/connect").await;
    let upstream = format!("http://{}", world.sandbox.addr());
    let public = format!("http://{}", server.listen);
    let admin_key = world.control().admin_key(0).expect("a project");
    let mut given = vec![admin_key.clone()];
    for (client_secret, admin_key) in [(TOKEN, TOKEN), ("custom-local-secret", admin_key.as_str())] {
        let own = [("address", upstream.as_str()), ("name", NAME), ("sure", "true")];
        let entered = [
            ("client_id", "custom-local"),
            ("client_secret", client_secret),
            ("admin_key", admin_key),
            ("public", &public),
            ("STACK_PROJECT_ID", COOKIE),
            ("STACK_SECRET_SERVER_KEY", TOKEN),
        ];
        for path in ["/connect", "/connect/provision", "/connect/subscribe"] {
            let mark = uuid::Uuid::new_v4().to_string();
            let form = [&own[..], &entered, &[("once", &mark)]].concat();
            let page = browser.post(path, &form).await.text();
            let lines = page
                .split("export ")
                .skip(1)
                .filter_map(|rest| rest.split_once("='"));
            let secret = lines.filter(|(name, _)| name.contains("KEY") || name.contains("SECRET"));
            given.extend(secret.map(|(_, rest)| rest.split('\'').next().unwrap_or_default().to_owned()));
        }
    }
    assert!(
        given.len() >= 5,
        "keys of a project and a signing secret: {}",
        given.len()
    );
    given
}

/// A row that the database refuses: its own message would quote the row.
async fn refused(world: &World, server: &Server) {
    let check =
        format!("ALTER TABLE neon_identity.users_sync ADD CONSTRAINT no_planted CHECK (name <> '{NAME} II')");
    world.client.batch_execute(&check).await.unwrap();
    let body =
        json!({ "display_name": format!("{NAME} II"), "primary_email": format!("{EMAIL}3@example.com") });
    let reply = server.ask(world, Method::POST, "/users", &body).await;
    assert_eq!(reply.header("x-usertap-recorded"), Some("none; set-aside"));
}

#[tokio::test]
async fn no_secret_and_no_person_stands_in_the_log() {
    for level in ["debug", "trace", "usertap=trace"] {
        let world = World::with_users(3).await.and("USERTAP_LOG", level);
        let server = world.serve().await;
        traffic(&world, &server).await;
        refused(&world, &server).await;
        let given = console(&world, &server).await;
        let key = world.server_headers()[2].1.clone();
        let backfill = world.start(&["backfill"]).ended().await.with_code(0);
        let mut output = server.stop().await;
        assert!(output.stderr.len() > 3, "something is logged");
        output.stderr.extend(backfill.stderr);
        output.stdout.extend(backfill.stdout);
        let all = format!("{output:?}");
        let given = given.iter().map(String::as_str);
        for secret in given.chain([
            "custom-local-secret",
            PASSWORD,
            EMAIL,
            TOKEN,
            QUERY,
            NAME,
            COOKIE,
            &key,
            "eyJ",
            "example.com",
        ]) {
            assert!(!all.contains(secret), "{secret} at {level} in\n{}", output.log());
        }
    }
}

/// Apps ask for whatever ids they are given.
#[tokio::test]
async fn no_id_makes_a_line_of_its_own_in_the_log() {
    let world = World::with_users(0).await.and("USERTAP_ID_TYPE", "text");
    let server = world.serve().await;
    for (method, status) in [(Method::PATCH, 500), (Method::GET, 403)] {
        let fails = Action::Reject(Canned::new(status, "no"));
        world
            .control()
            .fault(Fault::on("/users/forged", fails).method(method));
    }
    let forged = "/users/forged%0Aall%20is%20lost%1B%5B31m";
    server.ask(&world, Method::PATCH, forged, &json!({})).await;
    let line = server.process.line("a read that is owed failed").await;
    assert!(line.contains("forged\\nall is lost"), "{line}");
    let log = server.stop().await.log();
    let is_forged = |line: &str| line.starts_with("all is lost") || line.contains('\u{1b}');
    assert!(!log.lines().any(is_forged), "{log}");
}
